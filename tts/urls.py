from django.urls import path

from tts import api, pronunciation_api
from tts.defaults.api import SpeechDefaultsView
from tts.lexicons import api as lexicons
from tts.voices import api as voices

urlpatterns = [
    path("synthesize", api.SynthesizeView.as_view()),
    path("synthesize-batch", api.SynthesizeBatchView.as_view()),
    path("voices", api.VoiceListView.as_view()),
    path("voice-clone", voices.VoiceCloneView.as_view()),
    path("voices/<str:voice_id>", api.VoiceView.as_view()),
    path("voices/<str:voice_id>/consent", voices.VoiceConsentView.as_view()),
    path("batches/<uuid:batch_id>", api.TtsBatchView.as_view()),
    path("jobs", api.TtsJobListView.as_view()),
    path("jobs/<uuid:job_id>", api.TtsJobView.as_view()),
    path("jobs/<uuid:job_id>/retry", api.TtsJobRetryView.as_view()),
    path("jobs/<uuid:job_id>/timestamps", pronunciation_api.TtsTimestampsView.as_view()),
    path("defaults", SpeechDefaultsView.as_view()),
    path("lexicons", lexicons.LexiconListView.as_view()),
    path("lexicons/preview", pronunciation_api.PreviewView.as_view()),
    path("lexicons/<uuid:lexicon_id>", lexicons.LexiconView.as_view()),
    path("lexicons/<uuid:lexicon_id>/export", lexicons.LexiconExportView.as_view()),
    path("lexicons/<uuid:lexicon_id>/import", lexicons.LexiconImportView.as_view()),
    path("voice-defaults", lexicons.VoiceDefaultsListView.as_view()),
    path("voice-defaults/<uuid:defaults_id>", lexicons.VoiceDefaultsView.as_view()),
]
