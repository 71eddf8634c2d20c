"""However a text is cut into fragments, it is spoken in the same pieces, and each as soon as its end is certain."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ml.tts import text
from ml.tts.incremental import GrowingText


def pieces_of(fragments):
    """(those that were certain after each fragment, what was left at the end)"""
    growing, early = GrowingText(), []
    for fragment in fragments:
        growing.push(fragment)
        while (piece := growing.take()) is not None:
            early.append(piece)
    return early, growing.take_all()


@pytest.mark.parametrize(
    ("fragments", "early", "rest"),
    [
        (["It costs 3.", "14 dollars. ", "Is that much?"], ["It costs 3.14 dollars."], [" Is that much?"]),
        (["D", "r", ".", " ", "Smith met J", ". Doe. Th"], ["Dr. Smith met J. Doe."], [" Th"]),
        (["Wait", ".", ".", ".", " what", "?", "!", " Yes"], ["Wait...", " what?!"], [" Yes"]),
        (['"No', ".", '"', " She left."], ['"No."'], [" She left."]),
        (["See e.", "g. the one", " at 9 a.", "m. and go."], [], ["See e.g. the one at 9 a.m. and go."]),
        (["One.\r", "\nTwo", "\r\n\r\nThree"], ["One.", "\nTwo\n\n"], ["Three"]),
        (["नमस्ते", "।", "कैसे", " हो?"], ["नमस्ते।"], ["कैसे हो?"]),
        (["你好", "。", "」再见", "！好吗"], ["你好。」", "再见！"], ["好吗"]),
        (["A smile \ud83d", "\ude00 and a tear \ud800. No", "w."], ["A smile 😀 and a tear ."], [" Now."]),
        (["Well now, my old friend, ", "the first clause is cut"], ["Well now, my old friend,"],
         [" the first clause is cut"]),
        (["", "", ""], [], []),
    ],
)  # fmt: skip
def test_takes_what_is_certain(fragments, early, rest):
    assert pieces_of(fragments) == (early, rest)


WORDS = st.sampled_from(
    ["Dr", "Mr", ".", ".", ",", ", ", " ", " ", "\n", "\r\n", "3", "14", "?", "!", "…", "e.g", "a", "The", "house",
     '"', "”", ")", "(", "。", "，", "」", "।", ":", "—", "\u200b", "\x01", "😀", "e\u0301", "ب", "word " * 30,
     "字" * 90]
)  # fmt: skip


@given(st.lists(WORDS, max_size=120).map("".join), st.lists(st.integers(1, 40), min_size=1, max_size=60))
@settings(max_examples=400, deadline=None)
@example("A" * 299 + ". b", [1])
@example("word, " * 60 + "Mr. X.  He", [7])
def test_pieces_do_not_depend_on_the_fragments(written, sizes):
    fragments, position = [], 0
    while position < len(written):
        size = sizes[len(fragments) % len(sizes)]
        fragments.append(written[position : position + size])
        position += size
    early, rest = pieces_of(fragments)
    assert early + rest == list(text.split(text.clean(written), opening=text.OPENING))


@given(st.lists(st.text(max_size=30), max_size=30))
@settings(max_examples=200, deadline=None)
def test_takes_any_fragments(fragments):
    early, rest = pieces_of(fragments)
    assert early + rest == list(text.split(text.clean("".join(fragments)), opening=text.OPENING))


def test_a_sentence_without_an_end_is_cut_before_it_ends():
    early, rest = pieces_of(["no end at all "] * 60)
    assert len(early) == 2
    assert early + rest == list(text.split("no end at all " * 60))


def test_does_not_wait_for_more_than_the_next_letter():
    growing = GrowingText()
    growing.push("Is this the end? ")
    assert growing.take() is None  # a closing quote may follow
    growing.push("N")
    assert growing.take() == "Is this the end?"
    assert growing.waiting == 2


def test_forgets_and_opens_again():
    growing = GrowingText()
    growing.push("One sentence. Another one that is not wan")
    assert growing.take() == "One sentence."
    growing.clear()
    assert (growing.waiting, growing.take(), growing.take_all()) == (0, None, [])
    long = "The first clause of a text, the second clause of a text, and the third of it. X"
    growing.push(long)
    assert growing.take() == "The first clause of a text,"
    assert growing.take_all() == [" the second clause of a text, and the third of it.", " X"]
    growing.push(long)
    assert growing.take() == "The first clause of a text,"


def test_a_long_text_at_once_takes_no_more_than_linear_time():
    growing = GrowingText()
    growing.push("This sentence is one of a great many. " * 10_000)
    count = 0
    while growing.take() is not None:
        count += 1
    assert count >= 9_999
