"""What Django's rules for passwords do not have."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.password_validation import MinimumLengthValidator


class LengthValidator(MinimumLengthValidator):
    """Several spaces count as one: twelve of them are no password (OWASP ASVS 2.1.1)."""

    def validate(self, password: str, user: Any = None) -> None:
        super().validate(re.sub(r"\s+", " ", password), user)
