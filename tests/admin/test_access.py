"""/admin/: who gets in, and that an owner sees the rows of the owner's organisations only."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from accounts import tokens
from accounts.models import Membership
from tests.browser import Browser, operator, signed_in, text_of
from tests.conftest import OWNED_AUDIO, PASSWORD, Tenant

SCOPED = (
    "accounts/organization", "accounts/user", "accounts/membership", "accounts/loginsession", "accounts/apikey",
    "tts/ttsjob", "stt/sttjob", "stt/audiofile", "analytics/usagerecord", "analytics/quota", "admin/logentry",
    "webhooks/webhookendpoint", "webhooks/webhookdelivery", "audit/auditentry",
    "openai_api/openaialias", "models_registry/rollout", "models_registry/evaluationmanifest",
    "models_registry/installation", "voices/voice", "tts/pronunciationlexicon", "tts/voicedefaults",
    "tts/speechdefaults", "stt/transcriptiondefaults", "accounts/invitation", "accounts/serviceaccount", "jobs/batch",
    "retention/deletionrecord",
)  # fmt: skip
ADDABLE = {
    "openai_api/openaialias", "accounts/membership", "accounts/apikey", "webhooks/webhookendpoint",
    "accounts/serviceaccount", "tts/pronunciationlexicon", "tts/voicedefaults", "tts/speechdefaults",
}  # fmt: skip
ADDABLE_BY_OPERATORS = ADDABLE | {"accounts/organization", "accounts/user", "analytics/quota"}
SHARED = ("models_registry/modelversion",)
HISTORIES = (
    "tts/ttsjob", "stt/sttjob", "stt/audiofile", "analytics/usagerecord", "accounts/loginsession", "admin/logentry",
    "webhooks/webhookdelivery", "audit/auditentry", "models_registry/rollout", "models_registry/evaluationmanifest",
    "models_registry/installation", "voices/voice", "stt/transcriptiondefaults", "jobs/batch",
    "retention/deletionrecord", *SHARED,
)  # fmt: skip
MOST_QUERIES = 14


@dataclass
class Rows:
    """The primary key of one row of each kind, all of one organisation."""

    keys: dict[str, Any]


def fill(tenant: Tenant) -> Rows:
    """One row, at least, of everything that the administration lists."""
    from django.contrib.admin.models import LogEntry

    from accounts import invitations, service_accounts
    from accounts.models import LoginSession
    from analytics.models import UsageRecord
    from analytics.quota import set_quota
    from audit.models import AuditEntry
    from jobs.models import Batch
    from models_registry.models import EvaluationManifest, Installation
    from openai_api.services import create_alias
    from retention.models import DeletionRecord
    from stt import services as stt
    from stt.models import AudioFile, SttJob
    from tests.api.support import ended_rollout, own_voice, refused_delivery
    from tts.defaults import services as speech
    from tts.lexicons import services as lexicons
    from tts.models import TtsJob

    tenant.key("tts").post("/tts/synthesize", json={"text": f"Text of {tenant.organization.name}"})
    tenant.key("stt").post("/stt/transcribe", files={"audio_file": (OWNED_AUDIO / "numbers.wav").open("rb")})
    tokens.open_session(membership=tenant.member("viewer"), address="192.0.2.1", user_agent="tests")
    browser = signed_in(tenant, "owner")
    browser.submit(
        "/admin/accounts/apikey/add/",
        {"organization": str(tenant.organization.id), "name": "Logged", "scopes": ["tts"]},
    )
    own = {"organization": tenant.organization}
    delivery = refused_delivery(tenant)
    actor, slug = tenant.actor(), tenant.organization.slug
    deletion = DeletionRecord.objects.create(
        organization_id=tenant.organization.pk, object_type="tts_job", object_id=uuid.uuid4(), reason="request"
    )
    return Rows(
        {
            "accounts/organization": tenant.organization.pk,
            "accounts/user": tenant.member("viewer").user.pk,
            "accounts/membership": tenant.member("viewer").pk,
            "accounts/loginsession": LoginSession.objects.filter(membership=tenant.member("viewer")).first().pk,
            "accounts/apikey": tenant.organization.api_keys.first().pk,
            "tts/ttsjob": TtsJob.objects.get(**own).pk,
            "stt/sttjob": SttJob.objects.get(**own).pk,
            "stt/audiofile": AudioFile.objects.get(**own).pk,
            "analytics/quota": set_quota(organization=tenant.organization, monthly_characters=1_000_000).pk,
            "analytics/usagerecord": UsageRecord.objects.filter(**own).first().pk,
            "webhooks/webhookendpoint": delivery.endpoint_id,
            "webhooks/webhookdelivery": delivery.pk,
            "models_registry/rollout": ended_rollout(tenant).pk,
            "voices/voice": own_voice(tenant).pk,
            "models_registry/evaluationmanifest": EvaluationManifest.objects.get_or_create(
                **own, defaults={"path": "/nowhere.jsonl"}
            )[0].pk,
            "models_registry/installation": Installation.objects.create(
                **own, model=f"model-{tenant.organization.slug}", role="owner"
            ).pk,
            "openai_api/openaialias": create_alias(actor=actor, kind="stt", name="my-model").pk,
            "tts/pronunciationlexicon": lexicons.create_lexicon(actor=actor, name=f"Words of {slug}").pk,
            "tts/voicedefaults": lexicons.set_voice_defaults(actor=actor, voice_id="espeak:hi", values={}).pk,
            "tts/speechdefaults": speech.save_defaults(actor=actor, changes={"format": "mp3"}).pk,
            "stt/transcriptiondefaults": stt.save_defaults(actor=actor, changes={"redact": True}).pk,
            "accounts/invitation": invitations.invite(
                actor=actor, email=f"guest@{slug}.example", role="viewer", base_url=tenant.server
            ).pk,
            "accounts/serviceaccount": service_accounts.create(actor=actor, name=f"Robot of {slug}").pk,
            "jobs/batch": Batch.objects.create(**own, task="tts", size=2).pk,
            "retention/deletionrecord": deletion.pk,
            "audit/auditentry": AuditEntry.objects.filter(**own).first().pk,
            "admin/logentry": LogEntry.objects.get(user=tenant.member("owner").user).pk,
        }
    )


@pytest.fixture(scope="module")
def pair(server: str) -> tuple[Tenant, Tenant, Rows, Rows]:
    from tests.conftest import make_tenant

    mine, theirs = make_tenant(server), make_tenant(server)
    return mine, theirs, fill(mine), fill(theirs)


def listed(browser: Browser, path: str, query: str = "") -> set[str]:
    page = browser.get(f"/admin/{path}/{query}")
    assert page.status_code == 200, (path, page.status_code)
    return set(re.findall(rf'/admin/{path}/([^/"]+)/change/', page.text))


def test_knows_every_registered_page(database: None) -> None:
    from django.contrib import admin

    from common.admin import Scoped

    registered = {model._meta.label_lower.replace(".", "/"): page for model, page in admin.site._registry.items()}
    scoped = {path for path, page in registered.items() if isinstance(page, Scoped)}
    assert scoped == {*SCOPED, *SHARED}, "a new page belongs into SCOPED or SHARED"


@pytest.mark.parametrize("path", SCOPED)
def test_owner_sees_own_rows_only(pair: tuple[Tenant, Tenant, Rows, Rows], path: str) -> None:
    mine, theirs, my_rows, their_rows = pair
    browser = signed_in(mine, "owner")
    found = listed(browser, path)
    assert str(my_rows.keys[path]) in found
    assert str(their_rows.keys[path]) not in found
    page = browser.get(f"/admin/{path}/").text
    assert theirs.organization.name not in page
    assert theirs.member("viewer").user.email not in page
    assert browser.get(f"/admin/{path}/{my_rows.keys[path]}/change/").status_code == 200
    assert browser.get(f"/admin/{path}/{my_rows.keys[path]}/history/").status_code == 200
    for foreign in (their_rows.keys[path], uuid.uuid4(), "nonsense"):
        for view in ("change", "history", "delete"):
            answer = browser.get(f"/admin/{path}/{foreign}/{view}/")
            # What a page never offers is refused before the row is looked for.
            assert answer.status_code in ((403, 404) if view == "delete" else (404,)), (path, view)
        assert theirs.organization.name not in answer.text


@pytest.mark.parametrize("path", [*SCOPED, *SHARED])
def test_every_page_renders_for_owner_and_operator(pair: tuple[Tenant, Tenant, Rows, Rows], path: str) -> None:
    from models_registry.models import ModelVersion

    mine, _, my_rows, _ = pair
    key = my_rows.keys.get(path) or ModelVersion.objects.first().pk
    for browser, addable in ((signed_in(mine, "owner"), ADDABLE), (operator(mine), ADDABLE_BY_OPERATORS)):
        for query in ("", "?q=abc", "?q=%00", "?org=nonsense", "?o=1", "?p=0", "?created_at__year=2026", "?e=1"):
            assert browser.get(f"/admin/{path}/{query}").status_code in (200, 302), query
        page = browser.get(f"/admin/{path}/{key}/change/")
        assert page.status_code == 200
        for secret in ("argon2", "refresh_jti", 'name="password"'):
            assert secret not in page.text
        assert browser.get(f"/admin/{path}/add/").status_code == (200 if path in addable else 403)


@pytest.mark.parametrize("path", HISTORIES)
def test_histories_cannot_be_written(pair: tuple[Tenant, Tenant, Rows, Rows], path: str) -> None:
    from models_registry.models import ModelVersion

    mine, _, my_rows, _ = pair
    key = my_rows.keys.get(path) or ModelVersion.objects.first().pk
    for browser in (signed_in(mine, "owner"), operator(mine)):
        token = {"csrfmiddlewaretoken": _token(browser)}
        for view in (f"{key}/change", f"{key}/delete", "add"):
            assert browser.post(f"/admin/{path}/{view}/", data={**token, "post": "yes"}).status_code == 403, view
        data = {**token, "action": "delete_selected", "_selected_action": str(key), "post": "yes"}
        browser.post(f"/admin/{path}/", data=data)
        assert str(key) in listed(browser, path, f"?id={key}")  # among however many other tests have made


@pytest.mark.parametrize("role", ["admin", "developer", "viewer"])
def test_refuses_everybody_below_owner(tenant: Tenant, role: str) -> None:
    browser = signed_in(tenant, role)
    for path in ("/admin/", "/admin/accounts/apikey/", "/admin/tts/ttsjob/", "/admin/jsi18n/"):
        answer = browser.get(path)
        assert answer.status_code == 403, path
        assert "For owners only" in text_of(answer)
    fresh = Browser(tenant.server)
    answer = fresh.submit("/admin/login/", {"username": tenant.member(role).user.email, "password": PASSWORD})
    assert "you own no organisation" in text_of(answer)
    assert "sessionid" not in fresh.cookies


def test_sends_strangers_to_the_sign_in_and_back(tenant: Tenant) -> None:
    browser = Browser(tenant.server)
    assert browser.get("/admin").headers["location"] == "/admin/"
    answer = browser.get("/admin/tts/ttsjob/")
    assert answer.headers["location"] == "/admin/login/?next=/admin/tts/ttsjob/"
    data = {"username": tenant.member("owner").user.email, "password": PASSWORD, "next": "/admin/tts/ttsjob/"}
    answer = browser.submit("/admin/login/?next=/admin/tts/ttsjob/", data)
    assert (answer.status_code, answer.headers["location"]) == (302, "/admin/tts/ttsjob/")
    assert browser.get("/admin/tts/ttsjob/").status_code == 200
    outside = Browser(tenant.server).submit("/admin/login/", {**data, "next": "https://evil.example/"})
    assert "evil" not in outside.headers["location"]


def test_former_owner_is_out_at_once(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    assert browser.get("/admin/").status_code == 200
    Membership.objects.filter(pk=tenant.member("owner").pk).update(role="admin")
    assert browser.get("/admin/").status_code == 403
    Membership.objects.filter(pk=tenant.member("owner").pk).update(role="owner")
    tenant.organization.is_active = False
    tenant.organization.save()
    assert browser.get("/admin/").status_code == 403


def test_owner_of_two_sees_both_and_may_filter(pair: tuple[Tenant, Tenant, Rows, Rows], tenant: Tenant) -> None:
    mine, theirs, my_rows, their_rows = pair
    user = tenant.member("owner").user
    for organization in (mine.organization, theirs.organization):
        Membership.objects.create(organization=organization, user=user, role="owner")
    browser = signed_in(tenant, "owner")
    both = {str(my_rows.keys["tts/ttsjob"]), str(their_rows.keys["tts/ttsjob"])}
    assert listed(browser, "tts/ttsjob") == both
    slug = mine.organization.slug
    assert listed(browser, "tts/ttsjob", f"?org={slug}") == {str(my_rows.keys["tts/ttsjob"])}
    Membership.objects.filter(user=user).exclude(organization=tenant.organization).delete()
    assert listed(browser, "tts/ttsjob", f"?org={slug}") == set()


def test_audio_is_played_through_the_pages_own_check(pair: tuple[Tenant, Tenant, Rows, Rows]) -> None:
    mine, theirs, my_rows, _ = pair
    owner, outsider = signed_in(mine, "owner"), signed_in(theirs, "owner")
    for path in ("tts/ttsjob", "stt/sttjob", "stt/audiofile"):
        url = f"/admin/{path}/{my_rows.keys[path]}/audio/"
        assert url in owner.get(f"/admin/{path}/").text
        audio = owner.get(owner.get(url).headers["location"])
        assert audio.content.startswith(b"RIFF")
        assert outsider.get(url).status_code == 404


def test_secrets_cannot_be_guessed_by_filters(pair: tuple[Tenant, Tenant, Rows, Rows]) -> None:
    mine, _, _, _ = pair
    browser = signed_in(mine, "owner")
    for query in (
        "accounts/user/?password__startswith=argon2",
        "accounts/apikey/?digest__startswith=a",
        "accounts/apikey/?created_by__password__startswith=argon2",
        "accounts/loginsession/?refresh_jti__startswith=a",
        "accounts/membership/?user__password__startswith=argon2",
        "webhooks/webhookendpoint/?salt__startswith=a",
        "webhooks/webhookdelivery/?endpoint__salt__startswith=a",
        "accounts/invitation/?salt__startswith=a",
    ):
        assert browser.get(f"/admin/{query}").status_code in (302, 400), query


@pytest.mark.parametrize("path", [*SCOPED, *SHARED])
def test_lists_cost_the_same_for_one_row_and_many(pair: tuple[Tenant, Tenant, Rows, Rows], path: str) -> None:
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    mine = pair[0]
    client = Client()
    client.force_login(mine.member("owner").user)

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"/admin/{path}/").status_code == 200
        return len(queries)

    before = count()
    _more(mine, path)
    assert count() <= before, path
    assert before <= MOST_QUERIES, (path, before)


def _more(tenant: Tenant, path: str) -> None:
    """Some more rows of the model, each with people and keys of its own."""
    from django.apps import apps
    from django.db.models import UniqueConstraint

    from accounts.models import User

    model = apps.get_model(*path.split("/"))
    for _ in range(3):
        user = User.objects.create(email=f"more-{uuid.uuid4().hex[:8]}@example.com")
        member = Membership.objects.create(organization=tenant.organization, user=user, role="viewer")
        key, _ = tenant.new_key("tts")
        row = model.objects.order_by("pk").first()
        if path in ("accounts/user", "accounts/membership", "accounts/apikey", "accounts/organization",
                    "analytics/quota", "models_registry/evaluationmanifest", "tts/speechdefaults",
                    "stt/transcriptiondefaults"):  # fmt: skip
            continue  # made above; organisations, their quotas, defaults and manifests, cannot be had more of
        if path.startswith("stt/sttjob"):
            row = model.objects.filter(organization=tenant.organization).first()
            row.audio = None
        if path == "admin/logentry" or path == "models_registry/modelversion":
            row = model.objects.order_by("-pk").first()
        row.pk = None if path == "admin/logentry" else uuid.uuid4()
        row._state.adding = True
        for name, value in {"user": user, "api_key": key, "membership": member, "job_id": uuid.uuid4(),
                            "organization": tenant.organization, "organization_id": tenant.organization.pk,
                            "voice": f"voice-{user.pk}", "email": user.email}.items():  # fmt: skip
            if any(field.name == name for field in model._meta.concrete_fields):
                setattr(row, name, value)
        if path == "models_registry/installation":
            row.status = "succeeded"  # of those under way there is one for each model
        elif any(isinstance(constraint, UniqueConstraint) for constraint in model._meta.constraints):
            row.name = row.version = f"test-{uuid.uuid4().hex[:6]}"
            row.is_active = row.is_default = False
        if path == "admin/logentry":
            row.change_message = f'[{{"organization": "{tenant.organization.pk}"}}]'
        row.save(force_insert=True)
        if path == "models_registry/modelversion":
            row.delete()  # the installation's rows are everyone's: leave them as they were


def _token(browser: Browser) -> str:
    from tests.browser import csrf_token

    return csrf_token(browser.get("/admin/accounts/apikey/"))
