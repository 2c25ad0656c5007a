"""What every test shares: asynchronous tests run under Trio, through anyio's plugin.

In CI Hypothesis draws the same examples every time: what a gate counts must not depend on luck.
"""

import os
import signal
import tempfile

import pytest
import trio.testing
from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


# A shell that starts us in the background of a script has SIGINT ignored, and programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _state_of_the_tests():
    """Keep the default token of bridges that inherit our environment out of the home of the person who runs the tests."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", folder)
        yield


@pytest.fixture
def autojump_clock():
    """A clock that jumps to the next deadline when all tasks wait. It starts at 0 (trio.testing.MockClock)."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
def anyio_backend(request):
    if "autojump_clock" in request.fixturenames:
        return "trio", {"clock": request.getfixturevalue("autojump_clock")}
    return "trio"
