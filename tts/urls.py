from django.urls import path

from tts import api

urlpatterns = [
    path("synthesize", api.SynthesizeView.as_view()),
    path("synthesize-batch", api.SynthesizeBatchView.as_view()),
    path("voices", api.VoiceListView.as_view()),
    path("voices/<str:voice_id>", api.VoiceView.as_view()),
    path("batches/<uuid:batch_id>", api.TtsBatchView.as_view()),
    path("jobs", api.TtsJobListView.as_view()),
    path("jobs/<uuid:job_id>", api.TtsJobView.as_view()),
    path("jobs/<uuid:job_id>/retry", api.TtsJobRetryView.as_view()),
]
