"""The memory of large answers is used again while more of them come, and is returned to the kernel afterwards."""

import ctypes
import sys
import time
from pathlib import Path

import pytest
import trio

from ..support.daemon_process import daemon
from ..support.slow_clients import over_http
from ..support.waiting import wait_until

MIB = 1024 * 1024
SIZE = 10_000_000
SERVER = Path(__file__).parents[1] / "support/servers/large_output.py"

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="the thresholds are those of glibc"
)


class Measured:
    """A daemon and its memory."""

    def __init__(self, running):
        self._running = running
        self._proc = Path(f"/proc/{running.process.pid}")

    @property
    def resident(self):
        """The resident memory (MiB)."""
        status = (self._proc / "status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def faults(self):
        """The number of minor page faults since the start."""
        return int((self._proc / "stat").read_text().rpartition(")")[2].split()[7])

    def answer(self, count=1):
        """Request large answers, one after another in a session each."""
        for _ in range(count):
            found = trio.run(
                over_http, self._running, "large", [("big", {"bytes": SIZE})], trio.lowlevel.checkpoint
            )
            assert len(found.answers[1]["result"]["content"][0]["text"]) == SIZE


@pytest.fixture
def measured(tmp_path, request):
    servers = {"large": {"command": [sys.executable, "-I", "-S", str(SERVER)]}}
    with daemon(tmp_path, servers, limits=request.param) as running:
        yield Measured(running)


@pytest.mark.parametrize("measured", [{}], indirect=True)
def test_memory_is_used_again_and_returned_after_some_seconds(measured):
    before = measured.resident
    measured.answer(2)
    faults = measured.faults
    measured.answer(3)
    end = time.monotonic()
    assert (measured.faults - faults) / 3 < 500
    assert measured.resident > before + SIZE / MIB
    wait_until(lambda: measured.resident < before + 6)
    # Not during the time in which another large answer may come.
    assert time.monotonic() - end > 3


@pytest.mark.parametrize("measured", [{"free_heap_bytes": 0}], indirect=True)
def test_with_the_limit_0_the_allocator_is_left_as_it_is(measured):
    measured.answer(2)
    faults = measured.faults
    measured.answer(3)
    assert (measured.faults - faults) / 3 > 2000
