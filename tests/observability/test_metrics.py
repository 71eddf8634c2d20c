"""GET /metrics: what is counted, who may read it, and that it says nothing of anybody."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from contextlib import suppress

import httpx
import pytest
from django.db import connection
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from analytics import quota
from ml import errors
from ml.residency import ModelPool, ModelSpec
from ml.workers import WorkerPool
from observability import collectors, metrics, scraping
from tests.conftest import Client, Tenant, error_of
from tests.observability.support import Metrics, Scrape


def test_counts_requests_by_route_and_status(server: str, tenant: Tenant) -> None:
    client, before = tenant.key("tts"), Scrape(server)
    job_id = client.post("/tts/synthesize", json={"text": "Counted."}).json()["job_id"]
    assert client.get(f"/tts/jobs/{job_id}").status_code == 200
    error_of(client.get(f"/tts/jobs/{uuid.uuid4()}"), 404)
    error_of(client.get(f"/tts/{uuid.uuid4()}/nowhere"), 404)
    after = Scrape(server)

    def more(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    route = "/api/v1/tts/jobs/{job_id}"
    assert more("speech_http_requests_total", route=route, method="GET", status="200") == 1
    assert more("speech_http_requests_total", route=route, method="GET", status="404") == 1
    assert more("speech_http_requests_total", route="none", status="404") == 1
    assert more("speech_http_request_seconds_count", route="/api/v1/tts/synthesize") == 1
    assert more("speech_errors_total", code="not_found") == 2
    assert more("speech_jobs_ended_total", task="tts", status="succeeded", mode="direct") == 1
    assert more("speech_audio_seconds_total", task="tts") > 0.2
    assert more("speech_real_time_factor_count", task="tts", model="espeak-ng") == 1
    assert more("speech_batch_size_sum", model="tts/espeak-ng") >= 1
    assert more("speech_batch_compute_seconds_count", model="tts/espeak-ng") >= 1
    assert more("speech_batch_wait_seconds_count", model="tts/espeak-ng") >= 1
    assert after("speech_model_memory_bytes", model="tts/espeak-ng") >= 0
    assert after("speech_engine_process_memory_bytes", target="espeak_process:Synthesizer") > 1e6
    assert after("speech_models", status="ready") >= 1
    assert after("speech_build_info") == 1
    assert after("process_resident_memory_bytes") > 1e7


def test_says_nothing_of_anybody(server: str, tenant: Tenant) -> None:
    marker = uuid.uuid4().hex
    client = tenant.key("tts")
    client.post(f"/tts/synthesize?{marker}", json={"text": marker, "custom_id": marker, "voice": marker})
    client.get(f"/tts/voices/{marker}")
    client.get(f"//{marker}")
    client.request("PROPFIND", "/tts/jobs")
    text = Scrape(server).text
    for secret in (marker, str(tenant.organization.id), tenant.organization.slug, client.headers["X-Forwarded-For"]):
        assert secret not in text
    assert 'method="other"' in text
    assert "PROPFIND" not in text


def test_a_label_does_not_grow_without_end() -> None:
    label = metrics.Bounded(limit=3)
    assert [label(value) for value in ("a", "b", "a", "c", "d", "b", "e")] == [
        "a", "b", "a", "c", metrics.OTHER, "b", metrics.OTHER,
    ]  # fmt: skip


def test_failures_by_cause(server: str, tenant: Tenant) -> None:
    before = Scrape(server)
    answer = tenant.key("stt").post("/stt/transcribe", files={"audio_file": ("a.wav", b"no sound at all" * 99)})
    code = answer.json()["error"]["code"]
    after = Scrape(server)
    assert after("speech_job_failures_total", task="stt", code=code) == 1 + before(
        "speech_job_failures_total", task="stt", code=code
    )


def test_quota_refusals(server: str, tenant: Tenant) -> None:
    before = Scrape(server)
    quota.set_quota(organization=tenant.organization, monthly_characters=3)
    error_of(tenant.key("tts").post("/tts/synthesize", json={"text": "Too long."}), 402)
    name = "speech_quota_refusals_total"
    assert Scrape(server)(name, resource="characters") == before(name, resource="characters") + 1


def test_queue_depth_and_age(server: str, tenant: Tenant) -> None:
    client = tenant.key("tts")
    job_id = client.post("/tts/synthesize", json={"text": "Queued.", "async": True}).json()["job_id"]
    deadline = time.monotonic() + 60
    while client.get(f"/tts/jobs/{job_id}").json()["status"] != "succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    scrape = Scrape(server)
    assert scrape("speech_database_up") == 1
    assert scrape("speech_jobs_ended_total", task="tts", mode="queued", status="succeeded") >= 1
    assert scrape("speech_job_wait_seconds_count", task="tts") >= 1
    labels = {key for name, key in scrape.series if name == "speech_queue_jobs"}
    assert frozenset({("queue", "tts"), ("status", "queued")}) in labels
    assert len(labels) == 3 * len(collectors.QUEUES)


def test_backlog_of_each_queue(database: None) -> None:
    """Rows that no worker takes, of a transaction that is rolled back."""
    from django.db import transaction

    with transaction.atomic(), connection.cursor() as cursor:
        before = collectors.backlog()
        cursor.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status, scheduled_at) VALUES "
            "('shadow', 'x', 'todo', NULL), ('shadow', 'x', 'todo', NULL), ('shadow', 'x', 'doing', NULL), "
            "('shadow', 'x', 'todo', now() + interval '1 hour'), ('shadow', 'x', 'failed', NULL), "
            "('stt', 'x', 'todo', now() - interval '90 seconds'), ('elsewhere', 'x', 'todo', NULL)"
        )
        cursor.execute(
            "UPDATE procrastinate_events SET at = now() - interval '40 seconds' WHERE type = 'deferred' AND job_id IN "
            "(SELECT id FROM procrastinate_jobs WHERE queue_name = 'shadow')"
        )
        found = collectors.backlog()
        transaction.set_rollback(True)
    assert found.jobs["shadow", "queued"] == before.jobs["shadow", "queued"] + 2
    assert found.jobs["shadow", "scheduled"] == before.jobs["shadow", "scheduled"] + 1
    assert found.jobs["shadow", "processing"] == before.jobs["shadow", "processing"] + 1
    assert found.oldest_seconds["shadow"] == pytest.approx(40, abs=10)
    assert found.oldest_seconds["stt"] == pytest.approx(90, abs=10)
    assert "elsewhere" not in found.oldest_seconds


def test_the_queue_is_asked_for_once_a_second(database: None) -> None:
    from django.test.utils import CaptureQueriesContext

    now = 100.0
    collector = collectors.QueueCollector(clock=lambda: now)
    with CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            list(collector.collect())
        first = len(queries)
        now += 2 * collectors.CACHE_SECONDS
        list(collector.collect())
    assert (first, len(queries)) == (1, 2)


def test_sockets(server: str, tenant: Tenant) -> None:
    before = Scrape(server)
    url = server.replace("http", "ws") + "/api/v1/tts/stream"

    key = tenant.new_key("tts")[1]
    with connect(url, additional_headers={"x-api-key": key}, proxy=None) as socket:
        socket.send(json.dumps({"type": "start"}))
        socket.recv()
        assert Scrape(server)("speech_live_sessions", socket="tts") >= 1
    with connect(url, additional_headers={"x-api-key": "sp_wrong"}, proxy=None) as socket, suppress(ConnectionClosed):
        while True:
            socket.recv()

    deadline = time.monotonic() + 20
    name = "speech_websocket_closes_total"
    while (after := Scrape(server))(name, socket="tts") < before(name, socket="tts") + 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert after(name, socket="tts", code="4401") == before(name, socket="tts", code="4401") + 1
    assert after(name, socket="tts", code="1000") == before(name, socket="tts", code="1000") + 1


def test_database_errors(database: None) -> None:
    from django.db import OperationalError

    before = Metrics(scraping.exposition().decode())
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    connection.close()
    name = "speech_database_errors_total"
    assert Metrics(scraping.exposition().decode())(name) > before(name)


# ── Models ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_life_of_a_model(database: None) -> None:
    """It does not load, loads, breaks while it computes, is loaded again and freed for idleness."""
    now, loads = [0.0], []

    def load() -> object:
        loads.append(1)
        if len(loads) == 1:
            raise errors.ModelInvalid("Its weights are gone.")
        return object()

    pool = ModelPool(idle_seconds=60, retry_after_failure_seconds=0, clock=lambda: now[0])
    pool.register(ModelSpec("stt/lively", "stt", "lively", "1", "test", load))
    with pytest.raises(errors.EngineUnavailable), pool.acquire("stt/lively"):
        pass
    with pool.acquire("stt/lively") as engine:
        pool.mark_failed("stt/lively", "It broke.", engine=engine)
    with pool.acquire("stt/lively"):
        pass
    now[0] = 100.0
    assert pool.evict_idle() == ("stt/lively",)
    pool.close()
    told = Metrics(scraping.exposition().decode())
    assert told("speech_model_load_failures_total", model="stt/lively", code="model_invalid") == 1
    assert told("speech_model_loads_total", model="stt/lively", device="cpu") == 2
    assert told("speech_model_load_seconds_count", model="stt/lively") == 2
    assert told("speech_model_breaks_total", model="stt/lively") == 1
    assert told("speech_models_freed_total", model="stt/lively", reason="idle") == 1


def test_engines_processes_that_die(database: None) -> None:
    pool = WorkerPool("ml.tts.engines.sherpa:Probe", {"plan": {}}, size=1)
    name, labels = "speech_engine_process_deaths_total", {"target": "sherpa:Probe"}
    before = Metrics(scraping.exposition().decode())
    with suppress(errors.MlError):
        pool.call("inspect", timeout_seconds=60)
    (pid,) = pool.pids()
    memory = "speech_engine_process_memory_bytes"
    assert Metrics(scraping.exposition().decode())(memory, **labels) > 1e6
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with suppress(errors.MlError):
        pool.call("inspect", timeout_seconds=60)
    pool.close()
    after = Metrics(scraping.exposition().decode())
    assert after(name, **labels) == before(name, **labels) + 1
    assert after(memory, **labels) == 0


# ── Who may read them ───────────────────────────────────────────────────────────────────────────────────────────────


def test_strangers_may_not_read_them(anonymous: Client, tenant: Tenant) -> None:
    error_of(anonymous.get("//metrics"), 403, "metrics_not_allowed")
    error_of(tenant.user("owner").get("//metrics"), 403, "metrics_not_allowed")


def test_a_proxy_that_nobody_told_of_lets_nobody_in(server: str, settings: object) -> None:
    settings.TRUSTED_PROXIES = 0
    answer = httpx.get(f"{server}/metrics", headers={"X-Forwarded-For": "127.0.0.1"}, trust_env=False)
    error_of(answer, 403, "metrics_not_allowed")
    Scrape(server)


def test_allowed_networks(anonymous: Client, settings: object) -> None:
    import ipaddress

    settings.METRICS_ALLOWED_NETWORKS = [ipaddress.ip_network("10.0.0.0/8")]
    assert anonymous.get("//metrics").status_code == 200


def test_the_token_decides_where_there_is_one(server: str, anonymous: Client, settings: object) -> None:
    settings.METRICS_TOKEN = "read-me"
    error_of(httpx.get(f"{server}/metrics", trust_env=False), 401, "not_authenticated")
    error_of(anonymous.get("//metrics", headers={"Authorization": "Bearer read-m"}), 401)
    assert anonymous.get("//metrics", headers={"Authorization": "Bearer read-me"}).status_code == 200


def test_scrapers_come_by_address(server: str, settings: object) -> None:
    """Prometheus cannot be told to send another Host than the address that it connects to."""
    settings.ALLOWED_HOSTS = ["speech.example.com"]
    Scrape(server)
    assert httpx.get(f"{server}/health", trust_env=False).status_code == 200
    assert httpx.get(f"{server}/api/v1/version", trust_env=False).status_code == 400


def test_a_workers_own_port(database: None, settings: object) -> None:
    from observability import server as metrics_server

    serving = metrics_server.start("127.0.0.1", 0)
    url = f"http://127.0.0.1:{serving.server_port}"
    try:
        assert Scrape(url)("speech_database_up") == 1
        assert httpx.get(f"{url}/health", trust_env=False).json() == {"status": "ok"}
        assert httpx.get(f"{url}/other", trust_env=False).status_code == 404
        settings.METRICS_TOKEN = "read-me"
        assert httpx.get(f"{url}/metrics", trust_env=False).status_code == 403
        Scrape(url, Authorization="Bearer read-me")
    finally:
        serving.shutdown()
        serving.server_close()


def test_costs_a_request_next_to_nothing() -> None:
    """0.1 ms is allowed; the fastest of several rounds, so that a busy machine does not decide."""
    fastest = float("inf")
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(50):
            metrics.request_answered(metrics.route_label("api/v1/tts/jobs/<uuid:job_id>"), "GET", 200, 0.01)
        fastest = min(fastest, (time.perf_counter() - started) / 50)
    assert fastest < 0.0001
