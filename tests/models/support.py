"""A hub as huggingface.co is one, on a local port; and folders of a tiny Whisper that really recognises."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from django.core.management import call_command

from ml import artifacts

LARGE = 100_000
"""Bytes from which on the hub keeps a file in LFS."""

HALF = 11_000_000
"""Bytes after which a paused hub stops: more than the library's block, of which it writes whole ones."""


@dataclass
class Repository:
    files: dict[str, bytes]
    licence: str = "mit"
    token: str = ""  # private, where there is one
    commit: str = ""
    branches: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit = self.commit or hashlib.sha1(repr(sorted(self.files)).encode(), usedforsecurity=False).hexdigest()
        self.branches.setdefault("main", self.commit)


@dataclass
class Request:
    method: str
    path: str
    range: str
    token: str
    sent: int = 0  # bytes of the body


class Hub:
    """Speaks what `huggingface_hub` asks for; `break_after` and `lie_about` make it fail as real ones do."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.break_after: int | None = None  # bytes of a large file, after which the hub is down
        self.down = False
        self.pause = threading.Event()  # while it is not set, a large file's bytes stop after HALF
        self.pause.set()
        self.lie_about = ""  # a file whose bytes are not those of its hash
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def downloads(self, name: str) -> list[Request]:
        """The requests for the bytes of a large file."""
        return [r for r in self.requests if r.method == "GET" and r.path.startswith("/cdn/") and r.path.endswith(name)]

    def _handler(hub) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub._answer(self)

            do_HEAD = do_GET

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    # ── Answering ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        request = Request(handler.command, handler.path.split("?")[0], handler.headers.get("Range", ""), token)
        self.requests.append(request)
        if self.down:
            return self._send(handler, request, 503, b"down")
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._describe(handler, request, "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        if parts[0] == "cdn":
            return self._stream(handler, request, self.repositories["/".join(parts[1:3])], "/".join(parts[4:]))
        if len(parts) > 4 and parts[2] == "resolve":
            return self._resolve(handler, request, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self._send(handler, request, 404, b"")

    def _describe(self, handler: BaseHTTPRequestHandler, request: Request, name: str, revision: str) -> None:
        repository = self.repositories.get(name)
        if repository is None or (repository.token and request.token != repository.token):
            return self._error(handler, request, 401, "RepoNotFound")
        commit = repository.branches.get(revision, revision)
        if commit != repository.commit:
            return self._error(handler, request, 404, "RevisionNotFound")
        body = {
            "id": name,
            "modelId": name,
            "sha": commit,
            "tags": [f"license:{repository.licence}"],
            "siblings": [self._sibling(file, content) for file, content in repository.files.items()],
        }
        return self._send(handler, request, 200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _sibling(self, name: str, content: bytes) -> dict[str, object]:
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        described = {"rfilename": name, "size": len(content), "blobId": oid}
        if len(content) >= LARGE:
            sha256 = hashlib.sha256(content).hexdigest()
            described["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 134}
        return described

    def _resolve(self, handler: BaseHTTPRequestHandler, request: Request, name: str, commit: str, file: str) -> None:
        repository = self.repositories.get(name)
        if repository is None or (repository.token and request.token != repository.token):
            return self._error(handler, request, 401, "RepoNotFound")
        content = repository.files.get(file)
        if content is None or commit != repository.commit:
            return self._error(handler, request, 404, "EntryNotFound")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'}
        if len(content) < LARGE:
            return self._stream(handler, request, repository, file, headers)
        location = f"http://localhost:{self._server.server_port}/cdn/{name}/{commit}/{file}"  # another origin
        headers |= {
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
            "Location": location,
        }
        return self._send(handler, request, 302, b"", headers)

    def _stream(
        self, handler: BaseHTTPRequestHandler, request: Request, repository: Repository, file: str, headers=None
    ) -> None:
        content = repository.files[file]
        if file == self.lie_about:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(request.range.removeprefix("bytes=").rstrip("-")) if request.range else 0
        headers = {"Accept-Ranges": "bytes", **(headers or {})}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        broken = self.break_after if len(content) >= LARGE else None
        self.down = broken is not None
        self._send(handler, request, 206 if start else 200, content[start:], headers, only=broken)

    def _error(self, handler: BaseHTTPRequestHandler, request: Request, status: int, code: str) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": code}
        self._send(handler, request, status, b"{}", headers)

    def _send(
        self, handler: BaseHTTPRequestHandler, request: Request, status: int, body: bytes, headers=None, only=None
    ) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if request.method == "HEAD":
            return
        sent = body if only is None else body[:only]
        request.sent = len(sent)
        handler.wfile.write(sent[:HALF])
        if len(sent) > HALF:
            self.pause.wait(300)  # a machine that is busy looks at pages for long meanwhile
            with suppress(BrokenPipeError):  # cancelled
                handler.wfile.write(sent[HALF:])
        if len(sent) < len(body):
            handler.close_connection = True


@contextmanager
def hub() -> Iterator[Hub]:
    running = Hub()
    try:
        yield running
    finally:
        running.close()


# ── Folders ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def build_whisper(folder: Path) -> Path:
    """A model folder of the tiny Whisper that knows the clips of tests/audio by heart."""
    import torch

    from tests.ml import tiny_whisper

    torch.set_num_threads(1)
    settings = {"device": "cpu", "compute_type": "float32", "threads": 1}
    tiny_whisper.save_ctranslate2(tiny_whisper.trained_whisper(), folder, settings=settings)
    return folder


def version_of(source: Path, folder: Path, *, name: str, version: str, **fields: object) -> Path:
    """A copy of a model folder (its files are linked, not copied) with another name and version."""
    shutil.copytree(source, folder, copy_function=os.link)
    manifest = artifacts.read(folder).manifest
    (folder / artifacts.MANIFEST).unlink()
    artifacts.write(folder, replace(manifest, name=name, version=version, **fields))
    return folder


def models(*arguments: object) -> None:
    """`manage.py models …`, in this process."""
    call_command("models", *map(str, arguments))
