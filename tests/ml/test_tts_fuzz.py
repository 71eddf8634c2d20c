"""Whatever text or SSML comes, there is speech or a clear refusal. TTS_FUZZ_EXAMPLES=10000 tries as many."""

# ruff: noqa: SIM905  (lists of many short odd words are read more easily as one text)
import os
import string
from xml.sax.saxutils import quoteattr

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ml.tts
from ml import errors
from ml.tts import normalise, timeline
from ml.tts.lexicon import Entry, Lexicon
from ml.types import SynthesisOptions

EXAMPLES = int(os.environ.get("TTS_FUZZ_EXAMPLES", "300"))
LEXICON = Lexicon([Entry("a", alias="b"), Entry("the 1", ipa="ˈwʌn"), Entry("$", alias="money"), Entry("ह", alias="x")])
VOICES = ("espeak:en-us", "espeak:hi", "espeak:cmn", "espeak:en-gb+f2")

written = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="0123456789.,:/-–$€₹%°#@&+ aApPmM½😂👍🇮🇳\u200d\ufe0fहकजनवरीtoSt.DrNo", max_size=60),
    st.lists(
        st.sampled_from(
            "1/2 3:45pm 2024-13-45 99/99/9999 $1,2,3 -5°C +1(415)555 a@b.c http://x.y/?z Dr. St. ½ 1e9 0x1F 12th 1–2 "
            "1234567890123456789 ١٢٣ १२ ⅷ ² 1:2:3:4 USD5 5USD ₹1लाख %% && [[ ]] \x01 \ud800 नमस्ते 漢字 <b> &amp;".split(
                " "
            )
        ),
        max_size=8,
    ).map(" ".join),
)
values = st.one_of(
    st.sampled_from(
        '50% -50% +200% 1e9 nan inf -0 0 +2st 200Hz -6dB x-slow loud 5s 500ms 99s ipa x-sampa həˈloʊ t{@" date ymd '
        "hms12 en-US hi xx espeak:de f strong none".split(" ")
    ),
    st.text(alphabet=string.printable, max_size=8),
)
ELEMENTS = (
    "p", "s", "break", "prosody", "emphasis", "say-as", "sub", "phoneme", "voice", "lang", "mark", "token", "meta",
    "metadata", "x:y", "audio", "blink",
)  # fmt: skip
ATTRIBUTES = (
    "time", "strength", "rate", "pitch", "range", "volume", "level", "interpret-as", "format", "alias", "alphabet",
    "ph", "name", "gender", "xml:lang", "x:z", "onload",
)  # fmt: skip
INTERPRET = ("cardinal", "ordinal", "digits", "characters", "date", "time", "telephone", "currency", "unit", "fraction")


def tag(name, attributes, inner):
    written_out = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{written_out}>{inner}</{name}>"


def element(children):
    attributes = st.dictionaries(st.sampled_from(ATTRIBUTES), values, max_size=2)
    return st.builds(tag, st.sampled_from(ELEMENTS), attributes, children)


escaped = written.map(lambda text: text.replace("&", "&amp;").replace("<", "&lt;"))
say_as = st.builds(
    lambda kind, text: f'<say-as interpret-as="{kind}">{text}</say-as>', st.sampled_from(INTERPRET), escaped
)
body = st.recursive(
    st.one_of(escaped, say_as),
    lambda inner: st.lists(st.one_of(inner, element(inner)), max_size=3).map("".join),
    max_leaves=8,
)
documents = st.builds(
    lambda inner, cut: f"<speak>{inner}</speak>"[: cut if cut % 7 == 0 else None], body, st.integers(0, 400)
)


def said(text, **options):
    """Speech, or the refusal that the API answers with a 4xx. Anything else is raised."""
    told = timeline.Timeline(words=True)
    try:
        for number, chunk in enumerate(told.watched(ml.tts.synthesize(text, SynthesisOptions(**options)))):
            assert all(0 <= word.start <= word.end for word in chunk.words)
            if number == 2:
                break
    except errors.InvalidRequest as error:
        refusal = error.status, bool(error.message)
        assert refusal in ((400, True), (422, True))
    if told.told():
        timeline.rendered(told.told(), "srt")


@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=list(HealthCheck))
@given(written, st.sampled_from(VOICES), st.booleans())
def test_any_text(text, voice, normalize):
    said(text, voice=voice, timestamps=True, normalize=normalize, trim_silence=normalize, lexicon=LEXICON)
    for language in ("en", "hi", "de"):
        normalise.spoken(text, language)


@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents, st.sampled_from(VOICES), st.booleans())
def test_any_ssml(document, voice, normalize):
    said(document, voice=voice, ssml=True, timestamps=True, normalize=normalize, lexicon=LEXICON)
