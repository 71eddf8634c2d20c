"""Numbers, dates, addresses and signs in words; the scripts of other languages; what a lexicon says."""

import time
from decimal import Decimal

import num2words
import pytest

from ml import errors
from ml.tts import lexicon, scripts
from ml.tts.languages import primary
from ml.tts.lexicon import Entry, Lexicon
from ml.tts.normalise import numbers, spoken
from ml.tts.script import Run, Style

ENGLISH = {
    "Dr. Lee paid $5.20.": "Doctor Lee paid five dollars and twenty cents.",
    "on 2024-05-01": "on May first, twenty twenty four",
    "Meet at 3:45 pm.": "Meet at three forty five p m.",
    "On March 3rd, 1999": "On March third, nineteen ninety nine",
    "12 May 2024": "May twelfth, twenty twenty four",
    "-5°C; 23 kg": "minus five degrees Celsius; twenty three kilograms",
    "60 km/h, 50%": "sixty kilometres per hour, fifty percent",
    "bob.smith@example.com": "bob dot smith at example dot com",
    "https://www.example.org/a?x=1": "w w w dot example dot org slash a question mark x equals one",
    "+1 415-555-0132": "plus one, four one five, five five five, zero one three two",
    "3.14, 1/2 and 3/4": "three point one four, one half and three quarters",
    "pages 10-12, the 21st": "pages ten to twelve, the twenty first",
    "€3.5 million, £1, $0.05": "three point five million euros, one pound, five cents",
    "#1 B2B 007": "number one B two B zero zero seven",
    "St. Mary, 12 Main St. at the end": "Saint Mary, twelve Main Street at the end",
    "in 1984 and 1905": "in nineteen eighty four and nineteen oh five",
    "a & b": "a and b",
    "1,234": "one thousand two hundred and thirty four",
    "Nothing to do here, at all.": "Nothing to do here, at all.",
}
HINDI = {
    "₹500 और 25 किग्रा": "पाँच सौ रुपये और पच्चीस किलोग्राम",
    "15 अगस्त 1947": "पंद्रह अगस्त उन्नीस सौ सैंतालीस",
    "10:30 बजे": "दस बजकर तीस मिनट",
    "डॉ. शर्मा": "डॉक्टर शर्मा",
    "3.5%": "तीन दशमलव पाँच प्रतिशत",
    "१२३ लोग": "एक सौ तेईस लोग",
}


@pytest.mark.parametrize(("written", "said"), ENGLISH.items())
def test_english(written, said):
    assert " ".join(spoken(written, "en-US").split()) == said


@pytest.mark.parametrize(("written", "said"), HINDI.items())
def test_hindi(written, said):
    assert " ".join(spoken(written, "hi").split()) == said


def test_emoji_are_named():
    assert "thumbs up sign" in spoken("Good 👍🏽!", "en")
    assert "अंगूठा ऊपर" in spoken("अच्छा 👍🏽!", "hi")


def test_days_come_first_outside_the_united_states():
    assert spoken("5/6/2024", "en-US").startswith("May sixth")
    assert spoken("5/6/2024", "en-GB").startswith("June fifth")


def test_other_languages_have_their_numbers():
    assert spoken("Es sind 23 Leute, 3,5 Meter.", "de") == "Es sind dreiundzwanzig Leute, 3,5 Meter."
    assert spoken("23 ຄົນ", "lo") == "23 ຄົນ"


@pytest.mark.parametrize("written", ["1" * 300, "1," * 150, "a@" * 150, "1/" * 150, "+1 " * 100, "$" * 300, "a." * 150])
def test_hostile_text_takes_no_more_than_moments(written):
    began = time.process_time()
    spoken(written, "en-US")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("language", sorted({primary(code) for code in num2words.CONVERTER_CLASSES} | numbers._INDIC))
def test_every_number_has_words_or_none_in_every_language(language):
    """Also where num2words has gaps, or would never return: Amharic's millions."""
    values = [0, 1, 2, 21, 100, 1_001, 1_798, 999_999, 3_486_807, 9_999_999, 10**9, 10**12, numbers.LARGEST - 1, 10**18]
    fractions = [Decimal("0.5"), Decimal("0.0000001"), Decimal("0.30000000000000004"), Decimal("123456789.125")]
    began = time.process_time()
    for made in (
        *(numbers.cardinal(value, language) for value in (*values, *fractions, -21)),
        *(numbers.ordinal(value, language) for value in values),
    ):
        assert made is None or made.strip()
    assert time.process_time() - began < 5


def test_hindi_counts_in_crores():
    assert numbers.cardinal(10**9, "hi") == f"{numbers.cardinal(100, 'hi')} करोड़"
    many = f"{numbers.cardinal(12_345_678, 'hi')} करोड़ {numbers.cardinal(9_012_345, 'hi')}"
    assert numbers.cardinal(123_456_789_012_345, "hi") == many


def test_large_numbers_in_amharic_are_read_digit_by_digit():
    assert numbers.cardinal(9_000_001, "am") == " ".join(
        str(numbers.cardinal(digit, "am")) for digit in (9, *[0] * 5, 1)
    )


# ── Scripts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_finds_the_words_of_another_script():
    text = "He said नमस्ते दुनिया, and left. Привет!"
    found = list(scripts.segments(text, "en-US"))
    assert "".join(part for part, _ in found) == text
    assert [(part, tag) for part, tag in found if tag] == [("नमस्ते दुनिया", "hi"), ("Привет", "ru")]
    assert [tag for _, tag in scripts.segments("यह Python है", "hi") if tag] == ["en"]
    assert list(scripts.segments("Ärger über Öl", "de")) == [("Ärger über Öl", None)]


# ── Lexicons ────────────────────────────────────────────────────────────────────────────────────────────────────────


def said(text, entries, language="en-US"):
    return [
        (run.text, run.spoken or run.style.ipa) for run in Lexicon(entries).applied(Run(text, Style("v")), language)
    ]


def test_whole_words_the_longest_first():
    entries = [Entry("New York", alias="the big apple"), Entry("New", alias="gnu"), Entry("C++", alias="see plus plus")]
    assert said("New York, new C++!", entries) == [
        ("New York", "the big apple"), (", ", None), ("new", "gnu"), (" ", None), ("C++", "see plus plus"), ("!", None),
    ]  # fmt: skip
    assert said("newest renew", entries) == [("newest renew", None)]


def test_case_and_language():
    entries = [Entry("US", alias="United States", case_sensitive=True), Entry("chat", ipa="ʃa", language="fr")]
    assert said("The US and us chat", entries)[1] == ("US", "United States")
    assert len(said("The US and us chat", entries)) == 3
    assert said("Le chat", entries, "fr-FR")[1] == ("chat", "ʃa")


def test_words_with_vowel_signs_are_whole():
    entries = [Entry("कम", alias="थोड़ा")]
    assert said("कमी कम", entries, "hi") == [("कमी ", None), ("कम", "थोड़ा")]


@pytest.mark.parametrize(
    "entry",
    [Entry("", alias="a"), Entry("a"), Entry("a", alias="b", ipa="b"), Entry("a", ipa="☃"), Entry("a", alias="..."),
     Entry("a" * 101, alias="b"), Entry("a", alias="b", language="no tag")],
)  # fmt: skip
def test_refuses_entries_that_say_nothing(entry):
    with pytest.raises(errors.InvalidRequest):
        lexicon.check(entry)
