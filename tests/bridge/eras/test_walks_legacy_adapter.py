"""Random walks of several modern clients in front of one legacy server.

The server of this test may do at any moment what a server may do, and some things that it may not. The clients send equal
`clientInfo`, and some of them are of one principal. A request of the server is only in a result for the client whose call
has caused it, every request ends once, and no message is sent that its era forbids.
"""

import itertools
import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mcpbridged.bridge.core import attribution
from mcpbridged.bridge.core.attribution import AFTER_ANSWER, Origins
from mcpbridged.bridge.core.effects import (
    LogDebug,
    RequestFinished,
    ServerRequestRefused,
    StartProcess,
    ToClient,
    ToServer,
)
from mcpbridged.bridge.core.link import Link, StartTimer
from mcpbridged.bridge.core.multiplexer import Multiplexer
from mcpbridged.bridge.core.request_state import StateSigner
from mcpbridged.bridge.core.requests import ClientRequest
from mcpbridged.bridge.eras.legacy_adapter import LegacyAdapter
from mcpbridged.bridge.eras.rules_legacy_to_modern import Profile
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection
from mcpbridged.validators.stateless_request import LOG_LEVELS, read_envelope

from ...support.walks import walks

LIMITS = Limits(in_flight=12, held_calls=3, held_seconds=50)
EVERYTHING = Profile(roots=True, sampling=True, form=True, url=True)
PREFIX = "io.modelcontextprotocol/"
FORBIDDEN = {-32002, -32042, *range(-32099, -32022)}
METHODS = (
    "tools/call",
    "tools/call",
    "tools/call",
    "prompts/get",
    "resources/read",
    "tools/list",
    "completion/complete",
)
INPUTS = ("elicitation/create", "roots/list", "sampling/createMessage")
REPLIES = {
    "elicitation/create": {"action": "accept", "content": {}},
    "roots/list": {"roots": []},
    "sampling/createMessage": {"role": "assistant", "content": {}, "model": "m"},
}


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


NEEDS = {"elicitation/create": "elicitation", "roots/list": "roots", "sampling/createMessage": "sampling"}
INFO = {"name": "mcp", "version": "0.1.0"}


class Client:
    """One stream of one client program, with one request at a time."""

    def __init__(self, name, principal, program, *, known=True):
        self.name = name
        self.principal = principal
        self.program = attribution.Client(program, known)
        # An unknown client may be several programs: each stream is a program.
        self.who = program if known else name
        self.asked = None  # the request that is in flight
        self.level = None
        self.state = None  # (method, params, result) of the last input_required


class World:
    def __init__(self, rng, *, strict):
        self.rng = rng
        self.strict = strict
        self.clients = [Client("a1", "a", "A"), Client("a2", "a", "A")]
        if strict:
            self.clients += [
                Client("b1", "a", "B"),
                Client("b2", "b", "C"),
                Client("u1", "a", "U", known=False),
                Client("u2", "a", "U", known=False),
            ]
        names = (f"name{n}" for n in itertools.count())
        self.multiplexer = Multiplexer(LIMITS, StateSigner(b"k"))
        self.link = Link(
            self.multiplexer,
            LIMITS,
            lambda: LegacyAdapter(
                LIMITS,
                EVERYTHING,
                lambda: next(names),
                origins=Origins(LIMITS.held_seconds, several=strict),
            ),
        )
        self.ids = itertools.count(1)
        self.now = 0.0
        self.used = []  # states, to be replayed
        self.answered = 0
        self._reset_server()

    def _reset_server(self):
        self.timers = []
        self.pending = {}  # the server's view: its calls, by id, and whose they are
        self.waits = {}  # of calls: the questions that it waits for
        self.questions = {}
        self.seen = set()
        self.ghosts = {}  # cancelled calls that the server goes on with, and since when
        self.late = []  # calls that were answered, and when
        self.numbers = itertools.count(1)

    # ---- effects

    def perform(self, effects):
        for effect in effects:
            if isinstance(effect, ToServer):
                self.to_server(effect.message)
            elif isinstance(effect, ToClient):
                self.deliver(effect.queue, json.loads(effect.message), effect.last)
            elif isinstance(effect, StartProcess):
                self._reset_server()
                self.perform(self.link.on_start())
            elif isinstance(effect, StartTimer):
                self.timers.append(effect)
            else:
                # No `EraMismatch`, and no `Unassigned`, because the process is not shared.
                assert isinstance(effect, LogDebug | RequestFinished | ServerRequestRefused)

    def from_server(self, message, related=b""):
        self.perform(self.link.on_server_message(message, related))

    # ---- messages to the server

    def to_server(self, message):
        if isinstance(message, Request):
            assert message.id not in self.seen, "an id was used twice"
            self.seen.add(message.id)
            assert b"modelcontextprotocol" not in message.params
            assert b"requestState" not in message.params
            assert b"inputResponses" not in message.params
            if message.method == "initialize":
                capabilities = {
                    "tools": {"listChanged": True},
                    "prompts": {},
                    "resources": {"subscribe": True},
                    "logging": {},
                    "completions": {},
                }
                result = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": capabilities,
                    "serverInfo": {"name": "s", "version": "1"},
                }
                self.from_server(Response(message.id, raw(result), b""))
            elif message.method in ("logging/setLevel", "resources/subscribe", "resources/unsubscribe"):
                self.from_server(Response(message.id, b"{}", b""))
            else:
                params = json.loads(message.params)
                self.pending[message.id] = (
                    message.method,
                    params.get("who"),
                    params.get("_meta", {}).get("progressToken"),
                )
                self.waits[message.id] = set()
        elif isinstance(message, Response):
            call = self.questions.pop(message.id, None)
            assert call is not None, "an answer to what was not asked, or a second one"
            self.waits.get(call, set()).discard(message.id)
        elif message.method == "notifications/cancelled":
            gone = raw(json.loads(message.params)["requestId"])
            may_ask = gone in self.pending and self.pending[gone][0] in attribution.MAY_ASK
            if may_ask and self.rng.random() < 0.5:
                self.ghosts[gone] = (self.pending[gone], self.now)
            self.pending.pop(gone, None)
            self.waits.pop(gone, None)
        else:
            assert message.method == "notifications/initialized"

    # ---- messages to the clients

    def deliver(self, client, message, last):
        if "method" in message:
            self.check_notification(client, message)
            return
        assert last
        assert client.asked is not None, "an answer to what was not asked, or a second one"
        method, params, id_ = client.asked
        assert message["id"] == id_
        client.asked = None
        self.answered += 1
        if "error" in message:
            assert message["error"]["code"] not in FORBIDDEN, message
            return
        result = message["result"]
        if result["resultType"] == "input_required":
            assert method in ("tools/call", "prompts/get", "resources/read")
            for asked in result["inputRequests"].values():
                assert asked["method"] in INPUTS
                whose = asked.get("params", {}).get("message")
                assert whose is None or whose == client.who, f"{client.name} is asked for {whose}"
                declared = params["_meta"][f"{PREFIX}clientCapabilities"]
                # An unanswered input request is sent again, whatever the retry declares.
                assert NEEDS[asked["method"]] in declared or "requestState" in params, "was not declared"
            client.state = (method, params, result)
            self.used.append((method, params, result, client))
        else:
            assert result["resultType"] == "complete"
            whose = result.get("who")
            assert whose is None or whose == client.who, f"{client.name} hears {whose}"

    def check_notification(self, client, message):
        assert client.asked is not None, "said after the end"
        method, params, id_ = client.asked
        about = message["params"]
        if message["method"] == "notifications/progress":
            assert about["progressToken"] == params["_meta"]["progressToken"]
        elif message["method"] == "notifications/message":
            assert client.level is not None
            assert LOG_LEVELS.index(about["level"]) >= LOG_LEVELS.index(client.level)
            assert about["data"] == client.who
        else:
            assert method == "subscriptions/listen"
            assert about["_meta"][f"{PREFIX}subscriptionId"] == id_

    # ---- steps

    def ask(self, client, method, more=None):
        if client.asked is not None:
            return
        declared = {name: {} for name in ("elicitation", "roots", "sampling") if self.rng.random() < 0.9}
        meta = {
            f"{PREFIX}protocolVersion": "2026-07-28",
            f"{PREFIX}clientCapabilities": declared,
            f"{PREFIX}clientInfo": INFO,
        }
        client.level = self.rng.choice((None, *LOG_LEVELS))
        if client.level:
            meta[f"{PREFIX}logLevel"] = client.level
        if self.rng.random() < 0.5:
            meta["progressToken"] = self.rng.choice(("t", 7))
        named = {"uri": "u:x"} if method == "resources/read" else {"name": "t"}
        params = {**named, "who": client.who, **(more or {}), "_meta": meta}
        id_ = next(self.ids)
        text = raw(params)
        client.asked = (method, params, id_)
        request = Request(raw(id_), method, text)
        try:
            asked = ClientRequest(
                client.principal,
                request,
                read_envelope(method, text, LIMITS),
                None,
                client,
                pipe=False,
                client=client.program,
            )
            self.perform(self.link.through(self.multiplexer.on_request(asked)))
        except Rejection as refused:
            if refused.code not in (-32602, -32603):
                raise
            client.asked = None
            self.answered += 1

    def listen(self, client):
        wanted = {
            "toolsListChanged": True,
            "resourceSubscriptions": self.rng.sample(["u:x", "u:y"], self.rng.randint(0, 2)),
        }
        self.ask(client, "subscriptions/listen", {"notifications": wanted})

    def retry(self, client, mine=True):
        if mine:
            found = client.state
        else:  # of another stream of the same program, or of another principal, which must be refused
            others = [
                one[:3]
                for one in self.used
                if one[3].who == client.who or one[3].principal != client.principal
            ]
            found = self.rng.choice(others) if others else None
        if found is None:
            return
        method, _params, result = found
        replies = {
            key: REPLIES[asked["method"]]
            for key, asked in result["inputRequests"].items()
            if self.rng.random() < 0.9
        }
        more = {"requestState": result["requestState"], "inputResponses": replies}
        self.ask(client, method, more)

    def leave(self, client):
        if client.asked is not None:
            client.asked = None
            self.answered += 1
            self.perform(self.link.through(self.multiplexer.on_disconnect(client)))

    def server_answers(self):
        ready = [id_ for id_, waits in self.waits.items() if not waits or self.rng.random() < 0.1]
        if not ready:
            return
        id_ = self.rng.choice(ready)
        called, who, _ = self.pending.pop(id_)
        if called in attribution.MAY_ASK:
            self.late.append((who, self.now))
        for question in self.waits.pop(id_):
            self.questions[question] = id_  # it may still be answered, or not
        chance = self.rng.random()
        if chance < 0.7:
            message = Response(id_, raw({"content": [], "who": who}), b"")
        elif chance < 0.8:
            data = {"elicitations": [{"message": who, "url": "https://x", "elicitationId": "e"}]}
            message = Response(id_, b"", raw({"code": -32042, "message": "x", "data": data}))
        else:
            code = self.rng.choice((-32002, -32050, -32602, -32000))
            message = Response(id_, b"", raw({"code": code, "message": "x"}))
        self.from_server(message)

    def server_requests(self):
        # The newest call sends a request, the oldest, or any; a call that waits for a response rarely sends another.
        asking = [
            id_
            for id_, waits in self.waits.items()
            if (not waits or self.rng.random() < 0.1)
            and self.pending[id_][0] in ("tools/call", "prompts/get", "resources/read")
        ]
        if not asking and any(
            call[0] in ("tools/call", "prompts/get", "resources/read") for call in self.pending.values()
        ):
            return
        id_ = self.rng.choice((asking[0], asking[-1], self.rng.choice(asking))) if asking else None
        # A server over HTTP sends it on the response stream of the call, or on a stream of no call.
        related = id_ or b"" if self.rng.random() < 0.5 else b""
        for _ in range(self.rng.randint(1, 3)):
            question = b'"q%d"' % next(self.numbers)
            self.questions[question] = id_ or b""
            if id_ is not None:
                self.waits[id_].add(question)
            # Without any call, the server may request roots only, of the only client.
            method = self.rng.choice(INPUTS)
            about = {"message": self.pending[id_][1] if id_ is not None else "no client"}
            request = Request(question, method, raw({} if method == "roots/list" else about))
            self.from_server(request, related)

    def server_notifies(self):
        running = list(self.pending.values())
        _, _who, token = self.rng.choice(running) if running else (None, None, None)
        alone = len({call[1] for call in running}) == 1
        if self.strict and not alone:
            pass  # the log line names no call
        method, about = self.rng.choice(
            (
                ("notifications/progress", {"progressToken": token, "progress": self.rng.randint(0, 5)}),
                ("notifications/tools/list_changed", {}),
                ("notifications/resources/updated", {"uri": "u:x"}),
                ("notifications/cancelled", {"requestId": f"q{self.rng.randint(0, 30)}"}),
                ("notifications/elicitation/complete", {"elicitationId": "e"}),
                ("notifications/odd", {}),
            )
        )
        if method == "notifications/cancelled":
            raw_id = raw(about["requestId"])
            call = self.questions.pop(raw_id, None)
            self.waits.get(call, set()).discard(raw_id)
        self.from_server(Notification(method, raw(about)))

    def server_logs(self):
        if self.pending and self.rng.random() < 0.5:
            id_ = self.rng.choice([*self.pending])
            about = {"level": self.rng.choice(LOG_LEVELS), "data": self.pending[id_][1]}
            self.from_server(Notification("notifications/message", raw(about)), id_)
            return
        # The server has its running call, the test must choose.
        for _, who, _ in list(self.pending.values())[:1]:
            if len({call[1] for call in self.pending.values()}) == 1:
                about = {"level": self.rng.choice(LOG_LEVELS), "data": who}
                self.from_server(Notification("notifications/message", raw(about)))

    def ghost_asks(self):
        """Send a request in the course of a call that was cancelled or has just been answered."""
        whose = [
            (call[1], self.rng.choice((id_, b"")))
            for id_, (call, since) in self.ghosts.items()
            if self.now - since < LIMITS.held_seconds
        ]
        whose += [(who, b"") for who, since in self.late if self.now - since < AFTER_ANSWER]
        if whose:
            who, related = self.rng.choice(whose)
            question = b'"q%d"' % next(self.numbers)
            self.questions[question] = b""
            request = Request(question, "elicitation/create", raw({"message": who}))
            self.from_server(request, related)

    def ghost_answers(self):
        if self.ghosts:
            id_ = self.rng.choice(list(self.ghosts))
            (_, who, _), since = self.ghosts.pop(id_)
            if (
                self.now - since < LIMITS.held_seconds
            ):  # from then on it requests nothing, also after its response
                self.late.append((who, self.now))
            self.from_server(Response(id_, raw({"content": [], "who": who}), b""))

    def server_exits(self):
        self.perform(self.link.on_server_exit("gone", {"reason": "exited"}))
        self._reset_server()

    def time_passes(self):
        self.now += self.rng.choice((0.1, 1, 30))
        self.perform(self.link.on_tick(self.now))

    def timer(self):
        if self.timers:
            self.perform(self.link.on_timer(self.timers.pop(self.rng.randrange(len(self.timers)))))

    STEPS = (
        ("ask",) * 6
        + ("retry",) * 5
        + ("answer",) * 6
        + ("ask_back",) * 4
        + ("timer",) * 6
        + (("say",) * 3 + ("log",) * 2 + ("haunt",) * 2)
        + ("steal", "leave", "leave", "listen", "time", "die", "ghost")
    )

    def step(self, what):
        client = self.rng.choice(self.clients)
        if what == "ask":
            self.ask(client, self.rng.choice(METHODS))
        elif what == "listen":
            self.listen(client)
        elif what == "retry":
            self.retry(client)
        elif what == "steal":
            self.retry(client, mine=False)
        elif what == "leave":
            self.leave(client)
        elif self.link.translator is None:
            return
        elif what == "answer":
            self.server_answers()
        elif what == "ask_back":
            self.server_requests()
        elif what == "timer":
            self.timer()
        elif what == "say":
            self.server_notifies()
        elif what == "log":
            self.server_logs()
        elif what == "haunt":
            self.ghost_asks()
        elif what == "ghost":
            self.ghost_answers()
        elif what == "time":
            self.time_passes()
        elif self.rng.random() < 0.1:
            self.server_exits()

    def finish(self):
        """End all calls: no request may wait then."""
        for client in self.clients:
            if client.asked is not None and client.asked[0] == "subscriptions/listen":
                self.leave(client)
        for _ in range(500):
            if self.link.translator is None or not any(client.asked for client in self.clients):
                break
            while self.timers:
                self.timer()
            for _ in range(2):  # those that were requested do not come back
                self.perform(self.link.on_tick(self.now))
                self.now += LIMITS.held_seconds + 1
            for id_ in list(self.pending):
                _method, who, _ = self.pending.pop(id_)
                self.waits.pop(id_)
                self.from_server(Response(id_, raw({"who": who}), b""))
        assert not any(client.asked for client in self.clients), "somebody was never answered"
        assert self.multiplexer.in_flight == 0
        if self.link.translator is not None:
            for _ in range(3):
                self.now += LIMITS.held_seconds + 1
                self.perform(self.link.on_tick(self.now))
            assert not self.link.translator.busy


@pytest.mark.parametrize("strict", [False, True], ids=["one client", "several clients"])
@given(seed=st.integers(0, 2**32))
@example(seed=169323)  # a call is retried without an answer, long after the server has ended it
@settings(max_examples=walks(120, 500))
def test_walks(strict, seed):
    rng = random.Random(seed)
    world = World(rng, strict=strict)
    for _ in range(500):
        world.step(rng.choice(World.STEPS))
    world.finish()
    assert world.answered > 10


class Machine(RuleBasedStateMachine):
    """The same walk as a state machine, so that hypothesis can shrink a failure."""

    def __init__(self):
        super().__init__()
        self.world = World(random.Random(0), strict=True)

    @rule(what=st.sampled_from(World.STEPS), seed=st.integers(0, 255))
    def step(self, what, seed):
        self.world.rng.seed(seed)
        self.world.step(what)

    @invariant()
    def the_limits_hold(self):
        assert self.world.multiplexer.in_flight <= LIMITS.in_flight

    def teardown(self):
        self.world.finish()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=walks(60, 60), stateful_step_count=60)
