"""Runs and pauses to utterances: what is spoken in one breath, and in one voice, goes to an engine at once."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from ml.tts import text as plain
from ml.tts.script import Mark, Pause, Run, Utterance

Item: TypeAlias = Run | Pause | Mark
Part: TypeAlias = Utterance | Pause | Mark
Shape: TypeAlias = Callable[[Run], Iterable[Run]]
"""Makes of a sentence what it is spoken as: several runs where words in it have a pronunciation of their own."""


class _Cut:
    """Where a text was cut."""


def utterances(items: Iterable[Item], shape: Shape, opening: Sequence[int] = ()) -> Iterator[Part]:
    """Puts runs together to sentences, each with the pause that parts it from the next.

    opening: as for `text.split`.
    """
    return _with_pauses(_joined(_fragments(items, shape, opening)))


def is_closed(text: str) -> bool:
    """Whether a pause may follow: `text` was not cut between two words."""
    stripped = text.rstrip()
    if "\n" in text[len(stripped) :] or not stripped:
        return True
    return not (stripped[-1].isalnum() or unicodedata.category(stripped[-1]).startswith("M"))


def _joined(fragments: Iterable[Item | _Cut]) -> Iterator[Part]:
    pending: list[Run] = []
    weight = 0
    for fragment in fragments:
        item = fragment
        if isinstance(item, Mark) and pending:
            item = Run("", pending[-1].style, mark=item.name)
        if pending and (_leaves(pending, item) or weight > plain.MAX_WEIGHT):
            yield from _whole(pending)
            pending, weight = [], 0
        if isinstance(item, Pause | Mark):
            yield item
        elif isinstance(item, Run):
            pending.append(item)
            weight += plain.weight(item.said)
    yield from _whole(pending)


def _fragments(items: Iterable[Item], shape: Shape, opening: Sequence[int]) -> Iterator[Item | _Cut]:
    """Runs cut into sentences."""
    for item in items:
        if not isinstance(item, Run) or item.style.phonemes or item.style.say_as or item.spoken is not None:
            yield item
            continue
        for number, piece in enumerate(plain.split(item.text, opening=opening)):
            if number:
                yield _Cut()
            yield from shape(replace(item, text=piece))
        opening = ()


def _leaves(pending: Sequence[Run], item: Item | _Cut) -> bool:
    """Whether `item` begins another utterance than the one that is pending."""
    if not isinstance(item, Run):
        return True
    if item.mark:
        return False
    if item.style.voice != pending[-1].style.voice:
        return True
    last = next((run for run in reversed(pending) if run.text), pending[-1])
    return not (last.style.phonemes or last.style.say_as) and plain.ends_sentence(last.text)


def _with_pauses(parts: Iterator[Part]) -> Iterator[Part]:
    """Lets an utterance end with a pause if another follows, unless it was cut in the middle of a sentence."""
    previous = next(parts, None)
    for part in parts:
        if isinstance(previous, Utterance) and isinstance(part, Utterance):
            previous = replace(previous, pause=is_closed(previous.source))
        if previous is not None:
            yield previous
        previous = part
    if previous is not None:
        yield previous


def _whole(runs: list[Run]) -> Iterator[Part]:
    if any(run.style.phonemes or plain.is_speakable(run.text) for run in runs):
        yield Utterance(tuple(runs))
    else:
        yield from (Mark(run.mark) for run in runs if run.mark)
