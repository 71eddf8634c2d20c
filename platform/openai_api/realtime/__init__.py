"""OpenAI's realtime transcription sessions over the platform's live recognition. See docs/openai.md.

settings.py   what a session may be asked, in OpenAI's present shape and in that of the beta
turns.py      what is understood, as OpenAI's events
consumer.py   WS /v1/realtime
secrets.py    short-lived keys for browsers, which carry a session's settings
api.py        POST /v1/realtime/client_secrets, POST /v1/realtime/transcription_sessions
"""
