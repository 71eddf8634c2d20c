"""How text is cleaned and cut, and that no text upsets the engine."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ml.tts
from ml import errors
from ml.tts import text
from ml.types import SynthesisOptions


@pytest.mark.parametrize(
    ("written", "pieces"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met J. Doe at 3.30 p.m. today. Next.", ["Dr. Smith met J. Doe at 3.30 p.m. today.", "Next."]),
        ('He said "no." She left.', ['He said "no."', "She left."]),
        ("नमस्ते। कैसे हो?", ["नमस्ते।", "कैसे हो?"]),
        ("你好。再见！好吗？", ["你好。", "再见！", "好吗？"]),
        ("مرحبا؟ نعم۔ شكرا", ["مرحبا؟", "نعم۔", "شكرا"]),
        ("Title\nBody of it\nwrapped here", ["Title", "Body of it\nwrapped here"]),
        ("Wait... what?! Yes…", ["Wait...", "what?!", "Yes…"]),
        ("see http://x.org/?q=1.2&a", ["see http://x.org/?q=1.2&a"]),
        ("... well. Ok", ["... well.", "Ok"]),
    ],
)  # fmt: skip
def test_cuts_at_the_ends_of_sentences(written, pieces):
    assert [piece.strip() for piece in text.split(text.clean(written))] == pieces


@pytest.mark.parametrize(
    "pieces",
    [
        ["Well, when the day begins,", " and birds sing, we go walking, far and wide, over the hills,", " and so on.",
         " End, of it."],
        ["Yes.", " No, not in this very long house, sir.", " And, well, so."],
        ["A sentence of which no clause ends before itself.", " Two."],
        ["今日は、とても天気がいいので、公園まで散歩に行きましょう、", "と彼は言いました。"],
    ],
)  # fmt: skip
def test_opens_with_short_clauses_for_whoever_listens(pieces):
    assert list(text.split("".join(pieces), opening=text.OPENING)) == pieces


def test_whole_sentences_for_whoever_waits():
    sentence = "When the day begins, and the birds are singing, we go on walking, and walking, and walking."
    assert list(text.split(sentence)) == [sentence]


@pytest.mark.parametrize("written", ["word " * 500, "a" * 3000, "語" * 2000, "9" * 900, "🎉" * 300, "no stop, " * 200])
def test_cuts_what_has_no_end(written):
    pieces = list(text.split(written))
    assert "".join(pieces) == written
    assert max(map(text.weight, pieces)) <= text.MAX_WEIGHT


def test_never_cuts_within_a_grapheme():
    family = "👩‍👩‍👧‍👦"
    assert all(len(piece) % len(family) == 0 for piece in text.split(family * 200))
    assert all(not piece.startswith("\u0301") for piece in text.split("e\u0301" * 1000))


@given(st.text(max_size=800))
@settings(max_examples=200, deadline=None)
def test_pieces_are_the_text_again(written):
    cleaned = text.clean(written)
    assert "".join(text.split(cleaned)) == cleaned
    assert "".join(text.split(cleaned, opening=text.OPENING)) == cleaned


ODD = {
    "emoji": "😀 party 🎉",
    "only emoji": "😀",
    "joined emoji": "👩‍👩‍👧‍👦🏳️‍🌈",
    "flags": "🇺🇸🇮🇳 flags",
    "zero width": "zero\u200bwidth\u200cjoiners\u200d",
    "bidirectional": "\u202eright to left\u202c שלום",
    "hebrew": "שלום עולם",
    "mathematical": "𝕳𝖊𝖑𝖑𝖔 ∑∞√",
    "zalgo": "z" + "\u0351" * 300 + "algo",
    "surrogates": "lone \ud83d surrogate \udc00",
    "nul": "nul\x00in\x00side",
    "escape": "\x1b[31mred\x1b[0m",
    "private use": "\ue000\ue03c\uf8ff private",
    "noncharacters": "\ufffe\uffff end",
    "long word": "supercalifragilistic" * 200,
    "no spaces thai": "สวัสดีชาวโลก" * 40,
    "digits": "1" * 400,
    "decimal digits": "१२३ ٤٥٦ 789",
    "punctuation flood": "hi" + "!" * 2000 + "?" * 2000,
    "quotes": "\"'`“”‘’«»" * 50 + "x",
    "brackets": "[[[[" * 200 + "x" + "]]]]" * 200,
    "markup": "<speak><audio src='x'/>&amp;&#0;</speak>",
    "tags": "a\U000e0041\U000e007f b",
}


def outcome(written, voice):
    """ "speech", or the parameter that is refused."""
    try:
        chunks = list(ml.tts.synthesize(written, SynthesisOptions(voice=voice)))
    except errors.InvalidRequest as refused:
        return refused.param
    return "speech" if sum(len(chunk.samples) for chunk in chunks) else "silence"


@pytest.mark.parametrize("written", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("voice", ["espeak:en-us", "espeak:cmn", "espeak:ar+f2"])
def test_odd_text_gives_speech_or_a_clear_refusal(written, voice):
    assert outcome(written, voice) in ("speech", "text")


@given(st.text(min_size=1, max_size=120), st.sampled_from(["espeak:en-us", "espeak:hi", "espeak:yue", "espeak:fa"]))
@settings(max_examples=150, deadline=None)
def test_any_text_gives_speech_or_a_clear_refusal(written, voice):
    assert outcome(written, voice) in ("speech", "text")
