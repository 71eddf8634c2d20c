"""Organisations, users, memberships, log-in sessions and API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Value
from django.utils import timezone

from common.models import Identified, OrganizationOwned


class Role(models.TextChoices):
    """Highest first. What each may do stands in `accounts.actors.ROLE_RANKS` and in the views' `access` tables."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    DEVELOPER = "developer", "Developer"
    VIEWER = "viewer", "Viewer"


class Scope(models.TextChoices):
    """What an API key may call."""

    TTS = "tts", "Text to speech"
    STT = "stt", "Speech to text"


class Organization(Identified):
    """A tenant. Everything but users belongs to exactly one."""

    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=63, unique=True)
    is_active = models.BooleanField(default=True, help_text="An inactive organisation's credentials are refused.")
    audio_retention_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="Audio is deleted after so many days; 0: right after the answer; empty: never."
    )
    transcript_retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Texts are deleted after so many days; 0: right after the answer; empty: never.",
    )

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def settings(prefix: str = "") -> tuple[str, ...]:
        """For `select_related`: the rows that hold for all of its requests, to be read in the one query for a
        credential. prefix: of the organisation's place, such as `membership__organization__`."""
        return tuple(
            f"{prefix}{row}" for row in ("quota", "security_policy", "speech_defaults", "transcription_defaults")
        )


class SecurityPolicy(OrganizationOwned):
    """What an organisation demands of credentials; without a row, nothing beyond what holds for everybody.

    Credentials are looked up together with it (`accounts.authentication`); `accounts.policies` enforces it.
    """

    organization = models.OneToOneField(Organization, on_delete=models.CASCADE, related_name="security_policy")
    networks = ArrayField(
        models.CharField(max_length=43),
        default=list,
        blank=True,
        help_text="From where keys and members act; empty: anywhere.",
    )
    keys_must_expire = models.BooleanField(default=False)
    key_max_days = models.PositiveIntegerField(null=True, blank=True, help_text="Longest life of a new key.")
    sso_only = models.BooleanField(
        default=False, db_default=False, help_text="Members but owners sign in with the organisation's provider alone."
    )
    require_two_factor = models.BooleanField(default=False, help_text="Of members who sign in with a password.")
    idle_minutes = models.PositiveIntegerField(
        null=True, blank=True, help_text="A sign-in that is not used for so long ends; empty: never."
    )

    class Meta:
        verbose_name = "security policy"

    def __str__(self) -> str:
        return f"security policy of {self.organization_id}"


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, email: str | None) -> User:
        return self.get(email=(email or "").lower())


class User(Identified, AbstractBaseUser, PermissionsMixin):
    """A person, who may be a member of several organisations."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False, help_text="Operates the platform itself, over all organisations.")

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        ordering: ClassVar = ["email"]

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.email = self.email.lower()  # log-in compares lower case, so the unique index must hold lower case
        super().save(*args, **kwargs)


class Membership(OrganizationOwned):
    """A user's role in an organisation."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        verbose_name = "member"
        ordering: ClassVar = ["created_at"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["organization", "user"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization} ({self.role})"


class LoginSession(Identified):
    """One log-in. Its access tokens name it; its refresh token is the one whose id it holds, and no older one."""

    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="login_sessions")
    refresh_jti = models.CharField(max_length=64)
    refreshed_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name = "log-in session"
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"log-in at {self.created_at:%Y-%m-%d %H:%M}"


class BrowserSession(Identified):
    """A sign-in with a browser, which acts in all of the person's organisations. It goes with Django's session."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="browser_sessions")
    session = models.OneToOneField("sessions.Session", on_delete=models.CASCADE, related_name="+")
    seen_at = models.DateTimeField(default=timezone.now, help_text="To five minutes.")
    address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name = "browser session"
        ordering: ClassVar = ["-seen_at"]

    def __str__(self) -> str:
        return f"sign-in of {self.user_id} at {self.created_at:%Y-%m-%d %H:%M}"


class TwoFactor(Identified):
    """A person's second factor: codes of an authenticator, or one of the recovery codes. Off until it is confirmed.

    The authenticator's secret is derived from the salt and the server's pepper (`accounts.two_factor`), so that a
    stolen table gives no codes. Of recovery codes there are digests.
    """

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="two_factor")
    salt = models.CharField(max_length=32)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    last_step = models.BigIntegerField(default=0, help_text="Of the last code that was taken: each works once.")
    recovery_digests = ArrayField(models.CharField(max_length=64), default=list)

    class Meta:
        verbose_name = "second factor"

    def __str__(self) -> str:
        return f"second factor of {self.user_id}"


class Invitation(OrganizationOwned):
    """An e-mail address that may join with a role. Its link is derived from id and salt, and stored nowhere."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=Role.choices)
    salt = models.CharField(max_length=32)
    invited_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    sent_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-sent_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=models.Q(accepted_at=None),
                name="invitation_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} ({self.role})"

    @property
    def expired(self) -> bool:
        return self.expires_at <= timezone.now()


class SsoProvider(OrganizationOwned):
    """The OpenID provider that an organisation's members sign in with (`accounts.sso`)."""

    ROLES: ClassVar = [(role.value, role.label) for role in (Role.ADMIN, Role.DEVELOPER, Role.VIEWER)]  # no owners

    organization = models.OneToOneField(Organization, on_delete=models.CASCADE, related_name="sso_provider")
    issuer = models.CharField(max_length=500)
    client_id = models.CharField(max_length=300)
    sealed_secret = models.CharField(max_length=2000, editable=False)
    domains = ArrayField(models.CharField(max_length=253))
    default_role = models.CharField(max_length=16, choices=ROLES, default=Role.VIEWER)
    role_claim = models.CharField(max_length=100, blank=True)
    roles = models.JSONField(default=dict, blank=True, help_text="The role that a value of the claim stands for.")
    enabled = models.BooleanField(default=True)

    class Meta:
        verbose_name = "OpenID provider"

    def __str__(self) -> str:
        return self.issuer


class SsoIdentity(OrganizationOwned):
    """Whom a provider's subject is here: addresses change hands, subjects do not."""

    issuer = models.CharField(max_length=500)
    subject = models.CharField(max_length=255)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")

    class Meta:
        verbose_name = "identity at a provider"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "issuer", "subject"], name="sso_identity_once")
        ]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class ServiceAccount(OrganizationOwned):
    """A member that is no person: it owns API keys, which act with its role and end with it. Nobody signs in as one."""

    ROLES: ClassVar = [(role.value, role.label) for role in (Role.DEVELOPER, Role.VIEWER)]  # no key manages anything

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="service_accounts")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=300, blank=True)
    role = models.CharField(max_length=16, choices=ROLES, default=Role.DEVELOPER)
    disabled_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        verbose_name = "service account"
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "name"], name="service_account_name_once")
        ]

    def __str__(self) -> str:
        return self.name


class ApiKey(OrganizationOwned):
    """A credential for programs: a public prefix to find it by, and an HMAC of the whole key."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=20, unique=True, editable=False)
    last4 = models.CharField(max_length=4, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(models.CharField(max_length=32, choices=Scope.choices))
    rate_limit = models.PositiveIntegerField(null=True, blank=True, help_text="Requests a minute; empty: the default.")
    networks = ArrayField(
        models.CharField(max_length=43),
        default=list,
        db_default=Value([], output_field=ArrayField(models.CharField(max_length=43))),
        blank=True,
        help_text="From where it may be used, within what the organisation allows; empty: anywhere.",
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    service_account = models.ForeignKey(
        ServiceAccount, null=True, blank=True, on_delete=models.SET_NULL, related_name="api_keys", editable=False
    )
    rotated_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )

    class Meta:
        verbose_name = "API key"
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…{self.last4})"

    @property
    def issued_at(self) -> datetime:
        """When the secret that it has now was made."""
        return self.rotated_at or self.created_at

    @property
    def usable(self) -> bool:
        expired = self.expires_at is not None and self.expires_at <= timezone.now()
        disabled = self.service_account is not None and self.service_account.disabled_at is not None
        return self.revoked_at is None and not expired and not disabled

    @staticmethod
    def usable_rows(prefix: str = "") -> models.Q:
        """`usable`, asked of the database. prefix: of the keys' place, such as `api_keys__`."""
        lasting = models.Q(**{f"{prefix}expires_at": None}) | models.Q(**{f"{prefix}expires_at__gt": timezone.now()})
        return lasting & models.Q(**{f"{prefix}revoked_at": None, f"{prefix}service_account__disabled_at": None})

    @property
    def role(self) -> str:
        """As what it acts, within its scopes."""
        return self.service_account.role if self.service_account is not None else Role.DEVELOPER
