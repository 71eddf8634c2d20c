"""What generated audio says of itself, in the tags of its container: that no human spoke it, and whose it is."""

from __future__ import annotations

from tts.models import TtsJob

STATEMENT = "Synthetic speech, made by a machine."


def tags(job: TtsJob) -> dict[str, str]:
    """For `ml.audio`, by FFmpeg's names. wav has no room for others than artist, comment, date and genre, so the
    comment says it all."""
    made = f"{job.created_at:%Y-%m-%dT%H:%M:%SZ}"
    told = f"organization={job.organization.name}; voice={job.voice}; job={job.id}; created={made}"
    return {
        "artist": job.organization.name,
        "comment": f"{STATEMENT} {told}",
        "date": made,
        "genre": "Speech synthesis",
        "synthetic": "true",
        "voice": job.voice,
        "job": str(job.id),
    }
