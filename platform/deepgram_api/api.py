"""POST /v1/listen: a recording, as the body or by its address."""

from __future__ import annotations

import hashlib
import mimetypes
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import IO, Any, ClassVar

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser, DataAndFiles
from rest_framework.request import Request
from rest_framework.response import Response

from common import db
from common import errors as native
from common.api import JsonView
from common.parsers import JSONParser
from deepgram_api import errors, results
from deepgram_api.authentication import TokenAuthentication
from deepgram_api.fetching import fetch
from deepgram_api.query import RAW_ENCODINGS, Query, RecordingSerializer
from jobs.idempotency import idempotent
from ml.audio.riff import wav_header
from ml.errors import AudioEmpty
from stt import services
from stt.api import RUN

_FIELD = "recording"
_BLOCK_BYTES = 256 * 1024


class RecordingParser(BaseParser):
    """Any body: it is the recording itself. One that is larger than a recording may be is not read to its end."""

    media_type = "*/*"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> DataAndFiles:
        kind = (media_type or "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            raise UnsupportedMediaType(kind, "The body is the recording itself, or JSON with its url; not a form.")
        spool = _spool()
        for block in iter(lambda: stream.read(_BLOCK_BYTES), b""):
            spool.write(block)
            if spool.tell() > settings.STT_MAX_UPLOAD_BYTES:
                spool.close()
                raise _too_large()
        return DataAndFiles(QueryDict(), MultiValueDict({_FIELD: [_upload(spool, kind)]}))


class ListenView(JsonView):
    access: ClassVar = {"POST": RUN}
    authentication_classes = (TokenAuthentication,)
    parser_classes = (JSONParser, RecordingParser)

    class RecordingUrlSerializer(serializers.Serializer):
        url = serializers.CharField(max_length=2000, help_text="A public address, from which the recording is fetched.")

    class DeepgramTranscriptionSerializer(serializers.Serializer):
        metadata = serializers.DictField(help_text="`request_id` is the job's id.")
        results = serializers.DictField(help_text="`channels[].alternatives[]`, and `utterances` where asked for.")

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response | None]:
        return errors.exception_handler

    @extend_schema(
        operation_id="deepgram_listen",
        parameters=[RecordingSerializer],
        request={"application/json": RecordingUrlSerializer, "application/octet-stream": bytes},
        responses={200: DeepgramTranscriptionSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Transcribe a recording, as Deepgram does."""
        query = Query.of(request.query_params, RecordingSerializer)
        options = query.transcription(self.actor)
        with self._recording(request, query) as upload:
            sha256 = _sha256(upload)
            job = services.transcribe(actor=self.actor, upload=upload, options=options, cancel=self.client_left)
        body = results.of_job(job, fields=query.fields, sha256=sha256)
        return Response(body, headers={"X-Job-ID": str(job.id), "dg-request-id": str(job.id)})

    @contextmanager
    def _recording(self, request: Request, query: Query) -> Iterator[UploadedFile]:
        sent = request.data.get(_FIELD) if isinstance(request.data, dict) else None
        upload = _readable(sent if isinstance(sent, UploadedFile) else self._fetched(request.data), query)
        with closing(upload):
            yield upload

    def _fetched(self, data: Any) -> UploadedFile:
        if not data:
            raise AudioEmpty("The body is empty: send a recording, or JSON with its url.")
        serializer = self.RecordingUrlSerializer(data=data)
        serializer.is_valid(raise_exception=True)
        spool = _spool()
        try:
            with db.released():
                kind = fetch(
                    serializer.validated_data["url"],
                    spool,
                    most_bytes=settings.STT_MAX_UPLOAD_BYTES,
                    cancel=self.client_left,
                )
        except BaseException:
            spool.close()
            raise
        return _upload(spool, kind)


def _spool() -> IO[bytes]:
    """In memory while it is small. Whoever gets it closes it."""
    return tempfile.SpooledTemporaryFile(max_size=settings.FILE_UPLOAD_MAX_MEMORY_SIZE)


def _upload(spool: IO[bytes], kind: str) -> UploadedFile:
    size = spool.tell()
    spool.seek(0)
    return UploadedFile(spool, f"recording{mimetypes.guess_extension(kind) or ''}", kind, size)


def _readable(upload: UploadedFile, query: Query) -> UploadedFile:
    """Raw samples become a WAV file; theirs is closed."""
    encoding = query.fields.get("encoding")
    if encoding not in RAW_ENCODINGS or not upload.size:
        return upload
    header = wav_header(
        RAW_ENCODINGS[encoding],
        query.fields["sample_rate"],
        channels=query.fields["channels"],
        size_bytes=upload.size,
    )
    spool = _spool()
    spool.write(header)
    with closing(upload):
        for block in upload.chunks():
            spool.write(block)
    return _upload(spool, "audio/wav")


def _sha256(upload: UploadedFile) -> str:
    digest = hashlib.sha256()
    for block in upload.chunks():
        digest.update(block)
    upload.seek(0)
    return digest.hexdigest()


def _too_large() -> native.TooLarge:
    return native.TooLarge(
        f"The limit is {settings.STT_MAX_UPLOAD_BYTES:,} bytes; send larger recordings to "
        "POST /api/v1/stt/transcribe with async=true.",
        code="file_too_large",
    )
