"""A headless Chromium, which `tests/page/install.sh` has put into .deps/page, and pages whose faults are counted."""

import os
import sys
from contextlib import ExitStack

import pytest

from ..support.bridge_process import REPOSITORY

DEPS = REPOSITORY / ".deps/page"
sys.path.insert(0, str(DEPS / "python"))

# Collects what the policy of the page has refused.
_COUNT_VIOLATIONS = """
globalThis.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  globalThis.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""
# Each step waits for the page, which may have little processor time (milliseconds).
_PATIENCE = 60_000


@pytest.fixture(scope="session")
def chromium():
    """Yield the browser."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - from .deps/page

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=DEPS / "chromium",
            # Chromium has no sandbox for root.
            args=["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])],
            timeout=_PATIENCE,
        )
        yield browser
        browser.close()


class Browser:
    """A browser profile of one user. `page` is its tab, and `faults` what the console has shown as an error."""

    def __init__(self, chromium, daemon, width=1280, scheme="light"):
        self.daemon = daemon
        self.context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        self.context.set_default_timeout(_PATIENCE)
        self.context.add_init_script(_COUNT_VIOLATIONS)
        self.page = self.context.new_page()
        self.faults = []
        self.page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        self.requested = []
        self.page.on("request", lambda request: self.requested.append(request.url))

    @property
    def violations(self):
        return self.page.evaluate("violations")

    def link(self):
        """Return a new link."""
        return self.daemon.control("POST", "admin-link")["url"]

    def sign_in(self):
        """Open the page, and wait until it shows the servers."""
        self.page.goto(self.link(), wait_until="commit")
        self.page.wait_for_selector("#server-table tbody tr")
        return self

    def wait(self, condition, argument=None):
        """Wait until an expression is true in the page. Its variable `argument` has the value that is passed."""
        # As a function, because the policy of the page lets no text become script.
        self.page.wait_for_function(f"argument => ({condition})", arg=argument)

    def next_state(self):
        """Wait until another state was shown."""
        shown = self.page.inner_text("#summary")
        self.wait("document.querySelector('#summary').innerText !== argument", shown)

    def shows(self, text):
        """Wait until the page shows a text."""
        self.wait("document.body.innerText.includes(argument)", text)


@pytest.fixture
def browse(chromium):
    """Return `browse(daemon, …)`, which makes a Browser. After the test no error and no violation may be left."""
    with ExitStack() as stack:
        made = []

        def browse(daemon, **options):
            browser = Browser(chromium, daemon, **options)
            stack.callback(browser.context.close)
            made.append(browser)
            return browser

        yield browse
        for browser in made:
            assert browser.faults == []
            assert browser.violations == []
