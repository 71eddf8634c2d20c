"""From the names of Deepgram's models to the platform's."""

from __future__ import annotations

import re

from django.conf import settings

from accounts.actors import Actor
from ml import stt as engine
from openai_api import names as aliases
from openai_api.models import AliasKind

_FAMILIES = re.compile(r"(\d-)?(nova|nova-2|nova-3|base|enhanced|whisper|general|flux)(-[a-z0-9-]+)?")
"""Deepgram's: whichever installed model serves the language stands for them."""


def resolve_model(*, actor: Actor, name: str) -> str | None:
    """The platform's name for a model; None: whichever serves. A name that nobody knows is returned as it is.

    An organisation's own alias goes first, then the setting, then the real names, then Deepgram's families.
    """
    target = aliases.resolve_model(actor=actor, kind=AliasKind.STT, name=name)
    if target != name:
        return target
    if name in settings.DEEPGRAM_MODELS:
        return settings.DEEPGRAM_MODELS[name]
    if any(model.name == name for model in engine.models()):
        return name
    return None if _FAMILIES.fullmatch(name) else name
