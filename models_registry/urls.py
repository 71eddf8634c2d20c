from django.urls import path

from models_registry import api

urlpatterns = [
    path("status", api.ModelStatusView.as_view()),
    path("reload", api.ModelReloadView.as_view()),
]
