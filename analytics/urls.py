from analytics import api
from django.urls import path

urlpatterns = [path("usage", api.UsageView.as_view())]
