"""The browser, started once for all tests of a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.dashboard.kit import ARGUMENTS, CHROMIUM, Chromium


@pytest.fixture(scope="module")
def browser_process() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium here: apt install chromium-headless-shell, or set CHROMIUM")
    # Playwright's synchronous API keeps an event loop in this thread, where Django would refuse to query.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def chromium(browser_process: Browser, server: str) -> Iterator[Chromium]:
    """Fails the test in the end where a page logged an error, broke the content policy or missed a file."""
    opened = Chromium(browser_process, server)
    yield opened
    opened.close()
    assert not opened.problems, opened.problems
