from django.urls import path

from retention import api

urlpatterns = [
    path("", api.OrganizationView.as_view()),
    path("/export", api.OrganizationExportView.as_view()),
    path("/deletions", api.DeletionListView.as_view()),
]
