"""Audio in Django's storage: unguessable keys that start with the organisation, signed URLs, byte ranges."""

from __future__ import annotations

import logging
import secrets
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core import signing
from django.core.files import File
from django.core.files.storage import FileSystemStorage, default_storage
from django.http import HttpRequest
from django.utils import timezone

from common import errors

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
_SALT = "common.storage.audio_url"


def new_key(organization_id: uuid.UUID, task: str, extension: str) -> str:
    """`<organisation>/<task>/<yyyy>/<mm>/<random><extension>`; the extension starts with a dot."""
    return f"{organization_id}/{task}/{timezone.now():%Y/%m}/{secrets.token_urlsafe(24)}{extension}"


def save(key: str, content: IO[bytes]) -> None:
    """Stores the file under exactly `key`; Unavailable when the storage does not take it."""
    try:
        stored = default_storage.save(key, content if isinstance(content, File) else File(content, name=key))
    except Exception as error:  # each backend has errors of its own: OSError, botocore's, …
        raise errors.Unavailable(
            "The audio storage does not answer; try again.", code="storage_unavailable", retry_after_seconds=5
        ) from error
    if stored != key:  # cannot happen with 192 random bits; a silent rename would lose the audio
        raise errors.Unavailable("The audio storage refused the key.", code="storage_unavailable")


def delete(key: str) -> None:
    """Deletes the object if it exists. A storage that is down leaves an orphan, which is logged, not an error."""
    if not key:
        return
    try:
        default_storage.delete(key)
    except Exception:
        log.exception("could not delete audio", extra={"key": key})


def delete_or_fail(key: str) -> None:
    """Deletes the object, for proof of deletion: Unavailable when the storage does not confirm it."""
    try:
        default_storage.delete(key)
    except Exception as error:
        raise errors.Unavailable(
            "The audio storage does not answer; nothing was deleted.", code="storage_unavailable", retry_after_seconds=5
        ) from error


def is_writable() -> None:
    """Raises whatever the storage raises when a small object cannot be written, read and deleted."""
    key = f"health/{secrets.token_hex(8)}"
    with tempfile.TemporaryFile() as file:
        file.write(b"ok")
        file.seek(0)
        save(key, file)
    default_storage.delete(key)


@contextmanager
def local_copy(key: str) -> Iterator[Path]:
    """A path that the object can be read at: its own on a file system, a temporary download otherwise."""
    if isinstance(default_storage, FileSystemStorage):
        yield Path(default_storage.path(key))
        return
    with tempfile.NamedTemporaryFile(suffix=Path(key).suffix) as file:
        for chunk in read_range(key, 0, size(key) - 1):
            file.write(chunk)
        file.flush()
        yield Path(file.name)


def size(key: str) -> int:
    """Bytes; NotFound when there is no such object."""
    try:
        return default_storage.size(key)
    except FileNotFoundError:
        raise errors.NotFound("The audio has been deleted.", code="audio_deleted") from None
    except Exception as error:
        if _is_missing(error):
            raise errors.NotFound("The audio has been deleted.", code="audio_deleted") from None
        raise errors.Unavailable("The audio storage does not answer.", code="storage_unavailable") from error


def read_range(key: str, first: int, last: int) -> Iterator[bytes]:
    """The bytes `first` to `last`, both included, in chunks. An S3 store is asked for just these."""
    bucket = getattr(default_storage, "bucket", None)
    if bucket is None:
        return _read_file(default_storage.open(key, "rb"), first, last)
    body = bucket.Object(key).get(Range=f"bytes={first}-{last}")["Body"]
    return body.iter_chunks(CHUNK_BYTES)


def _read_file(file: Any, first: int, last: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        remaining = last - first + 1
        while remaining > 0 and (chunk := file.read(min(CHUNK_BYTES, remaining))):
            remaining -= len(chunk)
            yield chunk


def _is_missing(error: Exception) -> bool:
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return str(code) in ("404", "NoSuchKey", "NotFound")


# ── Signed URLs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def signed_url(request: HttpRequest, key: str) -> str:
    """An absolute URL that plays the object, needs no header and expires after AUDIO_URL_TTL_SECONDS."""
    token = signing.dumps(key, salt=_SALT)
    return request.build_absolute_uri(f"/api/v1/media/{token}/{Path(key).name[-12:]}")


def renewed_url(request: HttpRequest, url: str) -> str:
    """A fresh link to what an earlier `signed_url`, expired or not, leads to."""
    token = url.rsplit("/", 2)[-2]
    return signed_url(request, signing.loads(token, salt=_SALT))


def key_of_token(token: str) -> str:
    """The object that a URL's token names; NotFound when it was changed or has expired."""
    try:
        return signing.loads(token, salt=_SALT, max_age=settings.AUDIO_URL_TTL_SECONDS)
    except signing.SignatureExpired:
        raise errors.NotFound("The link has expired; fetch the job again for a new one.", code="link_expired") from None
    except signing.BadSignature:
        raise errors.NotFound("There is nothing here.") from None
