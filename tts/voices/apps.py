from django.apps import AppConfig


class VoicesConfig(AppConfig):
    name = "tts.voices"
    label = "voices"
    verbose_name = "Cloned voices"
