"""`WS /api/v1/stt/stream`: sound in as it comes, words out as they are understood. See docs/live.md.

protocol.py   what clients say, and what they are told
session.py    one session's job row: what it reserves, what it is billed, what is kept of it
consumer.py   the socket
api.py        POST /stt/transcribe-realtime: a token with which a browser may open one
"""
