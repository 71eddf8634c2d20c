"""Several voices in one: what a name means, which voices mix, and that the sound is of all of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import ml.tts
from ml import errors
from ml.tts import registry
from ml.tts.cloning.profile import measure
from ml.tts.engines.base import EQUALISER_HZ, Adaptation, Mixture, SpeakerLatents
from ml.tts.own import OwnVoice, as_model_speaks
from ml.tts.script import Run, Style, Utterance
from ml.types import SynthesisOptions
from tests.ml import tiny_voices
from tests.ml.test_tts_cloning import said

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and transformers warn about themselves

ANA, BEN = "tiny-vits:ana", "tiny-vits:ben"
DEEP = Adaptation(70.0, 100.0, 0.95, 1.0, (6.0,) * len(EQUALISER_HZ))
BRIGHT = Adaptation(200.0, 280.0, 1.1, 1.2, (-2.0,) * len(EQUALISER_HZ))


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A VITS on coqui-tts, two of whose voices speak German too, and a Kitten on sherpa-onnx."""
    base = tmp_path_factory.mktemp("voices")
    made = tiny_voices.coqui_vits(base / "vits")
    about = {"name": "tiny-vits", "engine": "coqui", "format": "vits", "settings": dict(made.manifest.settings)}
    registry.install(tiny_voices.folder(made.path, **about, languages=("en-US", "de")))
    registry.install(tiny_voices.sherpa_styled(base / "kitten", format="kitten", name="tiny-kitten"))
    yield
    for name in ("tiny-vits", "tiny-kitten"):
        registry.uninstall(name)


def samples(voice: str, **options: object) -> bytes:
    chosen = SynthesisOptions(voice=voice, **options)  # type: ignore[arg-type]
    return b"".join(chunk.samples.tobytes() for chunk in ml.tts.synthesize("Hello there.", chosen))


def adapted(voice_id: str, adaptation: Adaptation) -> OwnVoice:
    base = ml.tts.resolve(SynthesisOptions(voice="espeak:en-us"))
    return OwnVoice(replace(base, id=voice_id, name=voice_id.title()), base.id, adaptation)


def mixture(name: str, *own: OwnVoice) -> dict[str, float]:
    """What the engine is told of a mix: (voice: share)."""
    options = SynthesisOptions(voice=name, own_voices=own)
    voice = ml.tts.resolve(options)
    _, _, likeness = as_model_speaks(Utterance((Run("Hello.", Style(voice.id)),)), options)
    assert isinstance(likeness, Mixture)
    return {speaker.voice: speaker.weight for speaker in likeness.speakers}


# ── Names ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_voice_is_called_is_no_mix() -> None:
    assert ml.tts.resolve(SynthesisOptions(voice="espeak:en-us+f2")).gender == "female"
    for name in ("+f2", "espeak:en-us+", f"{ANA}++{BEN}", "espeak:en-us+nobody", f"{ANA}+f2", f"{ANA}(2)", "a+b"):
        with pytest.raises(errors.UnknownVoice):
            ml.tts.resolve(SynthesisOptions(voice=name))


def test_a_mix_is_a_voice_of_its_first_parts_language() -> None:
    voice = ml.tts.resolve(SynthesisOptions(voice=f"{ANA}(2)+ben"))
    assert (voice.id, voice.name, voice.language) == (f"{ANA}(2)+ben", "Ana + Ben", "en-US")
    assert (voice.gender, voice.engine, voice.model) == (None, "coqui", "tiny-vits")
    german = ml.tts.resolve(SynthesisOptions(voice=f"{ANA}(2)+{BEN}", language="de"))
    assert (german.id, german.language) == (f"{ANA}@de(2)+ben@de", "de")
    assert ml.tts.resolve(SynthesisOptions(voice=german.id)) == german
    with pytest.raises(errors.LanguageNotSupported):
        ml.tts.resolve(SynthesisOptions(voice=f"{ANA}+ben", language="fr"))


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        (f"{ANA}+{BEN}", (0.5, 0.5)),
        (f"{ANA}+ben", (0.5, 0.5)),
        (f"{ANA}(3)+ben", (0.75, 0.25)),
        (f"{ANA}(300)+ben(100)", (0.75, 0.25)),
        (f"{ANA}(0.3)+ben(0.1)", (0.75, 0.25)),
        (f"{BEN}+{ANA}(3)", (0.75, 0.25)),
        (f"{ANA}(2)+{BEN}+{ANA}", None),
    ],
)
def test_weights_are_parts_of_a_whole(name: str, shares: tuple[float, float] | None) -> None:
    if shares is None:
        told = mixture(name)  # of one voice named twice, the parts are added by the engine
        assert set(told) == {ANA, BEN}
        assert told[BEN] == 0.25
    else:
        assert mixture(name) == {ANA: shares[0], BEN: shares[1]}


@pytest.mark.parametrize(
    "name",
    [
        *(f"{ANA}({weight})+ben" for weight in ("", "x", "-1", "1e3", "nan", "1234567", "1.", " 1", "٣", "1)(2")),
        f"{ANA}(0)+ben(0)",
        f"{ANA}(2+ben",
        "+".join([ANA, *["ben"] * 8]),
        f"{ANA}+tiny-kitten:ana",
    ],
)  # fmt: skip
def test_refuses_weights_and_parts(name: str) -> None:
    with pytest.raises(errors.VoiceMixInvalid) as refused:
        ml.tts.resolve(SynthesisOptions(voice=name))
    assert refused.value.param == "voice"


def test_a_name_has_room_for_four_own_voices_but_has_an_end() -> None:
    long = [str(uuid.uuid4()) for _ in range(4)]
    own = tuple(adapted(voice_id, DEEP) for voice_id in long)
    name = "+".join(f"{voice_id}@en-us(123456.123456)" for voice_id in long)
    assert ml.tts.resolve(SynthesisOptions(voice=name, own_voices=own)).id == name
    with pytest.raises(errors.VoiceMixInvalid, match="255 characters"):
        ml.tts.resolve(SynthesisOptions(voice=f"{name}+{long[0]}", own_voices=own))


def test_says_whose_voices_can_be_mixed() -> None:
    for name in ("tiny-kitten:ana+ben", "espeak:en-us+espeak:de", "espeak:en-us+f2(2)+espeak:de"):
        with pytest.raises(errors.VoiceMixUnsupported, match="those of tiny-vits can"):
            ml.tts.resolve(SynthesisOptions(voice=name))
    assert [info.name for info in ml.tts.models() if info.capabilities.voice_mixing] == ["tiny-vits"]


# ── Sound ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_speaks_as_all_of_them() -> None:
    ana, ben = samples(ANA), samples(BEN)
    assert samples(f"{ANA}(1)+ben(0)") == ana
    assert samples(f"{ANA}(0)+ben(1)") == ben
    half = samples(f"{ANA}+ben")
    assert len({ana, ben, half}) == 3
    assert samples(f"{BEN}+ana") == half
    assert samples(f"{ANA}(7)+ben(7)") == half
    markup = f'<speak><voice name="{ANA}+ben">Hello there.</voice></speak>'
    chunks = ml.tts.synthesize(markup, SynthesisOptions(voice=ANA, ssml=True))
    assert b"".join(chunk.samples.tobytes() for chunk in chunks) == half


def test_own_voices_of_the_model_are_told_with_their_latents() -> None:
    base = ml.tts.resolve(SynthesisOptions(voice=ANA))
    latents = SpeakerLatents(np.zeros((1, 32, 64), np.float32), np.zeros((1, 512, 1), np.float32))
    own = OwnVoice(replace(base, id="own"), base.id, latents)
    options = SynthesisOptions(voice="own+ben", own_voices=(own,))
    assert ml.tts.resolve(options).model == "tiny-vits"
    _, voice, likeness = as_model_speaks(Utterance((Run("Hello.", Style("own+ben")),)), options)
    assert voice.id == ANA
    assert isinstance(likeness, Mixture)
    assert [speaker.likeness for speaker in likeness.speakers] == [latents, None]
    gone = replace(own, voice=replace(own.voice, model="gone"), base="gone:ana")
    with pytest.raises(errors.UnknownVoice, match="not installed"):
        ml.tts.resolve(replace(options, own_voices=(gone,)))
    with pytest.raises(errors.UnknownVoice):
        ml.tts.resolve(SynthesisOptions(voice="own+ben"))


def test_adapted_voices_meet_in_the_middle() -> None:
    own = (adapted("deep", DEEP), adapted("bright", BRIGHT))
    deep, middle, bright = (measure(said(name, own=own)) for name in ("deep", "deep+bright", "bright"))
    assert deep is not None
    assert middle is not None
    assert bright is not None
    assert 1.2 * deep.pitch_hz < middle.pitch_hz < bright.pitch_hz / 1.2
    assert deep.vocal_tract_cm > middle.vocal_tract_cm > bright.vocal_tract_cm
    assert np.array_equal(said("deep+bright", own=own), said("bright(2)+deep(2)", own=own))
    nearly = measure(said("deep(3)+bright", own=own))
    assert nearly is not None
    assert deep.pitch_hz < nearly.pitch_hz < middle.pitch_hz
    german = ml.tts.resolve(SynthesisOptions(voice="deep+bright", own_voices=own, language="de"))
    assert german.id == "deep@de+bright@de"
    with pytest.raises(errors.VoiceMixUnsupported, match="only your own voices"):
        ml.tts.resolve(SynthesisOptions(voice="deep+espeak:en-us", own_voices=own))
