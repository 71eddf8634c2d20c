"""Writes: a voice is begun with a consent, deleted, or ended by revoking the consent."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone

from accounts.actors import Actor
from audit import services as audit
from common import context, db, errors, storage
from common.parsers import is_storable
from jobs.services import lock_organization
from ml.audio import EXTENSIONS
from ml.errors import AudioEmpty
from ml.tts import cloning
from retention import services as retention
from retention.models import Reason
from tts.voices import announcing, selectors
from tts.voices.models import Consent, Voice, VoiceStatus

log = logging.getLogger(__name__)

STATEMENT = "I have the consent of the person whose voice this is to make a synthetic voice of it."
"""What a consent of just "true" or "yes" stands for."""

_YES, _NO = frozenset({"true", "yes", "1", "on"}), frozenset({"false", "no", "0", "off", "null", "none"})
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class Statement:
    """A consent in words."""

    statement: str
    name: str = ""  # whose voice it is


def read_consent(text: str) -> Statement:
    """The form field: a statement, or JSON `{"name", "statement"}`. Raises InvalidRequest."""
    text = text.strip()
    if text.lower() in _NO or not text:
        raise _refused("A voice needs the consent of the person whose voice it is.", "consent_required")
    if text.lower() in _YES:
        return Statement(STATEMENT)
    if not text.startswith("{"):
        return Statement(text)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise _refused("The consent is not valid JSON.", "parameter_invalid") from None
    strings = {name: value.strip() for name, value in fields.items() if isinstance(value, str)}
    if set(fields) - {"name", "statement"} or len(strings) != len(fields):
        raise _refused("A consent as JSON has the texts name and statement.", "parameter_invalid")
    if not strings.get("statement") or len(strings.get("name", "")) > 200:
        raise _refused("A consent needs a statement, and a name of at most 200 characters.", "consent_required")
    if not all(is_storable(text) for text in strings.values()):
        raise _refused("The consent has characters that are none.", "parameter_invalid")
    return Statement(strings["statement"], strings.get("name", ""))


def create_voice(
    *,
    actor: Actor,
    sample: UploadedFile,
    name: str,
    language: str,
    consent: Statement,
    consent_audio: UploadedFile | None = None,
) -> Voice:
    """Stores the recordings and queues the training. Raises InvalidRequest, TooLarge, Conflict `too_many_voices`,
    `ml.errors.LanguageNotSupported` and `AudioEmpty`."""
    base, _ = cloning.choose(language)
    if consent_audio is None and settings.VOICE_CONSENT_AUDIO_REQUIRED:
        raise errors.InvalidRequest(
            "A voice needs a spoken consent: a recording of the person reading the statement.",
            code="consent_audio_required",
            param="consent_audio",
        )
    _check_size(sample, "audio_sample")
    if consent_audio is not None:
        _check_size(consent_audio, "consent_audio")
    _check_number(actor)
    voice = Voice(
        organization=actor.organization,
        user=actor.user,
        request_id=context.request_id.get(),
        name=name,
        language=base.language,
    )
    keys: list[str] = []
    try:
        voice.sample_key = _stored(actor, sample, keys)
        consent_key = _stored(actor, consent_audio, keys) if consent_audio is not None else ""
        with transaction.atomic():
            lock_organization(actor.organization.id)  # two at once must not pass the limit
            _check_number(actor)
            _write(actor, voice, consent, consent_key)
    except BaseException:
        for key in keys:
            storage.delete(key)
        raise
    return voice


def _write(actor: Actor, voice: Voice, consent: Statement, consent_key: str) -> None:
    from tts.voices.tasks import train

    voice.save(force_insert=True)
    voice.consent = Consent.objects.create(
        organization=actor.organization,
        voice=voice,
        name=consent.name,
        statement=consent.statement,
        recorded_by=audit.label_of(actor),
        address=context.origin.get().address,
        audio_key=consent_key,
    )
    train.defer(voice_id=str(voice.id))
    audit.record(
        actor=actor, action="voice.created", target=voice, consent=consent.statement, consent_name=consent.name,
        spoken_consent=bool(consent_key),
    )  # fmt: skip


def delete_voice(*, actor: Actor, voice: Voice) -> None:
    """Deletes the voice, its recordings and its consent; the audit trail keeps that there were any."""
    _disable(voice, "deleted", "The voice was deleted.")
    files = _delete_files(voice, [*voice.keys, voice.consent.audio_key])
    with transaction.atomic():
        audit.record(actor=actor, action="voice.deleted", target=voice)
        _prove(actor, voice, files)
        announcing.deleted(voice)
        voice.delete()


def revoke_consent(*, actor: Actor, voice: Voice) -> Consent:
    """Disables the voice at once, and deletes sample, latents, preview and the spoken consent.

    The row and the consent's words stay, as the proof of what was allowed until when. Raises Conflict where it was
    revoked before.
    """
    now = timezone.now()
    with transaction.atomic():
        mine = Consent.objects.filter(voice=voice, revoked_at=None)
        if not mine.update(revoked_at=now, revoked_by=audit.label_of(actor)):
            raise errors.Conflict("The consent was revoked before.", code="consent_revoked")
        audit.record(actor=actor, action="voice.consent_revoked", target=voice)
        _disable(voice, "consent_revoked", "The consent was revoked.")
        announcing.deleted(voice)
    files = _delete_files(voice, [*voice.keys, voice.consent.audio_key])
    with transaction.atomic():
        Voice.objects.filter(id=voice.id).update(sample_key="", latents_key="", preview_key="", profile={})
        Consent.objects.filter(voice=voice).update(audio_key="", transcript="")
        _prove(actor, voice, files)
    return Consent.objects.get(voice=voice)


def _disable(voice: Voice, code: str, message: str) -> None:
    """From now on nobody speaks with it, and whoever trains it writes nothing."""
    end = {"status": VoiceStatus.FAILED, "error_code": code, "error_message": message}
    Voice.objects.filter(id=voice.id).update(**end, finished_at=timezone.now())
    voice.refresh_from_db()


def _delete_files(voice: Voice, keys: list[str]) -> int:
    present = [key for key in keys if key]
    with db.released():
        for key in present:
            storage.delete_or_fail(key)
    selectors.forget(voice.latents_key)
    return len(present)


def _prove(actor: Actor, voice: Voice, files: int) -> None:
    retention.record(
        organization_id=voice.organization_id, object_type="voice", object_id=voice.id, reason=Reason.REQUEST,
        files=files, by=actor.id,
    )  # fmt: skip


def _check_size(upload: UploadedFile, param: str) -> None:
    if not upload.size:
        raise AudioEmpty("The file is empty.", param=param)
    if upload.size > settings.VOICE_SAMPLE_MAX_BYTES:
        raise errors.TooLarge(
            f"The file has {upload.size:,} bytes; the limit is {settings.VOICE_SAMPLE_MAX_BYTES:,}.",
            code="file_too_large",
            param=param,
        )


def _check_number(actor: Actor) -> None:
    held = Voice.objects.filter(organization=actor.organization).exclude(status=VoiceStatus.FAILED).count()
    if held >= settings.VOICES_MAX_PER_ORGANIZATION:
        raise errors.Conflict(
            f"An organisation has at most {settings.VOICES_MAX_PER_ORGANIZATION} voices of its own; delete one first.",
            code="too_many_voices",
        )


def _stored(actor: Actor, upload: UploadedFile, keys: list[str]) -> str:
    """Streams the upload to the storage; its key. No transaction is open meanwhile."""
    suffix = Path(upload.name or "").suffix.lower()
    key = storage.new_key(actor.organization.id, "voices", suffix if _SUFFIX.fullmatch(suffix) else EXTENSIONS["wav"])
    with db.released():
        storage.save(key, upload)
    keys.append(key)
    return key


def _refused(message: str, code: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(message, code=code, param="consent")
