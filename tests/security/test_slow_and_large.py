"""Clients that send slowly or without end: each costs a connection for a bounded time, and others are served."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from pytest_django.fixtures import Settings

from common.serving import MAX_HEAD_BYTES
from tests.conftest import Client, Tenant, error_of
from tests.security.support import answer_of, connection

HEAD = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def refused(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    error = json.loads(body)["error"]
    assert (error["code"], error["type"]) == (code, "invalid_request_error")
    assert f"x-request-id: {error['request_id']}" in head.decode().lower()


@contextmanager
def trickling(send: Callable[[bytes], object], piece: bytes = b"x") -> Iterator[None]:
    """A byte now and then, until the server hangs up or the test is over."""
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(0.1):
            try:
                send(piece)
            except OSError:
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("begun", [b"", HEAD, b"GET / HTT"])
def test_head_that_does_not_come(server: str, settings: Settings, begun: bytes) -> None:
    settings.REQUEST_HEAD_SECONDS = 0.5
    with connection(server) as slow:
        slow.sendall(begun)
        refused(answer_of(slow), 408, "request_timeout")


def test_head_that_trickles_gains_no_time(server: str, settings: Settings) -> None:
    settings.REQUEST_HEAD_SECONDS = 0.5
    with connection(server) as slow:
        slow.sendall(HEAD + b"X-Slow: ")
        with trickling(slow.sendall):
            refused(answer_of(slow), 408, "request_timeout")


def test_second_request_of_a_connection_has_its_time_too(server: str, settings: Settings) -> None:
    settings.REQUEST_HEAD_SECONDS = 0.5
    with connection(server) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(65_536).startswith(b"HTTP/1.1 200")
        slow.sendall(HEAD)
        with trickling(slow.sendall, b"X"):
            assert b"HTTP/1.1 408 " in answer_of(slow)


def test_many_slow_clients_hold_nobody_up(server: str, anonymous: Client, settings: Settings) -> None:
    settings.REQUEST_HEAD_SECONDS = 2
    with ExitStack() as stack:
        slow = [stack.enter_context(connection(server)) for _ in range(150)]
        for each in slow:
            each.sendall(HEAD)
        assert all(anonymous.get("//health").status_code == 200 for _ in range(5))
        assert {answer_of(each)[:12] for each in slow} == {b"HTTP/1.1 408"}


@pytest.mark.parametrize("length", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_body_that_trickles(server: str, settings: Settings, length: bytes) -> None:
    settings.REQUEST_BODY_SECONDS = 0.5
    piece = b" " if length.startswith(b"Content") else b"1\r\n \r\n"
    with connection(server) as slow:
        slow.sendall(HEAD + length)
        with trickling(slow.sendall, piece):
            answer = answer_of(slow)
    assert answer.startswith(b"HTTP/1.1 408 "), answer[:200]
    assert b'"code": "request_timeout"' in answer


def test_upload_that_trickles(tenant: Tenant, settings: Settings) -> None:
    settings.REQUEST_BODY_SECONDS = 0.5
    head = f"POST /api/v1/stt/transcribe HTTP/1.1\r\nHost: x\r\nx-api-key: {tenant.new_key('stt')[1]}\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 20000000\r\n\r\n"
    part = '--b\r\nContent-Disposition: form-data; name="audio_file"; filename="a.wav"\r\n\r\n'
    with connection(tenant.server) as slow:
        slow.sendall((head + part).encode())
        with trickling(slow.sendall):
            answer = slow.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]
    assert b"upload_incomplete" in answer


@pytest.mark.parametrize("at_once", [True, False])
def test_large_head(server: str, at_once: bool) -> None:
    header = b"X-Long: " + b"x" * (MAX_HEAD_BYTES + 100)
    with connection(server) as client:
        try:
            client.sendall(HEAD + header + (b"\r\n\r\n" if at_once else b""))
            answer = answer_of(client)
        except (BrokenPipeError, ConnectionResetError):
            return  # the server hung up before all was sent, which is as good
    if answer:
        refused(answer, 431, "head_too_large")


def test_headers_without_end(server: str) -> None:
    with connection(server) as client:
        client.sendall(HEAD)
        sent = 0
        try:
            while sent < 100 * MAX_HEAD_BYTES:
                client.sendall(b"X-More: " + b"x" * 8_000 + b"\r\n")
                sent += 8_010
        except OSError:
            pass
    assert sent < 100 * MAX_HEAD_BYTES


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\0" * 100])
def test_what_is_no_http(server: str, garbage: bytes) -> None:
    with connection(server) as client:
        client.sendall(garbage)
        refused(answer_of(client), 400, "malformed_request")


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 1e3\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_framing_that_proxies_could_read_otherwise(server: str, framing: bytes) -> None:
    """Request smuggling: refused, and never taken for two requests."""
    with connection(server) as client:
        client.sendall(HEAD + framing)
        client.shutdown(socket.SHUT_WR)
        answer = answer_of(client)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert not answer.startswith(b"HTTP/1.1 2")
    assert b"smuggled" not in answer


def test_server_goes_on(tenant: Tenant, anonymous: Client) -> None:
    """After all of the above."""
    started = time.monotonic()
    assert tenant.key("tts").post("/tts/synthesize", json={"text": "Still here."}).status_code == 200
    error_of(anonymous.post("/auth/login", json={}), 400)
    assert time.monotonic() - started < 60
