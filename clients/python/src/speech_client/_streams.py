"""What comes piece by piece: audio while it is made, lists page by page."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx

from speech_client._flow import IO, run, run_async
from speech_client._http import Call, fetch
from speech_client._reading import read
from speech_client.errors import ConnectionFailed
from speech_client.types import Page

T = TypeVar("T")


class _Audio:
    def __init__(self, io: IO, call: Call) -> None:
        self._io, self._call = io, call
        self._response: httpx.Response | None = None

    @property
    def response(self) -> httpx.Response:
        if self._response is None:
            raise RuntimeError("The stream is not open: use it in a `with`.")
        return self._response

    @property
    def job_id(self) -> str:
        return self.response.headers["X-Job-ID"]

    @property
    def content_type(self) -> str:
        return self.response.headers["Content-Type"]

    @property
    def sample_rate(self) -> int:
        """Hertz."""
        return int(self.response.headers["X-Sample-Rate"])


class AudioStream(_Audio):
    """Audio while it is made. Leaving early cancels the job.

    with speech.tts.stream("Good morning.", format="mp3") as audio:
        for chunk in audio: ...          # or audio.save("morning.mp3")
    """

    def __enter__(self) -> AudioStream:
        self._response = run(fetch(self._io, self._call, stream=True))
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.response.iter_bytes()
        except httpx.TransportError as error:
            raise ConnectionFailed(f"The audio broke off: {error or type(error).__name__}") from error

    def save(self, path: str | os.PathLike[str]) -> int:
        """Writes what is left to a file; how many bytes."""
        with Path(path).open("wb") as file:
            return sum(file.write(chunk) for chunk in self)


class AsyncAudioStream(_Audio):
    """Audio while it is made. Leaving early cancels the job.

    async with speech.tts.stream("Good morning.", format="mp3") as audio:
        async for chunk in audio: ...    # or await audio.save("morning.mp3")
    """

    async def __aenter__(self) -> AsyncAudioStream:
        self._response = await run_async(fetch(self._io, self._call, stream=True))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.response.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self.response.aiter_bytes():
                yield chunk
        except httpx.TransportError as error:
            raise ConnectionFailed(f"The audio broke off: {error or type(error).__name__}") from error

    async def save(self, path: str | os.PathLike[str]) -> int:
        """Writes what is left to a file; how many bytes."""
        with Path(path).open("wb") as file:
            return sum([file.write(chunk) async for chunk in self])


class _Pages(Generic[T]):
    """A list of the server's, fetched as far as it is looked at."""

    def __init__(self, io: IO, path: str, kind: Callable[[Mapping[str, Any]], T], params: Mapping[str, Any]) -> None:
        self._io, self._path, self._kind, self._params = io, path, kind, params

    def _call(self, page: int) -> Call:
        return Call("GET", self._path, params={**self._params, "page": page})

    def _page(self, data: Mapping[str, Any]) -> Page[T]:
        results = [self._kind(row) for row in data["results"]]
        return Page(count=data["count"], next=data["next"], previous=data["previous"], results=results, raw=dict(data))


class Pages(_Pages[T]):
    """Iterates over everything; `page(1)` is one page, with `count`."""

    def page(self, number: int = 1) -> Page[T]:
        return self._page(run(fetch(self._io, self._call(number))).json())

    def __iter__(self) -> Iterator[T]:
        number, page = 1, self.page(1)
        yield from page.results
        while page.next:
            number += 1
            page = self.page(number)
            yield from page.results


class AsyncPages(_Pages[T]):
    """Iterates over everything; `await page(1)` is one page, with `count`."""

    async def page(self, number: int = 1) -> Page[T]:
        return self._page((await run_async(fetch(self._io, self._call(number)))).json())

    async def __aiter__(self) -> AsyncIterator[T]:
        number, page = 1, await self.page(1)
        for row in page.results:
            yield row
        while page.next:
            number += 1
            page = await self.page(number)
            for row in page.results:
                yield row


def as_kind(kind: type[T]) -> Callable[[Mapping[str, Any]], T]:
    return lambda row: read(kind, row)
