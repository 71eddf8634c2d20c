"""Short recordings, and a network between client and server that fails when it is told to."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator

import httpx
import numpy as np

from tests.api.support import wav
from tests.conftest import OWNED_AUDIO

NUMBERS = OWNED_AUDIO / "numbers.wav"
NUMBERS_TEXT = "One two three four five six seven eight nine ten."


def numbers(seconds: float | None = None) -> np.ndarray:
    """The beginning of the recording: (T,) int16 at 16 kHz."""
    with wave.open(str(NUMBERS)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return samples if seconds is None else samples[: round(seconds * 16_000)]


def short_recording() -> bytes:
    """A wav of "one two" or so: soon heard."""
    return wav(numbers(1.2) / 32768)


def pieces(samples: np.ndarray, size: int = 3200) -> Iterator[bytes]:
    data = samples.tobytes()
    for start in range(0, len(data), size):
        yield data[start : start + size]


class Network(httpx.HTTPTransport):
    """Reaches the server, unless `failures` has something else to happen to the next requests.

    A failure gets what sends the request, so that it can happen before the server has heard of it or afterwards.
    """

    def __init__(self, *failures: Callable[[Callable[[], httpx.Response]], httpx.Response]) -> None:
        super().__init__()
        self.failures, self.requests = list(failures), []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.failures:
            return self.failures.pop(0)(lambda: super(Network, self).handle_request(request))
        return super().handle_request(request)


def lose_the_answer(send: Callable[[], httpx.Response]) -> httpx.Response:
    answer = send()
    answer.read()
    answer.close()
    raise httpx.ReadError("the connection broke")


def busy(retry_after: str) -> Callable[[Callable[[], httpx.Response]], httpx.Response]:
    error = {"type": "server_error", "code": "unavailable", "message": "Busy.", "param": None, "request_id": "r-1"}
    return lambda _: httpx.Response(503, headers={"Retry-After": retry_after}, json={"error": error})
