from django.urls import path

from accounts import api, invitation_api, person_api, policy_api, service_account_api
from accounts.sso import api as sso_api

urlpatterns = [
    path("login", api.LoginView.as_view()),
    path("refresh", api.RefreshView.as_view()),
    path("logout", api.LogoutView.as_view()),
    path("me", api.MeView.as_view()),
    path("api-keys", api.ApiKeyListView.as_view()),
    path("api-keys/<uuid:key_id>", api.ApiKeyView.as_view()),
    path("api-keys/<uuid:key_id>/rotate", api.ApiKeyRotateView.as_view()),
    path("service-accounts", service_account_api.ServiceAccountListView.as_view()),
    path("service-accounts/<uuid:account_id>", service_account_api.ServiceAccountView.as_view()),
    path("sso", sso_api.SsoView.as_view()),
    path("policy", policy_api.PolicyView.as_view()),
    path("members", api.MemberListView.as_view()),
    path("members/<uuid:member_id>", api.MemberView.as_view()),
    path("invitations", invitation_api.InvitationListView.as_view()),
    path("invitations/accept", invitation_api.InvitationAcceptView.as_view()),
    path("invitations/<uuid:invitation_id>", invitation_api.InvitationView.as_view()),
    path("invitations/<uuid:invitation_id>/resend", invitation_api.InvitationResendView.as_view()),
    path("password", person_api.PasswordView.as_view()),
    path("password/reset", person_api.PasswordResetView.as_view()),
    path("password/reset/confirm", person_api.PasswordResetConfirmView.as_view()),
    path("two-factor", person_api.TwoFactorView.as_view()),
    path("two-factor/confirm", person_api.TwoFactorConfirmView.as_view()),
    path("two-factor/disable", person_api.TwoFactorDisableView.as_view()),
    path("two-factor/recovery-codes", person_api.RecoveryCodesView.as_view()),
    path("sessions", person_api.SessionListView.as_view()),
    path("sessions/<uuid:session_id>", person_api.SessionView.as_view()),
]
