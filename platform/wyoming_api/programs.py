"""What `describe` is answered: the models and voices that serve now."""

from __future__ import annotations

from django.conf import settings
from wyoming.info import AsrModel, AsrProgram, Attribution, Info, TtsProgram, TtsVoice

from ml import stt
from tts.selectors import list_voices

NAME = "speech-platform"
_OURS = Attribution("Speech platform", "")
_ENGINES = {
    "espeak": Attribution("eSpeak NG", "https://github.com/espeak-ng/espeak-ng"),
    "pocketsphinx": Attribution("CMU Sphinx", "https://github.com/cmusphinx/pocketsphinx"),
}


def info() -> Info:
    return Info(asr=[_recognition()], tts=[_synthesis()])


def _recognition() -> AsrProgram:
    models = [
        AsrModel(
            name=model.name,
            attribution=_ENGINES.get(model.engine, _OURS),
            installed=True,
            description=model.name,
            version=model.version or None,
            languages=sorted(model.capabilities.languages),
        )
        for model in stt.models()
    ]
    return AsrProgram(
        name=NAME,
        attribution=_OURS,
        installed=True,
        description="Recognition by the models of this speech platform",
        version=settings.VERSION,
        models=models,
        supports_transcript_streaming=True,
    )


def _synthesis() -> TtsProgram:
    voices = [
        TtsVoice(
            name=voice.id,
            attribution=_ENGINES.get(voice.engine, _OURS),
            installed=True,
            description=voice.name,
            version=None,
            languages=[voice.language],
        )
        for voice in list_voices()
    ]
    return TtsProgram(
        name=NAME,
        attribution=_OURS,
        installed=True,
        description="Synthesis by the voices of this speech platform",
        version=settings.VERSION,
        voices=voices,
        supports_synthesize_streaming=True,
    )
