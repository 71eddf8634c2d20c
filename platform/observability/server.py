"""What a worker, which serves no requests, says over HTTP: /metrics, and /health for whoever looks after it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from django.utils.datastructures import CaseInsensitiveMapping

from observability import scraping

REQUEST_SECONDS = 10


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS  # a client that sends nothing holds its thread no longer
    server_version = "speech"
    sys_version = ""
    _PLAIN: ClassVar = "text/plain; charset=utf-8"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/health":
            self._answer(200, b'{"status": "ok"}', "application/json")
        elif path != "/metrics":
            self._answer(404, b"There is nothing here.\n", self._PLAIN)
        elif not scraping.may_read(self.client_address[0], CaseInsensitiveMapping(self.headers.items())):
            self._answer(403, b"Metrics are read with the token or from allowed addresses only.\n", self._PLAIN)
        else:
            self._answer(200, scraping.exposition(), scraping.CONTENT_TYPE)

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not worth a line."""


def start(host: str, port: int) -> ThreadingHTTPServer:
    """Serves in threads that end with the process. Raises OSError where the port cannot be used."""
    server = ThreadingHTTPServer((host, port), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
