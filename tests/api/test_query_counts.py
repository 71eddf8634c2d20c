"""What requests ask the database: no more than they need, and no more for many rows than for one."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client as InProcess
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from accounts import client_tokens, policies, tokens
from accounts.actors import Actor
from accounts.authentication import authenticate_credential, renewed
from analytics import quota
from dashboard.access import visitor_of
from stt import selectors as stt
from stt.models import AudioFile, SttJob, Transcription
from tests.conftest import OWNED_AUDIO, Tenant
from tts.defaults.services import get_defaults
from tts.lexicons import selectors as lexicons
from tts.models import PronunciationLexicon, SpeechDefaults, TtsJob, VoiceDefaults
from tts.voices.models import Consent, Voice

CLIP = OWNED_AUDIO / "numbers.wav"


def asked(call: Callable[[], Any]) -> list[str]:
    """The statements of a call, without the transactions around them."""
    with CaptureQueriesContext(connection) as captured:
        call()
    return [query["sql"] for query in captured if query["sql"].split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE")]


# ── One request ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_transcription(tenant: Tenant) -> None:
    client = InProcess(headers={"x-api-key": tenant.new_key("stt")[1]})

    def transcribe() -> None:
        with CLIP.open("rb") as file:
            assert client.post("/api/v1/stt/transcribe", {"audio_file": file}).status_code == 200

    transcribe()
    # Whether an endpoint wants to know is remembered, but not for as long as recognising may take.
    statements = [sql for sql in asked(transcribe) if "webhooks_webhookendpoint" not in sql]
    # The key; the audio and its job; the job's end, which is a transaction of three statements.
    assert len(statements) == 6, "\n".join(sql[:150] for sql in statements)


def actors(tenant: Tenant) -> dict[str, Callable[[], Actor]]:
    """By each kind of credential; each call of one reads it anew."""
    member = tenant.member("developer")
    _, pair = tokens.open_session(membership=member, address=None, user_agent="tests")
    key = tenant.new_key()[1]

    def of_client_token(actor: Actor) -> Callable[[], Actor]:
        token, _ = client_tokens.issue(actor=actor, scope="tts", session_id=uuid.uuid4(), seconds=60)
        return lambda: client_tokens.redeem(token, scope="tts", origin=None)[0]

    def of_browser() -> Actor:
        request = RequestFactory().get("/")
        request.user, request.session = member.user, {}  # type: ignore[assignment]
        visitor = visitor_of(request)
        assert visitor is not None
        return visitor.actor

    return {
        "key": lambda: authenticate_credential(key),
        "login": lambda: authenticate_credential(pair.access_token),
        "key's client token": of_client_token(authenticate_credential(key)),
        "login's client token": of_client_token(authenticate_credential(pair.access_token)),
        "member's client token": of_client_token(of_browser()),
        "browser": of_browser,
        "socket": lambda: renewed(tenant.actor()),
    }


def test_settings_come_with_every_kind_of_credential(tenant: Tenant) -> None:
    SpeechDefaults.objects.create(organization=tenant.organization, format="mp3")

    def use(actor: Actor) -> None:
        quota.limits_of(actor.organization)
        policies.of(actor.organization)
        row = get_defaults(actor=actor)
        assert row is not None
        assert row.format == "mp3"
        assert stt.get_defaults(actor=actor) is None
        assert lexicons.default_ids(actor.organization) == []
        assert lexicons.find_voice_defaults(organization=actor.organization, voice_id="espeak:de") is None

    for kind, read in actors(tenant).items():
        actor = read()
        assert asked(lambda actor=actor: use(actor)) == [], kind


# ── Whether there are lexicons and voices' defaults ─────────────────────────────────────────────────────────────────


def flags(tenant: Tenant) -> tuple[bool, bool]:
    row = SpeechDefaults.objects.filter(organization=tenant.organization).first()
    return (row.has_default_lexicons, row.has_voice_defaults) if row else (False, False)


def lexicon(tenant: Tenant, *, is_default: bool = True) -> PronunciationLexicon:
    return PronunciationLexicon.objects.create(
        organization=tenant.organization, name=uuid.uuid4().hex, is_default=is_default
    )


def test_is_known_whoever_writes(tenant: Tenant, other_tenant: Tenant) -> None:
    lexicon(tenant, is_default=False)
    assert flags(tenant) == (False, False)
    row = lexicon(tenant)
    assert flags(tenant) == (True, False)
    VoiceDefaults.objects.create(organization=tenant.organization, voice="espeak:de")
    stale = SpeechDefaults.objects.get(organization=tenant.organization)
    stale.has_default_lexicons, stale.has_voice_defaults, stale.language = False, False, "de"
    stale.save()
    assert flags(tenant) == (True, True)
    PronunciationLexicon.objects.filter(id=row.id).update(is_default=False)
    assert flags(tenant) == (False, True)
    VoiceDefaults.objects.filter(organization=tenant.organization).delete()
    assert flags(tenant) == (False, False)
    assert SpeechDefaults.objects.get(organization=tenant.organization).language == "de"
    assert flags(other_tenant) == (False, False)


@pytest.mark.parametrize("added_first", [True, False])
def test_the_last_goes_while_another_comes(tenant: Tenant, added_first: bool) -> None:
    """Of two transactions the second waits for the first, and then sees what that did."""
    row = lexicon(tenant)
    changes = [lambda: lexicon(tenant), row.delete]
    first, second = changes if added_first else reversed(changes)

    def change() -> None:
        try:
            second()
        finally:
            connection.close()

    waiting = threading.Thread(target=change)
    with transaction.atomic():
        first()
        waiting.start()
        wait_for_a_waiter(waiting)
    waiting.join(30)
    assert flags(tenant) == (True, False)


def wait_for_a_waiter(thread: threading.Thread) -> None:
    """Until a transaction waits for this one's."""
    with connection.cursor() as cursor:
        for _ in range(3000):
            cursor.execute("SELECT count(*), pg_sleep(0.01) FROM pg_stat_activity "
                           "WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")  # fmt: skip
            if cursor.fetchone()[0]:
                return
            assert thread.is_alive(), "it did not wait"
    raise AssertionError("nobody waited")


# ── Lists ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_voices(tenant: Tenant, count: int) -> None:
    whose = {"organization": tenant.organization}
    made = [Voice(**whose, name=f"Ann {number}", language="en-US", status="ready") for number in range(count)]
    Voice.objects.bulk_create(made)
    Consent.objects.bulk_create(
        Consent(**whose, voice=voice, statement="I consent.", recorded_by="Ann") for voice in made
    )


def add_tts_jobs(tenant: Tenant, count: int) -> None:
    TtsJob.objects.bulk_create(
        TtsJob(
            organization=tenant.organization, status="succeeded", text="One.", characters=4, language="en-US",
            voice="espeak:en-us", model="espeak-ng", format="wav", sample_rate=22_050,
            audio_key=f"k/{uuid.uuid4()}.wav",
        )
        for _ in range(count)
    )  # fmt: skip


def add_stt_jobs(tenant: Tenant, count: int) -> None:
    """Each with its audio; every second has a transcription."""
    whose = {"organization": tenant.organization}
    audio = AudioFile.objects.bulk_create(
        AudioFile(**whose, size_bytes=1, key=f"k/{uuid.uuid4()}.wav") for _ in range(count)
    )
    jobs = SttJob.objects.bulk_create(SttJob(**whose, status="succeeded", audio=file) for file in audio)
    Transcription.objects.bulk_create(
        Transcription(**whose, job=job, text="one", language="en", language_confidence=1.0, confidence=1.0, segments=[],
                      model_used="m", quality={}, stages=[])
        for job in jobs[::2]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "key", "add", "most"),
    [
        # The key, and the organisation's own voices.
        ("/tts/voices", "voices", add_voices, 2),
        # The key, how many there are, and the page.
        ("/tts/jobs?page_size=100", "results", add_tts_jobs, 3),
        ("/stt/jobs?page_size=100", "results", add_stt_jobs, 3),
    ],
)
def test_lists_ask_as_much_for_fifty_as_for_one(
    tenant: Tenant, path: str, key: str, add: Callable[[Tenant, int], None], most: int
) -> None:
    client = InProcess(headers={"x-api-key": tenant.new_key()[1]})

    def listed() -> int:
        answer = client.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.content
        return len(answer.json()[key])

    listed()
    add(tenant, 1)
    before, one = listed(), asked(listed)
    add(tenant, 49)
    fifty = asked(listed)
    assert listed() - before == 49
    assert len(one) == len(fifty) == most, fifty
