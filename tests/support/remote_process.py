"""A remote server of an official SDK in a process of its own."""

import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import trio

PROGRAM = Path(__file__).parent / "servers" / "remote.py"


@asynccontextmanager
async def remote_process(*options, command=(sys.executable, str(PROGRAM)), path="/mcp"):
    """Start a server, and yield the URL of its endpoint."""
    process = await trio.lowlevel.open_process(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        with trio.fail_after(30):
            found = b""
            while not found.splitlines() or not found.splitlines()[-1].isdigit() or not found.endswith(b"\n"):
                data = await process.stdout.receive_some(4096)
                assert data, found
                found += data
        yield f"http://127.0.0.1:{int(found.splitlines()[-1])}{path}"
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
