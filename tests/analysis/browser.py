"""Opens a page from disk in headless Chromium, with Selenium; skips the test if either is not installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
FLAGS += ["disable-component-update", "disable-sync"]


def installed() -> tuple[Any, str, str]:
    """Selenium's webdriver, and where chromium and chromedriver lie; skips the test where one is not there."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install .[browser]")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver on this machine")
    return webdriver, chromium, driver


@contextmanager
def opened(page: Path, profile: Path) -> Iterator[Any]:
    """The page in a browser that has no profile yet and logs its console and every request."""
    webdriver, chromium, driver = installed()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [*FLAGS, f"user-data-dir={profile}", "window-size=1280,900"]:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.get(page.as_uri())
        yield browser
    finally:
        browser.quit()
