"""Kills at random, with clients of both eras and every carrier on servers of every share, and each call accounted for.

test_deaths.py is the short form. Here every single call has an entry of its own, so that one that is lost, answered
twice or answered with another's text shows; every error must name the death or the pause; and one server, `fragile`,
is killed so often in a long run that its breaker trips. CHAOS_SECONDS is how long, CHAOS_SEED what the dice begin with.
"""

import json
import os
import random
import signal
import time
from collections import Counter, deque

import pytest
import trio
import trio_websocket

from ..e2e.bridge_process import EXAMPLE
from ..e2e.daemon_process import daemon
from ..e2e.raw_http import BOTH, INITIALIZE, Connection, connect
from ..e2e.test_modern_http import headers_of, request, tool

pytestmark = pytest.mark.anyio
SECONDS = float(os.environ.get("CHAOS_SECONDS", "6"))
SEED = int(os.environ.get("CHAOS_SEED", str(time.time_ns())))
# The time limit of one call, and how long a server may need after the last kill: its breaker forgets after a minute.
PATIENCE, RECOVERY = 20, 90
# In so many seconds a server's breaker counts its deaths; with so many it trips. Only `fragile` may get there, and only
# where there is time for it to recover.
WINDOW, DEATHS = 60, 5
TRIPS = SECONDS >= 30
SHARES = ("session", "principal", "server")
SERVERS = {
    **{
        f"{share}-{carrier}": {"command": EXAMPLE, "share": share}
        for share in SHARES
        for carrier in ("ws", "http")
    },
    "fragile": {"command": EXAMPLE, "share": "session", "spare": 1},
}
DEATH = "killed by signal 9"
PAUSE = f"the server ended unexpectedly {DEATHS} times within {WINDOW} s; the next start is in "


class Books:
    """Every call that was made, and how it ended."""

    def __init__(self):
        self.open = {}
        self.ends = Counter()
        self.wrong = []
        self.slowest = 0.0
        self._calls = 0

    def begin(self, who, *, slow):
        """A call that no other is like: its parameters."""
        self._calls += 1
        if slow:
            seconds = round(0.05 + self._calls / 1e7, 7)
            params, text = tool("slow", seconds=seconds, steps=2), f"done in {seconds} s"
        else:
            text = f"{who}, call {self._calls}"
            params = tool("echo", text=text)
        assert text not in self.open
        self.open[text] = (who, time.monotonic())
        return params, text

    def end(self, text, answer):
        who, begun = self.open.pop(text, (None, None))
        if who is None:
            self.wrong.append(("answered twice", text, answer))
            return
        self.slowest = max(self.slowest, time.monotonic() - begun)
        if "error" in answer:
            self.refused(who, answer["error"].get("message", ""), answer)
        elif answer["result"].get("isError") or answer["result"]["content"] != [
            {"type": "text", "text": text}
        ]:
            self.wrong.append(("not its own answer", who, text, answer))
        else:
            self.ends["answer"] += 1

    def refused(self, who, told, answer, kind="error"):
        """An error that must say why."""
        if DEATH in told:
            self.ends[f"{kind}: death"] += 1
        elif PAUSE in told:
            self.ends[f"{kind}: pause"] += 1
        else:
            self.ends[f"{kind}: unclear"] += 1
            self.wrong.append(("an error that does not say why", who, answer))

    def check(self):
        assert self.wrong == []
        assert self.open == {}


def messages(answer):
    """The messages of an answer over HTTP, a stream or not."""
    if answer.headers.get("content-type") != "text/event-stream":
        return [answer.json]
    lines = answer.body.decode().split("\n")
    return [json.loads(line[5:]) for line in lines if line.startswith("data:") and line[5:].strip()]


class Refused(Exception):
    """No session was to be had: it says why."""


class Http:
    """A legacy session over Streamable HTTP."""

    def __init__(self, running, server):
        self._running = running
        self._path = f"/servers/{server}/mcp"
        self._headers = {"Accept": BOTH, "Content-Type": "application/json"}

    async def _post(self, message):
        async with connect(self._running) as connection:
            body = json.dumps({"jsonrpc": "2.0", **message}).encode()
            return await connection.request("POST", self._path, self._headers, body)

    async def open(self, _nursery):
        answer = await self._post({"id": 0, "method": "initialize", "params": INITIALIZE})
        told = messages(answer)[-1]
        if "error" in told:
            raise Refused(told["error"]["message"])
        self._headers |= {
            "Mcp-Session-Id": answer.headers["mcp-session-id"],
            "MCP-Protocol-Version": told["result"]["protocolVersion"],
        }
        accepted = await self._post({"method": "notifications/initialized"})
        if accepted.status != 202:
            raise Refused(accepted.json["error"]["message"])

    async def call(self, calls, end):
        """Make these calls at once, by id; `end` hears of each end."""

        async def one(number, params):
            answer = await self._post({"id": number, "method": "tools/call", "params": params})
            *_, last = messages(answer)
            end(number if last.get("id") in (number, None) else None, last)

        async with trio.open_nursery() as nursery:
            for number, params in calls.items():
                nursery.start_soon(one, number, params)

    async def close(self):
        if "Mcp-Session-Id" in self._headers:
            async with connect(self._running) as connection:
                await connection.request("DELETE", self._path, self._headers)


class WebSocket:
    """A legacy session over WebSocket."""

    def __init__(self, running, server):
        self._running = running
        self._url = running.url(server, "ws")
        self._socket = None

    async def open(self, nursery):
        try:
            self._socket = await trio_websocket.connect_websocket_url(
                nursery,
                self._url,
                subprotocols=["mcp"],
                extra_headers=[("Authorization", f"Bearer {self._running.token}")],
            )
        except trio_websocket.ConnectionRejected as rejected:
            raise Refused((rejected.body or b"").decode()) from None
        await self._send({"id": 0, "method": "initialize", "params": INITIALIZE})
        try:
            told = await self._answer()
        except trio_websocket.ConnectionClosed as closed:
            raise Refused(closed.reason.reason or f"closed with {closed.reason.code}") from None
        if "error" in told:
            raise Refused(told["error"]["message"])
        await self._send({"method": "notifications/initialized"})

    async def _send(self, message):
        await self._socket.send_message(json.dumps({"jsonrpc": "2.0", **message}))

    async def _answer(self):
        while "id" not in (found := json.loads(await self._socket.get_message())) or "method" in found:
            pass
        return found

    async def call(self, calls, end):
        for number, params in calls.items():
            await self._send({"id": number, "method": "tools/call", "params": params})
        for _ in calls:
            found = await self._answer()
            end(found["id"], found)

    async def close(self):
        if self._socket is not None:
            with trio.move_on_after(1):
                await self._socket.aclose()
            await self._socket._stream.aclose()  # it leaves it open where the other side closes first


class Stateless:
    """A 2026-07-28 client: no session, one connection for a while."""

    def __init__(self, running, server):
        self._running = running
        self._path = f"/servers/{server}/mcp"

    async def open(self, _nursery):
        """Nothing to do."""

    async def call(self, calls, end):
        async with connect(self._running) as connection:
            for number, params in calls.items():
                body = request("tools/call", params, id=number)
                await connection.send("POST", self._path, headers_of(body), json.dumps(body).encode())
                *_, last = messages(await connection.answer())
                end(last["id"], last)

    async def close(self):
        """Nothing to do."""


class Load:
    """The clients and the killer."""

    def __init__(self, running, seed):
        self.running = running
        self.books = Books()
        self.killed = Counter()
        self.over = False
        self._seed = seed

    async def client(self, kind, server, name):
        dice = random.Random(f"{self._seed} {name}")
        while not self.over:
            async with trio.open_nursery() as nursery:
                opened = kind(self.running, server)
                try:
                    with trio.fail_after(PATIENCE):
                        await opened.open(nursery)
                except Refused as refused:
                    self.books.refused(name, str(refused), refused, "no session")
                    await opened.close()
                    await trio.sleep(0.3)
                    continue
                for _ in range(dice.randrange(1, 30)):
                    await self._calls(opened, name, dice)
                    if self.over:
                        break
                with trio.fail_after(PATIENCE):
                    await opened.close()

    async def _calls(self, opened, name, dice):
        begun = {
            number: self.books.begin(name, slow=dice.random() < 0.3)
            for number in range(1, dice.randrange(2, 6))
        }
        waiting = {number: text for number, (_, text) in begun.items()}

        def end(number, answer):
            if number in waiting:
                self.books.end(waiting.pop(number), answer)
            else:
                self.books.wrong.append(("nobody asked", name, answer))

        try:
            with trio.fail_after(PATIENCE):
                await opened.call({number: params for number, (params, _) in begun.items()}, end)
        except* Exception as faults:  # noqa: BLE001 - whatever it was, these calls have no answer
            for text in waiting.values():
                del self.books.open[text]
                self.books.wrong.append(("lost", name, text, repr(faults.exceptions)))
        await trio.sleep(dice.uniform(0, 0.1))

    async def killer(self):
        dice = random.Random(f"{self._seed} killer")
        past = {server: deque() for server in SERVERS}
        async with await trio.open_unix_socket(str(self.running.unix)) as stream:
            control = Connection(self.running, stream)
            control._authority = "localhost"
            while not self.over:
                await trio.sleep(dice.uniform(0.05, 0.5))
                server = dice.choice([*SERVERS, "fragile", "fragile"])
                kills, now = past[server], time.monotonic()
                while kills and now - kills[0] > WINDOW + 2:
                    kills.popleft()
                # One less than what trips: the process that asks for the era may be counted as well.
                if len(kills) >= DEATHS - 2 and not (TRIPS and server == "fragile"):
                    continue
                status = (await control.request("GET", "/control/status")).json
                [pids] = [one["pids"] for one in status["servers"] if one["name"] == server]
                if pids:
                    try:
                        os.kill(dice.choice(pids), signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                    kills.append(now)
                    self.killed[server] += 1


async def works_again(running, kind, server, books):
    """Whether a new client's call is answered in the end; until then it may be told of the pause, and of nothing else."""
    end = time.monotonic() + RECOVERY
    while time.monotonic() < end:
        before = books.ends["answer"]
        async with trio.open_nursery() as nursery:
            client = kind(running, server)
            params, text = books.begin(f"after, {server}", slow=False)
            try:
                with trio.fail_after(PATIENCE):
                    await client.open(nursery)
                    await client.call({1: params}, lambda _, answer, text=text: books.end(text, answer))
            except Refused as refused:
                del books.open[text]
                books.refused(server, str(refused), refused, "no session")
            await client.close()
        if books.ends["answer"] > before:
            return True
        await trio.sleep(1)
    return False


async def test_every_call_is_accounted_for(tmp_path):
    print(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}")
    with daemon(tmp_path, SERVERS) as running:
        load = Load(running, SEED)
        async with trio.open_nursery() as nursery:
            for server in SERVERS:
                legacy = Http if server.endswith("http") else WebSocket
                kinds = (
                    (Stateless, legacy) if server != "fragile" else (Stateless, WebSocket, Http, Stateless)
                )
                for number, kind in enumerate(kinds):
                    nursery.start_soon(load.client, kind, server, f"{server} {kind.__name__} {number}")
            nursery.start_soon(load.killer)
            await trio.sleep(SECONDS)
            load.over = True
        books = load.books
        print(
            f"ends: {dict(books.ends)}; killed: {dict(load.killed)}; the slowest call took {books.slowest:.2f} s"
        )
        print(f"wrong: {Counter(kind for kind, *_ in books.wrong)}")
        books.check()
        assert load.killed.total() >= 3
        assert books.ends["answer"] > 100
        begun = time.monotonic()
        for server in SERVERS:
            for kind in (Stateless, WebSocket, Http):
                assert await works_again(running, kind, server, books), (server, kind)
        print(f"every server works again after {time.monotonic() - begun:.1f} s")
        books.check()
        assert not any("internal error" in line for line in running.lines)
