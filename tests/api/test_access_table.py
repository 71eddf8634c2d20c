"""Who may call what: every route × every kind of credential → the answer's status."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import invitations, keys, passwords, services, tokens, two_factor
from accounts.models import ApiKey, Invitation, Membership, ServiceAccount, User
from openai_api.models import OpenAIAlias
from stt.models import SttJob
from tests.api.routes import METHODS, methods, routes
from tests.api.support import ended_rollout, own_voice, refused_delivery, silence
from tests.conftest import PASSWORD, Client, Tenant, error_of, make_tenant
from tts.models import PronunciationLexicon, TtsJob, VoiceDefaults

CREDENTIALS = (
    "anonymous", "viewer", "developer", "admin", "owner", "outsider", "key", "other_key", "revoked_key", "expired_key",
)  # fmt: skip
"""outsider: the owner of another organisation. key: of the route's scope; other_key: of the other scope."""

PUBLIC = "2xx 2xx 2xx 2xx 2xx 2xx 2xx 2xx 2xx 2xx"
NOBODY = "403 403 403 403 403 403 403 403 403 403"
"""Metrics: what counts is where one comes from, and no client of these tests comes from this machine."""
TABLE = {
    # method, path                            anon view dev  adm  own  outs key  othr rev  exp
    "POST /api/v1/auth/login":               PUBLIC,
    "POST /api/v1/auth/refresh":             PUBLIC,
    "POST /api/v1/auth/logout":              "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/auth/me":                   "401 2xx 2xx 2xx 2xx 2xx 2xx 2xx 401 401",
    "GET /api/v1/auth/api-keys":             "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/auth/api-keys":            "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/auth/api-keys/{key_id}":    "401 403 403 2xx 2xx 404 403 403 401 401",
    "PATCH /api/v1/auth/api-keys/{key_id}":  "401 403 403 2xx 2xx 404 403 403 401 401",
    "DELETE /api/v1/auth/api-keys/{key_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    "POST /api/v1/auth/api-keys/{key_id}/rotate": "401 403 403 2xx 2xx 404 403 403 401 401",
    "GET /api/v1/auth/service-accounts":     "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/auth/service-accounts":    "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/auth/service-accounts/{account_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    "PATCH /api/v1/auth/service-accounts/{account_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    "DELETE /api/v1/auth/service-accounts/{account_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    # Of none, and with nothing: who may ask at all.
    "GET /api/v1/auth/sso":                  "401 403 403 404 404 404 403 403 401 401",
    "PUT /api/v1/auth/sso":                  "401 403 403 403 400 400 403 403 401 401",
    "DELETE /api/v1/auth/sso":               "401 403 403 403 2xx 2xx 403 403 401 401",
    "GET /api/v1/auth/policy":               "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "PATCH /api/v1/auth/policy":             "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/auth/members":              "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/auth/members":             "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/auth/members/{member_id}":  "401 403 403 2xx 2xx 404 403 403 401 401",
    "PATCH /api/v1/auth/members/{member_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    "DELETE /api/v1/auth/members/{member_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    "PATCH /api/v1/auth/me":                 "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/auth/invitations":          "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/auth/invitations":         "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/auth/invitations/accept":  PUBLIC,
    "DELETE /api/v1/auth/invitations/{invitation_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    "POST /api/v1/auth/invitations/{invitation_id}/resend": "401 403 403 2xx 2xx 404 403 403 401 401",
    "POST /api/v1/auth/password":            "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/auth/password/reset":      PUBLIC,
    "POST /api/v1/auth/password/reset/confirm": PUBLIC,
    "GET /api/v1/auth/two-factor":           "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/auth/two-factor":          "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    # With a wrong code, without a secret begun, with a wrong password: who may ask at all.
    "POST /api/v1/auth/two-factor/confirm":  "401 400 400 400 400 409 403 403 401 401",
    "POST /api/v1/auth/two-factor/disable":  "401 400 400 400 400 400 403 403 401 401",
    "POST /api/v1/auth/two-factor/recovery-codes": "401 400 400 400 400 400 403 403 401 401",
    "GET /api/v1/auth/sessions":             "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "DELETE /api/v1/auth/sessions/{session_id}": "401 404 404 404 404 404 403 403 401 401",  # somebody else's
    "POST /api/v1/tts/synthesize":           "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "POST /api/v1/tts/synthesize-batch":     "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "GET /api/v1/tts/voices":                "401 2xx 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "GET /api/v1/tts/voices/{voice_id}":     "401 2xx 2xx 2xx 2xx 404 2xx 403 401 401",
    "DELETE /api/v1/tts/voices/{voice_id}":  "401 403 2xx 2xx 2xx 404 403 403 401 401",
    "GET /api/v1/tts/voices/{voice_id}/consent": "401 2xx 2xx 2xx 2xx 404 2xx 403 401 401",
    "DELETE /api/v1/tts/voices/{voice_id}/consent": "401 403 2xx 2xx 2xx 404 403 403 401 401",
    "POST /api/v1/tts/voice-clone":          "401 403 2xx 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/tts/jobs":                  "401 2xx 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "GET /api/v1/tts/jobs/{job_id}":         "401 2xx 2xx 2xx 2xx 404 2xx 403 401 401",
    "DELETE /api/v1/tts/jobs/{job_id}":      "401 403 2xx 2xx 2xx 404 2xx 403 401 401",
    "GET /api/v1/tts/jobs/{job_id}/timestamps": "401 404 404 404 404 404 404 403 401 401",  # nobody asked for them
    "GET /api/v1/tts/lexicons":              "401 2xx 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "POST /api/v1/tts/lexicons":             "401 403 2xx 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/tts/lexicons/preview":     "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "GET /api/v1/tts/lexicons/{lexicon_id}": "401 2xx 2xx 2xx 2xx 404 2xx 403 401 401",
    "PATCH /api/v1/tts/lexicons/{lexicon_id}": "401 403 2xx 2xx 2xx 404 403 403 401 401",
    "DELETE /api/v1/tts/lexicons/{lexicon_id}": "401 403 2xx 2xx 2xx 404 403 403 401 401",
    "GET /api/v1/tts/lexicons/{lexicon_id}/export": "401 2xx 2xx 2xx 2xx 404 2xx 403 401 401",
    "POST /api/v1/tts/lexicons/{lexicon_id}/import": "401 403 2xx 2xx 2xx 404 403 403 401 401",
    "GET /api/v1/tts/voice-defaults":        "401 2xx 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "POST /api/v1/tts/voice-defaults":       "401 403 2xx 2xx 2xx 2xx 403 403 401 401",
    "DELETE /api/v1/tts/voice-defaults/{defaults_id}": "401 403 2xx 2xx 2xx 404 403 403 401 401",
    "GET /api/v1/tts/batches/{batch_id}":    "401 2xx 2xx 2xx 2xx 404 2xx 403 401 401",
    "GET /api/v1/tts/defaults":              "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "PATCH /api/v1/tts/defaults":            "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/stt/defaults":              "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "PATCH /api/v1/stt/defaults":            "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/stt/batches/{batch_id}":    "401 2xx 2xx 2xx 2xx 404 2xx 403 401 401",
    "POST /api/v1/stt/transcribe-realtime":  "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "POST /api/v1/stt/transcribe":           "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "POST /api/v1/stt/batch-transcribe":     "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "POST /api/v1/tts/jobs/{job_id}/retry":  "401 403 409 409 409 404 409 403 401 401",
    "POST /api/v1/stt/jobs/{job_id}/retry":  "401 403 409 409 409 404 409 403 401 401",  # a job that succeeded
    "PATCH /api/v1/stt/jobs/{job_id}":       "401 403 409 409 409 404 409 403 401 401",  # it has no transcription
    "GET /api/v1/stt/jobs":                  "401 2xx 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "GET /api/v1/stt/jobs/{job_id}":         "401 2xx 2xx 2xx 2xx 404 2xx 403 401 401",
    "DELETE /api/v1/stt/jobs/{job_id}":      "401 403 2xx 2xx 2xx 404 2xx 403 401 401",
    "GET /api/v1/jobs/events":               "401 2xx 2xx 2xx 2xx 2xx 2xx 2xx 401 401",
    "GET /api/v1/models/status":             "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/models/reload":            "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/models/rollouts":           "401 403 403 2xx 2xx 2xx 403 403 401 401",
    # Of a model that is not there, and of a trial that is over: who may ask at all.
    "POST /api/v1/models/rollouts":          "401 403 403 404 404 404 403 403 401 401",
    "GET /api/v1/models/rollouts/{rollout_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    "POST /api/v1/models/rollouts/{rollout_id}/finish": "401 403 403 409 409 404 403 403 401 401",
    "POST /api/v1/models/rollouts/{rollout_id}/rollback": "401 403 403 409 409 404 403 403 401 401",
    "GET /ml/stt/health":                    "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /ml/tts/health":                    "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /ml/stt/models":                    "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /ml/tts/models":                    "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /ml/stt/initialize":               "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /ml/tts/initialize":               "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /ml/stt/reload":                   "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /ml/tts/reload":                   "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /ml/stt/transcribe":               "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /ml/tts/synthesize":               "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/analytics/usage":           "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/organization":              "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "PATCH /api/v1/organization":            "401 403 403 403 2xx 2xx 403 403 401 401",
    "DELETE /api/v1/organization":           "401 403 403 403 400 400 403 403 401 401",
    "GET /api/v1/organization/export":       "401 403 403 403 2xx 2xx 403 403 401 401",
    "GET /api/v1/organization/deletions":    "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/analytics/quota":           "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/webhooks":                  "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/webhooks":                 "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/webhooks/{webhook_id}":     "401 403 403 2xx 2xx 404 403 403 401 401",
    "PATCH /api/v1/webhooks/{webhook_id}":   "401 403 403 2xx 2xx 404 403 403 401 401",
    "DELETE /api/v1/webhooks/{webhook_id}":  "401 403 403 2xx 2xx 404 403 403 401 401",
    "POST /api/v1/webhooks/{webhook_id}/test": "401 403 403 2xx 2xx 404 403 403 401 401",
    "POST /api/v1/webhooks/{webhook_id}/rotate-secret": "401 403 403 2xx 2xx 404 403 403 401 401",
    "GET /api/v1/webhooks/{webhook_id}/deliveries": "401 403 403 2xx 2xx 404 403 403 401 401",
    "GET /api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    "POST /api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver":
                                             "401 403 403 2xx 2xx 404 403 403 401 401",
    "GET /api/v1/audit":                     "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/openai/aliases":            "401 2xx 2xx 2xx 2xx 2xx 403 403 401 401",
    "POST /api/v1/openai/aliases":           "401 403 403 2xx 2xx 2xx 403 403 401 401",
    "GET /api/v1/openai/aliases/{alias_id}": "401 2xx 2xx 2xx 2xx 404 403 403 401 401",
    "PATCH /api/v1/openai/aliases/{alias_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    "DELETE /api/v1/openai/aliases/{alias_id}": "401 403 403 2xx 2xx 404 403 403 401 401",
    "POST /v1/audio/speech":                 "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "POST /v1/audio/transcriptions":         "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    # No model on a fresh machine translates: those who may ask are told so.
    "POST /v1/audio/translations":           "401 403 400 400 400 400 400 403 401 401",
    "POST /v1/listen":                       "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "GET /v1/audio/voices":                  "401 2xx 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "GET /v1/audio/models":                  "401 2xx 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "POST /v1/realtime/client_secrets":      "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "POST /v1/realtime/transcription_sessions": "401 403 2xx 2xx 2xx 2xx 2xx 403 401 401",
    "GET /v1/models":                        "401 2xx 2xx 2xx 2xx 2xx 2xx 2xx 401 401",
    "GET /v1/models/{model_id}":             "401 2xx 2xx 2xx 2xx 2xx 2xx 2xx 401 401",
    "GET /api/v1/media/{token}/{name}":      PUBLIC,
    "GET /api/v1/version":                   PUBLIC,
    "GET /api/v1/schema":                    PUBLIC,
    "GET /api/v1/docs":                      PUBLIC,
    "GET /health":                           PUBLIC,
    "GET /health/ready":                     PUBLIC,
    "GET /metrics":                          NOBODY,
}  # fmt: skip

_PASSPHRASE = "a long enough pass-phrase"
BODIES: dict[str, Callable[[Tenant], dict[str, Any]]] = {
    "POST /api/v1/auth/login": lambda tenant: {
        "json": {"email": tenant.member("developer").user.email, "password": PASSWORD}
    },
    "PATCH /api/v1/auth/me": lambda tenant: {"json": {"name": "Same"}},
    "POST /api/v1/auth/invitations": lambda tenant: {"json": {"email": f"{uuid.uuid4().hex}@example.com"}},
    "POST /api/v1/auth/invitations/accept": lambda tenant: {
        "json": {"token": invitations.token_of(_invitation(tenant)), "password": _PASSPHRASE}
    },
    "POST /api/v1/auth/password": lambda tenant: {"json": {"current_password": PASSWORD, "new_password": PASSWORD}},
    "POST /api/v1/auth/password/reset": lambda tenant: {"json": {"email": f"{uuid.uuid4().hex}@example.com"}},
    "POST /api/v1/auth/password/reset/confirm": lambda tenant: {
        "json": {"token": passwords.reset_token(_somebody(tenant).user), "new_password": _PASSPHRASE}
    },
    "POST /api/v1/auth/two-factor/confirm": lambda tenant: {"json": {"otp": _wrong_code(tenant)}},
    "POST /api/v1/auth/two-factor/disable": lambda tenant: {"json": {"password": "wrong"}},
    "POST /api/v1/auth/two-factor/recovery-codes": lambda tenant: {"json": {"password": "wrong"}},
    "POST /api/v1/auth/refresh": lambda tenant: {
        "json": {
            "refresh_token": tokens.open_session(membership=tenant.member("developer"), address=None, user_agent="")[
                1
            ].refresh_token
        }
    },
    "POST /api/v1/auth/api-keys": lambda _: {"json": {"name": "new", "scopes": ["tts"]}},
    "PATCH /api/v1/auth/api-keys/{key_id}": lambda _: {"json": {"name": "renamed"}},
    "POST /api/v1/auth/service-accounts": lambda _: {"json": {"name": uuid.uuid4().hex}},
    "PATCH /api/v1/auth/service-accounts/{account_id}": lambda _: {"json": {"description": "changed"}},
    "PATCH /api/v1/auth/policy": lambda _: {"json": {"idle_minutes": None}},
    "POST /api/v1/auth/members": lambda _: {
        "json": {"email": f"{uuid.uuid4().hex}@example.com", "role": "viewer", "password": _PASSPHRASE}
    },
    "PATCH /api/v1/auth/members/{member_id}": lambda _: {"json": {"role": "developer"}},
    "POST /api/v1/models/rollouts": lambda _: {"json": {"model": "nowhere@1", "mode": "shadow", "share": 0.1}},
    "POST /api/v1/models/rollouts/{rollout_id}/finish": lambda _: {"json": {"activate": False}},
    "POST /api/v1/webhooks": lambda _: {"json": {"url": "https://203.0.114.9/hook", "events": ["job.failed"]}},
    "PATCH /api/v1/webhooks/{webhook_id}": lambda _: {"json": {"description": "renamed"}},
    "POST /api/v1/tts/synthesize": lambda _: {"json": {"text": "Hi."}},
    "POST /api/v1/tts/synthesize-batch": lambda _: {"json": {"items": [{"text": "Hi."}]}},
    "POST /api/v1/tts/lexicons": lambda _: {"json": {"name": uuid.uuid4().hex}},
    "POST /api/v1/tts/lexicons/preview": lambda _: {"json": {"text": "Hi."}},
    "PATCH /api/v1/tts/lexicons/{lexicon_id}": lambda _: {"json": {"entries": [{"grapheme": "a", "alias": "b"}]}},
    "POST /api/v1/tts/lexicons/{lexicon_id}/import": lambda _: {"files": {"file": ("l.csv", b"grapheme,alias\na,b\n")}},
    "POST /api/v1/tts/voice-defaults": lambda _: {"json": {"voice": "espeak:en-us", "speed": 1.2}},
    "PATCH /api/v1/stt/jobs/{job_id}": lambda _: {"json": {"segments": [{"index": 0, "text": "New."}]}},
    "PATCH /api/v1/tts/defaults": lambda _: {"json": {"format": "mp3"}},
    "PATCH /api/v1/stt/defaults": lambda _: {"json": {"itn": True}},
    "PATCH /api/v1/organization": lambda _: {"json": {"audio_retention_days": None}},
    "POST /api/v1/stt/transcribe": lambda _: {"files": {"audio_file": ("s.wav", silence(0.3))}},
    "POST /api/v1/tts/voice-clone": lambda _: {
        "files": {"audio_sample": ("s.wav", silence(0.3))},
        "data": {"name": "Ann", "consent": "I consent."},
    },
    "POST /ml/stt/transcribe": lambda _: {"files": {"file": ("s.wav", silence(0.3))}},
    "POST /ml/tts/synthesize": lambda _: {"json": {"text": "Hi."}},
    "POST /api/v1/openai/aliases": lambda _: {"json": {"kind": "stt", "name": f"a-{uuid.uuid4().hex}"}},
    "PATCH /api/v1/openai/aliases/{alias_id}": lambda _: {"json": {"target": "pocketsphinx-en-us"}},
    "POST /v1/audio/speech": lambda _: {"json": {"model": "tts-1", "voice": "alloy", "input": "Hi."}},
    "POST /v1/audio/transcriptions": lambda _: {
        "files": {"file": ("s.wav", silence(0.3))},
        "data": {"model": "whisper-1"},
    },
    "POST /v1/audio/translations": lambda _: {
        "files": {"file": ("s.wav", silence(0.3))},
        "data": {"model": "whisper-1"},
    },
    "POST /v1/listen": lambda _: {"content": silence(0.3), "headers": {"Content-Type": "audio/wav"}},
    "POST /api/v1/stt/batch-transcribe": lambda _: {"files": {"audio_files": ("s.wav", silence(0.3))}},
}


@pytest.fixture(scope="module")
def organization(server: str) -> Tenant:
    return make_tenant(server)


@pytest.fixture(scope="module")
def audio_url(organization: Tenant) -> str:
    return organization.key("tts").post("/tts/synthesize", json={"text": "Hi."}).json()["audio_url"]


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("route", TABLE)
def test_access(organization: Tenant, audio_url: str, route: str, credential: str) -> None:
    expected = dict(zip(CREDENTIALS, TABLE[route].split(), strict=True))[credential]
    method, path = route.split()
    client = _client(organization, credential, path)
    url = "/" + _filled(path, organization, audio_url)
    body = BODIES.get(route, lambda _: {})(organization)
    with client.stream(method, url, **body) as answer:
        if answer.headers.get("Content-Type", "").startswith("text/event-stream"):  # it has no end
            assert expected == "2xx"
            return
        answer.read()
    if expected == "2xx":
        assert 200 <= answer.status_code < 300, answer.text
    else:
        error_of(answer, int(expected))


def test_table_has_every_route_and_no_other() -> None:
    known = {f"{method} {path}" for path, callback in routes().items() for method in methods(callback)}
    assert set(TABLE) == known


@pytest.mark.parametrize("path", sorted({route.split()[1] for route in TABLE}))
def test_other_methods_are_refused(organization: Tenant, audio_url: str, path: str) -> None:
    for method in METHODS:
        if f"{method} {path}" not in TABLE:
            url = "/" + _filled(path, organization, audio_url)
            error_of(organization.user("owner").request(method, url), 405, "method_not_allowed")


def _client(tenant: Tenant, credential: str, path: str) -> Client:
    hears = any(part in path for part in ("/stt/", "/audio/trans", "/listen", "/realtime/"))
    scope, other = ("stt", "tts") if hears else ("tts", "stt")
    if credential == "anonymous":
        return Client(tenant.server)
    if credential == "outsider":
        return make_tenant(tenant.server).user("owner")
    if not credential.endswith("key"):
        return tenant.user(credential)
    row, key = tenant.new_key(other if credential == "other_key" else scope)
    if credential == "revoked_key":
        services.revoke_api_key(actor=tenant.actor(), api_key=row)
    if credential == "expired_key":
        ApiKey.objects.filter(id=row.id).update(expires_at=timezone.now() - timedelta(seconds=1))
    return Client(tenant.server, {"x-api-key": key})


def _filled(path: str, tenant: Tenant, audio_url: str) -> str:
    """The path with a fresh object of the tenant in it."""
    if "/media/" in path:
        return "/" + audio_url.split("/", 3)[3]
    if "{key_id}" in path:
        return path.replace("{key_id}", str(tenant.new_key()[0].id))
    if "{account_id}" in path:
        account = ServiceAccount.objects.create(organization=tenant.organization, name=uuid.uuid4().hex)
        return path.replace("{account_id}", str(account.id))
    if "{member_id}" in path:
        return path.replace("{member_id}", str(_somebody(tenant).id))
    if "{rollout_id}" in path:
        return path.replace("{rollout_id}", str(ended_rollout(tenant).id))
    if "{alias_id}" in path:
        alias = OpenAIAlias.objects.create(organization=tenant.organization, kind="stt", name=uuid.uuid4().hex)
        return path.replace("{alias_id}", str(alias.id))
    if "{lexicon_id}" in path:
        lexicon = PronunciationLexicon.objects.create(organization=tenant.organization, name=uuid.uuid4().hex)
        return path.replace("{lexicon_id}", str(lexicon.id))
    if "{defaults_id}" in path:
        defaults = VoiceDefaults.objects.create(organization=tenant.organization, voice=uuid.uuid4().hex)
        return path.replace("{defaults_id}", str(defaults.id))
    if "{invitation_id}" in path:
        return path.replace("{invitation_id}", str(_invitation(tenant).id))
    if "{session_id}" in path:
        session, _ = tokens.open_session(membership=_somebody(tenant), address=None, user_agent="")
        return path.replace("{session_id}", str(session.id))
    if "{webhook_id}" in path:
        delivery = refused_delivery(tenant)
        path = path.replace("{delivery_id}", str(delivery.id))
        return path.replace("{webhook_id}", str(delivery.endpoint_id))
    if "{job_id}" in path or "{batch_id}" in path:
        fields = {"organization": tenant.organization, "status": "succeeded", "batch_id": uuid.uuid4()}
        job = SttJob(**fields) if "/stt/" in path else TtsJob(**fields, characters=2, sample_rate=8000)
        job.save()
        return path.replace("{job_id}", str(job.id)).replace("{batch_id}", str(job.batch_id))
    if "{voice_id}" in path:
        return path.replace("{voice_id}", str(own_voice(tenant).id))
    return path.replace("{model_id}", "espeak-ng")


def _somebody(tenant: Tenant) -> Membership:
    user = User.objects.create(email=f"{uuid.uuid4().hex}@example.com", password="!")
    return Membership.objects.create(organization=tenant.organization, user=user, role="viewer")


def _wrong_code(tenant: Tenant) -> str:
    """Everybody in the tenant has begun."""
    for member in list(tenant.members.values()):
        two_factor.begin(user=member.user)
    return "wrong"


def _invitation(tenant: Tenant) -> Invitation:
    return Invitation.objects.create(
        organization=tenant.organization, email=f"{uuid.uuid4().hex}@example.com", role="viewer", salt=keys.new_salt(),
        expires_at=timezone.now() + timedelta(days=1),
    )  # fmt: skip
