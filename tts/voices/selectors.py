"""Reads: an organisation's own voices, for people and for the engines."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import OrderedDict
from dataclasses import replace

from django.db.models import QuerySet

from accounts.actors import Actor
from common import errors, storage
from common.access import owned_by
from ml import tts as engine
from ml.errors import ModelInvalid
from ml.tts.cloning import unpack
from ml.tts.engines.base import Likeness
from ml.tts.own import OwnVoice
from ml.types import SynthesisOptions
from ml.types import Voice as SpokenVoice
from tts.voices.models import Method, Voice, VoiceStatus

NAMED_AT_MOST = 20
"""Own voices that one text may be spoken in."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEPT, _KEPT_SECONDS = 64, 300.0


def list_voices(*, actor: Actor, language: str | None = None) -> QuerySet[Voice]:
    """Newest first; those of `language`, a BCP-47 tag or its first part, where it is given."""
    rows = owned_by(actor, Voice).select_related("consent")
    if language is None:
        return rows
    return rows.filter(language__iexact=language) | rows.filter(language__istartswith=f"{language}-")


def is_own_id(voice_id: str) -> bool:
    """Whether an id is of the kind that own voices have; others are of everybody's."""
    return _ID.fullmatch(voice_id) is not None


def own_ids_in(name: str) -> set[str]:
    """The ids of own voices within a voice's name: several where it is a mix."""
    return set(_ID.findall(name))


def get_voice(*, actor: Actor, voice_id: str) -> Voice:
    """Raises NotFound, also for voices that are everybody's."""
    row = None
    if is_own_id(voice_id):
        row = owned_by(actor, Voice).select_related("consent").filter(id=voice_id).first()
    if row is None:
        raise errors.NotFound(f"There is no voice {voice_id[:80]!r} of your own.")
    return row


def list_spoken(*, actor: Actor) -> list[SpokenVoice]:
    """Those that are ready, as the engines name voices."""
    return [_spoken(row) for row in owned_by(actor, Voice).filter(status=VoiceStatus.READY)]


def can_be_mixed(row: Voice) -> bool:
    """Whether it can be a part of a mix now: adapted ones with one another, others where their model can."""
    if row.status != VoiceStatus.READY:
        return False
    return row.method == Method.ADAPTED or engine.mixes(_spoken(row))


# ── For the engines ─────────────────────────────────────────────────────────────────────────────────────────────────


def with_own(options: SynthesisOptions, *, organization_id: uuid.UUID, text: str = "") -> SynthesisOptions:
    """The options with those of the organisation's ready voices that they, or the SSML of `text`, name.

    A voice that is not ready, or another organisation's, is left out, and so is unknown to the engine. Most requests
    name none, which costs nothing.
    """
    named = own_ids_in(options.voice or "")
    if options.ssml:
        named |= own_ids_in(text)
    if not named:
        return options
    rows = Voice.objects.filter(
        organization_id=organization_id, status=VoiceStatus.READY, id__in=sorted(named)[:NAMED_AT_MOST]
    )
    return replace(options, own_voices=tuple(_own(row) for row in rows))


def resolve(options: SynthesisOptions, *, organization_id: uuid.UUID) -> SpokenVoice:
    """As `ml.tts.resolve`, the organisation's own voices included."""
    return engine.resolve(with_own(options, organization_id=organization_id))


def _own(row: Voice) -> OwnVoice:
    return OwnVoice(_spoken(row), row.base_voice, _learned(row.latents_key))


def _spoken(row: Voice) -> SpokenVoice:
    return SpokenVoice(str(row.id), row.name, row.language, None, row.engine, row.model)


_kept: OrderedDict[str, tuple[float, Likeness]] = OrderedDict()
_lock = threading.Lock()


def _learned(key: str) -> Likeness:
    """What lies under `key`: read once in a while, as a key's content never changes."""
    now = time.monotonic()
    with _lock:
        kept = _kept.get(key)
        if kept is not None and kept[0] > now:
            _kept.move_to_end(key)
            return kept[1]
    try:
        likeness = unpack(b"".join(storage.read_range(key, 0, storage.size(key) - 1)))
    except ModelInvalid as error:
        raise errors.Unavailable(error.message, code="voice_unavailable", retry_after_seconds=60) from error
    with _lock:
        _kept[key] = now + _KEPT_SECONDS, likeness
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return likeness


def forget(key: str) -> None:
    """After the file was deleted. Other processes forget it when its time is over; they ask the row first anyway."""
    with _lock:
        _kept.pop(key, None)
