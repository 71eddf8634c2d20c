"""What generated audio says of itself, in the tags of its container: that no human spoke it, and whose it is."""

from __future__ import annotations

from datetime import datetime

from accounts.models import Organization
from tts.models import TtsJob

STATEMENT = "Synthetic speech, made by a machine."


def tags(job: TtsJob) -> dict[str, str]:
    """Of a job's audio, for `ml.audio`."""
    return tags_of(job.organization, job.voice, made=job.created_at, job=str(job.id))


def tags_of(organization: Organization, voice: str, *, made: datetime, job: str = "") -> dict[str, str]:
    """By FFmpeg's names. wav has no room for others than artist, comment, date and genre, so the comment says it all.

    voice: its id.
    """
    time = f"{made:%Y-%m-%dT%H:%M:%SZ}"
    facts = {"organization": organization.name, "voice": voice, "job": job, "created": time}
    told = "; ".join(f"{name}={value}" for name, value in facts.items() if value)
    return {
        "artist": organization.name,
        "comment": f"{STATEMENT} {told}",
        "date": time,
        "genre": "Speech synthesis",
        "synthetic": "true",
        "voice": voice,
        **({"job": job} if job else {}),
    }
