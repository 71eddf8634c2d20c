"""Text that is still being written, as by a language model, cut into what can be spoken already.

    text = GrowingText()
    text.push("It costs 3.")    # next piece: None; "3." may be a sentence's end or the beginning of a number
    text.push("14 dollars. T")  # next piece: "It costs 3.14 dollars."

However the text is cut into fragments, the pieces are those that `text.split` makes of it with `text.OPENING`.
"""

from __future__ import annotations

from ml.tts import text as plain

_COMPACT_FROM = 4096


class GrowingText:
    """Fragments in, pieces out. Not for several threads."""

    def __init__(self) -> None:
        self._text = ""  # cleaned
        self._start = 0  # what lies before it has been taken
        self._held = ""  # half a character, or half a line's end
        self._taken = 0  # pieces, since the opening

    @property
    def waiting(self) -> int:
        """Characters that have not been taken."""
        return len(self._text) - self._start + len(self._held)

    def push(self, fragment: str) -> None:
        """The text goes on. Pairs of surrogates may be cut in two, as JavaScript does; single ones are left out."""
        whole = self._held + fragment
        self._held = ""
        if whole and (whole[-1] == "\r" or "\ud800" <= whole[-1] <= "\udbff"):
            whole, self._held = whole[:-1], whole[-1]
        if any("\ud800" <= character <= "\udfff" for character in whole):
            whole = whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
        self._text += plain.clean(whole)

    def take(self) -> str | None:
        """The next piece whose end is certain; None: there is none yet."""
        end = plain.settled_end(self._text, self._start, self._least())
        return None if end is None else self._cut(end)

    def take_all(self) -> list[str]:
        """All that is left, as if the text ended here. The next fragment opens a text anew."""
        pieces = []
        if self._held == "\r":
            self._text += "\n"
        self._held = ""
        while self._start < len(self._text):
            pieces.append(self._cut(plain.piece_end(self._text, self._start, self._least())))
        self.reopen()
        return pieces

    def clear(self) -> None:
        """Forgets what has not been taken."""
        self._text, self._start, self._held = "", 0, ""
        self.reopen()

    def reopen(self) -> None:
        """Whoever listens has nothing left to hear: the next pieces are short again."""
        self._taken = 0

    def _least(self) -> int | None:
        return plain.OPENING[self._taken] if self._taken < len(plain.OPENING) else None

    def _cut(self, end: int) -> str:
        piece = self._text[self._start : end]
        self._start, self._taken = end, self._taken + 1
        if self._start > _COMPACT_FROM or self._start == len(self._text):
            self._text, self._start = self._text[self._start :], 0
        return piece
