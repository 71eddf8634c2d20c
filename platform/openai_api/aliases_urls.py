from django.urls import path

from openai_api import aliases_api

urlpatterns = [
    path("", aliases_api.AliasListView.as_view()),
    path("/<uuid:alias_id>", aliases_api.AliasView.as_view()),
]
