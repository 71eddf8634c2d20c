from django.urls import path

from stt import api
from stt.live.api import RealtimeView

urlpatterns = [
    path("transcribe", api.TranscribeView.as_view()),
    path("batch-transcribe", api.BatchTranscribeView.as_view()),
    path("batches/<uuid:batch_id>", api.SttBatchView.as_view()),
    path("transcribe-realtime", RealtimeView.as_view()),
    path("defaults", api.TranscriptionDefaultsView.as_view()),
    path("jobs", api.SttJobListView.as_view()),
    path("jobs/<uuid:job_id>", api.SttJobView.as_view()),
    path("jobs/<uuid:job_id>/retry", api.SttJobRetryView.as_view()),
]
