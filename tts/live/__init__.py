"""`WS /api/v1/tts/stream`: text in while it is being written, speech out. See docs/live.md.

protocol.py   what clients say
session.py    one session: its voice, its encoder, its job row, what it reserves and is billed
consumer.py   the socket: one task speaks, another listens
"""
