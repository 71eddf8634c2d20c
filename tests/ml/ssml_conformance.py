"""What each element of SSML does on each engine, measured on the sound. `python -m tests.ml.ssml_conformance` writes
the table into docs/ssml.md."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ml.tts
from ml import errors
from ml.tts import registry
from ml.types import AudioChunk, SynthesisOptions
from tests.ml import tiny_voices

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ssml.md"
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
ENGINES = {"espeak-ng": "espeak:en-us", "coqui (letters)": "tiny-vits:ana", "sherpa-onnx (phonemes)": "tiny-piper:ana"}
TEXT = "All of the yellow fish are swimming"


@dataclass(frozen=True)
class Spoken:
    samples: np.ndarray  # (T,), int16
    chunks: list[AudioChunk]
    warnings: tuple[str, ...]

    @property
    def loudness(self) -> float:
        heard = self.samples[self.samples != 0].astype(float)
        return float(np.sqrt((heard**2).mean())) if len(heard) else 0.0

    @property
    def marks(self) -> dict[str, float]:
        found, seconds = {}, 0.0
        for chunk in self.chunks:
            found |= {mark.name: seconds + mark.time for mark in chunk.marks}
            seconds += chunk.duration_seconds
        return found


Say = Callable[[str], Spoken]
Check = Callable[[Say], bool]


@dataclass(frozen=True)
class Case:
    element: str
    meaning: str
    check: Check
    native: str = "native"  # what it is on an engine that speaks styles itself; elsewhere it is the platform's
    everywhere: str = ""  # the same word for all engines


def said(voice: str) -> Say:
    def say(body: str) -> Spoken:
        options = SynthesisOptions(ssml=True, voice=voice)
        speech = ml.tts.synthesize(f"<speak>{body}</speak>", options)
        chunks = list(speech)
        return Spoken(np.concatenate([chunk.samples for chunk in chunks]), chunks, speech.warnings)

    return say


def longer(body: str, ratio: float, slack: float = 0.12) -> Check:
    return lambda say: abs(len(say(body).samples) / len(say(TEXT).samples) / ratio - 1) < slack


def differs(body: str) -> Check:
    return lambda say: not np.array_equal(say(body).samples, say(TEXT).samples)


def like(body: str, plain: str) -> Check:
    """The same words: as long as them, to a pause of a comma."""
    return lambda say: abs(len(say(body).samples) / len(say(plain).samples) - 1) < 0.1


def louder(body: str, ratio: float) -> Check:
    return lambda say: abs(say(body).loudness / say(TEXT).loudness / ratio - 1) < 0.25


def refused(body: str) -> Check:
    def check(say: Say) -> bool:
        try:
            say(body)
        except errors.SsmlInvalid as error:
            return "line 1, column" in error.message
        return False

    return check


def pauses(body: str, seconds: float) -> Check:
    """Longer than without, by so many seconds of silence at least."""
    return lambda say: any(
        not chunk.text and not chunk.samples.any() and chunk.duration_seconds >= seconds - 0.01
        for chunk in say(body).chunks
    )


def same(body: str, plain: str) -> Check:
    return lambda say: np.array_equal(say(body).samples, say(plain).samples)


def emphasised(say: Say) -> bool:
    return say(f'<emphasis level="strong">{TEXT}</emphasis>').loudness > say(TEXT).loudness


def spelt(say: Say) -> bool:
    return len(say(as_kind("spell-out", "cat")).samples) > 1.2 * len(say("cat").samples)


def in_another_language(say: Say) -> bool:
    return len(say('<lang xml:lang="de">Guten Tag</lang>').samples) > 0


def range_of_pitch(say: Say) -> bool:
    wide = say(f'<prosody range="x-high">{TEXT}</prosody>')
    return bool(wide.warnings) or not np.array_equal(wide.samples, say(TEXT).samples)


def phoneme(say: Say) -> bool:
    ipa = say('<phoneme alphabet="ipa" ph="təˈmeɪtoʊ">tomato</phoneme>')
    sampa = say('<phoneme alphabet="x-sampa" ph="t@&quot;meItoU">tomato</phoneme>')
    other = say('<phoneme ph="iː">tomato</phoneme>')
    heard = np.array_equal(ipa.samples, sampa.samples) and not np.array_equal(ipa.samples, other.samples)
    return heard or (bool(ipa.warnings) and np.array_equal(ipa.samples, say("tomato").samples))


def marked(say: Say) -> bool:
    spoken = say('One two <mark name="a"/>three four.<break time="1s"/><mark name="b"/>Five.')
    middle, after = spoken.marks["a"], spoken.marks["b"]
    end = next(chunk.duration_seconds for chunk in spoken.chunks if chunk.text)
    return 0.2 * end < middle < 0.8 * end and abs(after - end - 1) < 0.05


def prosody(attribute: str, value: str) -> str:
    return f'<prosody {attribute}="{value}">{TEXT}</prosody>'


def as_kind(kind: str, content: str, form: str = "") -> str:
    attribute = f' format="{form}"' if form else ""
    return f'<say-as interpret-as="{kind}"{attribute}>{content}</say-as>'


CASES = (
    Case("p, s", "parted by pauses", pauses("<p>One</p><p>Two</p>", 0.4), everywhere="platform"),
    Case("break", "time", pauses('One<break time="500ms"/>two', 0.5), everywhere="platform"),
    Case("break", "strength", pauses('One<break strength="x-strong"/>two', 1.2), everywhere="platform"),
    Case("prosody", "rate, percent", longer(prosody("rate", "50%"), 2)),
    Case("prosody", "rate, relative", longer(prosody("rate", "+100%"), 0.5, 0.15)),
    Case("prosody", "rate, named", longer(prosody("rate", "slow"), 4 / 3)),
    Case("prosody", "pitch, semitones", differs(prosody("pitch", "+4st"))),
    Case("prosody", "pitch, percent", differs(prosody("pitch", "-20%"))),
    Case("prosody", "pitch, hertz", differs(prosody("pitch", "+30Hz"))),
    Case("prosody", "pitch, named", differs(prosody("pitch", "low"))),
    Case("prosody", "range", range_of_pitch),
    Case("prosody", "volume, decibels", louder(prosody("volume", "-6dB"), 0.5)),
    Case("prosody", "volume, named", louder(prosody("volume", "soft"), 0.6)),
    Case("emphasis", "strong", emphasised),
    Case(
        "say-as", "cardinal", like(as_kind("cardinal", "1234"), "one thousand two hundred and thirty four"), "platform"
    ),
    Case("say-as", "ordinal", like(as_kind("ordinal", "21"), "twenty first"), "platform"),
    Case("say-as", "digits", like(as_kind("digits", "1984"), "one nine eight four"), "platform"),
    Case("say-as", "characters, spell-out", spelt),
    Case("say-as", "date", like(as_kind("date", "2024-05-01", "ymd"), "May first, twenty twenty four"), "platform"),
    Case("say-as", "time", like(as_kind("time", "14:05", "hms12"), "two oh five p m"), "platform"),
    Case(
        "say-as", "telephone", like(as_kind("telephone", "555-0132"), "five five five, zero one three two"), "platform"
    ),
    Case("say-as", "currency", like(as_kind("currency", "$5.20"), "five dollars and twenty cents"), "platform"),
    Case("sub", "alias", same('<sub alias="World Wide Web">W3</sub>', "World Wide Web"), "platform"),
    Case("phoneme", "ipa, x-sampa", phoneme),
    Case("voice", "name", differs(f'<voice name="espeak:en-gb+f2">{TEXT}</voice>'), "platform"),
    Case("lang", "another language", in_another_language, "platform"),
    Case("mark", "time returned", marked),
    Case("other namespaces", "passed over", same(f'<x:y xmlns:x="urn:x" x:z="1">{TEXT}</x:y>', TEXT), "platform"),
    Case("audio", "refused, with line and column", refused('<audio src="a.wav"/>'), everywhere="refused"),
    Case("lexicon", "refused, with line and column", refused('<lexicon uri="a"/>'), everywhere="refused"),
    Case("unknown elements", "refused, with line and column", refused("<blink>a</blink>"), everywhere="refused"),
)  # fmt: skip


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """The engines of the table, with tiny models."""
    made = [tiny_voices.coqui_vits(folder / "vits"), tiny_voices.sherpa_piper(folder / "piper")]
    for each in made:
        registry.install(each)
    try:
        yield
    finally:
        for each in made:
            registry.uninstall(each.manifest.name)


def outcome(case: Case, voice: str) -> str:
    """One cell: who does it, or "fails"."""
    if not case.check(said(voice)):
        return "fails"
    if case.everywhere:
        return case.everywhere
    capabilities = registry.model(ml.tts.resolve(SynthesisOptions(voice=voice)).model).capabilities
    if case.check is range_of_pitch and not capabilities.ssml:
        return "left out, with a warning"
    if case.check is phoneme and not capabilities.ssml:
        return "native" if capabilities.phonemes else "its text is read, with a warning"
    if case.check is marked and not capabilities.word_times:
        return "platform (estimated)"
    if "rate" in case.meaning and capabilities.speed:
        return "native"
    return case.native if capabilities.ssml else "platform"


def table() -> str:
    rows = ["| element | what | " + " | ".join(ENGINES) + " |", "|---|---|" + "---|" * len(ENGINES)]
    for case in CASES:
        cells = " | ".join(outcome(case, voice) for voice in ENGINES.values())
        rows.append(f"| {case.element} | {case.meaning} | {cells} |")
    return "\n".join(rows)


def write() -> None:
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        with installed(Path(folder)):
            made = table()
    DOCUMENT.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    write()
