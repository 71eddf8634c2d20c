from django.urls import path
from django.views.generic import RedirectView

from dashboard import views

app_name = "dashboard"

urlpatterns = [
    path("dashboard", views.HomeView.as_view(), name="home"),
    path("dashboard/", RedirectView.as_view(pattern_name="dashboard:home")),
    path("dashboard/login", views.LoginView.as_view(), name="login"),
    path("dashboard/logout", views.LogoutView.as_view(), name="logout"),
    path("dashboard/organization", views.OrganizationView.as_view(), name="organization"),
    path("dashboard/jobs/<str:task>/<uuid:job_id>/audio", views.AudioView.as_view(), name="audio"),
]
