"""A headless Chromium, which `tests/page/install.sh` has put into .deps/page, and pages whose faults are counted."""

import os
import sys

import pytest

from ..support.bridge_process import REPOSITORY

DEPS = REPOSITORY / ".deps/page"
sys.path.insert(0, str(DEPS / "python"))


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - from .deps/page

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=DEPS / "chromium",
            # Chromium has no sandbox for root.
            args=["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])],
        )
        yield browser
        browser.close()
