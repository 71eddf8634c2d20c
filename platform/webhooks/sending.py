"""One HTTP POST to somebody else's server, which may be slow, broken or hostile.

It connects to an address that was checked, under the original name (Host header, TLS server name), follows no redirect,
reads 1 kB of the answer, and ends after WEBHOOK_TOTAL_SECONDS whatever the other side does. No proxy is used.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from django.conf import settings

from webhooks import targets
from webhooks.targets import Resolver, Target

EXCERPT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt. error: empty when the answer was 2xx."""

    status: int | None
    excerpt: str
    error: str
    duration_seconds: float

    @property
    def delivered(self) -> bool:
        return not self.error


def post(
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    resolver: Resolver = targets.resolve,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    """Never raises for what the URL, the network or the other side does.

    resolver, tls: for tests; by default the system's resolver and trusted certificates.
    """
    started = time.monotonic()
    status, excerpt, error = None, "", ""
    try:
        target = targets.parse(url)
        pinned = targets.addresses(target, resolver)
        with connected(target, pinned, tls, seconds=settings.WEBHOOK_TOTAL_SECONDS) as (connection, expired):
            status, excerpt = _exchange(connection, expired, target, headers, body)
        error = _judged(status)
    except targets.TargetRefused as refused:
        error = refused.message
    except TimeoutError:
        error = "There was no answer in time."
    except ssl.SSLError as failure:
        error = f"TLS failed: {failure.reason or failure}"
    except (OSError, http.client.HTTPException) as failure:
        error = f"{type(failure).__name__}: {failure}"
    return Outcome(status, excerpt, error[:300].replace("\0", ""), round(time.monotonic() - started, 3))


def _judged(status: int) -> str:
    if 200 <= status < 300:
        return ""
    hint = ": redirects are not followed" if 300 <= status < 400 else ""
    return f"The answer was {status}{hint}."


def _exchange(
    connection: http.client.HTTPConnection,
    expired: threading.Event,
    target: Target,
    headers: Mapping[str, str],
    body: bytes,
) -> tuple[int, str]:
    own = {"Host": target.authority, "Accept-Encoding": "identity", "Connection": "close"}
    connection.request("POST", target.path, body=body, headers={**headers, **own})
    answer = connection.getresponse()
    if expired.is_set():  # cut off among the headers, which reads like their end
        raise TimeoutError
    excerpt = b""
    with suppress(OSError, http.client.HTTPException):  # the status has been received: that is what counts
        excerpt = answer.read(EXCERPT_BYTES)
    return answer.status, excerpt.decode("utf-8", "replace").replace("\0", "")


@contextmanager
def connected(
    target: Target, addresses: list[str], tls: ssl.SSLContext | None = None, *, seconds: float
) -> Iterator[tuple[http.client.HTTPConnection, threading.Event]]:
    """A connection to the first of the addresses that accepts one, cut, and the event set, when the time is over.

    Raises OSError and its kinds, TimeoutError among them, and what `http.client` raises.

    Time-outs of sockets count from the last byte, so a server that sends one now and then would hold them for ever.
    """
    deadline = time.monotonic() + seconds
    sock = _connect(addresses, target.port, deadline)
    expired = threading.Event()
    timer: threading.Timer | None = None
    try:
        if target.scheme == "https":
            context = tls or ssl.create_default_context()
            sock = context.wrap_socket(sock, server_hostname=target.host, do_handshake_on_connect=False)
        timer = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, (sock, expired))
        timer.daemon = True
        timer.start()
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.auto_open = 0  # never resolves or connects by itself
        connection.sock = sock
        yield connection, expired
    except (OSError, http.client.HTTPException):
        if expired.is_set():
            raise TimeoutError from None
        raise
    finally:
        if timer is not None:
            timer.cancel()
        sock.close()


def _connect(addresses: list[str], port: int, deadline: float) -> socket.socket:
    failure: OSError = TimeoutError()
    for address in addresses:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            sock = socket.create_connection((address, port), timeout=min(left, settings.WEBHOOK_CONNECT_SECONDS))
        except OSError as error:
            failure = error
        else:
            sock.settimeout(max(0.1, deadline - time.monotonic()))
            return sock
    raise failure


def _cut(sock: socket.socket, expired: threading.Event) -> None:
    expired.set()
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # the plain one: it wakes the thread that reads, also under TLS
