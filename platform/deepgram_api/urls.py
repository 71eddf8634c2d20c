"""The root `/v1`, as Deepgram's SDKs call it."""

from django.urls import path

from deepgram_api.api import ListenView

urlpatterns = [path("listen", ListenView.as_view())]
