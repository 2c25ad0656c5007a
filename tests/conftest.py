"""Fixtures and settings of all tests. Asynchronous tests run under Trio, through the pytest plugin of AnyIO.

An example of Hypothesis has no time limit, because machines may be busy. In CI it draws the same examples each time, so that
coverage does not depend on chance.
"""

import contextlib
import os
import signal
import tempfile
from pathlib import Path

import pytest
import trio.testing
import trustme
from hypothesis import HealthCheck, settings

from .support.left_behind import nothing_left, shared

_WITH_DAEMONS = {"cases", "chaos", "documents", "e2e", "hostile"}
_SLOW = [HealthCheck.too_slow]
settings.register_profile("here", deadline=None, suppress_health_check=_SLOW)
settings.register_profile("ci", deadline=None, suppress_health_check=_SLOW, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


# A shell ignores SIGINT for processes that a script starts in the background. Programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _state_of_the_tests():
    """Keep the token of bridges that inherit the environment out of the home directory of the user."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", folder)
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef):
    """A fixture of a module or of all tests may begin in the middle of the first test that asks for it."""
    with contextlib.nullcontext() if fixturedef.scope == "function" else shared():
        yield


@pytest.fixture(autouse=True)
def _nothing_left(request):
    """Require that a test leaves no task, no descriptor and no step that blocked the loop (support/left_behind.py)."""
    # Where the code runs in daemons, the descriptors are those of clients, which several tests share.
    folder = request.path.relative_to(Path(__file__).parent).parts[0]
    with nothing_left(descriptors=folder not in _WITH_DAEMONS):
        yield


@pytest.fixture
def autojump_clock():
    """Return a clock that jumps to the next deadline when all tasks wait. It starts at 0 (trio.testing.MockClock)."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
def anyio_backend(request):
    if "autojump_clock" in request.fixturenames:
        return "trio", {"clock": request.getfixturevalue("autojump_clock")}
    return "trio"


@pytest.fixture(scope="session")
def authority():
    """Return a certificate authority that no system trusts."""
    return trustme.CA()
