"""`/v1/listen` as Deepgram's SDKs call it, live and for recordings: a thin adapter over stt's services.

query.py      what the query string asks for
results.py    what was heard, as Deepgram tells it
consumer.py   WS /v1/listen
api.py        POST /v1/listen; fetching.py gets the recording from its address, sound.py makes raw samples readable
errors.py     the platform's errors in Deepgram's words
"""
