"""What organisations without a quota of their own may use, and where warnings go."""

from __future__ import annotations

from decimal import Decimal

from config import env
from config.settings.core import PRODUCTION

# A month (UTC); None: no limit.
QUOTA_DEFAULT_MONTHLY_CHARACTERS = env.optional_integer("QUOTA_DEFAULT_MONTHLY_CHARACTERS")
QUOTA_DEFAULT_MONTHLY_AUDIO_SECONDS = env.optional_integer("QUOTA_DEFAULT_MONTHLY_AUDIO_SECONDS")
QUOTA_DEFAULT_MONTHLY_BUDGET = env.optional_decimal("QUOTA_DEFAULT_MONTHLY_BUDGET")
QUOTA_DEFAULT_PRICE_PER_MILLION_CHARACTERS = env.optional_decimal(
    "QUOTA_DEFAULT_PRICE_PER_MILLION_CHARACTERS"
) or Decimal(0)
QUOTA_DEFAULT_PRICE_PER_AUDIO_HOUR = env.optional_decimal("QUOTA_DEFAULT_PRICE_PER_AUDIO_HOUR") or Decimal(0)
# Jobs that one organisation may have computing at once.
QUOTA_DEFAULT_MAX_CONCURRENT_JOBS = env.optional_integer("QUOTA_DEFAULT_MAX_CONCURRENT_JOBS") or None

EMAIL_HOST = env.text("EMAIL_HOST")
EMAIL_PORT = env.integer("EMAIL_PORT", 587, minimum=1)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", True)
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", "speech@localhost")
EMAIL_TIMEOUT = 15
# Without a mail server: onto a developer's terminal; in production nowhere, the log has it.
EMAIL_BACKEND = (
    f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'dummy' if PRODUCTION else 'console'}.EmailBackend"
)
