"""/ml/…: the runtime of this process, for operators."""

from django.urls import path

from models_registry import runtime_api as api

urlpatterns = [
    *(
        path(f"{task}/{name}", view.as_view(task=task))
        for task in ("stt", "tts")
        for name, view in (
            ("health", api.HealthView),
            ("models", api.ModelsView),
            ("initialize", api.InitializeView),
            ("reload", api.ReloadView),
        )
    ),
    path("stt/transcribe", api.TranscribeView.as_view()),
    path("tts/synthesize", api.SynthesizeView.as_view()),
]
