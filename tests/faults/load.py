"""Mixed queued jobs, and what must be true of them once they have ended, whatever happened meanwhile."""

from __future__ import annotations

import io
import wave
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import OWNED_AUDIO
from tests.faults.deployment import Deployment, wait_until

CLIP_SECONDS = 1.5
ENDED = ("succeeded", "failed", "cancelled")


def short_clip() -> bytes:
    """The beginning of a recording: a recogniser's work, for as little time as can be."""
    return recording(CLIP_SECONDS)


def recording(seconds: float) -> bytes:
    """So much of somebody who says numbers, again and again."""
    with wave.open(str(OWNED_AUDIO / "numbers.wav")) as source:
        parameters = source.getparams()
        spoken = source.readframes(source.getnframes())
    size = int(seconds * parameters.framerate) * parameters.sampwidth * parameters.nchannels
    made = io.BytesIO()
    with wave.open(made, "wb") as target:
        target.setparams(parameters)
        target.writeframes((spoken * (size // len(spoken) + 1))[:size])
    return made.getvalue()


@dataclass
class Load:
    """Jobs that were accepted, by kind."""

    deployment: Deployment
    jobs: dict[str, list[str]] = field(default_factory=lambda: {"tts": [], "stt": []})
    clip: bytes = field(default_factory=short_clip)

    def add(self, count: int) -> None:
        """Of ten: four single texts, four in a batch, one recording and one in a batch."""
        for _ in range(count // 10):
            for _ in range(4):
                self._accepted("tts", "/tts/synthesize", json={"text": self._text(), "async": True})
            items = [{"text": self._text(n)} for n in range(4)]
            self._accepted("tts", "/tts/synthesize-batch", json={"items": items, "async": True})
            form = {"data": {"async": "true"}}
            self._accepted("stt", "/stt/transcribe", files={"audio_file": ("a.wav", self.clip)}, **form)
            self._accepted("stt", "/stt/batch-transcribe", files=[("audio_files", ("b.wav", self.clip))], **form)

    def _text(self, more: int = 0) -> str:
        number = len(self.jobs["tts"]) + more
        return f"Job number {number}. " * (1 + number % 40)

    def _accepted(self, kind: str, path: str, **request: Any) -> None:
        answer = self.deployment.post(path, **request)
        assert answer.status_code == 202, answer.text
        body = answer.json()
        self.jobs[kind] += [item["job_id"] for item in body.get("items", [body])]

    @property
    def count(self) -> int:
        return sum(map(len, self.jobs.values()))

    def states(self) -> Counter[str]:
        return Counter(status for kind in self.jobs for _, status, *_ in self._rows(kind))

    def _rows(self, kind: str) -> list[tuple[Any, ...]]:
        billed = "characters" if kind == "tts" else "duration_seconds"
        query = f"SELECT id::text, status, {billed}, attempts FROM {kind}_{kind}job WHERE id = ANY(%s::uuid[])"  # noqa: S608
        return self.deployment.postgres.rows(query, self.jobs[kind])

    def wait_until_ended(self, seconds: float) -> Counter[str]:
        wait_until(lambda: set(self.states()) <= set(ENDED), seconds, f"all jobs ended: {self.states()}", every=0.5)
        return self.states()

    def attempts(self) -> int:
        return sum(attempts for kind in self.jobs for *_, attempts in self._rows(kind))

    def assert_exact(self) -> None:
        """One end and one record for each job, sums that agree, nothing reserved or queued, results that are there."""
        for kind in self.jobs:
            rows = self._rows(kind)
            assert sorted(key for key, *_ in rows) == sorted(self.jobs[kind])
            self._assert_billed(kind, rows)
        self._assert_settled()
        for kind, ids in self.jobs.items():
            for job_id in ids:
                self._assert_readable(kind, job_id)

    def _assert_billed(self, kind: str, rows: list[tuple[Any, ...]]) -> None:
        billed = "characters" if kind == "tts" else "audio_seconds"
        records = self.deployment.postgres.rows(
            f"SELECT job_id::text, status, {billed} FROM analytics_usagerecord WHERE job_id = ANY(%s::uuid[])",  # noqa: S608
            self.jobs[kind],
        )
        assert len(records) == len(rows)
        expected = {key: (status, amount if status == "succeeded" else 0) for key, status, amount, _ in rows}
        assert {key: (status, amount) for key, status, amount in records} == expected

    def _assert_settled(self) -> None:
        postgres = self.deployment.postgres
        assert postgres.value("SELECT count(*) FROM analytics_reservation") == 0
        [(characters, seconds, *reserved)] = postgres.rows(
            "SELECT used_characters, used_audio_seconds, reserved_characters, reserved_audio_seconds "
            "FROM analytics_quotaperiod"
        )
        assert reserved == [0, 0]
        [(billed_characters, billed_seconds)] = postgres.rows(
            "SELECT sum(characters) FILTER (WHERE task = 'tts'), sum(audio_seconds) FILTER (WHERE task = 'stt') "
            "FROM analytics_usagerecord"
        )
        assert characters == billed_characters
        assert abs(float(seconds) - (billed_seconds or 0)) < 0.001 * max(1, len(self.jobs["stt"]))

    def _assert_readable(self, kind: str, job_id: str) -> None:
        job = self.deployment.job(kind, job_id)
        if job["status"] != "succeeded":
            assert job["error"]["code"], job
            return
        audio = self.deployment.client.get(job["audio_url"])
        assert (audio.status_code, audio.content[:4]) == (200, b"RIFF"), audio.text
        if kind == "stt":
            assert job["timestamps"] is not None
            assert abs(job["duration_seconds"] - CLIP_SECONDS) < 0.1
        else:
            assert len(audio.content) > 1000

    def queued_tasks(self) -> int:
        return self.deployment.postgres.value(
            "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'jobs.run' AND status IN ('todo', 'doing')"
        )
