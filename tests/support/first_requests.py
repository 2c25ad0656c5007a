"""First requests to servers, over each transport and in both eras."""

import sys
from pathlib import Path

import trio

from .daemon_clients import stateless_request
from .handshake import initialize_params
from .raw_http import connect
from .sharing import TRANSPORTS
from .stateless_requests import tool
from .waiting import wait_until_async

SCRIPT = Path(__file__).with_name("servers") / "failing.py"
CLIENT_KINDS = (*TRANSPORTS, "modern")


def failing_command(*words):
    """Return the command of servers/failing.py."""
    return [sys.executable, "-I", "-S", str(SCRIPT), *map(str, words)]


async def modern(running, server, method="tools/call", params=None, token=None, **headers):
    """Send a stateless request with further headers. Return the response."""
    params = tool("x") if method == "tools/call" else params
    _, response = await stateless_request(running, server, method, params, token, **headers)
    return response


async def initialize(running, server, way):
    """Return the response to the first request of a client of this kind."""
    with trio.fail_after(30):
        if way == "modern":
            return await modern(running, server)
        async with TRANSPORTS[way](running, f"/servers/{server}") as client:
            return await client.request("initialize", initialize_params(name="first"))


def first_responses(running, wanted):
    """Return the first responses of clients, by server. `wanted` are pairs of server and kind of client."""
    answers = {}

    async def one(server, way):
        answers[server] = await initialize(running, server, way)

    async def every():
        async with trio.open_nursery() as nursery:
            for server, way in wanted:
                nursery.start_soon(one, server, way)

    trio.run(every)
    return answers


async def ready(running, server="", *, with_token=True):
    """Return the status and the body of /readyz."""
    target = f"/readyz?server={server}" if server else "/readyz"
    async with connect(running) as connection:
        headers = {} if with_token else {"Authorization": ""}
        await connection.send("GET", target, headers)
        answer = await connection.answer()
    return answer.status, answer.body


async def status_of(running, server):
    """Return the part of `status` about a server."""
    found = await trio.to_thread.run_sync(running.status)
    return next(one for one in found["servers"] if one["name"] == server)


async def wait_for_status(running, server, **expected):
    """Wait until `status` shows these values for a server, because a response can precede the end of its process."""

    async def found():
        shown = await status_of(running, server)
        return shown if expected.items() <= shown.items() else None

    return await wait_until_async(found)
