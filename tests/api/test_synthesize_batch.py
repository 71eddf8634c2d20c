"""POST /tts/synthesize-batch."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from analytics.models import UsageRecord
from tests.api.support import assert_nothing_was_kept
from tests.conftest import Tenant, error_of
from tts.models import TtsJob


def test_answers_in_order_with_defaults(tenant: Tenant) -> None:
    client = tenant.key("tts")
    texts = [f"This is text number {number}." for number in range(12)]
    items: list[dict[str, Any]] = [{"text": text, "custom_id": f"item-{index}"} for index, text in enumerate(texts)]
    items[3]["format"] = "flac"
    answer = client.post("/tts/synthesize-batch", json={"items": items, "format": "pcm", "speed": 2})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [item["text"] for item in body["items"]] == texts
    assert [item["custom_id"] for item in body["items"]] == [item["custom_id"] for item in items]
    assert {item["status"] for item in body["items"]} == {"succeeded"}
    assert [item["format"] for item in body["items"]] == ["pcm"] * 3 + ["flac"] + ["pcm"] * 8

    rows = TtsJob.objects.filter(organization=tenant.organization)
    assert {str(row.batch_id) for row in rows} == {body["batch_id"]}
    assert {row.options["speed"] for row in rows} == {2}
    usage = UsageRecord.objects.filter(organization=tenant.organization)
    assert sum(record.characters for record in usage) == sum(len(text) for text in texts)

    alone = client.post("/tts/synthesize", json={"text": texts[5], "format": "pcm", "speed": 2}).json()
    together = body["items"][5]
    assert client.get(together["audio_url"]).content == client.get(alone["audio_url"]).content


def test_one_bad_item_does_not_stop_the_others(tenant: Tenant) -> None:
    bad: list[tuple[dict[str, Any], str, str]] = [
        ({"text": ""}, "parameter_blank", "text"),
        ({}, "parameter_required", "text"),
        ({"text": "x", "voice": "nobody"}, "voice_not_found", "voice"),
        ({"text": "x" * 100_001}, "text_too_long", "text"),
        ({"text": "x", "speed": 9}, "parameter_max_value", "speed"),
        ({"text": "x", "sped": 1}, "parameter_unknown", "sped"),
        ({"text": "x", "stream": True}, "parameter_unknown", "stream"),
        ({"text": "<p", "ssml": True}, "ssml_invalid", "text"),
        ({"text": "x", "custom_id": ["a"]}, "parameter_invalid", "custom_id"),
    ]
    items = [{"text": "First.", "custom_id": "first"}, *(item for item, _, _ in bad), {"text": "Last."}]
    answer = tenant.key("tts").post("/tts/synthesize-batch", json={"items": items})
    assert answer.status_code == 200, answer.text
    first, *failed, last = answer.json()["items"]
    assert (first["status"], first["custom_id"], last["status"]) == ("succeeded", "first", "succeeded")
    for (item, code, param), outcome in zip(bad, failed, strict=True):
        assert set(outcome) == {"custom_id", "error"}
        error = outcome["error"]
        assert (error["code"], error["type"]) == (code, "invalid_request_error"), item
        assert param in (error["param"], None) or code == "ssml_invalid", item
        assert error["message"]
    assert TtsJob.objects.filter(organization=tenant.organization).count() == 2
    assert UsageRecord.objects.filter(organization=tenant.organization).count() == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": {}}, "items"),
        ({"items": "text"}, "items"),
        ({"items": ["text"]}, "items.0"),
        ({"items": [None]}, "items.0"),
        ({"items": [{"text": "x"}] * 101}, "items"),
        ({"items": [{"text": "x"}], "speed": 9}, "speed"),
        ({"items": [{"text": "x"}], "texts": 9}, "texts"),
    ],
)
def test_rejects_wrong_batches(tenant: Tenant, body: dict[str, Any], param: str) -> None:
    error = error_of(tenant.key("tts").post("/tts/synthesize-batch", json=body), 400)
    assert error["param"] == param
    assert_nothing_was_kept(tenant)


def test_hundred_items(tenant: Tenant) -> None:
    items = [{"text": f"Number {number}."} for number in range(100)]
    body = tenant.key("tts").post("/tts/synthesize-batch", json={"items": items, "format": "pcm"}).json()
    assert [item["error"] for item in body["items"] if item.get("error")] == []
    assert [item["text"] for item in body["items"]] == [item["text"] for item in items]
    assert TtsJob.objects.filter(batch_id=body["batch_id"], status="succeeded").count() == 100


def test_deleting_one_item_stops_no_other(tenant: Tenant) -> None:
    client, other = tenant.key("tts"), tenant.key("tts")
    items = [{"text": f"Item {number} is long enough to be caught while it is spoken. " * 400} for number in range(4)]
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(client.post, "/tts/synthesize-batch", json={"items": items, "format": "pcm"})
        deadline = time.monotonic() + 30
        while not (job := TtsJob.objects.filter(organization=tenant.organization, progress__gt=0).first()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert other.delete(f"/tts/jobs/{job.id}").status_code == 204
        outcomes = [item.get("status") or item["error"]["code"] for item in answer.result().json()["items"]]
    assert sorted(outcomes) == ["cancelled", "succeeded", "succeeded", "succeeded"]
