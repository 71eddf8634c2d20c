"""Many at once: everyone gets their own, and the rows agree."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from accounts.models import LoginSession
from analytics.models import UsageRecord
from tests.api.support import owned_clips, word_error_rate
from tests.conftest import PASSWORD, Client, Tenant
from tts.models import TtsJob

NAMES = ("ant", "bear", "cat", "dog", "eel", "fox", "goat", "hare", "ibis", "jay")
TEXTS = [f"The {first} sees the {second}, and says {number}." for number, (first, second) in enumerate(
    (first, second) for first in NAMES for second in NAMES
)]  # fmt: skip


def _speak(client: Client, text: str) -> dict[str, Any]:
    answer = client.post("/tts/synthesize", json={"text": text, "format": "pcm", "sample_rate": 16000})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_hundred_syntheses_each_get_their_own_audio(tenant: Tenant, other_tenant: Tenant) -> None:
    alone = other_tenant.key("tts")
    expected = {text: alone.get(_speak(alone, text)["audio_url"]).content for text in TEXTS}
    assert len(set(expected.values())) == len(TEXTS) == 100

    client = tenant.key("tts")
    with ThreadPoolExecutor(100) as threads:
        jobs = list(threads.map(lambda text: _speak(client, text), TEXTS))
        audio = list(threads.map(lambda job: client.get(job["audio_url"]).content, jobs))
    for text, job, content in zip(TEXTS, jobs, audio, strict=True):
        assert (job["text"], job["status"], job["characters"]) == (text, "succeeded", len(text))
        assert content == expected[text], text
        assert len(content) / 32000 == round(job["duration_seconds"] * 16000) / 16000

    rows = TtsJob.objects.filter(organization=tenant.organization)
    assert sorted(row.text for row in rows) == sorted(TEXTS)
    assert len({row.audio_key for row in rows}) == 100
    records = UsageRecord.objects.filter(organization=tenant.organization, status="succeeded")
    assert {str(record.job_id) for record in records} == {job["job_id"] for job in jobs}
    totals = tenant.user("viewer").get("/analytics/usage").json()
    assert totals["total_tts_characters"] == sum(len(text) for text in TEXTS)
    assert totals["daily"][-1]["tts_jobs"] + totals["daily"][-2]["tts_jobs"] == 100


def test_streams_are_not_mixed_up(tenant: Tenant) -> None:
    client = tenant.key("tts")

    def stream(text: str) -> bytes:
        body = {"text": text, "format": "pcm", "sample_rate": 16000, "stream": True}
        return client.post("/tts/synthesize", json=body).content

    texts = TEXTS[:24]
    expected = [stream(text) for text in texts]
    assert len(set(expected)) == len(texts)
    with ThreadPoolExecutor(len(texts)) as threads:
        assert list(threads.map(stream, texts)) == expected


def test_transcriptions_are_not_mixed_up(tenant: Tenant) -> None:
    clips = [owned_clips()[name] for name in ("numbers.wav", "family.opus") for _ in range(2)]
    client = tenant.key("stt")

    def hear(index: int) -> dict[str, Any]:
        path = clips[index].path
        answer = client.post("/stt/transcribe", files={"audio_file": (path.name, path.read_bytes())})
        assert answer.status_code == 200, answer.text
        return answer.json()

    with ThreadPoolExecutor(len(clips)) as threads:
        heard = list(threads.map(hear, range(len(clips))))
    for clip, body in zip(clips, heard, strict=True):
        assert body["filename"] == clip.path.name
        assert word_error_rate([clip.text], [body["text"]]) < 0.35
    assert [body["text"] for body in heard[::2]] == [body["text"] for body in heard[1::2]]


def test_one_of_many_refreshes_wins(tenant: Tenant) -> None:
    anonymous = Client(tenant.server)
    body = {"email": tenant.member("viewer").user.email, "password": PASSWORD}
    refresh = {"refresh_token": anonymous.post("/auth/login", json=body).json()["refresh_token"]}

    def attempt(_: int) -> httpx.Response:
        return anonymous.post("/auth/refresh", json=refresh)

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(attempt, range(12)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 401: 11}
    # A token that comes twice was copied: nobody keeps the session.
    assert LoginSession.objects.get(membership=tenant.member("viewer")).revoked_at is not None


def test_member_is_added_once(tenant: Tenant) -> None:
    admin = tenant.user("admin")
    body = {"email": f"new-{tenant.organization.slug}@example.com", "password": "a long enough pass-phrase"}
    with ThreadPoolExecutor(6) as threads:
        statuses = list(threads.map(lambda _: admin.post("/auth/members", json=body).status_code, range(6)))
    assert Counter(statuses) == {201: 1, 409: 5}
