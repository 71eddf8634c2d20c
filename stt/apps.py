from django.apps import AppConfig


class SttConfig(AppConfig):
    name = "stt"
    verbose_name = "Speech to text"
