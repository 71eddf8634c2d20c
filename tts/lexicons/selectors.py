"""Reads: lexicons, ready to be applied, and voices' defaults."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from accounts.actors import Actor
from accounts.models import Organization
from common import errors
from common.access import get_owned, owned_by
from ml.tts.lexicon import Entry, Lexicon
from tts.defaults.models import SpeechDefaults
from tts.lexicons.models import PronunciationLexicon, VoiceDefaults


def list_lexicons(*, actor: Actor) -> QuerySet[PronunciationLexicon]:
    return owned_by(actor, PronunciationLexicon).defer("entries")


def get_lexicon(*, actor: Actor, lexicon_id: uuid.UUID) -> PronunciationLexicon:
    return get_owned(actor, PronunciationLexicon, lexicon_id)


def list_voice_defaults(*, actor: Actor) -> QuerySet[VoiceDefaults]:
    return owned_by(actor, VoiceDefaults)


def find_voice_defaults(*, organization: Organization, voice_id: str) -> VoiceDefaults | None:
    """No query where the organisation has none and was read with its settings."""
    if not _speech_defaults(organization).has_voice_defaults:
        return None
    return VoiceDefaults.objects.filter(organization=organization, voice=voice_id).first()


def default_ids(organization: Organization) -> list[str]:
    """No query where the organisation has none and was read with its settings."""
    if not _speech_defaults(organization).has_default_lexicons:
        return []
    rows = PronunciationLexicon.objects.filter(organization=organization, is_default=True)
    return [str(row) for row in rows.values_list("id", flat=True)]


def assembled(
    *, organization_id: uuid.UUID, ids: Sequence[str], inline: Iterable[dict[str, Any]] = (), strict: bool = True
) -> Lexicon | None:
    """One lexicon of the request's own entries and those of an organisation's lexicons; the former count first.

    strict: raises NotFound for an id that is not the organisation's; else it is passed over, having been deleted since.
    """
    own = [entry_of(fields) for fields in inline]
    stamps = PronunciationLexicon.objects.filter(organization_id=organization_id, id__in=ids)
    found = {str(row): stamp for row, stamp in stamps.values_list("id", "updated_at")} if ids else {}
    missing = [lexicon_id for lexicon_id in ids if lexicon_id not in found]
    if missing and strict:
        raise errors.NotFound(f"There is no lexicon {missing[0]}.", param="lexicon")
    kept = [_compiled(lexicon_id, found[lexicon_id]) for lexicon_id in ids if lexicon_id in found]
    if not own and len(kept) < 2:
        return kept[0] if kept else None
    return Lexicon([*own, *(entry for each in kept for entry in each.entries)])


def entry_of(fields: dict[str, Any]) -> Entry:
    return Entry(**fields)


def entries_of(lexicon: PronunciationLexicon) -> list[Entry]:
    return [entry_of({**fields, "language": fields["language"] or lexicon.language}) for fields in lexicon.entries]


def _speech_defaults(organization: Organization) -> SpeechDefaults:
    return getattr(organization, "speech_defaults", None) or SpeechDefaults()


@functools.lru_cache(maxsize=64)
def _compiled(lexicon_id: str, _updated_at: datetime) -> Lexicon:
    """Only for an id whose owner has been verified; the time makes a changed lexicon another one."""
    return Lexicon(entries_of(PronunciationLexicon.objects.get(id=lexicon_id)))
