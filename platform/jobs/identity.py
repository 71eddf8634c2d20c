"""Which request it is, should it be a repetition: by its Idempotency-Key, or by what it says."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from rest_framework.request import Request

from accounts.actors import Actor
from common import errors
from jobs.models import IdempotencyRecord

_PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a repetition has in common with the first request."""

    organization_id: uuid.UUID
    credential: str
    source: str
    key: str
    fingerprint: str
    starts_anew: bool  # an SDK's first try: what was answered before is of another request that looks the same

    @property
    def record(self) -> dict[str, Any]:
        """The fields that no two records share."""
        return {
            "organization_id": self.organization_id, "credential": self.credential, "source": self.source,
            "key": self.key,
        }  # fmt: skip


def identity_of(actor: Actor, request: Request) -> Identity | None:
    """None where the request says nothing of repetitions. Raises InvalidRequest for a wrong Idempotency-Key."""
    key, count = request.headers.get("Idempotency-Key"), request.headers.get("x-stainless-retry-count", "")
    if key is None and not _COUNT.fullmatch(count):
        return None
    if key is not None and not _PRINTABLE.fullmatch(key):
        raise errors.InvalidRequest(
            "An Idempotency-Key has 1 to 255 printable ASCII characters.", code="idempotency_key_invalid"
        )
    fingerprint = _fingerprint(request)
    source = IdempotencyRecord.Source.HEADER if key is not None else IdempotencyRecord.Source.RETRY
    return Identity(
        actor.organization.id,
        actor.id,
        source,
        fingerprint if key is None else key,
        fingerprint,
        starts_anew=key is None and int(count) == 0,
    )


def _fingerprint(request: Request) -> str:
    """SHA-256 over method, path, query and body: JSON whatever its order and spacing, form fields, files."""
    digest = hashlib.sha256()

    def add(*parts: str | None) -> None:
        digest.update(json.dumps(parts).encode())

    add(request.method, request.path, request.META.get("QUERY_STRING", ""))
    if not isinstance(request.data, QueryDict):
        add(json.dumps(request.data, sort_keys=True))
        return digest.hexdigest()
    for name, values in sorted(request.data.lists()):
        for value in values:
            if isinstance(value, UploadedFile):
                add("file", name, value.name, _sha256(value))
            else:
                add("field", name, str(value))
    return digest.hexdigest()


def _sha256(upload: UploadedFile) -> str:
    digest = hashlib.sha256()
    for chunk in upload.chunks():
        digest.update(chunk)
    upload.seek(0)
    return digest.hexdigest()
