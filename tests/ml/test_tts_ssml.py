"""SSML: what is spoken, and what is refused where."""

import numpy as np
import pytest

import ml.tts
from ml import errors
from ml.types import SynthesisOptions


def chunks(body, **options):
    return list(ml.tts.synthesize(f"<speak>{body}</speak>", SynthesisOptions(ssml=True, **options)))


def speak(body, **options):
    return np.concatenate([chunk.samples for chunk in chunks(body, **options)])


def plain(text, **options):
    return np.concatenate([chunk.samples for chunk in ml.tts.synthesize(text, SynthesisOptions(**options))])


def loudness(samples):
    return float(np.sqrt((samples.astype(float) ** 2).mean()))


def test_text_is_spoken_as_plain_text_is():
    assert np.array_equal(speak("Fish &amp; chips. Now!"), plain("Fish & chips. Now!"))
    assert np.array_equal(speak("a <![CDATA[<b>]]> c"), plain("a <b> c"))


def test_the_whole_document_may_have_a_prologue():
    document = (
        '<?xml version="1.0"?>\n<speak version="1.1" xmlns="http://www.w3.org/2001/10/synthesis" xml:lang="fr-FR">'
        "Bonjour.</speak>"
    )
    spoken = np.concatenate([chunk.samples for chunk in ml.tts.synthesize(document, SynthesisOptions(ssml=True))])
    assert np.array_equal(spoken, plain("Bonjour.", language="fr-FR"))


def test_the_language_of_the_document_picks_a_voice_unless_one_was_chosen():
    document = '<speak xml:lang="en-GB">Bath and grass.</speak>'

    def spoken(**options):
        chunks = ml.tts.synthesize(document, SynthesisOptions(ssml=True, **options))
        return np.concatenate([chunk.samples for chunk in chunks])

    assert np.array_equal(spoken(), plain("Bath and grass.", language="en-GB"))
    assert np.array_equal(spoken(voice="espeak:en-us+f2"), plain("Bath and grass.", voice="espeak:en-us+f2"))


@pytest.mark.parametrize(("time", "seconds"), [("500ms", 0.5), ("2s", 2.0), ("1.25s", 1.25), ("10s", 10.0)])
def test_break_is_silence_of_that_length(time, seconds):
    first, silence, second = chunks(f'One<break time="{time}"/>two')
    assert silence.duration_seconds == pytest.approx(seconds, abs=0.001)
    assert not silence.samples.any()
    assert (first.text, second.text) == ("One", "two")


def test_prosody_changes_what_is_within_it():
    text = "All of the yellow fish are swimming"
    assert len(speak(f'<prosody rate="50%">{text}</prosody>')) == pytest.approx(2 * len(plain(text)), rel=0.1)
    assert np.array_equal(speak(f'<prosody pitch="+4st">{text}</prosody>'), plain(text, pitch=4.0))
    within = speak(f'Now <prosody rate="x-slow" pitch="high">{text}</prosody> again.')
    assert len(within) > 1.3 * len(plain(f"Now {text} again."))
    assert loudness(speak(f'<prosody volume="soft">{text}</prosody>')) < 0.8 * loudness(plain(text))
    assert not speak(f'Hi <break time="1s"/><prosody volume="silent">{text}</prosody>')[-22050:].any()


def test_nested_prosody_multiplies():
    inner = '<prosody rate="80%"><prosody rate="50%">Fish are swimming</prosody></prosody>'
    assert np.array_equal(speak(inner), speak('<prosody rate="40%">Fish are swimming</prosody>'))


def test_emphasis_is_louder():
    strong, reduced = (speak(f'<emphasis level="{level}">fish</emphasis>') for level in ("strong", "reduced"))
    assert loudness(strong) > 1.2 * loudness(reduced)


def test_say_as_sub_and_phoneme():
    assert len(speak('<say-as interpret-as="characters">fish</say-as>')) > 1.5 * len(plain("fish"))
    assert len(speak('<say-as interpret-as="digits">1999</say-as>')) != len(plain("1999"))
    assert np.array_equal(speak('<sub alias="World Wide Web">WWW</sub>'), plain("World Wide Web"))
    ipa = speak('<phoneme alphabet="ipa" ph="həlˈoʊ">x</phoneme>')
    assert np.array_equal(ipa, speak('<phoneme alphabet="x-espeak" ph="h@l\'oU">x</phoneme>'))
    assert len(ipa) == pytest.approx(len(plain("hello")), rel=0.15)


@pytest.mark.parametrize("voice", ["espeak:hi", "espeak:te", "espeak:bg", "espeak:my", "espeak:de"])
@pytest.mark.parametrize("symbol", ["😂", "👍🏽", "🇮🇳", "ℹ", "™"])
def test_spelt_symbols_are_called_by_their_names(symbol, voice):
    """Spelling 😂 in Hindi ended espeak-ng with "stack smashing detected"."""
    spelt = speak(f'<say-as interpret-as="characters">{symbol}</say-as>', voice=voice)
    assert np.array_equal(spelt, plain(f"  {symbol}  ", voice=voice))


def test_letters_among_symbols_are_spelt():
    say_as = '<say-as interpret-as="characters">{}</say-as>'.format
    body = say_as("29😂₹न\ufe0f&amp;₹जaन") + " " + say_as("150") + " úFGýÈ±?"
    (chunk,) = chunks(body, voice="espeak:hi", timestamps=True)
    assert len(chunk.samples) > len(plain("29😂₹न\ufe0f&₹जaन 150 úFGýÈ±?", voice="espeak:hi"))
    assert chunk.words[0].text.startswith("29")


def test_phoneme_syntax_in_the_words_beside_a_phoneme_is_not_obeyed():
    phoneme = '<phoneme alphabet="ipa" ph="a">x</phoneme>'
    assert len(speak(f"[[[[ananananananananan]]]] {phoneme}")) > len(speak(f"{phoneme}"))
    assert np.array_equal(speak(f"[[h]] {phoneme}"), speak(f"[ [h]] {phoneme}"))


def test_voice_and_language_change_the_voice():
    assert np.array_equal(
        speak('<voice name="espeak:fr-fr+f2">Bonjour.</voice>'), plain("Bonjour.", voice="espeak:fr-fr+f2")
    )
    assert np.array_equal(speak('<lang xml:lang="de-DE">Guten Tag.</lang>'), plain("Guten Tag.", language="de"))
    assert np.array_equal(speak('<voice gender="female">Hello.</voice>'), plain("Hello.", voice="espeak:en-us+f2"))


def test_paragraphs_are_parted():
    texts = [chunk.text for chunk in chunks("<p>One</p><p><s>Two</s><s>Three</s></p>") if chunk.text]
    assert texts == ["One", "Two", "Three"]


def test_marks_are_silent():
    assert np.array_equal(speak('Hello <mark name="here"/>there.'), plain("Hello there."))


def test_a_large_document_comes_in_pieces():
    document = '<prosody rate="fast">' + "<s>This is a sentence of it.</s>" * 2000 + "</prosody>"
    first = next(ml.tts.synthesize(f"<speak>{document}</speak>", SynthesisOptions(ssml=True)))
    assert first.text == "This is a sentence of it."


REFUSED = {
    "audio": ('Hi <audio src="/etc/passwd"/>', 1, 11),
    "lexicon": ('<lexicon uri="file:///etc/passwd"/>', 1, 8),
    "unknown element": ("a\n  <blink>b</blink>", 2, 3),
    "unknown attribute": ('<p onclick="x">a</p>', 1, 8),
    "unclosed": ("<p>a", 1, 14),
    "bare ampersand": ("a & b", 1, 11),
    "break too long": ('a\n<break time="11s"/>', 2, 1),
    "break without unit": ('<break time="5"/>', 1, 8),
    "break not a number": ('<break time="nans"/>', 1, 8),
    "strength": ('<break strength="huge"/>', 1, 8),
    "pitch in hertz": ('<prosody pitch="9000Hz">a</prosody>', 1, 8),
    "rate": ('<prosody rate="-90%"><prosody rate="0">a</prosody></prosody>', 1, 29),
    "voice": ('<voice name="espeak:xx">a</voice>', 1, 8),
    "language": ('<lang xml:lang="xx">a</lang>', 1, 8),
    "gender": ('<voice gender="robot">a</voice>', 1, 8),
    "interpret-as": ('<say-as interpret-as="magic">a</say-as>', 1, 8),
    "say-as with elements": ('<say-as interpret-as="digits"><p>1</p></say-as>', 1, 38),
    "sub without alias": ("<sub>a</sub>", 1, 8),
    "phoneme": ('<phoneme alphabet="ipa" ph="☃">a</phoneme>', 1, 8),
    "mnemonics": ('<phoneme alphabet="x-espeak" ph="a]] [[b">a</phoneme>', 1, 8),
    "alphabet": ('<phoneme alphabet="arpabet" ph="a">a</phoneme>', 1, 8),
    "speak within": ("<speak>a</speak>", 1, 8),
    "base": ('<p xml:base="file:///">a</p>', 1, 8),
    "control character": ("a\x01b", 1, 9),
    "reference to NUL": ("a&#0;b", 1, 9),
}


@pytest.mark.parametrize(("body", "line", "column"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_with_line_and_column(body, line, column):
    with pytest.raises(errors.SsmlInvalid) as refused:
        chunks(body)
    assert refused.value.param == "text"
    assert refused.value.message.endswith(f"(line {line}, column {column}).")


@pytest.mark.parametrize(
    "document",
    [
        '<!DOCTYPE speak [<!ENTITY x "y">]><speak>&x;</speak>',
        '<!DOCTYPE speak SYSTEM "file:///etc/passwd"><speak>a</speak>',
        '<!DOCTYPE s [<!ENTITY a "aa"><!ENTITY b "&a;&a;&a;">]><speak>&b;</speak>',
        "no markup at all",
        "<p>not in speak</p>",
        '<?xml version="1.0" encoding="utf-16"?><speak>a</speak>',
        '<?xml version="1.0" encoding="nonsense"?><speak>a</speak>',
        "<speak>" + "<p>" * 60 + "deep" + "</p>" * 60 + "</speak>",
        "<speak>" + "<s>a</s>" * 20_001 + "</speak>",
        "<speak>a" + '<break time="10s"/>' * 61 + "</speak>",
        "<speak>\ud800</speak",
    ],
)
def test_refuses_documents(document):
    with pytest.raises(errors.SsmlInvalid, match=r"line \d+, column \d+"):
        ml.tts.synthesize(document, SynthesisOptions(ssml=True))


@pytest.mark.parametrize("body", ["", "<break time='1s'/>", "<p>...</p>", '<sub alias="!">spoken</sub>'])
def test_refuses_markup_without_words(body):
    with pytest.raises(errors.InvalidRequest, match="nothing to speak"):
        chunks(body)
