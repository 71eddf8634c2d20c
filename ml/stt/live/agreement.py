"""Which words of an utterance under way will stay: those on which the hypotheses of a while agree.

LocalAgreement-2 of Liu, Spanakis & Niehues, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by
Partial Hypothesis Selection" (Interspeech 2020), word by word, with two cautions: the last word of a hypothesis may
still be growing, and the last moments of sound may still change what was heard before them. Streaming engines say
something every tenth of a second, and the same mistake twice: all that they said within `AGREED_SECONDS` has to agree.
A word must have ended a while ago besides, how long depends on the engine: PocketSphinx, which searches through its
lattice at the end, still corrects what it heard alike for seconds. On 123 recordings finals that held to words which
had ended 0.6 s before were wrong in 49.6 % of them; 4 s before in 46.3 %, as those that held to none.

What was called stable is never taken back: where a later hypothesis says something else, it counts from there on only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ml.stt.engines.base import Hypothesis
from ml.stt.engines.pocketsphinx import mean_confidence
from ml.types import Word

AGREED_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Piece:
    """A word as its text writes it, with the space before it, where there is one."""

    text: str
    word: Word | None  # None: the engine gives no times

    @property
    def key(self) -> str:
        """What counts when words are compared: neither case nor marks."""
        return "".join(letter for letter in self.text.lower() if letter.isalnum())


@dataclass(frozen=True, slots=True)
class Agreed:
    """An utterance so far: `text` begins with `stable`."""

    text: str
    stable: str
    words: tuple[Word, ...]


class Agreement:
    """Of one utterance.

    settled_seconds: a word that ended so long ago seldom changes.
    final_may_differ: what is heard at last may be chosen by other means than what is heard so far, so that no word is
    stable before.
    """

    def __init__(self, *, settled_seconds: float = 0.6, final_may_differ: bool = False) -> None:
        self._settled_seconds = settled_seconds
        self._nothing_is_stable = final_may_differ
        self._before: deque[tuple[float, Sequence[Piece]]] = deque()  # when, and what; the first long enough ago
        self._stable: list[Piece] = []

    def update(self, hypothesis: Hypothesis, heard_seconds: float) -> Agreed:
        """heard_seconds: the utterance's length when the hypothesis was made."""
        pieces = pieces_of(hypothesis)
        agrees = self._agrees(pieces)
        if agrees and not self._nothing_is_stable:
            self._stable += pieces[len(self._stable) : self._settled(pieces, heard_seconds)]
        rest = pieces[len(self._stable) :] if agrees else self._behind_stable(pieces)
        self._before.append((heard_seconds, pieces))
        return self._agreed([*self._stable, *rest])

    def settle(self, hypothesis: Hypothesis) -> Hypothesis:
        """The final hypothesis, which says what was stable."""
        pieces = pieces_of(hypothesis)
        if self._agrees(pieces):
            return hypothesis
        kept = [*self._stable, *self._behind_stable(pieces)]
        words = tuple(piece.word for piece in kept if piece.word is not None)
        text = _text(kept)
        # Words of hypotheses under way may have no confidence yet; the final's stands for them.
        known = [word for word in words if word.confidence] or [Word("", 0.0, 1.0, hypothesis.confidence)]
        typical = mean_confidence(known)
        words = tuple(word if word.confidence else replace(word, confidence=round(typical, 4)) for word in words)
        return replace(hypothesis, text=text, words=words, confidence=mean_confidence(words) or hypothesis.confidence)

    def _settled(self, pieces: Sequence[Piece], heard_seconds: float) -> int:
        """How many words from the first on all hypotheses of the last while say; none before it has passed."""
        since = heard_seconds - AGREED_SECONDS + 0.01  # steps of 0.1 s do not add up exactly
        while len(self._before) > 1 and self._before[1][0] <= since:
            self._before.popleft()
        if not self._before or self._before[0][0] > since:
            return 0
        newest = heard_seconds - self._settled_seconds
        return min(_settled(pieces, before, newest) for _, before in self._before)

    def _agrees(self, pieces: Sequence[Piece]) -> bool:
        return [piece.key for piece in pieces[: len(self._stable)]] == [piece.key for piece in self._stable]

    def _behind_stable(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those that were said after what is stable."""
        last = self._stable[-1].word if self._stable else None
        if last is None or any(piece.word is None for piece in pieces):
            return list(pieces[len(self._stable) :])
        middle = (last.start + last.end) / 2
        behind = [piece for piece in pieces if piece.word and piece.word.start >= max(middle, last.end - 0.05)]
        if behind and behind[0].word and behind[0].word.start < last.end:  # another hypothesis saw the border earlier
            word = behind[0].word
            behind[0] = replace(behind[0], word=replace(word, start=last.end, end=max(last.end, word.end)))
        return behind

    def _agreed(self, pieces: Sequence[Piece]) -> Agreed:
        words = tuple(piece.word for piece in pieces if piece.word is not None)
        return Agreed(_text(pieces), _text(self._stable), words if len(words) == len(pieces) else ())


def pieces_of(hypothesis: Hypothesis) -> list[Piece]:
    """The text in words: the engine's, where its text consists of them, else what stands between spaces."""
    pieces, at = [], 0
    for word in hypothesis.words:
        found = hypothesis.text.find(word.text.strip(), at) if word.text.strip() else -1
        if found < 0 or hypothesis.text[at:found].strip():
            return _by_spaces(hypothesis.text)
        end = found + len(word.text.strip())
        pieces.append(Piece(hypothesis.text[at:end], word))
        at = end
    if not pieces or hypothesis.text[at:].strip():
        return _by_spaces(hypothesis.text)
    return pieces


def _by_spaces(text: str) -> list[Piece]:
    return [Piece(f" {part}", None) for part in text.split()]


def _settled(pieces: Sequence[Piece], before: Sequence[Piece], newest: float) -> int:
    """How many words from the first on both hypotheses say, without the last and those that end after `newest`."""
    count = 0
    for piece, earlier in zip(pieces[:-1], before[:-1], strict=False):
        recent = piece.word is not None and piece.word.end > newest
        if piece.key != earlier.key or recent:
            break
        count += 1
    return count


def _text(pieces: Sequence[Piece]) -> str:
    joined = ""
    for piece in pieces:
        # A first word has no space before it; put behind another it needs the one that it would have had.
        apart = joined and not piece.text[:1].isspace() and joined[-1:].isascii() and piece.text[:1].isascii()
        joined += f" {piece.text}" if apart else piece.text
    return joined.strip()
