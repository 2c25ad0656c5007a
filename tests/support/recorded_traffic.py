"""Clients that call a journaling server (servers/counting.py) all the time, and record everything in a history."""

import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from .bridge_process import REPOSITORY
from .daemon_clients import open_socket
from .history import History
from .raw_http import connect
from .stateless_requests import headers_of, request, tool

COUNTING = REPOSITORY / "tests/support/servers/counting.py"


def counting(journal, **keys):
    """Return the configuration of a server that writes into a journal."""
    return {"command": [sys.executable, str(COUNTING), str(journal)], **keys}


class Traffic:
    """Clients of the servers of a daemon, each with calls in flight until `over`."""

    def __init__(self, running, journal, limit, pause=0.01, limits=None):
        """`limit` is the longest time of a call, and `pause` the time between two calls of a client (seconds).

        Servers in `limits` have limits of their own.
        """
        self.running = running
        self.history = History(limit)
        self.over = False
        self._journal = journal
        self._pause = pause
        self._limits = limits or {}
        self._clients = 0

    def check(self):
        return self.history.check(self._journal)

    def _name(self):
        self._clients += 1
        return f"c{self._clients}"

    def params(self, server, client, identity, seconds=0.0):
        """Begin a call in the history. Return its parameters; it asks for its progress."""
        key = self.history.begin(client, identity, trio.current_time(), self._limits.get(server))
        name, more = ("slow", {"seconds": seconds}) if seconds else ("quick", {})
        return {**tool(name, number=key, **more), "_meta": {"progressToken": key}}

    async def post(self, server, seconds=0.0, client=None):
        """Make one stateless call over HTTP."""
        client = client or self._name()
        params = self.params(server, client, 1, seconds)
        body = request("tools/call", params, **params.pop("_meta"))
        async with connect(self.running) as connection:
            path = f"/servers/{server}/mcp"
            await connection.send("POST", path, headers_of(body), json.dumps(body).encode())
            answer = await connection.answer()
        self.take(client, answer)
        return answer

    def take(self, client, answer):
        """Record the messages of a response."""
        if answer.headers.get("content-type") == "text/event-stream":
            lines = [line[6:] for line in answer.body.split(b"\n") if line.startswith(b"data: {")]
        else:
            lines = [answer.body]
        for line in lines:
            message = json.loads(line)
            if message.get("id", 1) is None and answer.status >= 400:
                # A request that was refused before its body was read. The response of HTTP shows which one.
                message["id"] = 1
            self.history.receive(client, message, trio.current_time())

    async def posts(self, server):
        """Make stateless calls, one after the other."""
        while not self.over:
            await self.post(server)
            await trio.sleep(self._pause)

    async def socket(self, server, at_once=3, seconds=0.0, until=1 << 60):
        """Make this number of calls over one WebSocket, several at once."""
        client = self._name()
        async with AsyncExitStack() as stack:
            opened = await open_socket(self.running, server, stack)
            number = 0
            while number < until and not self.over:
                for _ in range(at_once):
                    number += 1
                    params = self.params(server, client, number, seconds)
                    await opened._send({"id": number, "method": "tools/call", "params": params})
                ended = 0
                while ended < at_once:
                    message = json.loads(await opened._connection.get_message())
                    self.history.receive(client, message, trio.current_time())
                    ended += "method" not in message
                await trio.sleep(self._pause)

    @asynccontextmanager
    async def flowing(self, *servers):
        """Call these servers in both ways during the block, and end all calls after it."""
        for server in servers:
            await self.post(server)
            await self.socket(server, until=1)
        async with trio.open_nursery() as nursery:
            for server in servers:
                nursery.start_soon(self.posts, server)
                nursery.start_soon(self.socket, server)
            await trio.sleep(0.3)
            yield
            self.over = True
            nursery.cancel_scope.deadline = trio.current_time() + 20
