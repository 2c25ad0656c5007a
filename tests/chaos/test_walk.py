"""Run clients of both eras on every transport, which vanish, read slowly and come back, while servers are killed and
replaced by reloads, and the fork server is killed. Every call ends once, with its own result or an error and its reason, no
message reaches another client, and in the end no resource is left.

CHAOS_SECONDS is the duration (the default keeps CI short), CHAOS_SEED the seed of the random numbers.
"""

import hashlib
import json
import os
import random
import signal
import socket
import struct
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urljoin

import pytest
import trio
import trio_websocket

from ..support.bridge_process import EXAMPLE
from ..support.daemon_clients import open_socket
from ..support.daemon_process import daemon, write_config
from ..support.raw_http import BOTH, INITIALIZE, Connection
from ..support.stateless_requests import headers_of, request, tool

pytestmark = pytest.mark.anyio
SECONDS = float(os.environ.get("CHAOS_SECONDS", "8"))
SEED = int(os.environ.get("CHAOS_SEED", str(time.time_ns())))
# Errors for a server whose request may belong to several clients, or to a client that has disconnected.
NOT_ASSIGNED = (
    "calls of several clients are in progress",
    "was cancelled or has been answered",
    "no call is in progress",
)
SHARES = {"own": {"spare": 1}, "principal": {"share": "principal"}, "all": {"share": "server"}}
# The clients of each server are a principal of their own.
TOKENS = {server: f"mcpb_{server:x<43}" for server in (*SHARES, "aggregate")}
TABLES = {
    "tokens": {
        name: {"sha256": hashlib.sha256(token.encode()).hexdigest(), "servers": ["*"]}
        for name, token in TOKENS.items()
    },
    "aggregate": {"servers": ["own", "all"]},
    "limits": {"session_idle_seconds": 2, "held_seconds": 2, "drain_seconds": 3},
}
PATIENCE = 60
# Errors that a call may get instead of its result: an exit, the open circuit breaker, a failed start, a replaced server.
CAUSES = (
    "was killed by signal 9",
    "ended unexpectedly",
    "closed its stdout",
    "session is over",
    "session has ended",
    "Session not found",
    "its configuration has changed",
    "the bridge is stopping",
    "is being replaced",
    "the fork server exited",
    # The keeper was killed, after the daemon had adopted it from a killed fork server.
    "the server has ended",
    "is lost",
    "cannot be reached",
    "none of own, all answers",
    # The server process was replaced or stopped.
    "Invalid or expired requestState",
    "is not the id of an event of this session",
    "it was idle for too long",
)
ASKABLE = {"elicitation": {}}


def configured(generation):
    """Return the servers. Every generation changes the configuration of one of them."""
    servers = {name: {"command": EXAMPLE, **keys} for name, keys in SHARES.items()}
    servers[list(SHARES)[generation % len(SHARES)]]["env"] = {"GENERATION": str(generation)}
    return servers


def replace_config(running, servers):
    """Replace the file atomically, because the daemon may be reading it."""
    new = running.config.with_suffix(".new")
    write_config(new, servers, **TABLES)
    new.replace(running.config)


@asynccontextmanager
async def connected(running, path):
    """A connection of a client of the server at this path, and how to vanish from it: with a reset, as a process that was killed with something unread."""
    stream = await trio.open_tcp_stream(*running.address)

    async def vanish():
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()

    async with stream:
        connection = Connection(running, stream)
        connection._token = TOKENS[path.split("/")[2]]
        yield connection, vanish


class Walk:
    """Clients, and the outcomes of their calls."""

    def __init__(self, running, dice):
        self.running = running
        self.dice = dice
        self.outcomes = Counter()
        self.wrong = []
        self.over = False
        self.generation = 0
        # Pending requests of WebSocket clients, by server: a text, or calls and their messages.
        self.doing = {}
        self._next = 0

    def tool(self, where, name, **arguments):
        """Return the parameters of a call. `where` names the server, or the aggregate of two servers."""
        prefix = self.dice.choice(("own__", "all__")) if "aggregate" in where else ""
        return tool(prefix + name, **arguments)

    def call(self, where):
        """Return the parameters of a unique call, its progress token, and the text of its result."""
        self._next += 1
        token = f"token {self._next}"
        if self.dice.random() < 0.3:
            seconds = round(self.dice.choice((0.05, 0.3)) + self._next / 1e7, 7)
            params, text = self.tool(where, "slow", seconds=seconds, steps=3), f"done in {seconds} s"
        else:
            text = f"call {self._next}"
            params = self.tool(where, "echo", text=text)
        return {**params, "_meta": {"progressToken": token}}, token, text

    def judge(self, text, token, messages):
        """Check the messages for one call, of which the last is its response."""
        *earlier, answer = messages
        for message in earlier:
            if "id" in message or message.get("params", {}).get("progressToken", token) != token:
                self.wrong.append((text, message))
        if "error" in answer:
            self.outcomes["error"] += 1
            if not any(cause in answer["error"]["message"] for cause in CAUSES):
                self.wrong.append((text, answer))
        elif answer["result"]["content"][0]["text"] == text:
            self.outcomes["answer"] += 1
        else:
            self.wrong.append((text, answer))

    # ---- clients, each from its beginning to its end

    async def repeat(self, client, *arguments):
        while not self.over:
            with trio.move_on_after(PATIENCE) as patience:
                await client(*arguments)
            if patience.cancelled_caught:
                status = await trio.to_thread.run_sync(self.running.status)
                doing = self.doing.get(arguments[0]) if arguments else None
                self.wrong.append(
                    (client.__name__, arguments, f"is not over within {PATIENCE} s", doing, status["servers"])
                )
            await trio.sleep(self.dice.uniform(0, 0.05))

    async def messages(self, connection):
        """Return the messages in an HTTP response, which is a stream or JSON."""
        answer = await connection.answer()
        if answer.headers.get("content-type") != "text/event-stream":
            return [json.loads(answer.body)] if answer.body else []
        return [
            json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: {")
        ]

    async def stateless(self, path):
        async with connected(self.running, path) as (connection, vanish):
            for _ in range(self.dice.randrange(1, 10)):
                params, token, text = self.call(path)
                body = request("tools/call", params, progressToken=token)
                await connection.send("POST", path, headers_of(body), json.dumps(body).encode())
                if self.dice.random() < 0.1:
                    self.outcomes["vanished"] += 1
                    await trio.sleep(self.dice.uniform(0, 0.1))
                    await vanish()
                    return
                self.judge(text, token, await self.messages(connection))

    async def server_request(self, path):
        """Make a call with a server request, and answer this request or disconnect for ever."""
        async with connected(self.running, path) as (connection, _):
            self._next += 1
            question = f"question {self._next}"
            params = self.tool(path, "ask", question=question)
            body = request("tools/call", params, caps=ASKABLE)
            await connection.send("POST", path, headers_of(body), json.dumps(body).encode())
            [answer] = await self.messages(connection)
            result = answer.get("result", {})
            if result.get("isError") and any(text in result["content"][0]["text"] for text in NOT_ASSIGNED):
                # Another client that may have caused the server request has disconnected.
                self.outcomes["not attributed"] += 1
                return
            if result.get("resultType") != "input_required":
                self.judge("an answer that needs none", "", [answer])
                return
            [leg] = answer["result"]["inputRequests"].items()
            if leg[1]["params"]["message"] != question:
                self.wrong.append((question, answer))
            if self.dice.random() < 0.3:
                self.outcomes["never came back"] += 1
                return
            await trio.sleep(self.dice.uniform(0, 0.2))
            reply = {"action": "accept", "content": {"answer": question}}
            params |= {"inputResponses": {leg[0]: reply}, "requestState": answer["result"]["requestState"]}
            body = request("tools/call", params, id=2, caps=ASKABLE)
            await connection.send("POST", path, headers_of(body), json.dumps(body).encode())
            self.judge(f"accept: {question}", "", await self.messages(connection))

    async def listener(self, path):
        async with connected(self.running, path) as (connection, vanish):
            body = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            await connection.send("POST", path, headers_of(body), json.dumps(body).encode())
            with trio.move_on_after(self.dice.uniform(0, 0.5)):
                await self.messages(connection)
            await vanish()
            self.outcomes["listened"] += 1

    async def session(self, path):
        """Use Streamable HTTP: calls, of which one is cut off and resumed, and a DELETE or none."""
        async with connected(self.running, path) as (connection, vanish):
            headers = {"Content-Type": "application/json", "Accept": BOTH}

            async def post(message, **more):
                body = json.dumps({"jsonrpc": "2.0", **message}).encode()
                await connection.send("POST", path, {**headers, **more}, body)

            await post({"id": 0, "method": "initialize", "params": INITIALIZE})
            opened = await connection.answer()
            if "mcp-session-id" not in opened.headers:
                self.judge("a session", "", [opened.json])
                return
            headers |= {
                "Mcp-Session-Id": opened.headers["mcp-session-id"],
                "MCP-Protocol-Version": "2025-11-25",
            }
            await post({"method": "notifications/initialized"})
            if (await connection.answer()).status != 202:
                return
            for number in range(1, self.dice.randrange(2, 6)):
                params, token, text = self.call(path)
                await post({"id": number, "method": "tools/call", "params": params})
                self.judge(text, token, await self.messages(connection))
            if self.dice.random() < 0.5:
                await self.lost_and_found(path, headers)
            if self.dice.random() < 0.5:
                await connection.send("DELETE", path, headers)
                assert (await connection.answer()).status in (204, 404)
            else:
                await vanish()

    async def lost_and_found(self, path, headers):
        params, token, text = self.call(path)
        body = json.dumps({"jsonrpc": "2.0", "id": "lost", "method": "tools/call", "params": params}).encode()
        async with connected(self.running, path) as (connection, vanish):
            events_first = {**headers, "Accept": "text/event-stream, application/json"}
            await connection.send("POST", path, events_first, body)
            status, _ = await connection.head()
            if status != 200:
                return
            priming = await connection.event()
            await vanish()
        async with connected(self.running, path) as (connection, _):
            await connection.send("GET", path, {**headers, "Last-Event-ID": priming.id})
            self.judge(text, token, await self.messages(connection))
            self.outcomes["found again"] += 1

    async def dawdler(self, path):
        """Request more than the bridge may queue, and read nothing."""
        async with connected(self.running, path) as (connection, vanish):
            body = request(
                "tools/call", self.tool(path, "slow", seconds=0.2, steps=2000), progressToken="dawdler"
            )
            await connection.send("POST", path, headers_of(body), json.dumps(body).encode())
            await trio.sleep(self.dice.uniform(0.1, 1))
            await vanish()
            self.outcomes["dawdled"] += 1

    async def socket(self, server):
        with trio.CancelScope() as scope:
            await self.talk(server, scope)

    async def talk(self, server, scope):
        async with AsyncExitStack() as stack:
            self.doing[server] = "its session"
            try:
                opened = await open_socket(self.running, server, stack, TOKENS[server])
            except (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed, AssertionError):
                # The server was killed or replaced during the handshake.
                self.outcomes["no session"] += 1
                return
            for _ in range(self.dice.randrange(1, 6)):
                calls = {number: self.call(server) for number in range(1, self.dice.randrange(2, 8))}
                found = {number: [] for number in calls}
                tokens = {token: number for number, (_, token, _) in calls.items()}
                waiting = set(calls)
                self.doing[server] = calls, found
                try:
                    for number, (params, _, _) in calls.items():
                        await opened._send({"id": number, "method": "tools/call", "params": params})
                    if self.dice.random() < 0.1:
                        self.outcomes["vanished"] += 1
                        await opened._connection._stream.aclose()
                        scope.cancel()
                        await trio.lowlevel.checkpoint()
                    while waiting:
                        message = json.loads(await opened._connection.get_message())
                        if message.get("method", "").endswith("/list_changed"):
                            # A server of the aggregate was replaced.
                            continue
                        number = (
                            message["id"] if "id" in message else tokens[message["params"]["progressToken"]]
                        )
                        waiting.discard(number if "id" in message else None)
                        found[number].append(message)
                except trio_websocket.ConnectionClosed:
                    # The server was replaced.
                    self.outcomes["closed"] += 1
                    found = {number: messages for number, messages in found.items() if number not in waiting}
                for number, messages in found.items():
                    _, token, text = calls[number]
                    self.judge(text, token, messages)
                if waiting:
                    return

    async def stream(self, path):
        """Use HTTP+SSE, whose responses come on the stream."""
        async with AsyncExitStack() as stack:
            stream, vanish = await stack.enter_async_context(connected(self.running, path))
            await stream.send("GET", f"{path}/sse", {"Accept": "text/event-stream"})
            status, headers = await stream.head()
            if status != 200:
                self.judge(
                    "a session", "", [json.loads(await stream._exactly(int(headers["content-length"])))]
                )
                return
            endpoint = urljoin(f"{path}/sse", (await stream.event()).data)
            # Connect no earlier: a connection without a request for `head_seconds` is closed, and a server may take longer to start.
            posts, _ = await stack.enter_async_context(connected(self.running, path))

            async def ask(message):
                body = json.dumps({"jsonrpc": "2.0", **message}).encode()
                await posts.send("POST", endpoint, {"Content-Type": "application/json"}, body)
                return (await posts.answer()).status

            messages = [{"id": 0, "method": "initialize", "params": INITIALIZE}]
            expected = [None]
            for number in range(1, self.dice.randrange(2, 5)):
                params, token, text = self.call(path)
                messages.append({"id": number, "method": "tools/call", "params": params})
                expected.append((text, token))
            for message, what in zip(messages, expected, strict=True):
                if await ask(message) != 202:
                    return
                found = []
                while not found or "id" not in found[-1]:
                    event = await stream.event()
                    # The server was replaced, or was killed before it had started.
                    if event is None:
                        self.outcomes["closed"] += 1
                        return
                    found.append(event.json)
                if what is not None:
                    self.judge(*what, found)
                elif "error" in found[-1]:
                    self.judge("a session", "", found)
                    return
                else:
                    await ask({"method": "notifications/initialized"})
            await vanish()

    # ---- faults

    async def killer(self):
        await trio.sleep(self.dice.uniform(0.5, 2))
        status = await trio.to_thread.run_sync(self.running.status)
        pids = [pid for one in status["servers"] for pid in one["pids"]]
        if self.dice.random() < 0.2:
            pids = fork_servers(self.running)
            self.outcomes["fork server killed"] += bool(pids)
        if pids:
            try:
                os.kill(self.dice.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                return
            self.outcomes["killed"] += 1

    async def reloader(self):
        await trio.sleep(self.dice.uniform(0.5, 2))
        self.generation += 1
        replace_config(self.running, configured(self.generation))
        self.running.process.send_signal(signal.SIGHUP)
        self.outcomes["reloaded"] += 1


def fork_servers(running):
    """Return the child of the daemon, whose children are the keepers."""
    pid = running.process.pid
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def is_as(now, wanted):
    """Return whether no resource is left. An idle thread of the start may have ended meanwhile."""
    return wanted is not None and now[1] <= wanted[1] and now[:1] + now[2:] == wanted[:1] + wanted[2:]


async def settled(running, wanted=None):
    """Return the resources of the daemon when no session is left and they are as `wanted`."""
    pid, end, last = running.process.pid, time.monotonic() + 60, None
    while True:
        status = await trio.to_thread.run_sync(running.status)
        now = (
            len(os.listdir(f"/proc/{pid}/fd")),
            len(os.listdir(f"/proc/{pid}/task")),
            len(running.family()),
            {one["name"]: (len(one["pids"]), one["sessions"], one["in_flight"]) for one in status["servers"]},
        )
        if is_as(now, wanted or last) and not any(sessions for _, sessions, _ in now[3].values()):
            return now
        assert time.monotonic() < end, (now, wanted)
        last = now
        await trio.sleep(0.5)


async def warmed_up(walk):
    for server in (*SHARES, "aggregate"):
        await walk.stateless(f"/servers/{server}/mcp")
        await walk.session(f"/servers/{server}/mcp")


async def test_every_call_ends_and_no_resource_is_left_when_everything_happens_at_once(tmp_path):
    print(f"CHAOS_SEED={SEED}")
    with daemon(tmp_path, configured(0), **TABLES) as running:
        walk = Walk(running, random.Random(SEED))
        await warmed_up(walk)
        before = await settled(running)
        async with trio.open_nursery() as nursery:
            for server in (*SHARES, "aggregate"):
                path = f"/servers/{server}/mcp"
                for client in (
                    walk.stateless,
                    walk.session,
                    walk.server_request,
                    walk.listener,
                    walk.dawdler,
                ):
                    nursery.start_soon(walk.repeat, client, path)
                nursery.start_soon(walk.repeat, walk.socket, server)
                nursery.start_soon(walk.repeat, walk.stream, path.removesuffix("/mcp"))
            nursery.start_soon(walk.repeat, walk.killer)
            nursery.start_soon(walk.repeat, walk.reloader)
            await trio.sleep(SECONDS)
            walk.over = True
        print(dict(walk.outcomes))
        for fault in walk.wrong:
            print(fault)
        assert walk.wrong == []
        assert walk.outcomes["answer"] > 30
        assert min(walk.outcomes[what] for what in ("killed", "reloaded", "found again")) > 0
        # Another configuration of each, so that no breaker remembers anything.
        servers = configured(0)
        for keys in servers.values():
            keys["env"] = {"GENERATION": "last"}
        replace_config(running, servers)
        await trio.to_thread.run_sync(running.reload)
        answered = walk.outcomes["answer"]
        await warmed_up(walk)
        assert walk.outcomes["answer"] > answered
        assert walk.wrong == []
        await settled(running, before)
        assert not any("internal_error" in line or "Traceback" in line for line in running.lines)
