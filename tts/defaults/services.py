"""Reads, writes and applies an organisation's defaults of speech."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.actors import Actor
from audit import services as audit
from common import errors
from common.models import write
from ml import audio
from ml.types import SynthesisOptions
from tts.defaults.models import SpeechDefaults
from tts.voices import selectors as voices

FIELDS = ("voice", "language", "format")


def get_defaults(*, actor: Actor) -> SpeechDefaults | None:
    """No query where the organisation was read with its settings, as by its credential."""
    return getattr(actor.organization, "speech_defaults", None)


def save_defaults(*, actor: Actor, changes: dict[str, str]) -> SpeechDefaults:
    """Changes some of FIELDS; an empty one is the platform's own again.

    Raises UnknownVoice and UnsupportedLanguage for what cannot be spoken with, InvalidRequest for another format.
    """
    now = get_defaults(actor=actor) or SpeechDefaults()
    wanted = SpeechDefaults(**{name: changes.get(name, getattr(now, name)) for name in FIELDS})
    if wanted.format and wanted.format not in audio.CONTENT_TYPES:
        raise errors.InvalidRequest(f"The format is one of {', '.join(sorted(audio.CONTENT_TYPES))}.", param="format")
    if wanted.voice or wanted.language:
        chosen: dict[str, Any] = _chosen(wanted)
        voices.resolve(SynthesisOptions(**chosen), organization_id=actor.organization.id)
    with transaction.atomic():
        row, _ = SpeechDefaults.objects.select_for_update().get_or_create(organization=actor.organization)
        if written := write(row, changes):
            audit.record(actor=actor, action="tts_defaults.changed", changes=written)
    actor.organization.speech_defaults = row
    return row


def with_defaults(row: SpeechDefaults | None, fields: dict[str, Any]) -> dict[str, Any]:
    """A request's fields over the organisation's. Who names a voice, a language or a model chooses all three."""
    if row is None:
        return fields
    added: dict[str, Any] = {} if {"voice", "language", "model"} & fields.keys() else _chosen(row)
    if row.format and "format" not in fields:
        added["format"] = row.format
    return {**added, **fields}


def _chosen(row: SpeechDefaults) -> dict[str, str]:
    """A voice speaks its own language: where there is one, the language is for requests that name another model."""
    return {"voice": row.voice} if row.voice else {"language": row.language} if row.language else {}
