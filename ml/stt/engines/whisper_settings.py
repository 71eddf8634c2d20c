"""A Whisper's settings, and what it can by what its manifest says."""

from __future__ import annotations

from dataclasses import dataclass

from ml import devices, errors
from ml.artifacts import ModelManifest
from ml.stt.engines.base import EngineCapabilities
from ml.stt.engines.options import check_range, read_settings, spoken_languages
from ml.stt.engines.whisper_backend import WINDOW_SECONDS

# fmt: off
LANGUAGES = (
    "af", "am", "ar", "as", "az", "ba", "be", "bg", "bn", "bo", "br", "bs", "ca", "cs", "cy", "da", "de", "el", "en",
    "es", "et", "eu", "fa", "fi", "fo", "fr", "gl", "gu", "ha", "haw", "he", "hi", "hr", "ht", "hu", "hy", "id", "is",
    "it", "ja", "jw", "ka", "kk", "km", "kn", "ko", "la", "lb", "ln", "lo", "lt", "lv", "mg", "mi", "mk", "ml", "mn",
    "mr", "ms", "mt", "my", "ne", "nl", "nn", "no", "oc", "pa", "pl", "ps", "pt", "ro", "ru", "sa", "sd", "si", "sk",
    "sl", "sn", "so", "sq", "sr", "su", "sv", "sw", "ta", "te", "tg", "th", "tk", "tl", "tr", "tt", "uk", "ur", "uz",
    "vi", "yi", "yo", "zh", "yue",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class WhisperSettings:
    """`settings` of a Whisper's `model.json`."""

    device: str = "auto"  # auto | cpu | cuda | cuda:<n>
    compute_type: str = "default"  # CTranslate2's: int8 on the CPU and float16 on CUDA by default; torch: float32/16
    threads: int = 0  # of one call on the CPU; 0: the cores, at most eight
    workers: int = 1  # calls side by side (CTranslate2 on the CPU: each takes `threads`)
    max_batch: int = 0  # windows a call; 0: what `_batch_size` says
    beam_size: int = 1
    patience: float = 1.0
    second_search: bool = True  # where the first has failed, by a wider beam that repeats nothing
    temperatures: tuple[float, ...] = ()  # sampled at, in turn, after the second search has failed too
    compression_ratio_threshold: float = 2.4  # text that zlib packs tighter is a loop
    log_prob_threshold: float = -1.0  # mean of a token; under it the search has failed
    no_speech_threshold: float = 0.6  # and a failed search over this is silence
    tokens_per_second: float = 40.0  # no speech is denser, in any language; bounds what a loop can write
    fitted_windows: bool = False  # encode what was said, rounded up, not 30 seconds: for weights trained with it
    window_step_seconds: float = 5.0  # that fitted windows are rounded up to
    word_times: bool = True

    def __post_init__(self) -> None:
        check_range("threads", self.threads, 0, 64)
        check_range("workers", self.workers, 1, 16)
        check_range("max_batch", self.max_batch, 0, 256)
        check_range("beam_size", self.beam_size, 1, 20)
        check_range("patience", self.patience, 1, 4)
        for temperature in self.temperatures:
            check_range("temperatures", temperature, 0, 1)
        check_range("compression_ratio_threshold", self.compression_ratio_threshold, 1, 100)
        check_range("log_prob_threshold", self.log_prob_threshold, -100, 0)
        check_range("no_speech_threshold", self.no_speech_threshold, 0, 1)
        check_range("tokens_per_second", self.tokens_per_second, 5, 1000)
        check_range("window_step_seconds", self.window_step_seconds, 1, WINDOW_SECONDS)


def capabilities(manifest: ModelManifest) -> EngineCapabilities:
    """By what the manifest says alone; loads nothing."""
    settings = read_settings(manifest, WhisperSettings)
    device = devices.resolve(settings.device)
    languages = spoken_languages(manifest) or frozenset(LANGUAGES)
    unknown = languages - set(LANGUAGES)
    if unknown:
        raise errors.ModelInvalid(f"{manifest.id}: Whisper has no language {', '.join(sorted(unknown))}.")
    multilingual = languages != {"en"}
    return EngineCapabilities(
        languages=languages,
        max_window_seconds=float(WINDOW_SECONDS),
        max_batch=settings.max_batch or _batch_size(device, settings),
        concurrency=settings.workers,
        word_times=settings.word_times,
        word_confidences=settings.word_times,
        punctuation=True,
        casing=True,
        inverse_normalization=True,
        translation=multilingual,
        language_detection=multilingual,
        prompt=True,
        hotwords=True,
        alternatives=True,
        device=device,
    )


def _batch_size(device: str, settings: WhisperSettings) -> int:
    """By measurement (benchmarks/whisper.py): a GPU gains by batches, a CPU only where encoding is cheap.

    Windows that are padded to 30 seconds cost a CPU more together than one by one.
    """
    if device != devices.CPU:
        return 16
    return 4 if settings.fitted_windows else 1
