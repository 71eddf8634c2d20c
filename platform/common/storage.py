"""Audio in Django's storage: unguessable keys that start with the organisation, signed URLs, byte ranges."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
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

from common import errors, outages

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
_SALT = "common.storage.audio_url"


def new_key(organization_id: uuid.UUID, task: str, extension: str) -> str:
    """`<organisation>/<task>/<yyyy>/<mm>/<random><extension>`; the extension starts with a dot."""
    return f"{organization_id}/{task}/{timezone.now():%Y/%m}/{secrets.token_urlsafe(24)}{extension}"


def save(key: str, content: IO[bytes]) -> None:
    """Stores the file under exactly `key`; Unavailable or StorageFull when the storage does not take it."""
    try:
        stored = default_storage.save(key, content if isinstance(content, File) else File(content, name=key))
    except _faults() as error:
        if isinstance(default_storage, FileSystemStorage):
            delete(key)  # what was written before the disk was full
        raise _unavailable(error) from error
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
    except _faults() as error:
        raise errors.Unavailable(
            "The audio storage does not answer; nothing was deleted.", code="storage_unavailable", retry_after_seconds=5
        ) from error


def delete_below(folder: str) -> int:
    """Deletes all objects whose keys start with `folder/`; how many. Raises what the storage raises."""
    bucket = getattr(default_storage, "bucket", None)
    if bucket is not None:
        return sum(len(page.get("Deleted", ())) for page in bucket.objects.filter(Prefix=f"{folder}/").delete())
    path = Path(default_storage.path(folder))
    count = sum(len(files) for _, _, files in os.walk(path))
    shutil.rmtree(path, ignore_errors=not path.exists())
    return count


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
    """A path that the object can be read at: its own on a file system, a temporary download otherwise.

    Raises NotFound, Unavailable, and OSError when there is no room for the download.
    """
    if isinstance(default_storage, FileSystemStorage):
        yield _existing(Path(default_storage.path(key)))
        return
    with tempfile.NamedTemporaryFile(suffix=Path(key).suffix) as file:
        for chunk in read_range(key, 0, size(key) - 1):
            file.write(chunk)
        file.flush()
        yield Path(file.name)


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.parent.is_dir():  # nothing of that month is there: a disk that is not mounted
        raise errors.Unavailable("The audio storage is not there.", code="storage_unavailable", retry_after_seconds=5)
    raise errors.NotFound("The audio has been deleted.", code="audio_deleted")


def size(key: str) -> int:
    """Bytes; NotFound when there is no such object, Unavailable when the storage does not say."""
    try:
        if isinstance(default_storage, FileSystemStorage):
            _existing(Path(default_storage.path(key)))
        return default_storage.size(key)
    except _faults() as error:
        raise _missing_or_unavailable(error) from error


def read_range(key: str, first: int, last: int) -> Iterator[bytes]:
    """The bytes `first` to `last`, both included, in chunks. An S3 store is asked for just these.

    Raises as `size` does, also between chunks.
    """
    bucket = getattr(default_storage, "bucket", None)
    try:
        if bucket is None:
            return _read_file(default_storage.open(key, "rb"), first, last)
        body = bucket.Object(key).get(Range=f"bytes={first}-{last}")["Body"]
    except _faults() as error:
        raise _missing_or_unavailable(error) from error
    return _read_body(body)


def _read_body(body: Any) -> Iterator[bytes]:
    try:
        yield from body.iter_chunks(CHUNK_BYTES)
    except _faults() as error:  # the connection broke
        raise _unavailable(error) from error
    finally:
        body.close()


def _read_file(file: Any, first: int, last: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        remaining = last - first + 1
        while remaining > 0 and (chunk := file.read(min(CHUNK_BYTES, remaining))):
            remaining -= len(chunk)
            yield chunk


def _faults() -> tuple[type[Exception], ...]:
    """What the storage raises when it is at fault. Anything else, such as an empty key, is a fault of ours: taken for
    an outage, it would let jobs wait for hours for what no waiting mends."""
    if isinstance(default_storage, FileSystemStorage):
        return (OSError,)
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    return OSError, Boto3Error, BotoCoreError, ClientError, HTTPError


def _missing_or_unavailable(error: Exception) -> errors.ApiError:
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    if isinstance(error, FileNotFoundError) or str(code) in ("404", "NoSuchKey", "NotFound"):
        return errors.NotFound("The audio has been deleted.", code="audio_deleted")
    return _unavailable(error)


def _unavailable(error: Exception) -> errors.ApiError:
    if outages.is_full(error):
        return errors.StorageFull("The audio storage is full; try again later.", retry_after_seconds=30)
    return errors.Unavailable(
        "The audio storage does not answer; try again.", code="storage_unavailable", retry_after_seconds=5
    )


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
