"""What a session heard, as a file that players open: for clients that ask to have it kept."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import uuid
from typing import Any

from common import db, errors, storage
from ml.audio import riff
from stt.models import AudioFile

log = logging.getLogger(__name__)

SPOOL_BYTES = 1024 * 1024
"""Of a session's sound in memory; the rest is on disk until the session ends."""

_CONTAINERS = {
    b"OggS": (".ogg", "audio/ogg"),
    b"\x1aE\xdf\xa3": (".webm", "audio/webm"),  # Matroska at large, of which browsers record this kind
    b"fLaC": (".flac", "audio/flac"),
    b"RIFF": (".wav", "audio/wav"),
}
"""File name extension and content type, by the first bytes; of `ml.audio`'s live containers MP3 alone begins in many
ways."""

_MOST_BYTES = riff.UNKNOWN_BYTES - 1024  # what a WAV file's header can say


class Recording:
    """`write` what comes, `store` it in the end, from another thread; `close` it whatever happens."""

    def __init__(self, encoding: str, sample_rate: int) -> None:
        self._encoding, self._sample_rate = encoding, sample_rate
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  (`close` closes it)
        self._lock, self._sealed = threading.Lock(), False
        self._bytes = 0
        self._file.write(self._header())  # its sizes are known at the end

    def write(self, data: bytes) -> None:
        """The next bytes of the stream, as the client sent them; nothing more once it is stored."""
        with self._lock:
            if self._sealed or self._bytes + len(data) > _MOST_BYTES:
                return
            self._bytes += len(data)
            self._file.write(data)

    def store(self, organization_id: uuid.UUID) -> AudioFile | None:
        """The stored sound's row, not saved yet; None where there is none, or the storage does not take it.

        The client was heard: a storage that does not answer costs the recording, not the session.
        """
        self._seal()
        if not self._bytes:
            return None
        self._file.seek(0)
        self._file.write(self._header())
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        extension, content_type = _CONTAINERS.get(self._file.read(4), (".mp3", "audio/mpeg"))
        self._file.seek(0)
        key = storage.new_key(organization_id, "stt", extension)
        try:
            with db.released():
                storage.save(key, self._file)
        except errors.Unavailable:
            log.exception("the sound of a session was not stored")
            return None
        fields: dict[str, Any] = {"content_type": content_type, "size_bytes": size, "key": key}
        return AudioFile(organization_id=organization_id, filename=f"microphone{extension}", **fields)

    def close(self) -> None:
        self._seal()
        self._file.close()

    def _seal(self) -> None:
        with self._lock:
            self._sealed = True

    def _header(self) -> bytes:
        """Of raw samples; containers have their own."""
        if not riff.is_raw(self._encoding):
            return b""
        return riff.wav_header(self._encoding, self._sample_rate, size_bytes=self._bytes)
