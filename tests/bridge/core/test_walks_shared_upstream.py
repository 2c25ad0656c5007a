"""Random walks of one to three sessions, with equal `clientInfo`, that share one legacy server process.

The server of this test names in each message the session whose call has caused it, which the bridge does not read. Whatever
comes, the message reaches that session or none, and every request of a session ends once.
"""

import itertools
import json
import random

import pytest

from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.attribution import AFTER_ANSWER, Client
from mcpbridged.bridge.core.effects import StartProcess, ToClient, ToServer
from mcpbridged.bridge.core.front import Front
from mcpbridged.bridge.core.legacy_session import OPEN, EndStream, LegacySession, ToUpstream
from mcpbridged.bridge.core.shared_effects import CallsLost, ToFront
from mcpbridged.bridge.core.shared_upstream import SharedUpstream
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.walks import walks

LIMITS = Limits(held_seconds=40, in_flight=4)
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"elicitation": {}, "sampling": {}, "roots": {}},
    "clientInfo": {"name": "mcp", "version": "0.1.0"},
}
QUESTIONS = ("elicitation/create", "sampling/createMessage", "roots/list")
METHODS = ("tools/call", "tools/call", "tools/call", "prompts/get", "tools/list")
URI = "x://a"


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


class Member:
    """A session with one stream, and what its client has seen."""

    def __init__(self, name, ids):
        self.name = name
        self.queue = object()
        mint = iter(f"k{number}" for number in itertools.count())
        self.session = LegacySession(LIMITS, lambda: next(mint), self.queue, ids=ids)
        self.front = Front(Client(name), self)
        self.next_id = itertools.count(1)
        self.waiting = {}  # method by id
        self.questions = []
        self.subscribed = False


class World:
    def __init__(self, rng):
        self.rng = rng
        self.ids = itertools.count(1)
        self.names = itertools.count(1)
        self.upstream = SharedUpstream(LIMITS, lambda: b"%d" % next(self.ids), AccessPolicy())
        self.members = {}
        self.now = 100.0
        self.alive = False
        # Calls at the server: id, the session that has made it, the token, and when it was answered or cancelled.
        self.calls = {}
        self.over = {}
        self.cancelled = {}  # when, by id
        self.asked = {}  # the server's questions by id, and whose they are
        self.server_ids = itertools.count(1)
        self.subscriptions = []
        self.seen = 0

    # ---- carrying out

    def perform(self, effects):
        for effect in effects:
            if isinstance(effect, ToServer):
                self.at_server(effect.message)
            elif isinstance(effect, ToFront):
                member = effect.front.owner
                if self.members.get(member.name) is member:
                    self.absorb(member, member.session.on_server_message(effect.message, effect.about))
            elif isinstance(effect, CallsLost):
                member = effect.front.owner
                if member.session.version:
                    self.absorb(
                        member, member.session.on_calls_lost(effect.wire_ids, effect.text, effect.data)
                    )
                else:
                    self.absorb(member, member.session.on_server_exit(effect.text, effect.data))
                    self.leave(member)
            elif isinstance(effect, StartProcess):
                self.alive = True
                self.perform(self.upstream.on_start())

    def absorb(self, member, effects):
        for effect in tuple(effects):
            if isinstance(effect, ToUpstream):
                self.perform(self.upstream.on_front_message(member.front, effect.message, effect.token))
            elif isinstance(effect, ToClient):
                assert effect.queue is member.queue
                self.check(member, json.loads(effect.message))
            else:
                assert not isinstance(effect, EndStream) or member.session.phase != OPEN

    def check(self, member, message):
        """The invariant: what names a session is seen by that session only."""
        self.seen += 1
        if "method" not in message:
            method = member.waiting.pop(message["id"])
            if "result" in message and method != "initialize" and "of" in message["result"]:
                assert message["result"]["of"] == member.name
            return
        params = message.get("params", {})
        whose = params.get("data", params).get("of")
        assert whose in (None, member.name), (member.name, message)
        if message["method"] == "notifications/progress":
            assert params["progressToken"] == "token"
        elif message["method"] == "notifications/resources/updated":
            assert member.subscribed
        elif message["method"] == "notifications/cancelled":
            member.questions = [one for one in member.questions if one != params["requestId"]]
        elif "id" in message:
            member.questions.append(message["id"])

    # ---- the server

    def at_server(self, message):
        if not self.alive:
            return
        if isinstance(message, Request):
            if message.method == "initialize":
                capabilities = {
                    "tools": {"listChanged": True},
                    "resources": {"subscribe": True},
                    "logging": {},
                }
                result = {"protocolVersion": "2025-11-25", "capabilities": capabilities}
                self.perform(self.upstream.on_server_message(Response(message.id, raw(result), b"")))
            elif message.method in METHODS:
                params = json.loads(message.params)
                self.calls[message.id] = (
                    params["of"],
                    params.get("_meta", {}).get("progressToken"),
                    message.method,
                )
            else:
                if message.method == "resources/subscribe":
                    self.subscriptions.append(URI)
                elif message.method == "resources/unsubscribe" and self.subscriptions:
                    self.subscriptions.remove(URI)
                self.perform(self.upstream.on_server_message(Response(message.id, b"{}", b"")))
        elif isinstance(message, Response):
            assert message.id in self.asked
            del self.asked[message.id]
            if message.result:
                assert json.loads(message.result)["answer"]
        elif message.method == "notifications/cancelled":
            wire_id = raw(json.loads(message.params)["requestId"])
            self.cancelled[wire_id] = self.now

    def cause(self):
        """A call in whose course the server may send something now, and whose it is."""
        lately = {one: call for one, (call, when) in self.over.items() if self.now - when < AFTER_ANSWER}
        found = [
            (one, call)
            for one, call in {**self.calls, **lately}.items()
            if call[2] != "tools/list" and self.now - self.cancelled.get(one, self.now) < LIMITS.held_seconds
        ]
        return self.rng.choice(found) if found else None

    # ---- steps

    def begin(self):
        if len(self.members) < 3:
            name = f"s{next(self.names)}"
            member = self.members[name] = Member(name, self.ids)
            self.perform(self.upstream.attach(member.front))
            self.send(member, "initialize", INITIALIZE)
            self.absorb(
                member, member.session.on_client_message(Notification("notifications/initialized", b""), None)
            )

    def send(self, member, method, params):
        number = next(member.next_id)
        member.waiting[number] = method
        try:
            self.absorb(
                member, member.session.on_client_message(Request(raw(number), method, raw(params)), None)
            )
        except Rejection:
            del member.waiting[number]
            return False
        return True

    def any_member(self):
        return self.rng.choice(list(self.members.values())) if self.members else None

    def call(self):
        if member := self.any_member():
            meta = {"_meta": {"progressToken": "token"}} if self.rng.random() < 0.5 else {}
            self.send(member, self.rng.choice(METHODS), {"name": "t", "of": member.name, **meta})

    def ask(self):
        if self.alive and (found := self.cause()):
            server_id = raw(next(self.server_ids))
            self.asked[server_id] = found[1][0]
            params = raw({"of": found[1][0]})
            self.perform(
                self.upstream.on_server_message(Request(server_id, self.rng.choice(QUESTIONS), params))
            )

    def reply(self):
        member = self.any_member()
        if member and member.questions:
            number = member.questions.pop(self.rng.randrange(len(member.questions)))
            answer = Response(raw(number), raw({"answer": True}), b"")
            self.absorb(member, member.session.on_client_message(answer, None))

    def reply_for_another(self):
        member = self.any_member()
        if member:
            number = self.rng.randrange(1, 9)
            if number not in member.questions:
                answer = Response(raw(number), raw({"answer": False}), b"")
                self.absorb(member, member.session.on_client_message(answer, None))

    def withdraw(self):
        if self.asked:
            server_id = self.rng.choice(list(self.asked))
            del self.asked[server_id]
            params = raw({"requestId": json.loads(server_id)})
            self.perform(self.upstream.on_server_message(Notification("notifications/cancelled", params)))
            self.asked[server_id] = ""  # an answer may be under way

    def answer(self):
        if self.calls:
            wire_id = self.rng.choice(list(self.calls))
            call = self.calls.pop(wire_id)
            self.over[wire_id] = call, self.now
            self.perform(self.upstream.on_server_message(Response(wire_id, raw({"of": call[0]}), b"")))

    def answer_again(self):
        if self.over:
            wire_id = self.rng.choice(list(self.over))
            self.perform(
                self.upstream.on_server_message(Response(wire_id, raw({"of": self.over[wire_id][0][0]}), b""))
            )

    def cancel(self):
        member = self.any_member()
        if member and member.waiting:
            number = self.rng.choice(list(member.waiting))
            if member.waiting[number] in METHODS:
                del member.waiting[number]
                params = raw({"requestId": number})
                self.absorb(
                    member,
                    member.session.on_client_message(Notification("notifications/cancelled", params), None),
                )

    def leave(self, member=None):
        if (member := member or self.any_member()) and self.members.pop(member.name, None):
            self.absorb(member, member.session.close("the client left"))
            assert not member.waiting
            self.perform(self.upstream.detach(member.front))

    def die(self):
        if self.alive and self.rng.random() < 0.2:
            self.alive = False
            self.calls.clear()
            self.over.clear()
            self.asked.clear()
            self.subscriptions.clear()
            self.perform(self.upstream.on_exit("gone", {"reason": "exited"}))
            assert not any(member.waiting or member.questions for member in self.members.values())

    def subscribe(self):
        if member := self.any_member():
            method = self.rng.choice(("resources/subscribe", "resources/unsubscribe"))
            before = member.subscribed
            member.subscribed = method == "resources/subscribe"
            if not self.send(member, method, {"uri": URI}):
                member.subscribed = before
            wanted = any(one.subscribed for one in self.members.values())
            assert self.subscriptions == [URI] * (wanted and self.alive)

    def set_level(self):
        if member := self.any_member():
            self.send(member, "logging/setLevel", {"level": self.rng.choice(("debug", "info", "error"))})

    def notify(self):
        if self.alive and (found := self.cause()):
            name, token, _ = found[1]
            kinds = [("notifications/message", {"level": "error", "data": {"of": name}})]
            kinds.append(("vendor/news", {"of": name}))
            if token is not None:
                kinds.append(("notifications/progress", {"progressToken": token, "progress": 1, "of": name}))
            method, params = self.rng.choice(kinds)
            self.perform(self.upstream.on_server_message(Notification(method, raw(params))))

    def change(self):
        if self.alive:
            method, params = self.rng.choice(
                (("notifications/tools/list_changed", {}), ("notifications/resources/updated", {"uri": URI}))
            )
            self.perform(self.upstream.on_server_message(Notification(method, raw(params))))

    def tick(self):
        self.now += self.rng.choice((0.5, 1, 1.5, 5, 45))
        self.perform(self.upstream.on_tick(self.now))
        for member in tuple(self.members.values()):
            self.absorb(member, member.session.on_tick(self.now))


STEPS = (
    *(World.call,) * 4,
    *(World.ask,) * 3,
    *(World.answer,) * 3,
    World.begin,
    World.begin,
    World.reply,
    World.reply_for_another,
    World.withdraw,
    World.answer_again,
    World.cancel,
    World.leave,
    World.die,
    World.subscribe,
    World.set_level,
    World.notify,
    World.notify,
    World.change,
    World.tick,
)


@pytest.mark.parametrize("seed", range(walks(60, 400)))
def test_a_message_reaches_the_session_that_has_caused_it_or_none(seed):
    world = World(random.Random(seed))
    world.begin()
    for _ in range(400):
        world.rng.choice(STEPS)(world)
    assert world.seen > 50
    while world.calls:
        world.answer()
    assert not any(member.session.in_flight for member in world.members.values())
    while world.members:
        world.leave()
    assert not world.upstream.calling
    assert world.subscriptions == []
