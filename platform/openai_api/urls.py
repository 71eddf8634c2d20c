"""The root `/v1`, as OpenAI's SDKs call it."""

from django.urls import path

from openai_api import audio_lists, models_api, speech, transcriptions
from openai_api.realtime import api as realtime

urlpatterns = [
    path("audio/speech", speech.SpeechView.as_view()),
    path("audio/transcriptions", transcriptions.TranscriptionView.as_view()),
    path("audio/translations", transcriptions.TranslationView.as_view()),
    path("audio/voices", audio_lists.VoiceNamesView.as_view()),
    path("audio/models", audio_lists.SpeechModelsView.as_view()),
    path("realtime/client_secrets", realtime.ClientSecretsView.as_view()),
    path("realtime/transcription_sessions", realtime.TranscriptionSessionsView.as_view()),
    path("models", models_api.ModelListView.as_view()),
    path("models/<path:model_id>", models_api.ModelView.as_view()),
]
