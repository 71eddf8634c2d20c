from django.urls import path

from analytics import api

urlpatterns = [
    path("usage", api.UsageView.as_view()),
    path("quota", api.QuotaView.as_view()),
]
