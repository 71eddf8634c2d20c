"""/api/v1/auth/invitations/…"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import invitations, selectors
from accounts.actors import PUBLIC, Access
from accounts.api import OrganizationSerializer
from accounts.forms import check_code, sign_in
from accounts.models import Invitation, Membership, Role
from accounts.services import otp_required
from accounts.two_factor import state_of
from common.api import JsonView, paginated, paginated_schema
from common.network import public_url
from common.serializers import StrictSerializer, validated

ADMIN = Access(role=Role.ADMIN)


class InvitationSerializer(serializers.ModelSerializer):
    invited_by = serializers.EmailField(source="invited_by.email", allow_null=True, default=None)

    class Meta:
        model = Invitation
        fields: tuple[str, ...] = ("id", "email", "role", "invited_by", "sent_at", "expires_at", "expired")
        read_only_fields = fields

    expired = serializers.BooleanField(read_only=True)


class InvitationWithLinkSerializer(InvitationSerializer):
    url = serializers.CharField(help_text="The link that the e-mail has. It is not shown again.")

    class Meta(InvitationSerializer.Meta):
        fields = (*InvitationSerializer.Meta.fields, "url")
        read_only_fields = fields


def _with_link(row: Invitation, request: Request) -> dict[str, Any]:
    return {**InvitationSerializer(row).data, "url": invitations.link_of(row, public_url(request))}


class InvitationListView(JsonView):
    access: ClassVar = {"GET": ADMIN, "POST": ADMIN}

    class InvitationInputSerializer(StrictSerializer):
        email = serializers.EmailField(max_length=254)
        role = serializers.ChoiceField(choices=Role.choices, default=Role.VIEWER)

    @extend_schema(**paginated_schema(InvitationSerializer), operation_id="auth_invitations_list")
    def get(self, request: Request) -> Response:
        """The invitations that nobody has accepted, newest first."""
        return paginated(self, selectors.list_invitations(actor=self.actor), InvitationSerializer)

    @extend_schema(request=InvitationInputSerializer, responses={201: InvitationWithLinkSerializer})
    def post(self, request: Request) -> Response:
        """Invite an address by e-mail; inviting it again sends a new link."""
        fields = validated(self.InvitationInputSerializer, request.data)
        row = invitations.invite(actor=self.actor, **fields, base_url=public_url(request))
        return Response(_with_link(row, request), status=201)


class InvitationView(JsonView):
    access: ClassVar = {"DELETE": ADMIN}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, invitation_id: uuid.UUID) -> Response:
        """Withdraw an invitation: its link works no more."""
        row = selectors.get_invitation(actor=self.actor, invitation_id=invitation_id)
        invitations.withdraw(actor=self.actor, invitation=row)
        return Response(status=204)


class InvitationResendView(JsonView):
    access: ClassVar = {"POST": ADMIN}

    @extend_schema(request=None, responses={200: InvitationWithLinkSerializer})
    def post(self, request: Request, invitation_id: uuid.UUID) -> Response:
        """Send a new link; the old one works no more."""
        row = selectors.get_invitation(actor=self.actor, invitation_id=invitation_id)
        row = invitations.resend(actor=self.actor, invitation=row, base_url=public_url(request))
        return Response(_with_link(row, request))


class InvitationAcceptView(JsonView):
    access: ClassVar = {"POST": PUBLIC}
    authentication_classes = ()

    class InvitationAcceptSerializer(StrictSerializer):
        token = serializers.CharField(max_length=200, help_text="The end of the link.")
        password = serializers.CharField(
            max_length=200, trim_whitespace=False, help_text="The account's; of a new account, the one to set."
        )
        name = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
        otp = serializers.CharField(
            max_length=40, required=False, default="", allow_blank=True, help_text="Where two-factor is on."
        )

    class InvitationAcceptedSerializer(serializers.Serializer):
        email = serializers.EmailField()
        organization = OrganizationSerializer()
        role = serializers.ChoiceField(choices=Role.choices)

    @extend_schema(request=InvitationAcceptSerializer, responses={201: InvitationAcceptedSerializer})
    def post(self, request: Request) -> Response:
        """Join by an invitation's link, with the account of the invited address or with a new one."""
        fields = validated(self.InvitationAcceptSerializer, request.data)
        member = self._join(request, **fields)
        body = {"email": member.user.email, "organization": member.organization, "role": member.role}
        return Response(self.InvitationAcceptedSerializer(body).data, status=201)

    def _join(self, request: Request, *, token: str, password: str, name: str, otp: str) -> Membership:
        row = invitations.find(token)
        if invitations.account_of(row) is None:
            return invitations.accept_as_new(token=token, name=name, password=password)
        user = sign_in(request._request, email=row.email, password=password)
        if state_of(user) is not None:
            if not otp:
                raise otp_required()
            check_code(request._request, user=user, otp=otp)
        return invitations.accept(token=token, user=user)
