"""Measure who waits while a user does not answer: directly on a pipe, and through each way of sharing a server.

A tool called by A requests input that is never sent. Meanwhile B calls a plain tool of the same server. Prints, for each
path and event, when A's call ends and how long B's call takes (seconds). Run: .venv/bin/python benchmarks/unanswered.py
"""

import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import trio
import trio_websocket

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.daemon_process import daemon

SERVER = [
    sys.executable,
    "-I",
    "-S",
    str(Path(__file__).parents[1] / "tests/support/servers/concurrent_elicitation.py"),
]
PATIENCE = 2
LIMIT = 8
PREFIX = "io.modelcontextprotocol/"
META = {
    f"{PREFIX}protocolVersion": "2026-07-28",
    f"{PREFIX}clientCapabilities": {"elicitation": {}},
    f"{PREFIX}clientInfo": {"name": "mcp", "version": "0.1.0"},
}
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"elicitation": {}},
    "clientInfo": {"name": "mcp", "version": "0.1.0"},
}


class Pipe:
    """A connection to the server itself, on a pipe."""

    def __init__(self, process):
        self.process = process
        self.buffer = b""

    async def send(self, text):
        await self.process.stdin.send_all(text.encode() + b"\n")

    async def receive(self):
        while b"\n" not in self.buffer:
            data = await self.process.stdout.receive_some()
            if not data:
                raise EOFError
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line


class Socket:
    """A connection to the bridge, over a WebSocket."""

    def __init__(self, socket):
        self.socket = socket
        self.send = socket.send_message
        self.receive = socket.get_message


class Client:
    """A client that never answers a server request."""

    def __init__(self, carrier, era, tool):
        self.carrier, self.era, self.tool = carrier, era, tool
        self.numbers = itertools.count(1)
        self.pending = None

    async def open(self):
        if self.era == "legacy":
            await self.request("initialize", INITIALIZE)
            await self.carrier.send('{"jsonrpc":"2.0","method":"notifications/initialized"}')

    async def request(self, method, params):
        id_ = next(self.numbers)
        meta = {"_meta": META} if self.era == "modern" else {}
        await self.carrier.send(
            json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": {**params, **meta}})
        )
        while True:
            message = json.loads(await self.carrier.receive())
            if message.get("id") == id_ and "method" not in message:
                return message

    async def call(self, more=None, **arguments):
        return await self.request("tools/call", {"name": self.tool, "arguments": arguments, **(more or {})})


def outcome(message):
    if "error" in message:
        return "error {}".format(message["error"]["code"])
    result = message["result"]
    return result["content"][0]["text"] if "content" in result else result["resultType"]


async def ask(client, began):
    """Call the tool as A, retry after the server has given up, and return the time and the way in which the call ends."""
    arguments = {"who": "A", "ask": 1, "patience": PATIENCE}
    message = await client.call(**arguments)
    how = ""
    if message.get("result", {}).get("resultType") == "input_required":
        how = f"asked at {trio.current_time() - began:.1f}, retry: "
        await trio.sleep(PATIENCE + 0.3)
        message = await client.call({"requestState": message["result"]["requestState"]}, **arguments)
    return f"{how}{outcome(message)} at {trio.current_time() - began:.1f}"


async def scenario(event, open_client, kill):
    result = {"A": "still waits", "B": f"> {LIMIT}"}
    async with trio.open_nursery() as nursery, contextlib.AsyncExitStack() as stack:
        first, leave = await open_client(stack)
        second, _ = await open_client(stack)
        began = trio.current_time()

        async def run_first():
            try:
                result["A"] = await ask(first, began)
            except (EOFError, OSError, trio.Cancelled, trio_websocket.ConnectionClosed) as gone:
                result["A"] = f"{type(gone).__name__} at {trio.current_time() - began:.1f}"
                if isinstance(gone, trio.Cancelled):
                    raise

        nursery.start_soon(run_first)
        await trio.sleep(0.5)
        if event == "the client leaves":
            await leave()
        if event == "the server dies":
            kill()
            await trio.sleep(0.3)
        asked = trio.current_time()
        with trio.move_on_after(LIMIT):
            try:
                answer = outcome(await second.call(who="B"))
                result["B"] = f"{answer} {trio.current_time() - asked:.2f}"
            except (EOFError, OSError, trio_websocket.ConnectionClosed) as gone:
                result["B"] = type(gone).__name__
        await trio.sleep(max(0, began + 4 - trio.current_time()))
        nursery.cancel_scope.cancel()
    return result


async def direct(event):
    processes = []

    async def open_client(stack):
        # On a pipe each client has a server of its own.
        process = await trio.lowlevel.open_process(SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        stack.callback(process.kill)
        client = Client(Pipe(process), "legacy", "work")
        await client.open()

        async def leave():
            await process.stdin.aclose()

        return client, leave

    def kill():
        processes[0].kill()

    return await scenario(event, open_client, kill)


async def bridged(running, path, era, tool, event):
    async def open_client(stack):
        socket = await stack.enter_async_context(
            trio_websocket.open_websocket_url(
                path,
                subprotocols=["mcp"],
                extra_headers=[("Authorization", f"Bearer {running.token}")],
                disconnect_timeout=0.5,
            )
        )
        client = Client(Socket(socket), era, tool)
        await client.open()
        return client, socket.aclose

    def kill():
        for pid in running.children("concurrent_elicitation.py"):
            subprocess.run(["kill", "-9", str(pid)], check=False)

    return await scenario(event, open_client, kill)


async def main():
    events = ("the server gives up after 2 s", "the client leaves", "the server dies")
    shares = ("session", "client", "principal", "server")
    servers = {share: {"command": SERVER, "share": share} for share in shares}
    for event in events:
        print(f"{event:32} direct, a process each       A {await direct(event)}", flush=True)
        for share in shares:
            for era in ("legacy", "modern"):
                with tempfile.TemporaryDirectory() as folder, daemon(Path(folder), servers) as running:
                    found = await bridged(running, running.url(share, "ws"), era, "work", event)
                    print(f"{event:32} share = {share:9} {era:7}  {found}", flush=True)
        for era in ("legacy", "modern"):
            with (
                tempfile.TemporaryDirectory() as folder,
                daemon(Path(folder), {"one": {"command": SERVER}}, aggregate={"servers": ["one"]}) as running,
            ):
                found = await bridged(running, running.ws, era, "one__work", event)
                print(f"{event:32} aggregate         {era:7}  {found}", flush=True)


trio.run(main)
