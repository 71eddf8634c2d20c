"""Who acts, and who may. Every service takes an Actor; every view declares an Access for each method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accounts.models import ApiKey, LoginSession, Organization, User

ROLE_RANKS = {"viewer": 0, "developer": 1, "admin": 2, "owner": 3}


@dataclass(frozen=True, slots=True)
class Actor:
    """A user or an API key, acting in one organisation."""

    organization: Organization
    role: str  # one of accounts.models.Role; a key acts as a developer, or as its service account, within its scopes
    user: User | None = None
    api_key: ApiKey | None = None
    login_session: LoginSession | None = None
    sso: bool = False  # signed in with the organisation's provider

    @property
    def id(self) -> str:
        """Stable name of the credential's holder, for rate limits and the audit trail."""
        return f"key:{self.api_key.id}" if self.api_key else f"user:{self.user.id}"  # type: ignore[union-attr]

    @property
    def scopes(self) -> tuple[str, ...] | None:
        """What a key may call; None for a user, who is limited by role alone."""
        return tuple(self.api_key.scopes) if self.api_key else None

    @property
    def rate_limit(self) -> int | None:
        """Requests a minute, where the key has a limit of its own."""
        return self.api_key.rate_limit if self.api_key else None

    def has_role(self, role: str) -> bool:
        return ROLE_RANKS[self.role] >= ROLE_RANKS[role]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a method: a role and above, and keys that hold `scope` (None: no key; ANY_SCOPE: every key)."""

    role: str = "viewer"
    scope: str | None = None
    public: bool = False
    before_policy: bool = False
    """Also for members who do not meet the organisation's policy yet: how they come to meet it, and how they leave."""


ANY_SCOPE = "*"
PUBLIC = Access(public=True)
