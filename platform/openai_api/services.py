"""Writes: an organisation's aliases."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from accounts.actors import Actor
from audit import services as audit
from common import errors
from common.models import differing
from ml import stt, tts
from ml.errors import InvalidRequest
from ml.types import SynthesisOptions, TranscriptionOptions
from openai_api.models import AliasKind, OpenAIAlias
from tts.voices import selectors as voices

MAX_ALIASES = 200
"""Of one organisation."""


def create_alias(*, actor: Actor, kind: str, name: str, target: str = "") -> OpenAIAlias:
    """Raises InvalidRequest for a target that is not there, Conflict for a name that the organisation has already."""
    _check(actor, kind, target)
    if OpenAIAlias.objects.filter(organization=actor.organization).count() >= MAX_ALIASES:
        raise errors.Conflict(f"An organisation has at most {MAX_ALIASES} aliases.", code="too_many_aliases")
    alias = OpenAIAlias(organization=actor.organization, kind=kind, name=name, target=target)
    _save(alias, actor, "openai_alias.created")
    return alias


def update_alias(*, actor: Actor, alias: OpenAIAlias, changes: dict[str, Any]) -> OpenAIAlias:
    """Changes kind, name or target. Raises as `create_alias`."""
    changes = differing(alias, changes)
    if not changes:
        return alias
    for field, value in changes.items():
        setattr(alias, field, value)
    _check(actor, alias.kind, alias.target)
    _save(alias, actor, "openai_alias.updated")
    return alias


def delete_alias(*, actor: Actor, alias: OpenAIAlias) -> None:
    """From now on the name means what it means to the platform, if anything."""
    with transaction.atomic():
        audit.record(actor=actor, action="openai_alias.deleted", target=alias, name=alias.name, kind=alias.kind)
        alias.delete()


def _save(alias: OpenAIAlias, actor: Actor, action: str) -> None:
    try:
        with transaction.atomic():
            alias.save()
            audit.record(actor=actor, action=action, target=alias, name=alias.name, kind=alias.kind, to=alias.target)
    except IntegrityError:
        raise errors.Conflict(
            f"There is an alias {alias.name!r} of this kind already.", code="alias_exists", param="name"
        ) from None


def _check(actor: Actor, kind: str, target: str) -> None:
    """That there is such a model or voice now; an empty target is for models."""
    if not target and kind == AliasKind.VOICE:
        raise errors.InvalidRequest(
            "A voice's alias needs the id of a voice.", code="parameter_required", param="target"
        )
    if not target:
        return
    try:
        match AliasKind(kind):
            case AliasKind.STT:
                stt.resolve(TranscriptionOptions(model=target))
            case AliasKind.TTS:
                tts.resolve(SynthesisOptions(model=target))
            case AliasKind.VOICE:
                voices.resolve(SynthesisOptions(voice=target), organization_id=actor.organization.id)
    except InvalidRequest as error:
        raise errors.InvalidRequest(error.message, code=error.code, param="target") from None
