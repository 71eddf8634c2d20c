from django.apps import AppConfig


class WyomingApiConfig(AppConfig):
    name = "wyoming_api"
    verbose_name = "Wyoming protocol"
