"""What webhooks are told of a voice: as the API shows it, without signed links, which would expire."""

from __future__ import annotations

from typing import Any

from tts.voices.models import Voice, VoiceStatus
from webhooks import events


def ended(voice: Voice) -> None:
    """`voice.ready` or `voice.failed`. Call it in the transaction that ends the training."""
    events.publish(
        organization_id=voice.organization_id,
        event=f"voice.{voice.status}",
        data=lambda: describe(voice),
        object_id=voice.id,
    )


def deleted(voice: Voice) -> None:
    """Takes what was said of it out of what was and will be sent."""
    events.forget(object_id=voice.id, kept={"id": str(voice.id), "status": "deleted"})


def describe(voice: Voice) -> dict[str, Any]:
    failed = voice.status == VoiceStatus.FAILED
    return {
        "id": str(voice.id),
        "name": voice.name,
        "language": voice.language,
        "status": voice.status,
        "method": voice.method or None,
        "model": voice.model or None,
        "similarity": voice.similarity or None,
        "error": {"code": voice.error_code, "message": voice.error_message} if failed else None,
    }
