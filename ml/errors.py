"""One tree of errors for everything that `ml` raises.

    MlError                       500  ml_error
    ├─ AudioError                 422
    │  ├─ AudioUndecodable        422  audio_undecodable
    │  ├─ AudioEmpty              422  audio_empty
    │  ├─ ChannelsUnsuitable      422  channels_unsuitable (a channel is not a speaker's own)
    │  ├─ SampleUnsuitable        422  sample_unsuitable   (of a voice; `reason` says why)
    │  └─ AudioTooLong            413  audio_too_long
    ├─ InvalidRequest             400  invalid_parameter   (carries `param`)
    │  ├─ UnknownVoice            400  voice_not_found
    │  ├─ VoiceMixInvalid         400  voice_mix_invalid   ("a(2)+b": a weight, or too many parts)
    │  ├─ VoiceMixUnsupported     400  voice_mixing_unsupported
    │  ├─ UnknownModel            400  model_not_found
    │  ├─ LanguageNotSupported    400  language_not_supported
    │  └─ SsmlInvalid             400  ssml_invalid
    ├─ EngineFailed               500  engine_failed
    │  └─ EngineFault             503  engine_fault        (the engine itself broke, e.g. CUDA; it is loaded again)
    ├─ EngineUnavailable          503  engine_unavailable  (try again later)
    │  └─ TooFarBehind            503  too_far_behind      (live speech comes faster than it can be heard)
    ├─ DiskFull                   503  storage_full        (no room for temporary files)
    ├─ ModelInvalid               409  model_invalid       (a model folder that cannot be served)
    └─ Cancelled                  499  cancelled           (the caller left; never sent to a client)

`status` is the HTTP status that the edge answers with; `ml` itself knows nothing of HTTP. Errors cross process borders
by `code`, so a code names exactly one class.
"""

from __future__ import annotations

from typing import ClassVar


class MlError(Exception):
    """Base of every error that `ml` raises on purpose. `str(error)` is one clear sentence for the caller."""

    code: ClassVar[str] = "ml_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class AudioError(MlError):
    code = "audio_invalid"
    status = 422


class AudioUndecodable(AudioError):
    code = "audio_undecodable"


class AudioEmpty(AudioError):
    code = "audio_empty"


class ChannelsUnsuitable(AudioError):
    code = "channels_unsuitable"


class SampleUnsuitable(AudioError):
    """No voice can be learned from a recording. The message says what to record differently."""

    code = "sample_unsuitable"

    def __init__(self, message: str, *, param: str | None = None, reason: str = "sample_unsuitable") -> None:
        super().__init__(message, param=param)
        self.reason = reason


class AudioTooLong(AudioError):
    code = "audio_too_long"
    status = 413


class InvalidRequest(MlError):
    code = "invalid_parameter"
    status = 400


class UnknownVoice(InvalidRequest):
    code = "voice_not_found"


class VoiceMixInvalid(InvalidRequest):
    code = "voice_mix_invalid"


class VoiceMixUnsupported(InvalidRequest):
    """The model of these voices cannot speak with several at once."""

    code = "voice_mixing_unsupported"


class UnknownModel(InvalidRequest):
    code = "model_not_found"


class LanguageNotSupported(InvalidRequest):
    code = "language_not_supported"


class SsmlInvalid(InvalidRequest):
    code = "ssml_invalid"


class EngineFailed(MlError):
    code = "engine_failed"


class EngineFault(EngineFailed):
    """Raised by an engine that cannot go on: the pool drops it and loads it again. Never for one bad request."""

    code = "engine_fault"
    status = 503


class EngineUnavailable(MlError):
    code = "engine_unavailable"
    status = 503


class TooFarBehind(EngineUnavailable):
    code = "too_far_behind"


class DiskFull(MlError):
    code = "storage_full"
    status = 503


class ModelInvalid(MlError):
    code = "model_invalid"
    status = 409


class Cancelled(MlError):
    code = "cancelled"
    status = 499


def _tree(root: type[MlError]) -> dict[str, type[MlError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def from_code(code: str, message: str, param: str | None = None) -> MlError:
    """The error that `code` names; an unknown code becomes `EngineFailed`, which says so."""
    error_class = _tree(MlError).get(code)
    if error_class is None:
        return EngineFailed(f"{code}: {message}")
    return error_class(message, param=param)
