"""A batch's call of an engine: one result an item, stopped when nobody waits for any of them, and the probe that tells
a broken engine from a hostile item."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from ml import errors
from ml.fair_queue import Work
from ml.waiting import JointCancel

log = logging.getLogger(__name__)


def is_sound(engine: Any, suspect: Work) -> bool:
    """Whether the engine still computes the suspect's probe; without one there is no telling, so that it is."""
    if suspect.probe is None:
        return True
    try:
        suspect.call(engine, [suspect.probe()], None)
    except Exception as error:  # whatever it is: an engine that cannot even do this is broken
        log.warning("the engine's probe failed too: %s", error)
        return False
    return True


def call_engine(engine: Any, batch: list[Work]) -> Sequence[Any]:
    """Raises what the call raises, and `EngineFailed` where it gave not one result an item."""
    results = batch[0].call(engine, [work.item for work in batch], _cancel_of(batch))
    if len(results) != len(batch):
        raise errors.EngineFailed(f"The engine gave {len(results)} results for {len(batch)} items.")
    return list(results)


def _cancel_of(batch: list[Work]) -> threading.Event | None:
    events = list({id(work.cancel): work.cancel for work in batch}.values())
    if len(events) == 1:
        return events[0]
    given = [event for event in events if event is not None]
    return JointCancel(given) if len(given) == len(events) else None


def has_left(work: Work) -> bool:
    """Whether nobody waits for it any more."""
    return work.future.cancelled() or (work.cancel is not None and work.cancel.is_set())
