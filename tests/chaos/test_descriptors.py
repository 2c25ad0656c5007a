"""A running daemon without free descriptors serves its open sessions, reports the reason, and recovers by itself."""

import contextlib
import itertools
import os
import resource
import signal
from contextlib import AsyncExitStack

import pytest
import trio

from ..support.daemon_clients import example, open_socket, stateless_request
from ..support.daemon_process import daemon
from ..support.stateless_requests import tool

pytestmark = pytest.mark.anyio
ECHO = tool("echo", text="x")


@contextlib.contextmanager
def without_descriptors(pid):
    """Let the process open no further descriptor. A new descriptor gets the lowest free number."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = next(number for number in itertools.count() if number not in used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


async def echoed(opened):
    await opened.begin(1, ECHO)
    with trio.fail_after(30):
        return (await opened.answers(1))[1]["result"]["content"][0]["text"]


async def connected(running, stack):
    """Open a connection that sends nothing, as long as the kernel queues or the daemon accepts it."""
    with contextlib.suppress(OSError), trio.move_on_after(1):
        stack.push_async_callback((await trio.open_tcp_stream(*running.address)).aclose)


async def test_a_daemon_without_descriptors_serves_its_sessions_and_recovers(tmp_path):
    servers = {"one": example(), "two": example()}
    with daemon(tmp_path, servers) as running:
        pid = running.status()["pid"]
        async with AsyncExitStack() as stack:
            opened = await open_socket(running, "one", stack)
            assert await echoed(opened) == "x"
            with without_descriptors(pid):
                for _ in range(100):
                    await connected(running, stack)
                with trio.fail_after(30):
                    while not any("accept_failed" in line for line in running.lines):
                        await trio.sleep(0.05)
                assert await echoed(opened) == "x"
            assert await echoed(opened) == "x"
        # Another server is started now, and a new client served.
        with trio.fail_after(60):
            status, answer = await stateless_request(running, "two", "tools/call", ECHO)
        assert (status, answer["result"]["content"][0]["text"]) == (200, "x")
        assert running.status()["pid"] == pid
        [reason] = {
            line.partition("reason=")[2].split(" evicted")[0]
            for line in running.lines
            if "accept_failed" in line
        }
        assert "Too many open files" in reason
        assert not any("internal_error" in line for line in running.lines)


async def test_a_server_that_cannot_be_started_without_descriptors_is_started_later(tmp_path):
    with daemon(tmp_path, {"one": example()}) as running:
        async with AsyncExitStack() as stack:
            opened = await open_socket(running, "one", stack)
            [server] = running.children()
            with without_descriptors(running.status()["pid"]):
                os.kill(server, signal.SIGKILL)
                with trio.fail_after(60):
                    while "Too many open files" not in (await call(opened)).get("error", {}).get(
                        "message", ""
                    ):
                        await trio.sleep(0.1)
            with trio.fail_after(60):
                while "result" not in await call(opened):
                    await trio.sleep(0.1)


async def call(opened):
    await opened.begin(1, ECHO)
    return (await opened.answers(1))[1]
