from django.urls import path

from jobs.events import api

urlpatterns = [path("events", api.JobEventsView.as_view())]
