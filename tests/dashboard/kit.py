"""What tests of pages share: a real Chromium, people who are signed in, and what must hold of every page.

    def test_keys(tenant: Tenant, chromium: Chromium) -> None:
        page = chromium.sign_in(tenant, "owner")
        page.goto("/dashboard/keys")
        ...
        check(page, "keys")          # accessible, light enough, nothing broken; screenshots where SCREENSHOTS says so

The fixture `chromium` comes with `tests/dashboard/conftest.py`; CHROMIUM=path takes another browser than Debian's.
SCREENSHOTS=folder keeps pictures of every checked page at 1440 and 390 pixels, light and dark.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect

from tests.browser import signed_in
from tests.conftest import ROOT, Tenant
from tests.dashboard.looked_at import assert_listed

AXE = ROOT / "tests" / "vendor" / "axe" / "axe.min.js"
_SHELL, _WHOLE = Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")
CHROMIUM = os.environ.get("CHROMIUM", str(_SHELL if _SHELL.exists() else _WHOLE))
"""The same engine; without the windows that nobody sees, a start and the pages cost a third less."""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
MOST_QUERIES = 20
MOST_BYTES = 200_000  # of HTML, CSS and JavaScript, as they are before compression
WIDTHS = (1440, 390)
SCHEMES = ("light", "dark")
TIMEOUT_MS = 20_000


@dataclass
class Chromium:
    """Opens pages, each in a context of its own, and remembers what went wrong in them."""

    browser: Browser
    server: str
    contexts: list[BrowserContext] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def page(self, *, width: int = 1440, scheme: str = "light", **options: Any) -> Page:
        """A page of nobody's."""
        options.setdefault("viewport", {"width": width, "height": 900 if width > 600 else 844})
        context = self.browser.new_context(
            base_url=self.server, color_scheme=scheme, permissions=["microphone", "clipboard-read", "clipboard-write"],
            **options,
        )  # fmt: skip
        context.set_default_timeout(TIMEOUT_MS)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        page.on("response", self._answered)
        return page

    def sign_in(self, tenant: Tenant, role: str = "owner", **options: Any) -> Page:
        """A page of a member with this role. (The sign-in form has its own test.)"""
        page = self.page(**options)
        session = signed_in(tenant, role).cookies["sessionid"]
        page.context.add_cookies([{"name": "sessionid", "value": session, "url": self.server}])
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(f"console: {message.text}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500 or (response.status == 404 and "/static/" in response.url):
            self.problems.append(f"{response.status} {response.url}")

    def close(self) -> None:
        for context in self.contexts:
            context.close()


def check(page: Page, name: str, *, most_bytes: int = MOST_BYTES) -> None:
    """Of the page as it is now: accessible in both colours, fits a phone, light, no inline style; pictures of it."""
    assert_listed(page.url, name)
    assert_light(page, most_bytes)
    assert " style=" not in page.request.get(page.url).text(), "an inline style, which the content policy refuses"
    size = page.viewport_size
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900 if width > 600 else 844})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            assert_accessible(page, f"{name} at {width} px, {scheme}")
            screenshot(page, f"{name}-{width}-{scheme}")
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, f"{name} is {overflow} px wider than {width} px"
    if size:
        page.set_viewport_size(size)


AT_REST = """Promise.all(document.getAnimations()
    .filter((animation) => animation.effect.getComputedTiming().iterations !== Infinity)
    .map((animation) => animation.finished.then(() => 0, () => 0))).then(() => true)"""


def assert_accessible(page: Page, name: str = "") -> None:
    """axe-core finds no serious and no critical violation of WCAG 2.2 AA."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(AXE.read_text())
    page.evaluate(AT_REST)  # colours are others while something fades in
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    # Not preloading: it copies the styles of shadow roots into inline ones, which the pages' policy refuses.
    options = "{runOnly: tags, resultTypes: ['violations'], preload: false}"
    found = page.evaluate(f"tags => axe.run(document, {options})", tags)
    grave = [
        f"{violation['id']} ({violation['impact']}): {violation['help']}\n    "
        + "\n    ".join(f"{node['target']} {node['failureSummary']}"[:600] for node in violation["nodes"][:5])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert not grave, f"{name}: " + "\n".join(grave)


def assert_light(page: Page, most_bytes: int = MOST_BYTES) -> None:
    """HTML, CSS and JavaScript of the page together; fonts, pictures and audio aside."""
    sizes = page.evaluate(
        """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
            .filter(entry => entry.entryType === 'navigation' || /\\.(css|js)(\\?|$)/.test(entry.name))
            .map(entry => [entry.name.split('/').pop(), entry.decodedBodySize])"""
    )
    total = sum(size for _, size in sizes)
    assert 0 < total <= most_bytes, f"{total} bytes: {sorted(sizes, key=lambda entry: -entry[1])}"


def screenshot(page: Page, name: str) -> None:
    """Into the folder of $SCREENSHOTS; nothing without one."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def settled(page: Page) -> None:
    """Waits until htmx has nothing under way. (`page.wait_for_function` needs eval, which the policy refuses.)"""
    expect(page.locator(".htmx-request, .htmx-swapping, .htmx-settling")).to_have_count(0)


def toast(page: Page) -> str:
    """What the newest toast says."""
    newest = page.locator(".toast .toast-text").last
    newest.wait_for()
    return newest.inner_text()


@contextmanager
def few_queries(most: int = MOST_QUERIES) -> Iterator[None]:
    """Fails after more queries than that. For Django's test client: `get_page` uses it."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        yield
    assert len(queries) <= most, f"{len(queries)} queries:\n" + "\n".join(query["sql"][:140] for query in queries)


def get_page(tenant: Tenant, path: str, role: str = "owner", *, most: int = MOST_QUERIES) -> str:
    """The HTML of a page for a member, within so many queries."""
    from django.test import Client

    client = Client()
    client.force_login(tenant.member(role).user)
    with few_queries(most):
        answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer.content.decode()


def used_icons() -> set[str]:
    """The icons that templates and areas name literally."""
    templates = "\n".join(path.read_text() for path in (ROOT / "templates").rglob("*.html"))
    python = "\n".join(path.read_text() for path in (ROOT / "platform" / "dashboard").rglob("*.py"))
    scripts = "\n".join(path.read_text() for path in (ROOT / "static" / "dashboard").rglob("*.js"))
    return {
        *re.findall(r'{% icon "([^"]+)"', templates),
        *re.findall(r'icon="([a-z0-9-]+)"', templates + python),
        *re.findall(r'icon\("([a-z0-9-]+)"', scripts),
        *re.findall(r'NavItem\([^,]+, "[^"]+", "([^"]+)"', python),
        *re.findall(r'Command\([^,]+, "[^"]+", "([^"]+)"', python),
    }


def until(page: Page, expression: str, *, seconds: float = 20) -> None:
    """Waits until the JavaScript expression is true. (Playwright's own waiting needs eval, which the pages refuse.)"""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never true: {expression}"
        page.wait_for_timeout(50)
