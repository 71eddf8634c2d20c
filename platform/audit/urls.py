from django.urls import path

from audit import api

urlpatterns = [path("", api.AuditView.as_view())]
