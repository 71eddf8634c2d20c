"""Random numbers of a call's own, while torch computes in several threads."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ml import errors


@contextlib.contextmanager
def seeded(seed: int, cancel: threading.Event | None) -> Iterator[None]:
    """Within it, in this thread, torch draws from a generator of its own, and `cancel` ends the next operation.

    torch's default generator is shared by all threads: seeding it would race with other models' calls. The generator
    is on the CPU, so that a GPU gets the same numbers.
    """
    with _Seeded(seed, cancel):
        yield


def _like(draw: Any, generator: torch.Generator, x: torch.Tensor, **options: Any) -> torch.Tensor:
    made: torch.Tensor = draw(x.shape, generator=generator)
    return made.to(device=options.get("device") or x.device, dtype=options.get("dtype") or x.dtype)


def _new(draw: Any, generator: torch.Generator, *size: Any, **options: Any) -> torch.Tensor:
    made: torch.Tensor = draw(*size, generator=generator)
    return made.to(device=options.get("device"), dtype=options.get("dtype"))


def _multinomial(generator: torch.Generator, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    return torch.multinomial(x.float().cpu(), *args, **{**options, "generator": generator}).to(x.device)


_DRAWS: dict[Any, Any] = {
    torch.randn_like: functools.partial(_like, torch.randn),
    torch.rand_like: functools.partial(_like, torch.rand),
    torch.randn: functools.partial(_new, torch.randn),
    torch.rand: functools.partial(_new, torch.rand),
    torch.multinomial: _multinomial,
}


class _Seeded(TorchFunctionMode):
    def __init__(self, seed: int, cancel: threading.Event | None) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)
        self._cancel = cancel

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._cancel is not None and self._cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")
        draw = _DRAWS.get(func)
        if draw is not None:
            return draw(self._generator, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))
