"""Work that both clients do, written once: generators that yield what an IO answers.

An IO of the synchronous client answers at once; one of the asynchronous client answers with awaitables. A flow yields
either, and goes on with the result:

    def voice(io: IO, voice_id: str) -> Flow[Voice]:
        response = yield from fetch(io, Call("GET", f"/tts/voices/{voice_id}"))
        return read(Voice, response.json())

    class _Tts:
        voice = Operation(voice)    # speech.tts.voice("…") is a Voice, async_speech.tts.voice("…") a coroutine of one
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, overload

T = TypeVar("T")
P = ParamSpec("P")

Flow: TypeAlias = Generator[Any, Any, T]


class IO(Protocol):
    """What reaches the server. Each method answers with its result, or with an awaitable of it."""

    def send(self, call: Any, key: str | None, stream: bool = False) -> Any:
        """An httpx.Response; with `stream` one whose body has not been read."""

    def read(self, response: Any) -> Any:
        """The body of a streamed response, read to its end, and its connection given back."""

    def sleep(self, seconds: float) -> Any: ...

    def events(self, **filters: str | None) -> Any:
        """An EventStream or an AsyncEventStream, not yet open."""

    def url(self, path: str) -> str:
        """Of a path below /api/v1."""

    headers: dict[str, str]
    """That every request has."""

    retries: int


class Resource:
    """Something of a client that has operations."""

    def __init__(self, io: IO) -> None:
        self._io = io


class SyncResource(Resource):
    """Of `Speech`."""


class AsyncResource(Resource):
    """Of `AsyncSpeech`."""


def run(flow: Flow[T]) -> T:
    """Of the synchronous client: what a flow yields is the answer already."""
    try:
        answer = next(flow)
        while True:
            answer = flow.send(answer)
    except StopIteration as end:
        return end.value


async def run_async(flow: Flow[T]) -> T:
    """Of the asynchronous client: what a flow yields is awaited."""
    try:
        step = next(flow)
        while True:
            try:
                answer = await step
            except BaseException as error:  # cancellation too: flows free what they hold
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        return end.value


class Operation(Generic[P, T]):
    """A method of both clients, made of one flow."""

    def __init__(self, flow: Callable[Concatenate[IO, P], Flow[T]]) -> None:
        self._flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, instance: SyncResource, owner: type) -> Callable[P, T]: ...

    @overload
    def __get__(self, instance: AsyncResource, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Operation[P, T]: ...

    def __get__(self, instance: object, owner: type) -> Any:
        if not isinstance(instance, Resource):
            return self  # asked of the class
        drive: Callable[..., Any] = run if isinstance(instance, SyncResource) else run_async

        @functools.wraps(self._flow)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return drive(self._flow(instance._io, *args, **kwargs))

        return method
