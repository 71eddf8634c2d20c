"""What a session heard, as a file that players open: for clients that ask to have it kept."""

from __future__ import annotations

import logging
import struct
import tempfile
import threading
import uuid
from typing import Any

from common import db, errors, storage
from stt.models import AudioFile

log = logging.getLogger(__name__)

SPOOL_BYTES = 1024 * 1024
"""Of a session's sound in memory; the rest is on disk until the session ends."""

_WAV = {"pcm_s16le": (1, 16), "pcm_f32le": (3, 32), "alaw": (6, 8), "mulaw": (7, 8)}
"""WAVE format tag and bits a sample, by encoding (RFC 2361)."""

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_MOST_BYTES = 2**32 - 1 - _HEADER.size  # what the header can say


class Recording:
    """`write` what comes, `store` it in the end, from another thread; `close` it whatever happens."""

    def __init__(self, encoding: str, sample_rate: int) -> None:
        self._encoding, self._sample_rate = encoding, sample_rate
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  (`close` closes it)
        self._lock, self._sealed = threading.Lock(), False
        self._bytes = 0
        self._magic = b""
        if encoding in _WAV:
            self._file.write(bytes(_HEADER.size))  # its sizes are known at the end

    def write(self, data: bytes) -> None:
        """The next bytes of the stream, as the client sent them; nothing more once it is stored."""
        with self._lock:
            if self._sealed or self._bytes + len(data) > _MOST_BYTES:
                return
            self._magic = self._magic or data[:4]
            self._bytes += len(data)
            self._file.write(data)

    def store(self, organization_id: uuid.UUID) -> AudioFile | None:
        """The stored sound's row, not saved yet; None where there is none, or the storage does not take it.

        The client was heard: a storage that does not answer costs the recording, not the session.
        """
        self._seal()
        if not self._bytes:
            return None
        extension, content_type = self._kind()
        if self._encoding in _WAV:
            self._write_header()
        key = storage.new_key(organization_id, "stt", extension)
        self._file.seek(0)
        try:
            with db.released():
                storage.save(key, self._file)
        except errors.Unavailable:
            log.exception("the sound of a session was not stored")
            return None
        fields: dict[str, Any] = {"content_type": content_type, "size_bytes": self._size(), "key": key}
        return AudioFile(organization_id=organization_id, filename=f"microphone{extension}", **fields)

    def close(self) -> None:
        self._seal()
        self._file.close()

    def _seal(self) -> None:
        with self._lock:
            self._sealed = True

    def _kind(self) -> tuple[str, str]:
        """File name extension and content type."""
        if self._encoding in _WAV:
            return ".wav", "audio/wav"
        return (".ogg", "audio/ogg") if self._magic == b"OggS" else (".webm", "audio/webm")

    def _size(self) -> int:
        return self._bytes + (_HEADER.size if self._encoding in _WAV else 0)

    def _write_header(self) -> None:
        tag, bits = _WAV[self._encoding]
        frame, rate = bits // 8, self._sample_rate
        self._file.seek(0)
        self._file.write(
            _HEADER.pack(
                b"RIFF", self._bytes + _HEADER.size - 8, b"WAVE",
                b"fmt ", 16, tag, 1, rate, rate * frame, frame, bits,
                b"data", self._bytes,
            )
        )  # fmt: skip
