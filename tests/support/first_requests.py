"""First requests to servers, over each transport and in both eras."""

import json
import sys
from pathlib import Path

import trio

from .raw_http import connect
from .sharing import TRANSPORTS
from .stateless_requests import headers_of, request, tool

SCRIPT = Path(__file__).with_name("servers") / "failing.py"
CLIENT_KINDS = (*TRANSPORTS, "modern")
INFO = {"name": "first", "version": "1"}


def failing_command(*words):
    """The command of servers/failing.py."""
    return [sys.executable, "-I", "-S", str(SCRIPT), *map(str, words)]


async def modern(running, server, method="tools/call", params=None, token=None, **more):
    """The answer to a stateless request; `more` are headers."""
    body = request(method, tool("x") if method == "tools/call" else params)
    more |= {"Authorization": f"Bearer {token}"} if token else {}
    async with connect(running) as connection:
        await connection.send(
            "POST", f"/servers/{server}/mcp", headers_of(body, **more), json.dumps(body).encode()
        )
        return (await connection.answer()).json


async def initialize(running, server, way):
    """The answer to the first request of a client."""
    with trio.fail_after(30):
        if way == "modern":
            return await modern(running, server)
        async with TRANSPORTS[way](running, f"/servers/{server}") as client:
            params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": INFO}
            return await client.request("initialize", params)


def first_responses(running, wanted):
    """The answers to the first requests of clients of these servers, by server; `wanted` are (server, way)."""
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
    """The status and the body of /readyz."""
    target = f"/readyz?server={server}" if server else "/readyz"
    async with connect(running) as connection:
        headers = {} if with_token else {"Authorization": ""}
        await connection.send("GET", target, headers)
        answer = await connection.answer()
    return answer.status, answer.body


async def status_of(running, server):
    """What `status` shows of a server."""
    found = await trio.to_thread.run_sync(running.status)
    return next(one for one in found["servers"] if one["name"] == server)
