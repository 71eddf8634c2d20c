"""/dashboard/models: what is installed, what admins do with it, the catalogue, evaluations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import override_settings
from playwright.sync_api import expect
from procrastinate.contrib.django.models import ProcrastinateJob

from audit.models import AuditEntry
from common import errors
from models_registry import folders, installations
from models_registry.catalogue import catalogue
from models_registry.models import Installation, ModelVersion
from tests.browser import signed_in, text_of
from tests.conftest import OWNED_AUDIO, Tenant, error_of
from tests.dashboard.kit import Chromium, check, get_page, settled, toast
from tests.ml.stt_support import wait_for
from tests.models.conftest import folder, nothing_is_left, whisper  # noqa: F401  (fixtures)
from tests.models.support import Hub, Repository, hub, models

Folder = Callable[..., Path]


def operated(tenant: Tenant) -> Tenant:
    """Its owner runs the server."""
    user = tenant.member("owner").user
    user.is_superuser = True
    user.save()
    return tenant


@pytest.fixture
def catalogued(whisper: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:  # noqa: F811
    """A hub that has the catalogue's whisper-tiny: the tiny Whisper of these tests."""
    with hub() as running:
        files = {file.name: file.read_bytes() for file in whisper.iterdir() if file.name != "model.json"}
        repository = catalogue()["whisper-tiny"].parts[0].repository
        running.repositories[repository] = Repository(files)
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running
        running.pause.set()


def test_versions_are_activated_reloaded_and_removed(tenant: Tenant, chromium: Chromium, folder: Folder) -> None:  # noqa: F811
    models("import", folder("tiny", "1"), "--wait", "0")
    models("import", folder("tiny", "2"), "--no-activate")
    clip = OWNED_AUDIO / "weather.flac"
    files = {"audio_file": (clip.name, clip.read_bytes())}
    assert tenant.key("stt").post("/stt/transcribe", files=files, data={"model": "tiny"}).status_code == 200
    page = chromium.sign_in(operated(tenant))
    page.goto("/dashboard/models")
    used = page.locator("tbody tr", has_text="tiny@1")
    expect(used.locator(".badge")).to_have_text("Ready", timeout=60_000)  # the page follows by itself
    check(page, "models")
    expect(page.locator("tbody tr", has_text="tiny@2").locator(".badge")).to_have_text("Not in use")

    page.get_by_role("link", name="tiny@2").click()
    check(page, "model")
    page.get_by_role("button", name="Activate").click()
    page.locator("#confirm").get_by_role("button", name="Activate").click()
    assert toast(page) == "tiny@2 serves from now on."
    page.get_by_role("button", name="Reload").click()
    assert toast(page) == "tiny@2 is loaded anew."
    answer = tenant.key("stt").post("/stt/transcribe", files=files, data={"model": "tiny"}).json()
    assert answer["model_used"] == "tiny"

    page.get_by_role("link", name="tiny@1").click()
    page.get_by_role("button", name="Remove").click()
    page.locator("#confirm").get_by_role("button", name="Remove").click()
    assert toast(page) == "tiny@1 is removed."
    assert [row.version for row in ModelVersion.objects.filter(name="tiny")] == ["2"]
    found = AuditEntry.objects.filter(organization=tenant.organization, action__startswith="model.")
    assert sorted(found.values_list("action", flat=True)) == ["model.activated", "model.reloaded", "model.removed"]


def test_refused_reload_says_why(tenant: Tenant, chromium: Chromium, folder: Folder) -> None:  # noqa: F811
    models("import", folder("tiny", "1"), "--wait", "0")
    row = ModelVersion.objects.get(name="tiny")
    (folders.base() / row.path / "config.json").unlink()
    page = chromium.sign_in(tenant, "admin")
    page.goto(f"/dashboard/models/{row.id}")
    page.get_by_role("button", name="Reload").click()
    assert "what served before goes on serving" in toast(page)
    check(page, "model-failed")
    expect(page.locator(".notice-bad")).to_contain_text("config.json")


def test_what_serves_is_not_removed(tenant: Tenant, folder: Folder) -> None:  # noqa: F811
    models("import", folder("tiny", "1"), "--wait", "0")
    row = ModelVersion.objects.get(name="tiny")
    browser = signed_in(operated(tenant), "owner")
    page = f"/dashboard/models/{row.id}"
    assert "Remove" not in text_of(browser.get(page))
    browser.submit(page, {}, to=f"{page}/remove")
    embedded = ModelVersion.objects.get(name="espeak-ng")
    browser.submit(page, {}, to=f"/dashboard/models/{embedded.id}/remove")
    assert ModelVersion.objects.filter(id__in=[row.id, embedded.id]).count() == 2
    assert (folders.base() / row.path).is_dir()


@pytest.mark.parametrize("role", ["owner", "developer", "viewer"])
def test_others_only_look(tenant: Tenant, role: str) -> None:
    row = ModelVersion.objects.get(name="pocketsphinx-en-us")
    browser = signed_in(tenant, role)
    page = f"/dashboard/models/{row.id}"
    reloads = role == "owner"  # as over the API
    assert ("Reload" in text_of(browser.get(page))) == reloads
    for action in ("activate", "remove", *(() if reloads else ("reload",))):
        assert browser.submit(page, {}, to=f"{page}/{action}").status_code == 403
    assert browser.submit(page, {"model": "whisper-tiny"}, to="/dashboard/models/install").status_code == 403
    assert "Install" not in [label.strip() for label in text_of(browser.get("/dashboard/models/catalogue")).split("\n")]
    assert "Install a model" not in text_of(browser.get("/dashboard/models"))
    assert not AuditEntry.objects.filter(organization=tenant.organization, action__startswith="model.").exists()
    assert not Installation.objects.exists()


@override_settings(MODELS_MANAGED_BY="operators")
def test_reloading_may_be_left_to_operators(tenant: Tenant) -> None:
    row = ModelVersion.objects.get(name="pocketsphinx-en-us")
    page = f"/dashboard/models/{row.id}"
    browser = signed_in(tenant, "admin")
    assert "Reload" not in text_of(browser.get(page))
    assert browser.submit(page, {}, to=f"{page}/reload").status_code == 403
    for path in ("/models/reload", "//ml/stt/reload", "//ml/stt/initialize"):
        error_of(tenant.user("admin").post(path, json={}), 403)
    assert operated(tenant).user("owner").post("/models/reload", json={"task": "tts"}).status_code == 200


def test_installs_from_the_catalogue(tenant: Tenant, chromium: Chromium, catalogued: Hub) -> None:
    page = chromium.sign_in(operated(tenant))
    page.goto("/dashboard/models/catalogue?q=whisper-tiny")
    page.get_by_role("button", name="Install whisper-tiny", exact=True).click()
    assert toast(page) == "whisper-tiny is being installed."
    shown = page.get_by_role("region", name="Installations")
    expect(shown.get_by_text("Succeeded")).to_be_visible(timeout=60_000)
    check(page, "models-installed")
    row = ModelVersion.objects.get(name="whisper-tiny")
    assert row.is_active
    installed = Installation.objects.get()
    assert (installed.version, installed.fetched_bytes) == (row, installed.total_bytes)
    assert installed.total_bytes > 1_000_000
    actions = AuditEntry.objects.filter(organization=tenant.organization).values_list("action", flat=True)
    assert {"model.installation_requested", "model.installed", "model.activated"} <= set(actions)
    shown.get_by_role("link", name=row.reference).click()
    page.get_by_role("heading", name=row.reference).wait_for()


def test_installation_is_cancelled_and_continued(tenant: Tenant, chromium: Chromium, catalogued: Hub) -> None:
    page = chromium.sign_in(operated(tenant))
    catalogued.pause.clear()
    page.goto("/dashboard/models/catalogue?q=whisper-tiny")
    page.get_by_role("button", name="Install whisper-tiny", exact=True).click()
    shown = page.get_by_role("region", name="Installations")
    expect(shown.get_by_role("progressbar")).to_have_attribute("value", re.compile(r"0\.[1-9]"), timeout=60_000)
    check(page, "models-installing")
    page.get_by_role("button", name="Cancel installing whisper-tiny").click()
    assert "cancelled" in toast(page)
    catalogued.pause.set()
    expect(shown.get_by_text("Cancelled", exact=True)).to_be_visible()
    wait_for(lambda: not any(task.status == "doing" for task in ProcrastinateJob.objects.filter(queue_name="models")))
    assert not ModelVersion.objects.filter(name="whisper-tiny").exists()
    page.get_by_role("button", name="Install whisper-tiny", exact=True).click()
    expect(shown.get_by_text("Succeeded")).to_be_visible(timeout=60_000)
    assert catalogued.downloads("model.bin")[-1].range.startswith("bytes=")


def test_failed_installation_says_why(tenant: Tenant, chromium: Chromium, catalogued: Hub) -> None:
    catalogued.lie_about = "model.bin"
    page = chromium.sign_in(operated(tenant))
    page.goto("/dashboard/models/catalogue?q=whisper-tiny")
    page.get_by_role("button", name="Install whisper-tiny", exact=True).click()
    expect(page.locator(".installation-error")).to_contain_text("is not what the hub says it is", timeout=60_000)
    check(page, "models-install-failed")


def test_only_what_the_catalogue_has_once(tenant: Tenant) -> None:
    actor = operated(tenant).actor("owner")
    with pytest.raises(errors.NotFound, match="whisper-tiny"):
        installations.request_installation(actor=actor, model="whisper-tinny")
    running = {"organization": tenant.organization, "role": "owner", "requested_by": actor.user}
    Installation.objects.create(model="whisper-small", status="processing", **running)
    with pytest.raises(errors.Conflict, match="already"):
        installations.request_installation(actor=actor, model="whisper-small")


def test_catalogue_is_searched_and_gives_the_command(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "viewer")
    page.goto("/dashboard/models/catalogue")
    check(page, "models-catalogue")
    page.get_by_role("searchbox").fill("hi")
    settled(page)
    expect(page.locator("tbody tr", has_text="zipformer-en")).to_have_count(0)
    page.get_by_role("button", name="Copy whisper-small", exact=True).click()
    assert page.evaluate("navigator.clipboard.readText()") == "manage.py models pull whisper-small"
    page.get_by_label("Task", exact=True).select_option("tts")
    expect(page.locator("tbody tr", has_text="whisper-small")).to_have_count(0)
    page.goto("/dashboard/models/catalogue?q=nothingofthis")
    assert page.get_by_text("Nothing in the catalogue fits").is_visible()


def test_evaluations_stand_side_by_side(tenant: Tenant, chromium: Chromium) -> None:
    rows = ModelVersion.objects.filter(name="pocketsphinx-en-us")
    ModelVersion.objects.update(results=[])
    page = chromium.sign_in(tenant, "viewer")
    page.goto("/dashboard/models/evaluations")
    check(page, "models-compare-empty")
    assert page.get_by_text("No evaluations yet").is_visible()
    result = {
        "manifest": "tests/audio/manifest.jsonl", "manifest_sha256": "a" * 64, "files": 3, "failed": 0, "rtf": 0.4121,
        "wer": 0.2513, "cer": 0.11, "evaluated_at": "2026-10-01T12:00:00Z",
    }  # fmt: skip
    ModelVersion.objects.create(
        task="stt", name="better", version="1", family="whisper", engine="whisper", results=[{**result, "wer": 0.1}]
    )
    try:
        rows.update(results=[{**result, "wer": 0.9}, result, "nonsense", {}])  # the newest counts
        page.reload()
        check(page, "models-compare")
        names = page.locator("tbody th").all_inner_texts()
        assert names == ["better@1", "pocketsphinx-en-us@builtin"]
        assert "25.1 %" in page.locator("tbody tr").last.inner_text()
        page.get_by_role("link", name="pocketsphinx").click()
        assert page.get_by_text("This one").is_visible()
    finally:
        rows.update(results=[])


def test_costs_few_queries(tenant: Tenant) -> None:
    row = ModelVersion.objects.get(name="espeak-ng")
    for path in ("", "/catalogue", "/evaluations", f"/{row.id}"):
        get_page(tenant, f"/dashboard/models{path}", "viewer")
