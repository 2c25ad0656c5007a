"""Clients of the server `servers/disorderly.py`, which check that each message that they receive belongs to them.

All clients use equal ids and equal progress tokens. `Party.mistakes` has what no client may see.
"""

import contextlib
import itertools
import json
import math
import random
import sys
from pathlib import Path

import attrs
import trio

from .raw_http import connect
from .sharing import ASKABLE, TRANSPORTS, Client, over_websocket
from .stateless_requests import PREFIX, headers_of, request

SERVER = [sys.executable, "-I", "-S", str(Path(__file__).parent / "servers/disorderly.py")]
LEVELS = ("debug", "info", "notice", "warning", "error")
# The concurrent calls of a client, each with a progress token of its own.
LANES = 3
# Limit on each wait (seconds).
TIMEOUT = 20
# The code of the response to a cancelled request over HTTP.
CANCELLED = -32800
MODERN = ("modern http", "modern ws")


def odd_id(number):
    """Return the id of a request, equal for all clients. Equal digits occur as a number and as a text."""
    kinds = (number, str(number - 1), f"\u00fc {number}", -number, 2**53 - number)
    return kinds[number % len(kinds)]


@attrs.define(eq=False)
class Call:
    word: str
    token: object
    # The numbers of the progress notifications so far.
    steps: list[int] = attrs.field(factory=list)
    answer: dict | None = None
    ended: trio.Event = attrs.field(factory=trio.Event)


@contextlib.asynccontextmanager
async def over_stateless_http(running, path):
    """Yield a client of revision 2026-07-28, with a connection for each request. A cancellation closes the connection."""
    scopes = {}

    async def post(message, *, task_status=trio.TASK_STATUS_IGNORED):
        with trio.CancelScope() as scopes[message["id"]]:
            async with connect(running) as connection:
                await connection.send(
                    "POST", f"{path}/mcp", headers_of(message), json.dumps(message).encode()
                )
                task_status.started()
                _, fields = await connection.head()
                if fields.get("content-type") == "text/event-stream":
                    while (event := await connection.event()) is not None:
                        if event.data:
                            await client.put.send(event.json)
                else:
                    await client.put.send(
                        json.loads(await connection._exactly(int(fields["content-length"])))
                    )

    async with trio.open_nursery() as nursery:

        async def send(message):
            if message["method"] == "notifications/cancelled":
                scopes[message["params"]["requestId"]].cancel()
            else:
                await nursery.start(post, message)

        client = Client(send)
        yield client
        nursery.cancel_scope.cancel()


class Party:
    """One client: a session over a transport, or a stateless client (`MODERN`). `number` is its place among all.

    With `shared` the bridge itself keeps from the client what it has not requested: a process of its own may send it that.
    """

    def __init__(self, number, transport, seed=0, *, shared=True):
        self.shared = shared
        self.number = number
        self.transport = transport
        self.modern = transport in MODERN
        # On one stream the order is that of the server.
        self.ordered = transport in ("ws", "sse")
        self.name = f"{transport} {number}"
        self.rng = random.Random(f"{seed} {number}")
        self.level = LEVELS[(number + 2) % len(LEVELS)]
        self.asks = not self.modern and number % 2 == 0
        # A subscription to the first is shared with other clients.
        self.stable = (f"iso://{number % 3}", f"own://{number}")
        self.mistakes = []
        self.calls = {}
        self.by_token = {}
        # Words of cancelled calls by id. A response may have been on its way.
        self.cancelled = {}
        # Words of cancelled calls whose messages may be under way.
        self.crossing = set()
        self.ids = itertools.count(1)
        self.words = itertools.count(1)
        # The numbers of updates by URI, those of list changes, and log lines.
        self.updates = {}
        self.changes = []
        self.lines = []
        # By URI that was unsubscribed: the number of updates when the server has answered.
        self.unsubscribed = {}
        self.finished = 0
        # Error responses to calls, which are mistakes unless the test `may_fail` calls.
        self.errors = []
        self.may_fail = False
        self.client = None

    # ---- connection

    @contextlib.asynccontextmanager
    async def connected(self, running, server):
        """Connect, initialize, and receive messages until the end of the block."""
        path = f"/servers/{server}"
        if self.modern:
            way = over_websocket if self.transport == "modern ws" else over_stateless_http
        else:
            way = TRANSPORTS[self.transport]
        async with way(running, path) as self.client, trio.open_nursery() as nursery:
            if not self.modern:
                await self.client.initialize(ASKABLE if self.asks else {"roots": {}})
            nursery.start_soon(self.read)
            yield self
            nursery.cancel_scope.cancel()

    async def read(self):
        async for message in self.client.incoming:
            answer = self.take(message)
            if answer is not None:
                await self.client.send(answer)

    # ---- messages of the server

    def wrong(self, what, message):
        self.mistakes.append(f"{self.name}: {what}: {json.dumps(message)[:300]}")

    def take(self, message):
        """Check a message. Return the response to a request of the server."""
        if "method" not in message:
            self.on_answer(message)
            return None
        params = message.get("params", {})
        match message["method"]:
            case "notifications/progress":
                self.on_progress(params, message)
            case "notifications/message":
                self.on_line(params, message)
            case "notifications/resources/updated":
                self.updates.setdefault(params["uri"], []).append(params["n"])
                if params["uri"].startswith("churn://") and not params["uri"].startswith(
                    f"churn://{self.number}/"
                ):
                    self.wrong("an update for another client", message)
            case "notifications/tools/list_changed" | "notifications/resources/list_changed":
                # Those without a number are of the bridge, after the start of another process.
                if "n" in params:
                    self.changes.append(params["n"])
            case "elicitation/create":
                if params.get("of") != self.name or not self.asks:
                    self.wrong("a request for another client", message)
                content = {"of": self.name, "word": params.get("word")}
                result = {"action": "accept", "content": content}
                return {"jsonrpc": "2.0", "id": message["id"], "result": result}
            case "notifications/subscriptions/acknowledged" if self.modern:
                self.calls["listen"].ended.set()
            case "notifications/cancelled":
                pass
            case _:
                self.wrong("an unexpected message", message)
        return None

    def on_answer(self, message):
        call = self.calls.pop(message["id"], None)
        if call is None:
            word = self.cancelled.pop(message["id"], None)
            code = message.get("error", {}).get("code")
            failed = code == CANCELLED or (self.may_fail and code is not None)
            crossed = word is not None and (failed or self.content(message).get("word") == word)
            if not crossed:
                self.wrong("an answer to no request", message)
            return
        if self.by_token.get(call.token) is call:
            del self.by_token[call.token]
        call.answer = message
        call.ended.set()

    def on_progress(self, params, message):
        call = self.by_token.get(params["progressToken"])
        if call is not None and (params.get("of"), params.get("word")) == (self.name, call.word):
            call.steps.append(params["progress"])
        elif params.get("of") != self.name or (self.shared and params.get("word") not in self.crossing):
            self.wrong("progress of another call", message)

    def on_line(self, params, message):
        if params["data"].get("of") != self.name:
            self.wrong("a log line of another client", message)
        elif self.shared and LEVELS.index(params["level"]) < LEVELS.index(self.level):
            self.wrong(f"a log line below {self.level}", message)
        self.lines.append(params["level"])

    @staticmethod
    def content(message):
        """Return what the server has answered, empty for an error."""
        content = message.get("result", {}).get("content")
        return json.loads(content[0]["text"]) if content else {}

    # ---- requests

    async def begin(self, method, params, word="", token=None, id_=None):
        id_ = odd_id(next(self.ids)) if id_ is None else id_
        call = self.calls[id_] = Call(word, token)
        meta = {} if token is None else {"progressToken": token}
        if token is not None:
            self.by_token[token] = call
        if self.modern:
            body = request(method, params, id=id_, **meta, **{f"{PREFIX}logLevel": self.level})
        else:
            body = {"jsonrpc": "2.0", "id": id_, "method": method, "params": {**params, "_meta": meta}}
        await self.client.send(body)
        return id_, call

    async def end(self, call):
        with trio.fail_after(TIMEOUT):
            await call.ended.wait()
        return call.answer

    async def request(self, method, params):
        _, call = await self.begin(method, params)
        return (await self.end(call))["result"]

    async def state(self):
        _, call = await self.begin("tools/call", {"name": "state", "arguments": {}})
        return self.content(await self.end(call))

    async def work(self, token=None, **arguments):
        """Call the tool `work`. Return the id and the call."""
        word = f"word {next(self.words)}"
        arguments = {"of": self.name, "word": word, **arguments}
        return await self.begin("tools/call", {"name": "work", "arguments": arguments}, word, token)

    def check(self, call):
        """Check the answer to a call of `work`."""
        found = self.content(call.answer)
        if self.may_fail and "error" in call.answer:
            self.errors.append(call.answer["error"])
            return
        if (found.get("of"), found.get("word")) != (self.name, call.word):
            self.wrong("the answer to another call", call.answer)
        elif self.shared and call.token is not None and call.steps != list(range(found["progress"])):
            self.wrong(f"progress {call.steps}", call.answer)
        came = found.get("came", {})
        if isinstance(came, dict) and came and came != {"of": self.name, "word": call.word}:
            self.wrong("the answer of another client", call.answer)

    async def one_call(self, token):
        """Make a call. Return its word if it was cancelled."""
        id_, call = await self.work(token, asks=self.asks and self.rng.random() < 0.1)
        self.finished += 1
        if self.rng.random() < 0.03 and not call.ended.is_set():
            del self.calls[id_], self.by_token[token]
            self.cancelled[id_] = call.word
            self.crossing.add(call.word)
            params = {"requestId": id_}
            await self.client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
            return call.word
        await self.end(call)
        self.check(call)
        return ""

    async def lane(self, lane, count):
        cancelled = {}
        for _ in range(count):
            # The token of a cancelled call is in use until the cancellation arrives.
            word = await self.one_call(f"token {lane} {len(cancelled)}" if lane else len(cancelled))
            if word:
                cancelled[word] = None
            elif self.ordered:
                # The bridge has handled the cancellations before this call, whose answer came on the same stream.
                self.crossing.difference_update(cancelled)

    async def listen(self):
        """Subscribe to the stable URIs and to list changes."""
        if self.modern:
            wanted = {"resourceSubscriptions": [*self.stable], "toolsListChanged": True}
            _, call = await self.begin("subscriptions/listen", {"notifications": wanted}, id_="listen")
            await self.end(call)
        else:
            for uri in self.stable:
                await self.request("resources/subscribe", {"uri": uri})

    async def churn(self, count):
        """Subscribe to a URI and unsubscribe from it, again and again."""
        for generation in range(count):
            uri = f"churn://{self.number}/{generation}"
            await self.request("resources/subscribe", {"uri": uri})
            if generation % 5 == 0:
                await self.request("tools/list", {})
            result = await self.request("resources/unsubscribe", {"uri": uri})
            self.unsubscribed[uri] = result["n"]

    async def set_level(self):
        if not self.modern:
            await self.request("logging/setLevel", {"level": self.level})

    # ---- the end

    def missing(self, before, after):
        """Return whether an update or a list change between two states of the server has not arrived."""
        return any(not wanted <= {*came} for wanted, came in self._expected(before, after))

    def _expected(self, before, after):
        yield {*range(before["changes"] + 1, after["changes"] + 1)}, self.changes
        for uri in self.stable:
            first = before["updates"].get(uri, 0) + 1
            yield {*range(first, after["updates"].get(uri, 0) + 1)}, self.updates.get(uri, [])

    async def settle(self, before, after, patience):
        """Wait for the updates that are under way on another stream (seconds at most), then check all of them."""
        with trio.move_on_after(patience):
            while self.missing(before, after):
                await trio.sleep(0.01)
        for wanted, came in self._expected(before, after):
            if not wanted <= {*came}:
                self.wrong("lost", sorted(wanted - {*came}))
            if came != sorted(set(came)):
                self.wrong("repeated or out of order", came)
        for uri, numbers in self.updates.items():
            if uri in self.stable:
                continue
            late = self.shared and any(one > self.unsubscribed.get(uri, 0) for one in numbers)
            if not uri.startswith("churn://") or late:
                self.wrong(f"an update of {uri} without a subscription", numbers)
            if numbers != sorted(set(numbers)):
                self.wrong("repeated or out of order", numbers)
        if self.by_token or self.calls.keys() - {"listen"}:
            self.wrong("no answer", [call.word for call in self.calls.values()])


def parties(count, beside, seed=0, *, shared=True):
    """Return sessions over all transports in turn, and stateless clients beside them."""
    transports = itertools.cycle(("ws", "http", "sse"))
    kinds = [*itertools.islice(transports, count), *itertools.islice(itertools.cycle(MODERN), beside)]
    return [Party(number, kind, seed, shared=shared) for number, kind in enumerate(kinds)]


async def isolation(running, server, everyone, calls, patience=TIMEOUT):
    """Let all clients make so many calls in all. Return the mistakes, how many calls have ended, and how many processes served."""
    each = math.ceil(calls / (len(everyone) * LANES))
    async with contextlib.AsyncExitStack() as stack:
        for party in everyone:
            await stack.enter_async_context(party.connected(running, server))
        # The only client with a call gets its log lines, those of its level.
        first = everyone[0]
        for party in everyone:
            await party.set_level()
        _, call = await first.work(levels=LEVELS, seconds=0)
        await first.end(call)
        for party in everyone:
            await party.listen()
        wanted = LEVELS[LEVELS.index(first.level) :] if first.shared else LEVELS
        if first.lines[: len(wanted)] != [*wanted]:
            first.wrong("log lines of the only client", first.lines)
        before = [await party.state() for party in everyone]
        async with trio.open_nursery() as nursery:
            for party in everyone:
                if not party.modern:
                    nursery.start_soon(party.churn, max(1, each // 2))
                for lane in range(LANES):
                    nursery.start_soon(party.lane, lane, each)
        # Late messages of the server come before the answers to these.
        async with trio.open_nursery() as nursery:
            for party in everyone:
                _, call = await party.work(seconds=0.1)
                nursery.start_soon(party.end, call)
        after = [await party.state() for party in everyone]
        async with trio.open_nursery() as nursery:
            for party, one, other in zip(everyone, before, after, strict=True):
                nursery.start_soon(party.settle, one, other, patience)
        pids = {state["pid"] for state in after}
    mistakes = [mistake for party in everyone for mistake in party.mistakes]
    return mistakes, sum(party.finished for party in everyone), len(pids)
