"""What every admin page shares: an owner's view ends at the owner's organisations."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import Organization, Role


def owned_organizations(request: HttpRequest) -> QuerySet[Organization]:
    """The organisations whose rows the user may see in the admin."""
    if not request.user.is_authenticated:
        return Organization.objects.none()
    if request.user.is_superuser:
        return Organization.objects.all()
    return Organization.objects.filter(
        is_active=True, memberships__user_id=request.user.pk, memberships__role=Role.OWNER
    )
