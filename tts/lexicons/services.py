"""Writes: lexicons and voices' defaults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.actors import Actor
from audit import services as audit
from common import errors
from common.models import differing, write
from ml.errors import UnknownVoice
from ml.tts import lexicon as rules
from ml.tts import pls
from ml.tts import registry as engine
from ml.tts.lexicon import Entry
from ml.types import SynthesisOptions
from tts.lexicons import selectors
from tts.lexicons.models import PronunciationLexicon, VoiceDefaults
from tts.voices import selectors as voices


def create_lexicon(
    *, actor: Actor, name: str, language: str = "", is_default: bool = False, entries: Iterable[dict[str, Any]] = ()
) -> PronunciationLexicon:
    """Raises InvalidRequest for an entry that says nothing, Conflict for a name that is taken or one too many."""
    if selectors.list_lexicons(actor=actor).count() >= settings.TTS_MAX_LEXICONS:
        raise errors.Conflict(
            f"An organisation has at most {settings.TTS_MAX_LEXICONS} lexicons.", code="too_many_lexicons"
        )
    row = PronunciationLexicon(organization=actor.organization, name=name, language=language, is_default=is_default)
    row.entries = _checked(entries)
    _save(row, actor, "tts_lexicon.created")
    return row


def update_lexicon(*, actor: Actor, lexicon: PronunciationLexicon, changes: dict[str, Any]) -> PronunciationLexicon:
    """Changes name, language, default or all entries. Raises as `create_lexicon`."""
    if "entries" in changes:
        changes = {**changes, "entries": _checked(changes["entries"])}
    changes = differing(lexicon, changes)
    for field, value in changes.items():
        setattr(lexicon, field, value)
    if changes:
        _save(lexicon, actor, "tts_lexicon.updated")
    return lexicon


def import_entries(
    *, actor: Actor, lexicon: PronunciationLexicon, data: bytes, format_name: str, replace: bool
) -> PronunciationLexicon:
    """Reads a PLS or CSV file into a lexicon. replace: in place of its entries, else
    over those of the same spelling."""
    read = pls.read_pls if format_name == "pls" else pls.read_csv
    entries = read(data, most=settings.TTS_LEXICON_MAX_ENTRIES)
    if not replace:
        new = {_same(entry) for entry in entries}
        entries += [entry for entry in map(selectors.entry_of, lexicon.entries) if _same(entry) not in new]
    return update_lexicon(actor=actor, lexicon=lexicon, changes={"entries": [asdict(entry) for entry in entries]})


def delete_lexicon(*, actor: Actor, lexicon: PronunciationLexicon) -> None:
    with transaction.atomic():
        audit.record(actor=actor, action="tts_lexicon.deleted", target=lexicon, name=lexicon.name)
        lexicon.delete()


def set_voice_defaults(*, actor: Actor, voice_id: str, values: dict[str, Any]) -> VoiceDefaults:
    """What a voice speaks with where a request says nothing else; values that are left out are the platform's again.

    Raises UnknownVoice, also for a style that the voice cannot take, or VoiceMixInvalid and VoiceMixUnsupported.
    """
    voices.resolve(SynthesisOptions(voice=voice_id), organization_id=actor.organization.id)
    style = values.get("style", "")
    if style and engine.find(f"{voice_id}+{style}") is None:  # which could also be read as a mix of two voices
        raise UnknownVoice(f"The voice {voice_id} has no style {style!r}.", param="style")
    others = selectors.list_voice_defaults(actor=actor).exclude(voice=voice_id)
    if others.count() >= settings.TTS_MAX_VOICE_DEFAULTS:
        raise errors.Conflict("There are defaults for too many voices.", code="too_many_voice_defaults")
    fields: dict[str, Any] = {"speed": None, "pitch": None, "volume": None, "loudness": None, "style": "", **values}
    with transaction.atomic():
        row, created = VoiceDefaults.objects.select_for_update().get_or_create(
            organization=actor.organization, voice=voice_id, defaults=fields
        )
        if write(row, fields) or created:
            audit.record(actor=actor, action="tts_voice_defaults.changed", target=row, voice=voice_id, changes=values)
    return row


def delete_voice_defaults(*, actor: Actor, defaults: VoiceDefaults) -> None:
    with transaction.atomic():
        audit.record(actor=actor, action="tts_voice_defaults.deleted", target=defaults, voice=defaults.voice)
        defaults.delete()


def checked_inline(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A request's own entries, as they are kept with its job. Raises InvalidRequest."""
    return [asdict(rules.check(selectors.entry_of(fields))) for fields in entries]


def _checked(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    made = [asdict(rules.check(selectors.entry_of(fields))) for fields in entries]
    if len(made) > settings.TTS_LEXICON_MAX_ENTRIES:
        raise errors.InvalidRequest(
            f"A lexicon holds at most {settings.TTS_LEXICON_MAX_ENTRIES:,} entries.",
            code="too_many_entries",
            param="entries",
        )
    return made


def _same(entry: Entry) -> tuple[str, str, bool]:
    return entry.grapheme if entry.case_sensitive else entry.grapheme.casefold(), entry.language, entry.case_sensitive


def _save(row: PronunciationLexicon, actor: Actor, action: str) -> None:
    row.entry_count = len(row.entries)
    try:
        with transaction.atomic():
            row.save()
            audit.record(actor=actor, action=action, target=row, name=row.name, entries=row.entry_count)
    except IntegrityError:
        raise errors.Conflict(
            f"There is a lexicon {row.name!r} already.", code="lexicon_exists", param="name"
        ) from None
