from django.urls import path

from accounts import api

urlpatterns = [
    path("login", api.LoginView.as_view()),
    path("refresh", api.RefreshView.as_view()),
    path("logout", api.LogoutView.as_view()),
    path("me", api.MeView.as_view()),
    path("api-keys", api.ApiKeyListView.as_view()),
    path("api-keys/<uuid:key_id>", api.ApiKeyView.as_view()),
    path("api-keys/<uuid:key_id>/rotate", api.ApiKeyRotateView.as_view()),
    path("members", api.MemberListView.as_view()),
    path("members/<uuid:member_id>", api.MemberView.as_view()),
]
