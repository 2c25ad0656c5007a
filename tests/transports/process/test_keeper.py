"""The process attributes of a server, and the end of all its descendants."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from mcpbridged.validators.limits import Limits

from ...support.children import CHILDREN, ENV, alive, python, start

pytestmark = pytest.mark.anyio


async def test_a_child_sees_three_descriptors_and_its_own_environment_only(spawner, tmp_path):
    code = (
        "import os, json; print(json.dumps([sorted(int(fd) for fd in os.listdir('/proc/self/fd') if int(fd) < 100),"
        " dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid()]))"
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, output = await start(spawner, nursery, *python(code), cwd=os.fspath(tmp_path))
            await output.over.wait()
    descriptors, environment, cwd, leads = json.loads(output.lines[0])
    assert descriptors == [0, 1, 2, 3]  # the fourth is the listing's own
    environment.pop("LC_CTYPE", None)  # Python's own doing (PEP 538)
    assert environment == ENV
    assert cwd == os.fspath(tmp_path)
    assert leads


async def test_a_child_that_ignores_sigterm_and_its_daemonised_grandchild_are_killed(spawner):
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            stubborn = os.fspath(CHILDREN / "stubborn.py")
            child, output = await start(
                spawner, nursery, sys.executable, stubborn, limits=Limits(stop_seconds=0.3)
            )
            await output.until(1)
            grandchild = int(output.lines[0])
            assert alive(child.pid)
            assert alive(grandchild)
            child.stop()
            child.stop()
    assert not alive(child.pid)
    assert not alive(grandchild)


async def test_a_grandchild_does_not_outlive_the_exit_of_its_parent(spawner):
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, sys.executable, os.fspath(CHILDREN / "stubborn.py"))
            await output.until(1)
            os.kill(child.pid, signal.SIGKILL)
    assert not alive(int(output.lines[0]))
    assert output.exits[0].signal == signal.SIGKILL


async def test_cancelling_ends_everything(spawner):
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, sys.executable, os.fspath(CHILDREN / "stubborn.py"))
            await output.until(1)
            nursery.cancel_scope.cancel()
        for pid in (child.pid, int(output.lines[0])):
            while alive(pid):
                await trio.sleep(0.01)


@pytest.mark.parametrize("victim", ["host", "fork server"])
def test_no_process_outlives_a_killed_daemon(victim):
    host = subprocess.Popen(
        [sys.executable, os.fspath(CHILDREN / "host.py")], stdout=subprocess.PIPE, text=True
    )
    child, grandchild = map(int, host.stdout.readline().split())
    try:
        if victim == "fork server":
            [server] = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
            os.kill(int(server), signal.SIGKILL)
            time.sleep(0.3)
            assert alive(child)  # it has a keeper of its own
        host.kill()
        end = time.monotonic() + 1
        while time.monotonic() < end and (alive(child) or alive(grandchild)):
            time.sleep(0.01)
        assert not alive(child)
        assert not alive(grandchild)
    finally:
        host.kill()
        host.wait()
        host.stdout.close()
