"""Live recognition as a service: sound in as it comes, words out as they are understood. See docs/live.md.

listening.py  somebody's session, which every protocol opens
session.py    its job row: what it reserves, what it is billed, what is kept of it; how many there may be
protocol.py   `WS /api/v1/stt/stream`: what clients say, and what they are told
consumer.py   its socket
api.py        POST /stt/transcribe-realtime: a token with which a browser may open one
"""
