"""Each language has a default model: which of the installed models serves a request that names none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models_registry.models import ModelVersion
from tests.conftest import Tenant, error_of
from tests.ml import tiny_voices
from tests.models.support import models, version_of
from tests.models.test_reload import synthesize, transcribe

EMBEDDED = "pocketsphinx-en-us"


def defaults(task: str = "stt") -> set[str]:
    return set(ModelVersion.objects.filter(task=task, is_default=True).values_list("name", flat=True))


def used(tenant: Tenant, language: str) -> str:
    answer = transcribe(tenant.key("stt"), language_hint=language)
    assert answer.status_code == 200, answer.text
    return answer.json()["model_used"]


def test_models_of_two_languages_are_each_the_default_for_theirs(tenant: Tenant, folder: Callable[..., Path]) -> None:
    models("import", folder("english", "1", languages=("en-US",)))
    assert defaults() == {"english"}
    models("import", folder("hindi", "1", languages=("hi",)))
    assert defaults() == {"english", "hindi"}
    assert [used(tenant, language) for language in ("en", "en-GB", "hi", "hi-IN")] == [
        "english", "english", "hindi", "hindi",
    ]  # fmt: skip
    status = tenant.user("viewer").get("/models/status").json()["models"]
    shown = {model["name"]: model["languages"] for model in status if model["task"] == "stt" and model["default"]}
    assert shown == {"english": ["en-US"], "hindi": ["hi"]}
    error_of(transcribe(tenant.key("stt"), language_hint="fr"), 400, "language_not_supported")
    models("remove", "english", "--force")
    assert defaults() == {"hindi", EMBEDDED}, "the embedded model takes back what nothing else speaks"


def test_the_model_made_for_a_language_goes_before_one_of_many(tenant: Tenant, folder: Callable[..., Path]) -> None:
    models("import", folder("many", "1", languages=("en", "hi", "de")))
    models("import", folder("a-hindi", "1", languages=("hi",)), "--wait", "0")
    assert defaults() == {"many"}, "a model that is no better by its kind does not push another aside"
    models("activate", "a-hindi", "--default")
    assert defaults() == {"many", "a-hindi"}
    assert [used(tenant, language) for language in ("hi", "en", "de")] == ["a-hindi", "many", "many"]
    models("activate", "many", "--default")
    assert defaults() == {"many"}, "who is told to be the default is so for all languages"
    assert used(tenant, "hi") == "many"


def test_a_transducer_becomes_the_default_of_its_language(folder: Callable[..., Path]) -> None:
    an4 = Path(__file__).resolve().parents[2] / "training" / "stt" / "artifacts" / "an4"
    models("import", folder("many", "1", languages=("en", "hi")), "--wait", "0")
    models("import", an4, "--wait", "0")
    assert defaults() == {"many", "conformer-an4"}
    models("activate", "conformer-an4", "--no-default", "--wait", "0")
    assert defaults() == {"many"}


@pytest.fixture
def voice(tmp_path: Path) -> Callable[..., Path]:
    made = tiny_voices.sherpa_styled(tmp_path / "kitten", format="kitten", name="kitten").path
    return lambda name, *languages: version_of(made, tmp_path / name, name=name, version="1", languages=languages)


def test_voices_of_two_languages(tenant: Tenant, voice: Callable[..., Path]) -> None:
    models("import", voice("american", "en-US"))
    models("import", voice("german", "de-DE"))
    assert defaults("tts") == {"american", "german", "espeak-ng"}
    spoken = {
        language: synthesize(tenant.key("tts"), language=language).json()["model"]
        for language in ("en-US", "en-GB", "de-DE", "de", "fr-FR")
    }
    assert spoken == {
        "en-US": "american", "en-GB": "american", "de-DE": "german", "de": "german", "fr-FR": "espeak-ng",
    }  # fmt: skip
