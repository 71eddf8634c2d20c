"""All of an organisation's data as one zip archive, made as it is sent: JSON lines for rows, files for audio."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from typing import IO, Any, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet

from accounts.models import ApiKey, Invitation, Membership, Organization
from analytics.models import UsageRecord
from audit.models import AuditEntry
from common import errors, storage
from openai_api.models import OpenAIAlias
from stt.models import AudioFile, ShadowTranscription, SttJob, Transcription
from tts.models import TtsJob
from webhooks.models import WebhookDelivery, WebhookEndpoint

EXPORTED: dict[str, tuple[type[Model], tuple[str, ...]]] = {
    # file: (model, fields that are left out)
    "members.jsonl": (Membership, ()),
    "invitations.jsonl": (Invitation, ("salt",)),
    "api_keys.jsonl": (ApiKey, ("digest",)),
    "tts_jobs.jsonl": (TtsJob, ()),
    "stt_jobs.jsonl": (SttJob, ()),
    "audio_files.jsonl": (AudioFile, ()),
    "transcriptions.jsonl": (Transcription, ()),
    "shadow_transcriptions.jsonl": (ShadowTranscription, ()),
    "usage.jsonl": (UsageRecord, ()),
    "webhooks.jsonl": (WebhookEndpoint, ("salt", "previous_salt")),
    "webhook_deliveries.jsonl": (WebhookDelivery, ()),
    "openai_aliases.jsonl": (OpenAIAlias, ()),
    "audit.jsonl": (AuditEntry, ()),
}


def archive(organization: Organization) -> Iterator[bytes]:
    """The archive in pieces; memory and disk hold one file of it at a time."""
    sink = _Sink()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED, allowZip64=True) as file:
        file.writestr("organization.json", _line({"id": organization.id, "name": organization.name}))
        yield sink.take()
        for name, (model, hidden) in EXPORTED.items():
            rows = model._default_manager.filter(organization=organization)
            with file.open(name, "w", force_zip64=True) as member:
                for row in rows.order_by("created_at").values().iterator(chunk_size=500):
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
    spoken: QuerySet = TtsJob.objects.filter(organization=organization).exclude(audio_key="")
    heard: QuerySet = AudioFile.objects.filter(organization=organization)
    yield from spoken.values_list("audio_key", flat=True).iterator(chunk_size=500)
    yield from heard.values_list("key", flat=True).iterator(chunk_size=500)


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
