"""A recording from its address, under the same guard as webhooks (ADR 0008): public addresses only, checked and pinned
at each step, bounded in size and time."""

from __future__ import annotations

import http.client
import ssl
import threading
from typing import IO
from urllib.parse import urljoin

from django.conf import settings

from common import errors
from ml.errors import Cancelled
from webhooks import sending, targets
from webhooks.targets import Target

MAX_REDIRECTS = 3
_BLOCK_BYTES = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)


class RemoteContentError(errors.InvalidRequest):
    code = "remote_content_error"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="url")


def fetch(url: str, into: IO[bytes], *, most_bytes: int, cancel: threading.Event | None = None) -> str:
    """Writes what lies at the URL; its content type.

    Raises RemoteContentError, TooLarge, or Cancelled where `cancel` was set.
    """
    for _ in range(MAX_REDIRECTS + 1):
        try:
            target = targets.parse(url)
            addresses = targets.addresses(target, targets.resolve)
            with sending.connected(target, addresses, seconds=settings.DEEPGRAM_FETCH_SECONDS) as (connection, expired):
                answer = _get(connection, target)
                if answer.status not in _REDIRECTS:
                    _copy(answer, into, most_bytes, expired, cancel)
                    return answer.headers.get_content_type()
                url = _redirected(url, answer.headers.get("Location", ""))
        except targets.TargetRefused as refused:
            raise RemoteContentError(refused.message.replace("webhooks", "this server")) from None
        except TimeoutError:
            raise RemoteContentError("The address did not give the recording in time.") from None
        except ssl.SSLError as failure:
            raise RemoteContentError(f"TLS failed: {failure.reason or failure}") from None
        except (OSError, http.client.HTTPException) as failure:
            raise RemoteContentError(f"The address cannot be read ({type(failure).__name__}).") from None
    raise RemoteContentError(f"The address redirects more than {MAX_REDIRECTS} times.")


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise RemoteContentError("The address redirects to what is no URL.") from None


def _get(connection: http.client.HTTPConnection, target: Target) -> http.client.HTTPResponse:
    headers = {
        "Host": target.authority, "Accept-Encoding": "identity", "Connection": "close", "User-Agent": "speech-platform",
    }  # fmt: skip
    connection.request("GET", target.path, headers=headers)
    return connection.getresponse()


def _copy(
    answer: http.client.HTTPResponse,
    into: IO[bytes],
    most_bytes: int,
    expired: threading.Event,
    cancel: threading.Event | None,
) -> None:
    if answer.status != 200:
        raise RemoteContentError(f"The address answered {answer.status}.")
    size = 0
    while block := answer.read(_BLOCK_BYTES):
        size += len(block)
        if size > most_bytes:
            raise errors.TooLarge(
                f"The recording has more than {most_bytes:,} bytes.", code="file_too_large", param="url"
            )
        if cancel is not None and cancel.is_set():
            raise Cancelled("The client left.")
        into.write(block)
    if expired.is_set():  # a body that is cut off reads like its end
        raise TimeoutError
    if not size:
        raise RemoteContentError("There is nothing at the address.")
