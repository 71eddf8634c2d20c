"""Traces, as a real OTLP collector gets them over HTTP."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from websockets.sync.client import connect

from ml import observe, runtime
from observability import metrics, tracing
from tests.conftest import OWNED_AUDIO, Client, Tenant, make_tenant
from tests.observability.receivers import Receiver, receiving, wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"  # pragma: allowlist secret
PARENT = "00f067aa0ba902b7"


class Trace:
    """The spans of one trace."""

    def __init__(self, spans: list[Any], trace_id: str) -> None:
        self.spans = [span for span in spans if span.trace_id.hex() == trace_id]

    def one(self, name: str) -> Any:
        found = [span for span in self.spans if span.name == name]
        assert found, f"no {name} among {[span.name for span in self.spans]}"
        return found[0]

    def path(self, span: Any) -> list[str]:
        """Names from the root down to the span."""
        by_id = {span.span_id: span for span in self.spans}
        names = [span.name]
        while (span := by_id.get(span.parent_span_id)) is not None:
            names.insert(0, span.name)
        return names

    def facts(self, span: Any) -> dict[str, Any]:
        values = ((item.key, item.value) for item in span.attributes)
        return {key: getattr(value, value.WhichOneof("value")) for key, value in values}


@pytest.fixture(scope="module")
def asked(server: str) -> dict[str, Any]:
    """What was asked for while it was traced, and all spans."""
    from django.test import override_settings

    tenant = make_tenant(server)
    with (
        receiving() as collector,
        override_settings(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}", OTEL_TRACES_SAMPLER_RATIO=1.0
        ),
    ):
        tracing.start()
        try:
            found = {"tenant": tenant, **_ask(tenant)}
        finally:
            tracing.stop()
        found["spans"] = collector.spans()
    return found


def _ask(tenant: Tenant) -> dict[str, Any]:
    client, clip = tenant.key(), OWNED_AUDIO / "numbers.wav"
    found: dict[str, Any] = {}
    found["transcribe"] = client.post(
        "/stt/transcribe",
        files={"audio_file": (clip.name, clip.read_bytes(), "audio/wav")},
        headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "traced-1"},
    )
    found["queued"] = client.post("/tts/synthesize", json={"text": "Later.", "async": True})
    path = f"/tts/jobs/{found['queued'].json()['job_id']}"
    wait_until(lambda: client.get(path).json()["status"] == "succeeded")
    found["missing"] = client.get("/tts/jobs/1dc1e1d4-8bd3-4b76-9b7d-0fd93be9e1d7")
    found["unsampled"] = client.get("/tts/voices", headers={"traceparent": f"00-{'a' * 32}-{PARENT}-00"})
    with client.stream("POST", "/tts/synthesize", json={"text": "One. Two.", "stream": True}) as answer:
        answer.read()
    found["stream"] = answer
    found["socket"] = _talk(tenant)
    return found


def _talk(tenant: Tenant) -> str:
    trace, closed = "b" * 32, metrics.SOCKET_CLOSES.labels("tts", "1000")
    before = closed._value.get()
    headers = {"x-api-key": tenant.new_key("tts")[1], "traceparent": f"00-{trace}-{PARENT}-01"}
    with connect(tenant.server.replace("http", "ws") + "/api/v1/tts/stream", additional_headers=headers) as socket:
        for message in ({"type": "start"}, {"type": "speak", "text": "Spoken aloud."}, {"type": "stop"}):
            socket.send(json.dumps(message))
        for _ in socket:
            pass
    wait_until(lambda: closed._value.get() > before)
    return trace


def _trace_of(answer: Any) -> str:
    return answer.headers["traceparent"].split("-")[1]


def test_a_callers_trace_goes_on(asked: dict[str, Any]) -> None:
    answer = asked["transcribe"]
    assert answer.status_code == 200, answer.text
    assert _trace_of(answer) == TRACE
    trace = Trace(asked["spans"], TRACE)
    request = trace.one("POST /api/v1/stt/transcribe")
    assert request.parent_span_id.hex() == PARENT
    assert answer.headers["traceparent"] == f"00-{TRACE}-{request.span_id.hex()}-01"
    assert trace.facts(request) == {
        "http.request.method": "POST",
        "http.route": "/api/v1/stt/transcribe",
        "http.response.status_code": 200,
        "request_id": "traced-1",
    }


def test_from_the_request_to_the_engines_process(asked: dict[str, Any]) -> None:
    trace = Trace(asked["spans"], TRACE)
    batch = trace.one("batch")
    assert trace.path(batch) == ["POST /api/v1/stt/transcribe", "recognise", "batch"]
    assert trace.facts(batch)["size"] >= 1
    engines = [trace.path(span) for span in trace.spans if span.name == "engine"]
    assert ["POST /api/v1/stt/transcribe", "decode", "engine"] in engines
    assert ["POST /api/v1/stt/transcribe", "recognise", "batch", "engine"] in engines
    for span in trace.spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano


def test_through_the_queue(asked: dict[str, Any]) -> None:
    answer = asked["queued"]
    trace = Trace(asked["spans"], _trace_of(answer))
    root = "POST /api/v1/tts/synthesize"
    assert trace.path(trace.one("queue")) == [root, "job", "queue"]
    assert trace.path(trace.one("engine")) == [root, "job", "batch", "engine"]
    assert trace.facts(trace.one("job")) == {"task": "tts", "attempt": 1, "status": "succeeded"}
    assert trace.one("queue").start_time_unix_nano <= trace.one("job").start_time_unix_nano


def test_streams_and_sockets(asked: dict[str, Any]) -> None:
    stream = Trace(asked["spans"], _trace_of(asked["stream"]))
    assert stream.path(stream.one("engine"))[0] == "POST /api/v1/tts/synthesize"
    socket = Trace(asked["spans"], asked["socket"])
    assert socket.path(socket.one("engine")) == ["websocket", "batch", "engine"]
    assert socket.facts(socket.one("websocket"))["socket"] == "tts"


def test_a_caller_may_ask_for_no_trace(asked: dict[str, Any]) -> None:
    assert asked["unsampled"].headers["traceparent"].startswith(f"00-{'a' * 32}-")
    assert asked["unsampled"].headers["traceparent"].endswith("-00")
    assert not Trace(asked["spans"], "a" * 32).spans


def test_spans_say_nothing_of_anybody(asked: dict[str, Any]) -> None:
    tenant, told = asked["tenant"], str(asked["spans"])
    assert "/api/v1/tts/jobs/{job_id}" in told
    for secret in (str(tenant.organization.id), tenant.organization.slug, "Spoken", "Later", "1dc1e1d4"):
        assert secret not in told


def test_a_batch_is_linked_to_all_whom_it_serves(server: str, settings: Any) -> None:
    """Three requests of three traces, which the engine computes in one call."""
    with receiving() as collector:
        settings.OTEL_EXPORTER_OTLP_ENDPOINT = f"http://127.0.0.1:{collector.port}"
        tracing.start()
        try:
            _three_in_one_batch()
        finally:
            tracing.stop()
        spans = collector.spans()
    requests = {span.trace_id: span for span in spans if span.name.startswith("request")}
    batches = [span for span in spans if span.name == "batch"]
    assert len(requests) == 3
    assert {span.trace_id for span in batches} == set(requests)
    real = max(batches, key=lambda span: len(span.links))
    assert {link.trace_id for link in real.links} == set(requests) - {real.trace_id}
    for other in batches:
        if other is not real:
            assert [link.span_id for link in other.links] == [real.span_id]


def _three_in_one_batch() -> None:
    from ml.batching import Batcher
    from ml.residency import ModelPool, ModelSpec

    pool = ModelPool()
    pool.register(ModelSpec("stt/three", "stt", "three", "1", "test", object, max_batch=3))
    batcher, together = Batcher(pool, window_seconds=10), threading.Barrier(3)

    def ask(number: int) -> None:
        with tracing.span(f"request {number}", kind="server"):
            together.wait(30)
            assert batcher.submit("stt/three", number, call=_doubled).result(60) == 2 * number

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    batcher.close()
    pool.close()


def _doubled(engine: object, items: list[int], cancel: object) -> list[int]:
    return [2 * item for item in items]


def test_nothing_is_traced_unless_asked_for(anonymous: Client) -> None:
    assert not tracing.active()
    answer = anonymous.get("//health", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert "traceparent" not in answer.headers
    assert observe.here() is None
    assert runtime.batcher is not None


@pytest.mark.parametrize(
    "header",
    ["", "00", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{PARENT}", f"00-{TRACE.upper()}-{PARENT}-01", "x" * 5000],
)
def test_what_is_no_traceparent_names_no_trace(header: str) -> None:
    assert tracing.trace_id_of(header) == ""


def test_a_collector_that_is_away_costs_nobody_an_answer(server: str, tenant: Tenant, settings: Any) -> None:
    settings.OTEL_EXPORT_SECONDS = 0.2
    receiver = Receiver()
    receiver.close()
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = f"http://127.0.0.1:{receiver.port}"
    tracing.start()
    try:
        assert tenant.key("tts").get("/tts/voices").status_code == 200
    finally:
        tracing.stop()
