"""Another organisation's object does not exist, and nothing of it can be counted, listed or changed."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import ApiKey, Invitation, LoginSession, Membership, ServiceAccount
from openai_api.models import OpenAIAlias
from openai_api.services import create_alias
from stt.models import SttJob
from tests.api.support import ended_rollout, own_voice, refused_delivery, silence
from tests.conftest import Client, Tenant, error_of
from tts.lexicons.services import create_lexicon, set_voice_defaults
from tts.models import PronunciationLexicon, TtsJob
from webhooks.models import WebhookEndpoint


@pytest.fixture(scope="module")
def theirs(server: str) -> dict[str, Any]:
    """An organisation with one of everything."""
    from tests.conftest import make_tenant

    tenant = make_tenant(server)
    client = tenant.key()
    delivery = refused_delivery(tenant)
    return {
        "tenant": tenant,
        "tts_job": client.post("/tts/synthesize", json={"text": "A secret text."}).json()["job_id"],
        "stt_job": client.post("/stt/transcribe", files={"audio_file": ("secret.wav", silence(0.5))}).json()["job_id"],
        "tts_batch": client.post("/tts/synthesize-batch", json={"items": [{"text": "Secret."}]}).json()["batch_id"],
        "stt_batch": client.post("/stt/batch-transcribe", files={"audio_files": ("s.wav", silence(0.5))}).json()[
            "batch_id"
        ],
        "lexicon": str(create_lexicon(actor=tenant.actor(), name="secret").id),
        "voice_defaults": str(set_voice_defaults(actor=tenant.actor(), voice_id="espeak:en-us", values={}).id),
        "api_key": str(tenant.new_key()[0].id),
        "service_account": str(ServiceAccount.objects.create(organization=tenant.organization, name="secret-robot").id),
        "member": str(tenant.member("viewer").id),
        "delivery": str(delivery.id),
        "webhook": str(delivery.endpoint_id),
        "rollout": str(ended_rollout(tenant).id),
        "voice": str(own_voice(tenant).id),
        "alias": str(create_alias(actor=tenant.actor(), kind="stt", name="secret-model").id),
        "invitation": tenant.user("owner").post("/auth/invitations", json={"email": "guest@example.com"}).json()["id"],
        "session": tenant.user("viewer").get("/auth/sessions").json()["results"][0]["id"],
    }


OBJECTS = [
    ("GET", "/tts/jobs/{tts_job}", None),
    ("DELETE", "/tts/jobs/{tts_job}", None),
    ("GET", "/tts/jobs/{tts_job}/timestamps", None),
    ("GET", "/tts/lexicons/{lexicon}", None),
    ("PATCH", "/tts/lexicons/{lexicon}", {"name": "stolen"}),
    ("DELETE", "/tts/lexicons/{lexicon}", None),
    ("GET", "/tts/lexicons/{lexicon}/export", None),
    ("POST", "/tts/lexicons/{lexicon}/import", None),
    ("POST", "/tts/synthesize", {"text": "a", "lexicon": ["{lexicon}"]}),
    ("DELETE", "/tts/voice-defaults/{voice_defaults}", None),
    ("GET", "/stt/jobs/{stt_job}", None),
    ("GET", "/stt/jobs/{stt_job}?format=srt", None),
    ("PATCH", "/stt/jobs/{stt_job}", {"segments": [{"index": 0, "text": "stolen"}]}),
    ("POST", "/stt/jobs/{stt_job}/retry", None),
    ("POST", "/tts/jobs/{tts_job}/retry", None),
    ("DELETE", "/stt/jobs/{stt_job}", None),
    ("GET", "/auth/api-keys/{api_key}", None),
    ("PATCH", "/auth/api-keys/{api_key}", {"name": "stolen"}),
    ("DELETE", "/auth/api-keys/{api_key}", None),
    ("POST", "/auth/api-keys/{api_key}/rotate", None),
    ("GET", "/auth/service-accounts/{service_account}", None),
    ("PATCH", "/auth/service-accounts/{service_account}", {"disabled": True}),
    ("DELETE", "/auth/service-accounts/{service_account}", None),
    ("POST", "/auth/api-keys", {"name": "a", "scopes": ["tts"], "service_account": "{service_account}"}),
    ("GET", "/auth/members/{member}", None),
    ("PATCH", "/auth/members/{member}", {"role": "owner"}),
    ("DELETE", "/auth/members/{member}", None),
    ("DELETE", "/auth/invitations/{invitation}", None),
    ("POST", "/auth/invitations/{invitation}/resend", None),
    ("DELETE", "/auth/sessions/{session}", None),
    ("GET", "/tts/batches/{tts_batch}", None),
    ("GET", "/stt/batches/{stt_batch}", None),
    ("GET", "/tts/voices/{voice}", None),
    ("DELETE", "/tts/voices/{voice}", None),
    ("GET", "/tts/voices/{voice}/consent", None),
    ("DELETE", "/tts/voices/{voice}/consent", None),
    ("GET", "/webhooks/{webhook}", None),
    ("PATCH", "/webhooks/{webhook}", {"active": False}),
    ("DELETE", "/webhooks/{webhook}", None),
    ("POST", "/webhooks/{webhook}/test", None),
    ("POST", "/webhooks/{webhook}/rotate-secret", None),
    ("GET", "/webhooks/{webhook}/deliveries", None),
    ("GET", "/webhooks/{webhook}/deliveries/{delivery}", None),
    ("POST", "/webhooks/{webhook}/deliveries/{delivery}/redeliver", None),
    ("GET", "/models/rollouts/{rollout}", None),
    ("POST", "/models/rollouts/{rollout}/finish", {"activate": False}),
    ("POST", "/models/rollouts/{rollout}/rollback", {}),
    ("GET", "/openai/aliases/{alias}", None),
    ("PATCH", "/openai/aliases/{alias}", {"target": "pocketsphinx-en-us"}),
    ("DELETE", "/openai/aliases/{alias}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), OBJECTS)
def test_object_of_another_organization(
    tenant: Tenant, theirs: dict[str, Any], method: str, path: str, body: dict | None
) -> None:
    answer = tenant.user("owner").request(method, path.format(**theirs), json=_filled(body, theirs))
    error = error_of(answer, 404, "not_found")
    # Not even the wording tells that it exists.
    missing = {**theirs, **{name: "00000000-0000-4000-8000-000000000000" for name in theirs if name != "tenant"}}
    unknown = error_of(
        tenant.user("owner").request(method, path.format(**missing), json=_filled(body, missing)), 404, "not_found"
    )
    for known in theirs.values():
        error["message"] = error["message"].replace(str(known), "ID")
    assert error["message"] == unknown["message"].replace("00000000-0000-4000-8000-000000000000", "ID")


def _filled(body: dict | None, ids: dict[str, Any]) -> dict | None:
    """With the ids of the lexicon and the service account where they are named."""
    if body and "lexicon" in body:
        return {**body, "lexicon": [name.format(**ids) for name in body["lexicon"]]}
    if body and "service_account" in body:
        return {**body, "service_account": body["service_account"].format(**ids)}
    return body


def test_nothing_was_changed(theirs: dict[str, Any]) -> None:
    """Runs after the attempts above."""
    assert TtsJob.objects.get(id=theirs["tts_job"]).status == "succeeded"
    assert SttJob.objects.get(id=theirs["stt_job"]).status == "succeeded"
    assert PronunciationLexicon.objects.get(id=theirs["lexicon"]).name == "secret"
    key = ApiKey.objects.get(id=theirs["api_key"])
    assert (key.name, key.revoked_at) == ("tests", None)
    assert Membership.objects.get(id=theirs["member"]).role == "viewer"
    alias = OpenAIAlias.objects.get(id=theirs["alias"])
    assert (alias.name, alias.target) == ("secret-model", "")
    endpoint = WebhookEndpoint.objects.get(id=theirs["webhook"])
    assert Invitation.objects.get(id=theirs["invitation"]).role == "viewer"
    assert LoginSession.objects.get(id=theirs["session"]).revoked_at is None
    assert (endpoint.active, endpoint.previous_salt, endpoint.deliveries.count()) == (True, "", 1)


def test_keys_see_no_others_jobs(tenant: Tenant, theirs: dict[str, Any]) -> None:
    client = tenant.key()
    error_of(client.get(f"/tts/jobs/{theirs['tts_job']}"), 404)
    error_of(client.delete(f"/stt/jobs/{theirs['stt_job']}"), 404)


@pytest.mark.parametrize(
    "path",
    ["/tts/jobs", "/stt/jobs", "/auth/api-keys", "/auth/members", "/auth/invitations", "/webhooks", "/openai/aliases"],
)
def test_lists_end_at_the_organization(tenant: Tenant, theirs: dict[str, Any], path: str) -> None:
    body = tenant.user("owner").get(path).json()
    own = {str(tenant.member("owner").id)} if path == "/auth/members" else set()
    assert {row.get("job_id") or row["id"] for row in body["results"]} == own
    assert body["count"] == len(own)
    assert theirs["tenant"].user("owner").get(path).json()["count"] > 0


def test_member_of_two_organizations_acts_in_one_at_a_time(tenant: Tenant, theirs: dict[str, Any]) -> None:
    from accounts import tokens

    user = theirs["tenant"].member("owner").user
    here = Membership.objects.create(organization=tenant.organization, user=user, role="viewer")
    _, pair = tokens.open_session(membership=here, address=None, user_agent="tests")
    client = Client(tenant.server, {"Authorization": f"Bearer {pair.access_token}"})
    error_of(client.get(f"/tts/jobs/{theirs['tts_job']}"), 404)
    error_of(client.get("/auth/members"), 403)
    assert client.get("/analytics/usage").json()["total_jobs"] == 0


def test_every_object_route_is_tried() -> None:
    from tests.api.routes import methods, routes

    tried = {(method, path.split("?")[0].replace("{", "").replace("}", "")) for method, path, _ in OBJECTS}
    own = {
        "job_id": None,
        "key_id": "api_key",
        "member_id": "member",
        "webhook_id": "webhook",
        "delivery_id": "delivery",
        "alias_id": "alias",
        "rollout_id": "rollout",
        "invitation_id": "invitation",
        "session_id": "session",
        "lexicon_id": "lexicon",
        "defaults_id": "voice_defaults",
        "voice_id": "voice",
        "account_id": "service_account",
    }
    for path, callback in routes().items():
        for method in methods(callback):
            name = path.removeprefix("/api/v1")
            if "_id}" not in name or "model_id" in name:  # models belong to everyone
                continue
            task = name.split("/")[1]
            name = name.replace("{job_id}", f"{task}_job").replace("{batch_id}", f"{task}_batch")
            for parameter, known in own.items():
                name = name.replace("{" + parameter + "}", known or parameter)
            assert (method, name) in tried, f"{method} {path} is missing from OBJECTS"
