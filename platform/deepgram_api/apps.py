from django.apps import AppConfig


class DeepgramApiConfig(AppConfig):
    name = "deepgram_api"
    verbose_name = "Deepgram compatibility"
