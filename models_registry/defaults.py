"""Which model serves a request that names none: for each language, a default model that speaks it.

A model is the default for the languages that it speaks. Where several defaults speak one, the one with the fewest
languages serves it, because it was made for it (`ml.stt.registry`, `ml.tts.registry`); so one becomes the default
beside another that speaks more, and in place of one whose languages it all speaks. The embedded model is the default as
long as there is a language that no other default speaks. Languages are compared by their first part: "en" of "en-US".
"""

from __future__ import annotations

from django.db.models import QuerySet

from ml import stt, tts
from ml.errors import ModelInvalid
from ml.stt.registry import primary_language
from models_registry import folders
from models_registry.models import EMBEDDED_VERSION, ModelTask, ModelVersion


def is_due(row: ModelVersion) -> bool:
    """Whether a model becomes the default without being told to: no other default that speaks one of its languages
    has the same or a higher priority."""
    rivals = [other for other in _others(row) if _speak_a_common_language(row, other)]
    return not rivals or _priority(row) > max(map(_priority, rivals))


def give_way(row: ModelVersion) -> None:
    """Takes the defaults away all of whose languages `row`, the new default, speaks. Under the lock of its task."""
    covered = [other.id for other in _others(row) if _speaks_all_of(row, other)]
    ModelVersion.objects.filter(id__in=covered).update(is_default=False)


def settle_embedded(task: str) -> None:
    """The embedded model serves what no other does."""
    installed = ModelVersion.objects.filter(task=task, is_default=True).exclude(version=EMBEDDED_VERSION)
    for embedded in ModelVersion.objects.filter(task=task, version=EMBEDDED_VERSION):
        spoken = [_languages(row) for row in installed]
        is_default = all(spoken) and bool(_languages(embedded).difference(*spoken))
        ModelVersion.objects.filter(id=embedded.id).update(is_default=is_default)


def _others(row: ModelVersion) -> QuerySet[ModelVersion]:
    defaults = ModelVersion.objects.filter(task=row.task, is_default=True).exclude(version=EMBEDDED_VERSION)
    return defaults.exclude(id=row.id)


def _languages(row: ModelVersion) -> frozenset[str]:
    """Empty: it names none, and is taken to speak any."""
    return frozenset(primary_language(language) for language in row.languages)


def _speak_a_common_language(one: ModelVersion, other: ModelVersion) -> bool:
    first, second = _languages(one), _languages(other)
    return not (first and second) or not first.isdisjoint(second)


def _speaks_all_of(row: ModelVersion, other: ModelVersion) -> bool:
    spoken, needed = _languages(row), _languages(other)
    return not spoken or (bool(needed) and needed <= spoken)


def _priority(row: ModelVersion) -> int:
    """By which the runtime prefers it; the lowest where its folder cannot be read."""
    try:
        if row.task == ModelTask.STT:
            return stt.registry.describe(folders.folder_of(row)).priority
        if row.task == ModelTask.TTS:
            return tts.registry.describe(folders.folder_of(row)).priority
    except ModelInvalid:
        pass
    return 0
