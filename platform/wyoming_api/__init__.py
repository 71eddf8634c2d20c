"""The Wyoming protocol, which Home Assistant speaks: `manage.py wyoming`, a port an organisation. See docs/clients.md.

server.py       the ports, how many may come, and the end
connection.py   one client: what it says, in turn
hearing.py      sound → transcript, by stt.live
speaking.py     text → sound, by tts.services and tts.live
programs.py     what `describe` is answered
identity.py     in whose name a port works
protocol.py     events read within limits, options taken from them
"""
