"""What a synthesis is asked for and settled with: a request's options, a voice's defaults, the lexicons that hold."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings

from accounts.models import Organization
from common import errors
from ml import tts as engine
from ml.errors import UnknownVoice
from ml.types import SynthesisOptions
from tts.lexicons import selectors as lexicons
from tts.lexicons import services as lexicon_services
from tts.models import TtsJob
from tts.voices import selectors as voices

MAX_INLINE_ENTRIES = 200

_NEUTRAL = {"speed": 1.0, "pitch": 0.0, "volume": 1.0}
_ALWAYS = ("speed", "pitch", "volume", "ssml")
_WHERE_SET = {"normalize": None, "timestamps": False, "trim_silence": False}


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """One text and how to speak it. `format` is one of `ml.audio.CONTENT_TYPES`."""

    text: str
    options: SynthesisOptions
    format: str = "wav"
    custom_id: str = ""
    loudness: float | None = None  # LUFS; None: as the voice speaks
    verify: bool = False  # let a recogniser hear it
    lexicon: Sequence[str | dict[str, Any]] | None = None  # ids and entries; None: the organisation's defaults
    given: frozenset[str] = field(default_factory=frozenset)  # options that a voice's defaults do not replace


@dataclass(frozen=True, slots=True)
class Settled:
    """A request with everything chosen."""

    options: SynthesisOptions
    loudness: float | None
    kept: dict[str, Any]  # what a job's row keeps beside its own columns


def settle(request: SynthesisRequest, organization: Organization) -> Settled:
    """Chooses what the request leaves open. Raises NotFound for a lexicon, InvalidRequest for an entry or a size."""
    if request.verify and len(request.text) > settings.TTS_VERIFY_MAX_CHARACTERS:
        raise errors.InvalidRequest(
            f"Up to {settings.TTS_VERIFY_MAX_CHARACTERS:,} characters can be verified.",
            code="text_too_long",
            param="verify",
        )
    own = voices.with_own(request.options, organization_id=organization.id, text=request.text)
    options, loudness = _with_voice_defaults(replace(request, options=own), organization)
    named = _named_lexicons(request, organization)
    if named["ids"] or named["entries"]:
        lexicon = lexicons.assembled(organization_id=organization.id, ids=named["ids"], inline=named["entries"])
        options = replace(options, lexicon=lexicon)
    kept = kept_options(options)
    extras = {"loudness": loudness, "verify": request.verify or None, "lexicon": named if options.lexicon else None}
    return Settled(options, loudness, kept | {name: value for name, value in extras.items() if value is not None})


def for_live(options: SynthesisOptions, organization: Organization) -> SynthesisOptions:
    """A live session's options with the organisation's default lexicons and the voice's defaults."""
    return settle(SynthesisRequest("", options), organization).options


def kept_options(options: SynthesisOptions) -> dict[str, Any]:
    """What a job's row keeps of an engine's options beside its own columns."""
    kept: dict[str, Any] = {name: getattr(options, name) for name in _ALWAYS}
    return kept | {
        name: getattr(options, name) for name, usual in _WHERE_SET.items() if getattr(options, name) != usual
    }


def options_of(job: TtsJob) -> SynthesisOptions:
    """The options of a job's row. A lexicon that was deleted since is passed over."""
    kept = {name: value for name, value in job.options.items() if name in (*_ALWAYS, *_WHERE_SET)}
    named = job.options.get("lexicon") or {"ids": [], "entries": []}
    lexicon = lexicons.assembled(
        organization_id=job.organization_id, ids=named["ids"], inline=named["entries"], strict=False
    )
    options = SynthesisOptions(voice=job.voice, model=job.model, sample_rate=job.sample_rate, lexicon=lexicon, **kept)
    return voices.with_own(options, organization_id=job.organization_id, text=job.text)


def request_of(job: TtsJob) -> SynthesisRequest:
    """The request that a job's row stands for."""
    named = job.options.get("lexicon") or {"ids": [], "entries": []}
    return SynthesisRequest(
        job.text,
        replace(options_of(job), lexicon=None),
        job.format,
        job.custom_id,
        loudness=job.options.get("loudness"),
        verify=bool(job.options.get("verify")),
        lexicon=(*named["entries"], *named["ids"]),
        given=frozenset({*_NEUTRAL, "loudness", "voice"}),
    )


def _with_voice_defaults(
    request: SynthesisRequest, organization: Organization
) -> tuple[SynthesisOptions, float | None]:
    options = request.options
    voice = engine.resolve(options)
    defaults = lexicons.find_voice_defaults(organization=organization, voice_id=voice.id)
    if defaults is None:
        return options, request.loudness
    changes: dict[str, Any] = {
        name: getattr(defaults, name)
        for name, neutral in _NEUTRAL.items()
        if getattr(defaults, name) is not None and name not in request.given and getattr(options, name) == neutral
    }
    if defaults.style and "style" not in request.given and "+" not in voice.id:
        changes["voice"] = _styled(voice.id, defaults.style)
    loudness = request.loudness
    if loudness is None and "loudness" not in request.given:
        loudness = defaults.loudness
    return replace(options, **changes), loudness


def _styled(voice_id: str, style: str) -> str:
    """A style that went with an update of the engine is passed over."""
    try:
        return engine.resolve(SynthesisOptions(voice=f"{voice_id}+{style}")).id
    except UnknownVoice:
        return voice_id


def _named_lexicons(request: SynthesisRequest, organization: Organization) -> dict[str, Any]:
    if request.lexicon is None:
        return {"ids": lexicons.default_ids(organization), "entries": []}
    ids = [str(item) for item in request.lexicon if not isinstance(item, dict)]
    inline = [item for item in request.lexicon if isinstance(item, dict)]
    if len(inline) > MAX_INLINE_ENTRIES or len(ids) > settings.TTS_MAX_LEXICONS:
        raise errors.InvalidRequest(
            f"A request brings at most {MAX_INLINE_ENTRIES} entries of its own; keep more as a lexicon.",
            code="too_many_entries",
            param="lexicon",
        )
    return {"ids": [str(uuid.UUID(each)) for each in ids], "entries": lexicon_services.checked_inline(inline)}
