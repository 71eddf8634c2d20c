"""Audio in and out. `ml.audio.encode` is the function; its module is imported as `from ml.audio.encode import …`."""

from ml.audio.encode import (
    CONTENT_TYPES,
    EXTENSIONS,
    FORMATS,
    EncodedFile,
    EncodedInfo,
    EncodedStream,
    StreamEncoder,
    check_format,
    choose_sample_rate,
    encode,
    encode_stream,
    encode_to_file,
)

__all__ = [
    "CONTENT_TYPES",
    "EXTENSIONS",
    "FORMATS",
    "EncodedFile",
    "EncodedInfo",
    "EncodedStream",
    "StreamEncoder",
    "check_format",
    "choose_sample_rate",
    "encode",
    "encode_stream",
    "encode_to_file",
]
