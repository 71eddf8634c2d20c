"""Keys for browsers: client tokens (`accounts.client_tokens`) as OpenAI's clients expect them.

They begin with `ek_`, go into a WebSocket's subprotocol, which allows no colons, and open as many sessions as their
holder likes until they expire.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from accounts import client_tokens
from accounts.actors import Actor
from accounts.client_tokens import ClientToken
from common import errors
from openai_api.realtime.settings import Settings

MARK = "ek_"
SCOPE = "stt"
MAX_CHARACTERS = 6_000
"""Of a secret: it goes into one header line, of which servers take 8 KiB."""

_COLON = "~"
_SETTINGS = "openai_realtime"


def issue(*, actor: Actor, settings: Settings, seconds: int) -> tuple[str, datetime]:
    """A secret for sessions with these settings, and when it expires."""
    token, claims = client_tokens.issue(
        actor=actor, scope=SCOPE, session_id=uuid.uuid4(), seconds=seconds, options={_SETTINGS: settings.to_json()}
    )
    secret = MARK + token.removeprefix(client_tokens.MARK).replace(":", _COLON)
    if len(secret) > MAX_CHARACTERS:
        raise errors.InvalidRequest(
            "The session's prompt and keywords are too long for a secret; send them with `session.update`.",
            code="parameter_max_length",
            param="session.audio.input.transcription.prompt",
        )
    return secret, claims.expires_at


def as_client_token(secret: str) -> str:
    """What `sockets.authentication` knows it as; any other credential as it is."""
    if not secret.startswith(MARK):
        return secret
    return client_tokens.MARK + secret.removeprefix(MARK).replace(_COLON, ":")


def settings_of(token: ClientToken | None) -> Settings:
    """Those that the secret was made with; the usual ones without a secret."""
    kept = token.options.get(_SETTINGS) if token else None
    return Settings().updated(kept, shape="ga") if isinstance(kept, Mapping) else Settings()
