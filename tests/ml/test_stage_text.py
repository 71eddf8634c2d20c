"""The stages that write: punctuation, capitals, inverse normalisation, masking, redaction."""

import itertools

import pytest

from ml.stt.engines.base import EngineCapabilities
from ml.stt.helpers import base as helpers
from ml.stt.stages import Recognition
from ml.stt.text.itn import InverseNormalization, normalize
from ml.stt.text.punctuation import Punctuation
from ml.stt.text.redaction import ProfanityFilter, Redaction, redact
from ml.stt.text.truecasing import Truecaser, Truecasing
from ml.types import Segment, TranscriptionOptions, Word

PLAIN = EngineCapabilities(languages=frozenset({"en"}))
DEFAULTS = TranscriptionOptions()


def spoken(*lines, language="en", gap=1.0):
    """A segment a line, `gap` seconds apart; a word lasts 0.3 s, and "[0.4]" is a pause."""
    at, segments = 0.0, []
    for line in lines:
        words = []
        for text in line.split():
            if text.startswith("["):
                at += float(text.strip("[]"))
                continue
            words.append(Word(text, round(at, 3), round(at + 0.3, 3), 0.9))
            at += 0.3
        segments.append(Segment(words[0].start, words[-1].end, " ".join(w.text for w in words), 0.9, tuple(words)))
        at += gap
    return Recognition(tuple(segments), language, 1.0)


def texts(recognition):
    for segment in recognition.segments:
        assert segment.text == " ".join(word.text for word in segment.words)
        edges = list(itertools.chain.from_iterable((word.start, word.end) for word in segment.words))
        assert edges == sorted(edges)
        assert (edges[0], edges[-1]) == (segment.start, segment.end)
    return [segment.text for segment in recognition.segments]


def written(*lines, **kwargs):
    recognition = spoken(*lines, **kwargs)
    for stage in (Punctuation(), Truecasing()):
        recognition = stage.run(recognition, DEFAULTS)
    return texts(recognition)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("the weather is fine", "The weather is fine."),
        ("where are you going", "Where are you going?"),
        ("do you know the way", "Do you know the way?"),
        ("how many people came", "How many people came?"),
        ("what joy there is in living", "What joy there is in living."),
        ("who dares wins", "Who dares wins."),
        ("isn't it late", "Isn't it late?"),
        ("i think i'm right and i'll say so", "I think I'm right and I'll say so."),
        ("we met [0.4] in london [0.2] but it rained", "We met, in London, but it rained."),
        ("we went to [0.4] the station", "We went to the station."),
        ("the u s a and the b b c", "The USA and the BBC."),
        ("give me a b", "Give me a b."),
        ("she watched tv on monday in may", "She watched TV on Monday in May."),
        ("it may rain in paris's streets", "It may rain in Paris's streets."),
    ],
)
def test_english_sentences(line, expected):
    assert written(line) == [expected]


def test_a_sentence_ends_at_a_pause_but_not_after_a_word_that_must_go_on():
    assert written("he opened the", "door and left", "then it rained") == [
        "He opened the",
        "door and left.",
        "Then it rained.",
    ]


def test_speech_that_was_cut_within_a_sentence_goes_on():
    assert written("where did they all", "go yesterday", gap=0.1) == ["Where did they all", "go yesterday?"]


@pytest.mark.parametrize(
    ("line", "language", "expected"),
    [
        ("मैं घर जा रहा हूँ", "hi", "मैं घर जा रहा हूँ।"),
        ("आप कहाँ जा रहे हैं", "hi", "आप कहाँ जा रहे हैं?"),
        ("dónde está la casa", "es", "¿Dónde está la casa?"),
        ("pourquoi pas", "fr", "Pourquoi pas?"),
        ("der zug kommt", "de", "Der zug kommt."),
        ("砸 自己 的 脚", "zh", "砸 自己 的 脚"),
    ],
)
def test_other_languages(line, language, expected):
    assert written(line, language=language) == [expected]


def test_what_the_engine_does_itself_is_left_alone():
    able = EngineCapabilities(languages=frozenset({"en"}), punctuation=True, casing=True, inverse_normalization=True)
    for stage in (Punctuation(), Truecasing(), InverseNormalization()):
        assert stage.applies(PLAIN, DEFAULTS)
        assert not stage.applies(able, DEFAULTS)
        assert stage.applies(able, TranscriptionOptions(enable=(stage.name,)))
        assert not stage.applies(PLAIN, TranscriptionOptions(disable=(stage.name,)))
    assert not Punctuation().applies(PLAIN, TranscriptionOptions(punctuate=False))
    assert not InverseNormalization().applies(PLAIN, TranscriptionOptions(itn=False))


class SaysMore:
    """Marks every second word, and adds one of its own, which must not get in."""

    def punctuate(self, text):
        words = text.split()
        return " ".join([*(f"{word}," if at % 2 else word for at, word in enumerate(words)), "indeed ."])


def test_an_installed_model_sets_the_marks_and_cannot_change_words():
    helpers.register(helpers.HelperInfo("punctuation", "says-more", frozenset({"en"})), SaysMore)
    try:
        assert texts(Punctuation().run(spoken("one two three four"), DEFAULTS)) == ["one two, three four,"]
    finally:
        helpers.unregister("punctuation", "says-more")
    assert texts(Punctuation().run(spoken("one two three four"), DEFAULTS)) == ["one two three four."]


def test_truecasing_goes_by_statistics():
    words = [Word(text, 0, 1, 1) for text in ("old", "mcdonald", "has", "an", "iphone")]
    cased = Truecaser("en", {"mcdonald": "McDonald", "iphone": "iPhone"}).case(words)
    assert " ".join(word.text for word in cased) == "Old McDonald has an iPhone"


ENGLISH = {
    "twenty three apples and one pear": "23 apples and one pear",
    "two thousand and twenty four": "2024",
    "one hundred and five point two": "105.2",
    "in nineteen eighty four": "in 1984",
    "nineteen oh five": "1905",
    "twenty twenty": "2020",
    "twenty five thousand people": "25,000 people",
    "three million two hundred thousand": "3.2 million",
    "the twenty first of may": "the 21st of may",
    "the first of may": "the 1st of may",
    "first of all": "first of all",
    "may twenty first twenty twenty four": "may 21, 2024",
    "five dollars and twenty cents": "$5.20",
    "five million dollars": "$5 million",
    "two point five million euros": "€2.5 million",
    "five hundred rupees": "₹500",
    "a hundred dollars": "$100",
    "ten pounds of butter": "ten pounds of butter",
    "zero point five percent": "0.5%",
    "twenty five per cent": "25%",
    "minus five degrees": "-5 degrees",
    "ten minus five": "ten minus five",
    "five thirty p m": "5:30 p.m.",
    "five p.m.": "5 p.m.",
    "at five thirty": "at 5:30",
    "half past five": "5:30",
    "quarter to six": "5:45",
    "quarter to one": "12:45",
    "five o'clock": "5 o'clock",
    "three to five people": "three to five people",
    "call five five five, one two three, four five six seven now.": "call 555-123-4567 now.",
    "room three four seven": "room 347",
    "double seven three": "773",
    "one two three four five six seven eight nine ten": "one two three four five six seven eight nine ten",
    "plus nine one nine eight seven six five four three two one zero": "+919876543210",
    "john dot smith at example dot com": "john.smith@example.com",
    "eight of spades four of clubs": "eight of spades four of clubs",
}

HINDI = {
    "तेईस लोग": "23 लोग",
    "दो लोग": "दो लोग",
    "दो हज़ार चौबीस": "2024",
    "उन्नीस सौ सैंतालीस में": "1947 में",
    "साढ़े तीन हज़ार रुपये": "₹3500",
    "डेढ़ सौ": "150",
    "सवा सौ": "125",
    "ढाई लाख रुपये": "₹2,50,000",
    "बारह लाख चौंतीस हज़ार पाँच सौ सड़सठ": "12,34,567",
    "तीन करोड़": "3,00,00,000",
    "पच्चीस प्रतिशत": "25%",
    "तीन दशमलव एक चार": "3.14",
    "साढ़े पाँच बजे": "5:30 बजे",
    "पौने छह बजे": "5:45 बजे",
    "पाँच मई दो हज़ार बीस": "5 मई 2020",
    "नौ आठ सात छह पाँच चार तीन तीन एक शून्य": "9876543310",
    "एक दो तीन": "एक दो तीन",
}


@pytest.mark.parametrize(("said", "expected"), ENGLISH.items())
def test_inverse_normalisation_of_english(said, expected):
    assert normalize(said, "en") == expected


@pytest.mark.parametrize(("said", "expected"), HINDI.items())
def test_inverse_normalisation_of_hindi(said, expected):
    assert normalize(said, "hi") == expected


def test_numbers_of_further_languages():
    assert normalize("vingt-trois pommes", "fr") == "23 pommes"
    assert normalize("dreiundzwanzig leute und zwei hunde", "de") == "23 leute und zwei hunde"
    assert normalize("सात लोग", "ta") == "सात लोग"


def test_hindi_knows_every_number_to_a_hundred():
    from ml.stt.text.itn_hindi import _NUMBERS

    assert set(_NUMBERS.values()) == set(range(100))


def test_written_numbers_last_as_long_as_what_was_said():
    said = spoken("it costs twenty three dollars today")
    (segment,) = InverseNormalization().run(said, DEFAULTS).segments
    assert texts(Recognition((segment,), "en", 1.0)) == ["it costs $23 today"]
    (price,) = [word for word in segment.words if word.text == "$23"]
    assert (price.start, price.end, price.confidence) == (0.6, 1.5, 0.9)


def test_profanity_keeps_first_letter_and_marks():
    assert texts(ProfanityFilter().run(spoken("well Damn, that shit works"), DEFAULTS)) == [
        "well D***, that s*** works"
    ]
    assert not ProfanityFilter().applies(PLAIN, DEFAULTS)
    assert ProfanityFilter().applies(PLAIN, TranscriptionOptions(profanity_filter=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mail a.b@example.com, please.", "Mail [EMAIL], please."),
        ("Call 555-123-4567.", "Call [PHONE]."),
        ("Call +919876543210 now", "Call [PHONE] now"),
        ("My card is 4111 1111 1111 1111.", "My card is [CARD]."),
        ("My card is 4111111111111111.", "My card is [CARD]."),
        ("On 2024-05-01 there were 10,000,000 people and 3.2 million dogs, 2024 cats.",) * 2,
        ("It costs $12345678.",) * 2,
    ],
)
def test_redaction(text, expected):
    assert redact(text) == expected
    words = tuple(Word(part, at, at + 1, 0.5) for at, part in enumerate(text.split()))
    segment = Segment(0, len(words), text, 0.5, words)
    assert texts(Redaction().run(Recognition((segment,), "en", 1.0), DEFAULTS)) == [expected]


def test_redaction_hears_what_was_left_as_words():
    said = spoken("call me on five five five one two three four five six seven please")
    assert texts(Redaction().run(said, TranscriptionOptions(itn=False))) == ["call me on [PHONE] please"]
