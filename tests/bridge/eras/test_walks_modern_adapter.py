"""Random walks of a legacy session in front of one modern server, through the whole of its pure core.

The server of this test does at any moment what a modern server may do, and some things that it may not. Every request of the
client ends once, an input request belongs to its call, and neither side receives a message that its era forbids.
"""

import itertools
import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.core.effects import EndStream, LogDebug, StartProcess, ToClient, ToServer
from mcpbridged.bridge.core.legacy_session import OPEN, LegacySession
from mcpbridged.bridge.core.link import Link, StartTimer
from mcpbridged.bridge.eras.modern_adapter import ModernAdapter
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.walks import walks

LIMITS = Limits(in_flight=10, stream_messages=100)
PREFIX = "io.modelcontextprotocol/"
REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
METHODS = (
    "tools/call",
    "tools/call",
    "prompts/get",
    "resources/read",
    "tools/list",
    "completion/complete",
    "ping",
)
INPUTS = {
    "elicitation/create": {"message": "x", "requestedSchema": {"type": "object", "properties": {}}},
    "roots/list": {},
    "sampling/createMessage": {"messages": [], "maxTokens": 1},
}
OFFERED = {
    "tools": {"listChanged": True},
    "prompts": {},
    "resources": {"subscribe": True, "listChanged": True},
    "completions": {},
    "logging": {},
}
FORBIDDEN = set(range(-32099, -32019)) - {-32042}


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


class Pipe:
    """The client's one stream."""


class World:
    def __init__(self, rng):
        self.rng = rng
        self.pipe = Pipe()
        self.ids = itertools.count(1)
        self.names = itertools.count(1)
        self.version = rng.choice(REVISIONS)
        self.declared = rng.choice(({}, {"roots": {}}, {"roots": {}, "sampling": {}, "elicitation": {}}))
        self.session = LegacySession(LIMITS, lambda: f"s{next(self.names)}", self.pipe)
        self.link = Link(self.session, LIMITS, lambda: ModernAdapter(LIMITS, lambda: f"u{next(self.names)}"))
        self.now = 0.0
        self.waiting = {}  # the client's requests, by id: the method, and its progress token
        self.progress = {}
        self.asked = {}  # requests to the client, by id: the method
        self.answered = 0
        self.start()
        client_info = {"name": "c", "version": "1"}
        self.client_requests(
            "initialize",
            {"protocolVersion": self.version, "capabilities": self.declared, "clientInfo": client_info},
        )
        self.client_notifies("notifications/initialized")

    def _reset_server(self):
        self.timers = []
        self.calls = {}  # the server's view, by id: the method and the params
        self.listens = {}
        self.seen = set()

    def start(self):
        self._reset_server()
        self.perform(self.link.on_start())

    # ---- effects

    def perform(self, effects):
        for effect in effects:
            if isinstance(effect, ToServer):
                self.to_server(effect.message)
            elif isinstance(effect, ToClient):
                assert effect.queue is self.pipe
                self.to_client(json.loads(effect.message))
            elif isinstance(effect, StartProcess):
                self.start()
            elif isinstance(effect, StartTimer):
                self.timers.append(effect)
            else:
                assert isinstance(effect, LogDebug | EndStream)

    # ---- messages to the server

    def to_server(self, message):
        assert not isinstance(message, Response), "a modern server must not be answered"
        if isinstance(message, Notification):
            assert message.method == "notifications/cancelled"
            gone = raw(json.loads(message.params)["requestId"])
            self.calls.pop(gone, None)
            self.listens.pop(gone, None)
            return
        assert message.id not in self.seen, "an id was used twice"
        self.seen.add(message.id)
        params = json.loads(message.params)
        meta = params["_meta"]
        assert meta[f"{PREFIX}protocolVersion"] == "2026-07-28"
        assert "tasks" not in meta[f"{PREFIX}clientCapabilities"]
        if message.method == "server/discover":
            result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": OFFERED}
            self.from_server(Response(message.id, raw(result), b""))
        elif message.method == "subscriptions/listen":
            self.listens[message.id] = params["notifications"]
            if self.rng.random() < 0.9:
                self.acknowledge(message.id)
        else:
            assert message.method in METHODS, message.method
            if "inputResponses" in params:
                assert params.get("requestState") in (None, "state")
            self.calls[message.id] = (message.method, params)

    def acknowledge(self, id_):
        about = {"notifications": self.listens[id_], "_meta": {f"{PREFIX}subscriptionId": json.loads(id_)}}
        self.from_server(Notification("notifications/subscriptions/acknowledged", raw(about)))

    def from_server(self, message):
        self.perform(self.link.on_server_message(message))

    # ---- messages to the client

    def to_client(self, message):
        id_ = message.get("id")
        if "method" not in message:
            assert id_ in self.waiting, "an answer to what was not asked, or a second one"
            del self.waiting[id_]
            self.answered += 1
            if "error" in message:
                assert message["error"]["code"] not in FORBIDDEN
            else:
                assert not {"resultType", "ttlMs", "cacheScope", "requestState"} & set(message["result"])
        elif id_ is not None:
            assert message["method"] in INPUTS
            family = message["method"].partition("/")[0]
            assert family in self.declared, "the client is asked what it has not declared"
            self.asked[id_] = message["method"]
        elif message["method"] == "notifications/progress":
            about = message["params"]
            token = about["progressToken"]
            assert token in [token for _, token in self.waiting.values()]
            assert about["progress"] > self.progress.get(token, -1)
            self.progress[token] = about["progress"]
        elif message["method"] == "notifications/cancelled":
            self.asked.pop(message["params"]["requestId"], None)
        else:
            assert "acknowledged" not in message["method"]
            assert f"{PREFIX}subscriptionId" not in (message.get("params") or {}).get("_meta", {})

    # ---- steps

    def client_requests(self, method, params):
        id_ = next(self.ids)
        token = None
        if self.rng.random() < 0.5 and method != "initialize":
            token = f"t{id_}"
            params = {**params, "_meta": {"progressToken": token}}
        self.waiting[id_] = (method, token)
        try:
            self.client_sends(Request(raw(id_), method, raw(params)))
        except Rejection:
            del self.waiting[id_]

    def client_sends(self, message):
        self.perform(self.link.through(self.session.on_client_message(message, None)))

    def client_notifies(self, method, **params):
        self.client_sends(Notification(method, raw(params)))

    def ask(self):
        method = self.rng.choice(METHODS)
        self.client_requests(method, {"uri": "u:x"} if method == "resources/read" else {"name": "t"})

    def subscribe(self):
        method = self.rng.choice(("resources/subscribe", "resources/unsubscribe"))
        self.client_requests(method, {"uri": self.rng.choice(("u:a", "u:b"))})

    def cancel(self):
        if self.waiting:
            id_ = self.rng.choice(list(self.waiting))
            if self.waiting[id_][0] != "initialize":
                del self.waiting[id_]
                self.answered += 1
                self.client_notifies("notifications/cancelled", requestId=id_)

    def reply(self):
        if self.asked:
            id_ = self.rng.choice(list(self.asked))
            method = self.asked.pop(id_)
            if self.rng.random() < 0.2:
                message = Response(raw(id_), b"", b'{"code":-1,"message":"no"}')
            else:
                reply = {"elicitation/create": {"action": "decline"}, "roots/list": {"roots": []}}.get(
                    method, {"role": "x"}
                )
                message = Response(raw(id_), raw(reply), b"")
            self.client_sends(message)

    def server_answers(self):
        if not self.calls:
            return
        id_ = self.rng.choice(list(self.calls))
        self.calls.pop(id_)
        chance = self.rng.random()
        if chance < 0.4:
            found = {"resultType": "complete", "ttlMs": 1, "cacheScope": "private", "content": []}
        elif chance < 0.75:
            chosen = self.rng.sample(sorted(INPUTS), self.rng.randint(0, 3))
            inputs = {f"k{i}": {"method": name, "params": INPUTS[name]} for i, name in enumerate(chosen)}
            found = {"resultType": "input_required", "inputRequests": inputs, "requestState": "state"}
        elif chance < 0.8:
            found = {"resultType": self.rng.choice(("odd", "task"))}
        else:
            code = self.rng.choice((-32602, -32021, -32022, -32042, -32603, -32050))
            self.from_server(Response(id_, b"", raw({"code": code, "message": "x", "data": {"uri": "u:x"}})))
            return
        self.from_server(Response(id_, raw(found), b""))

    def server_notifies(self):
        token = self.rng.choice(
            [params["_meta"].get("progressToken") for _, params in self.calls.values()] or [None]
        )
        subscription = json.loads(self.rng.choice(list(self.listens) or [b"0"]))
        meta = {"_meta": {f"{PREFIX}subscriptionId": subscription}}
        method, about = self.rng.choice(
            (
                ("notifications/progress", {"progressToken": token, "progress": self.rng.randint(0, 5)}),
                ("notifications/tools/list_changed", meta),
                ("notifications/resources/updated", {"uri": "u:a", **meta}),
                ("notifications/message", {"level": "info", "data": "x"}),
                ("notifications/subscriptions/acknowledged", {"notifications": {}, **meta}),
                ("notifications/odd", {}),
            )
        )
        self.from_server(Notification(method, raw(about)))

    def server_ends_listen(self):
        if self.listens:
            id_ = self.rng.choice(list(self.listens))
            del self.listens[id_]
            self.from_server(Response(id_, b'{"resultType":"complete"}', b""))

    def server_exits(self):
        self.asked.clear()
        self.perform(self.link.on_server_exit("gone", {}))

    def time_passes(self):
        self.now += self.rng.choice((0.1, 1, 200))
        self.perform(self.link.on_tick(self.now))

    def timer(self):
        if self.timers:
            self.perform(self.link.on_timer(self.timers.pop(self.rng.randrange(len(self.timers)))))

    STEPS = (
        ("ask",) * 6
        + ("reply",) * 6
        + ("server_answers",) * 7
        + ("timer",) * 4
        + ("server_notifies",) * 3
        + (("subscribe", "cancel", "server_ends_listen", "time_passes", "server_exits"))
    )

    def step(self, what):
        if what == "server_exits" and self.rng.random() < 0.8:
            return
        if self.link.translator is None and what not in ("ask", "subscribe"):
            return
        getattr(self, what)()

    def finish(self):
        for _ in range(300):
            if not self.waiting or self.link.translator is None:
                break
            while self.timers:
                self.timer()
            self.now += 601  # the client does not answer any more
            self.perform(self.link.on_tick(self.now))
            for id_ in list(self.listens):
                self.acknowledge(id_)
            for id_ in list(self.calls):
                self.calls.pop(id_)
                self.from_server(Response(id_, b'{"resultType":"complete"}', b""))
        assert not self.waiting, "somebody was never answered"
        assert self.session.in_flight == 0
        assert self.link.translator is None or self.session.phase == OPEN


@given(seed=st.integers(0, 2**32))
@settings(max_examples=walks(120, 500))
def test_walks(seed):
    rng = random.Random(seed)
    world = World(rng)
    for _ in range(500):
        world.step(rng.choice(World.STEPS))
    world.finish()
    assert world.answered > 10
