"""All of an organisation's data as one zip archive, made as it is sent: JSON lines for rows, files for audio."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from typing import IO, Any, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, Q, QuerySet

from accounts.models import (
    ApiKey,
    Invitation,
    Membership,
    Organization,
    SecurityPolicy,
    ServiceAccount,
    SsoIdentity,
    SsoProvider,
)
from analytics.models import Quota, QuotaPeriod, Reservation, UsageDay, UsageRecord
from audit.models import AuditEntry
from common import errors, storage
from jobs.models import Batch, EventListener, IdempotencyRecord
from models_registry.models import EvaluationManifest, Installation, Rollout, RolloutSample
from openai_api.models import OpenAIAlias
from retention.models import DeletionRecord
from stt.models import AudioFile, ShadowTranscription, SttJob, Transcription, TranscriptionDefaults
from tts.models import PronunciationLexicon, SpeechDefaults, TtsJob, VoiceDefaults
from tts.voices.models import Consent, Voice
from webhooks.models import WebhookDelivery, WebhookEndpoint

EXPORTED: dict[str, tuple[type[Model], tuple[str, ...]]] = {
    # file: (model, fields that are left out)
    "members.jsonl": (Membership, ()),
    "invitations.jsonl": (Invitation, ("salt",)),
    "api_keys.jsonl": (ApiKey, ("digest",)),
    "service_accounts.jsonl": (ServiceAccount, ()),
    "sso_provider.jsonl": (SsoProvider, ("sealed_secret",)),
    "sso_identities.jsonl": (SsoIdentity, ()),
    "security_policy.jsonl": (SecurityPolicy, ()),
    "tts_jobs.jsonl": (TtsJob, ()),
    "stt_jobs.jsonl": (SttJob, ()),
    "audio_files.jsonl": (AudioFile, ()),
    "transcriptions.jsonl": (Transcription, ()),
    "shadow_transcriptions.jsonl": (ShadowTranscription, ()),
    "voices.jsonl": (Voice, ()),
    "voice_consents.jsonl": (Consent, ()),
    "usage.jsonl": (UsageRecord, ()),
    "webhooks.jsonl": (WebhookEndpoint, ("salt", "previous_salt")),
    "webhook_deliveries.jsonl": (WebhookDelivery, ()),
    "openai_aliases.jsonl": (OpenAIAlias, ()),
    "audit.jsonl": (AuditEntry, ()),
    "batches.jsonl": (Batch, ()),
    "transcription_defaults.jsonl": (TranscriptionDefaults, ()),
    "speech_defaults.jsonl": (SpeechDefaults, ()),
    "quota.jsonl": (Quota, ()),
    "quota_periods.jsonl": (QuotaPeriod, ()),
    "evaluation_manifests.jsonl": (EvaluationManifest, ()),
    "rollouts.jsonl": (Rollout, ()),
    "rollout_samples.jsonl": (RolloutSample, ()),
    "lexicons.jsonl": (PronunciationLexicon, ()),
    "voice_defaults.jsonl": (VoiceDefaults, ()),
    "deletions.jsonl": (DeletionRecord, ()),
}
LEFT_OUT: tuple[type[Model], ...] = (IdempotencyRecord, EventListener, Reservation, Installation, UsageDay)
"""What lives for a moment only: answers that may be asked for again, streams that are open, what running jobs hold."""


PAGE = 500
"""Rows in memory."""


def archive(organization: Organization) -> Iterator[bytes]:
    """The archive in pieces; memory and disk hold one file of it at a time."""
    sink = _Sink()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED, allowZip64=True) as file:
        file.writestr("organization.json", _line({"id": organization.id, "name": organization.name}))
        yield sink.take()
        for name, (model, hidden) in EXPORTED.items():
            rows = model._default_manager.filter(organization_id=organization.id)
            with file.open(name, "w", force_zip64=True) as member:
                for row in _each(rows):
                    member.write(_line({key: value for key, value in row.items() if key not in hidden}))
                    if sink.size > storage.CHUNK_BYTES:
                        yield sink.take()
        for key in _keys(organization):
            yield from _stored(file, sink, key)
    yield sink.take()


def write(organization: Organization, target: IO[bytes]) -> None:
    for piece in archive(organization):
        target.write(piece)


def _stored(file: zipfile.ZipFile, sink: _Sink, key: str) -> Iterator[bytes]:
    """An audio file under its key. One that is gone is left out: its row says what it was."""
    try:
        size = storage.size(key)
    except errors.NotFound:
        return
    if not size:
        return
    with file.open(zipfile.ZipInfo(f"audio/{key}"), "w", force_zip64=True) as member:
        for chunk in storage.read_range(key, 0, size - 1):
            member.write(chunk)
            yield sink.take()


def _keys(organization: Organization) -> Iterator[str]:
    owned = {"organization_id": organization.id}
    for model, name in (
        (TtsJob, "audio_key"),
        (AudioFile, "key"),
        (SttJob, "reference_key"),
        (Voice, "sample_key"),
        (Voice, "latents_key"),
        (Voice, "preview_key"),
        (Consent, "audio_key"),
    ):
        for row in _each(model._default_manager.filter(**owned).exclude(**{name: ""}), "id", "created_at", name):
            yield row[name]


def _each(rows: QuerySet, *fields: str) -> Iterator[dict[str, Any]]:
    """Oldest first. A query for each PAGE rather than one cursor: the connection is given back between pieces."""
    ordered, after = rows.order_by("created_at", "id").values(*fields), Q()
    while page := list(ordered.filter(after)[:PAGE]):
        yield from page
        last = page[-1]
        after = Q(created_at__gt=last["created_at"]) | Q(created_at=last["created_at"], id__gt=last["id"])


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False).encode() + b"\n"


class _Sink:
    """Where the archive is written to; not seekable, so sizes follow the data (zip's data descriptors)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        return

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return taken
