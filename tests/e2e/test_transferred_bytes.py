"""The bytes between the daemon and the processes of a server."""

import shlex
from contextlib import AsyncExitStack

import pytest

from ..support.bridge_process import EXAMPLE
from ..support.daemon_clients import open_socket
from ..support.daemon_process import daemon
from ..support.first_requests import status_of, wait_for_status
from ..support.raw_http import connect
from ..support.stateless_requests import tool

pytestmark = pytest.mark.anyio
LARGE = 600_000


async def test_the_bytes_of_both_directions_are_counted(tmp_path):
    received, sent = tmp_path / "received", tmp_path / "sent"
    line = f"tee {sent} | {shlex.join(EXAMPLE)} | tee {received}"
    server = {"command": ["sh", "-c", line]}
    with daemon(tmp_path, {"one": server}, metrics={"enabled": True}) as running:
        assert (await status_of(running, "one"))["bytes_sent"] == 0
        async with AsyncExitStack() as stack:
            opened = await open_socket(running, "one", stack)
            # Small lines that are written together, and a line for which the pipe has no room.
            await opened.begin(20, tool("echo", text="x"))
            await opened.answers(20)
            await opened.begin(1, tool("echo", text="x" * LARGE))
            await opened.answers(1)
            running_now = await status_of(running, "one")
            assert running_now["bytes_received"] > LARGE
            assert running_now["bytes_sent"] > LARGE
        # Those of an exited process are kept.
        await wait_for_status(running, "one", pids=[])
        found = await status_of(running, "one")
        assert found["bytes_received"] == received.stat().st_size
        assert found["bytes_sent"] == sent.stat().st_size
        async with connect(running) as connection:
            await connection.send("GET", "/metrics", {})
            text = (await connection.answer()).body.decode()
        for direction in ("received", "sent"):
            series = f'mcp_bridge_process_{direction}_bytes_total{{server="one"}}'
            assert f"{series} {found[f'bytes_{direction}']}\n" in text
