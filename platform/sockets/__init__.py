"""WebSockets: who may open one, and what all of them share.

class Echo(Socket):                       # sockets.consumer
    access = Access(role=Role.DEVELOPER, scope="stt")

    async def received_text(self, text: str) -> None:
        await self.send_json({"type": "echo", "text": text})

routes = [path("api/v1/echo", Echo.as_asgi())]     # sockets.routing
"""
