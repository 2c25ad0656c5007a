"""Random walks of up to six clients over the shared processes of one server: starts, refusals, exits, restarts, late answers.

Sessions and stateless clients use the same processes. A process accepts or refuses `initialize` late or never, exits at any time,
or is replaced while its calls go on. The model of this test notes each request, each message of a server and whose it is, and
compares after each step. It reads no state of the bridge except whether calls are in flight.
"""

import itertools
import json
import random

import pytest

from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.attribution import AFTER_ANSWER, MAY_ASK, Client
from mcpbridged.bridge.core.effects import LogDebug, ServerRequestRefused, StartProcess, ToClient, ToServer
from mcpbridged.bridge.core.front import Front
from mcpbridged.bridge.core.legacy_session import EndStream, LegacySession, ToUpstream
from mcpbridged.bridge.core.legacy_session import KillProcess as StartTimeout
from mcpbridged.bridge.core.shared_effects import (
    Assigned,
    CallsLost,
    FrontOpened,
    KillProcess,
    LogOnly,
    Opened,
    ToFront,
    Undeclared,
    Unopened,
)
from mcpbridged.bridge.core.shared_upstream import SharedUpstream
from mcpbridged.bridge.runtime.routes import LegacyRoute
from mcpbridged.validators.jsonrpc import Notification, Request, Response
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.walks import walks

LIMITS = Limits(held_seconds=40, in_flight=6, start_seconds=20, calls_at_once=3)
DECLARED = (
    {"elicitation": {}, "sampling": {}, "roots": {}},
    {"elicitation": {"url": {}}},
    {"sampling": {"tools": {}}},
    {},
)
SERVER = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}},
}
ASKED = ("elicitation/create", "sampling/createMessage", "roots/list", "vendor/question")
METHODS = ("tools/call", "tools/call", "tools/call", "prompts/get", "tools/list", "vendor/method", "ping")
LEVELS = ("debug", "info", "error")
# The server refuses a subscription to the last.
URIS = ("x://a", "x://b", "x://refused")
UNKNOWN = -32002
TOKENS = ("token", "1", 1)
# Ids of requests of the server: some are equal to ids of the bridge.
SERVER_IDS = ("a", "1", 1, 2, 3, "")
OPEN, ANSWERED, LOST, CANCELLED, GONE = "open", "answered", "lost", "cancelled", "gone"


def raw(value):
    return json.dumps(value, separators=(",", ":")).encode()


class Sent:
    """A request of a client at the bridge."""

    def __init__(self, client, process, front, message, token):
        self.front = front
        self.client, self.process, self.method, self.token = client, process, message.method, token
        self.params = json.loads(message.params or b"{}")
        self.state = OPEN
        # Whether the server has received it, and has answered it.
        self.at_server = self.answered = False
        # The progress token that the server has received.
        self.token_at_server = None
        # When it has ended for the client, and when the server has answered.
        self.ended_at = self.answered_at = 0.0

    @property
    def asks(self):
        return self.method in MAY_ASK


class Process:
    """A shared process: the state machine of the bridge, and the server behind it."""

    def __init__(self, world):
        self.world = world
        self.upstream = SharedUpstream(LIMITS, world.new_id, AccessPolicy())
        self.ended = False
        # The call on whose response stream the present message of the server came.
        self.related = b""
        # By front: those that have joined and not left, and all.
        self.members, self.every = {}, {}
        self.reset()
        self.starting = self.refused = False

    def reset(self):
        """Note that there is no server, or no longer."""
        for sent in self.world.sent.values():
            if sent.process is self:
                sent.at_server = False
        self.alive = False
        self.initialize = b""
        self.opened = False
        # Requests of the server without a response: the name of the client whose call has caused each.
        self.asked = {}
        # The ids under which clients have received them.
        self.given = []
        # Requests to subscribe and to set the level without an answer, by wire id.
        self.pending = {}
        self.uris = set()
        self.callers = set()

    # ---- as routes.LegacyRoute uses it

    def join(self, front, member):
        self.members[front] = self.every[front] = member
        client = self.world.client_of(self, front)
        if isinstance(client, Member):
            client.unclear.update(uri for _, uri in client.waiting.values())
        self.world.perform(self, self.upstream.attach(front))

    def hand_over(self, front):
        return self.upstream.hand_over(front)

    def leave(self, front):
        if self.members.pop(front, None) is not None:
            client = self.world.client_of(self, front)
            for wire_id, sent in self.world.sent.items():
                if sent.process is self and sent.client is client and sent.state == OPEN:
                    self.world.finish(wire_id, GONE)
            self.world.perform(self, self.upstream.detach(front))

    def send(self, front, message, token=b""):
        client = self.world.client_of(self, front)
        if isinstance(message, Request):
            self.world.sent[message.id] = Sent(client, self, front, message, token)
        elif message_is(message, "notifications/cancelled"):
            wire_id = raw(json.loads(message.params)["requestId"])
            sent = self.world.sent.get(wire_id)
            if sent is not None and sent.client is client and sent.process is self and sent.state == OPEN:
                self.world.finish(wire_id, CANCELLED)
        self.world.perform(self, self.upstream.on_front_message(front, message, token))


def message_is(message, method):
    return getattr(message, "method", "") == method


class Member:
    """A session, as `routes.LegacyRoute` uses it, and what its client has seen."""

    principal = "p"

    def __init__(self, world, name, declared):
        self.world, self.name, self.id, self.declared = world, name, name, declared
        self.queue = object()
        mint = (f"k{number}" for number in itertools.count())
        self.session = LegacySession(LIMITS, lambda: next(mint), self.queue, ids=world.ids)
        self.route = LegacyRoute(self, world.find)
        self.next_id = itertools.count(1)
        # Requests without a response, requests of servers, and URIs to which the client may be subscribed.
        self.waiting, self.questions, self.may = {}, [], set()
        # URIs with a request that was lost with its process, or under way when the client began to use another.
        self.unclear = set()
        self.over = False

    @property
    def version(self):
        return self.session.version

    def on_shared_message(self, message, about):
        self.absorb(self.session.on_server_message(message, about))

    def on_calls_lost(self, wire_ids, text, data):
        self.absorb(self.session.on_calls_lost(wire_ids, text, data))

    def failed(self, text, data):
        self.absorb(self.session.on_server_exit(text, data))
        self.end(text)

    def end(self, reason):
        if not self.over:
            self.over = True
            self.absorb(self.session.close(reason))
            assert not self.waiting
            self.route.close()
            del self.world.clients[self.name]

    def in_doubt(self):
        """Return the URIs with a request without a response, or with one that a former process has answered."""
        return self.unclear | {uri for _, uri in self.waiting.values()}

    def absorb(self, effects):
        for effect in effects:
            if isinstance(effect, ToUpstream):
                self.route.send(effect.message, effect.token)
            elif isinstance(effect, ToClient):
                assert effect.queue is self.queue
                self.see(json.loads(effect.message))
            elif isinstance(effect, StartTimeout):
                self.failed(effect.text, {})
            else:
                assert isinstance(effect, EndStream | LogDebug)

    def see(self, message):
        """Check what the client receives."""
        if "method" not in message:
            method, uri = self.waiting.pop(message["id"])
            result = message.get("result", {})
            assert result.get("of") in (None, self.name), (self.name, method, message)
            if "error" in message and uri is not None:
                if message["error"]["code"] == UNKNOWN:
                    self.may.discard(uri)
                else:
                    # A request that is lost with its process may have been handled before.
                    self.unclear.add(uri)
            if method == "initialize":
                if "result" in message:
                    self.send_notification("notifications/initialized", {})
                else:
                    self.world.later.append(lambda: self.end("refused"))
            return
        params = message.get("params", {})
        whose = params.get("data", params).get("of")
        assert whose in (None, self.name), (self.name, message)
        if message["method"] == "notifications/progress":
            assert params["progressToken"] == params["token"], message
        elif message["method"] == "notifications/cancelled":
            self.questions.remove(params["requestId"])
        elif "id" in message:
            needed = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling"}
            assert needed.get(message["method"], "") in ("", *self.declared), message
            self.questions.append(message["id"])

    def send_notification(self, method, params):
        self.absorb(self.session.on_client_message(Notification(method, raw(params)), None))

    def send(self, method, params, id_=None):
        number = next(self.next_id) if id_ is None else id_
        new = number not in self.waiting
        if new:
            self.waiting[number] = method, params.get("uri")
        try:
            self.absorb(self.session.on_client_message(Request(raw(number), method, raw(params)), None))
        except Rejection:
            if new:
                del self.waiting[number]
            return False
        assert new
        return True

    def reply(self, number, result):
        self.absorb(self.session.on_client_message(Response(raw(number), raw(result), b""), None))

    def tick(self, now):
        self.absorb(self.session.on_tick(now))


class Stateless:
    """Stateless clients behind a translated front: their requests have wire ids as progress tokens."""

    def __init__(self, world, name, declared):
        self.world, self.name, self.declared = world, name, declared
        self.client = Client(name)
        self.over = False
        self.front = self.process = None
        self.waiting, self.questions = {}, []
        self.ready = False

    def use(self):
        if self.process is None or self.process.ended:
            self.process = self.world.find()
            self.front = Front(self.client, self, translated=True)
            self.ready = False
            self.process.join(self.front, self)

    def send(self, method, params):
        self.use()
        if not self.ready:
            return
        wire_id = self.world.new_id()
        meta = {"_meta": {"progressToken": int(wire_id)}} if "_meta" in params else {}
        message = Request(wire_id, method, raw({**params, **meta}))
        origins = self.process.upstream.origins
        declares = lambda asked, _: asked.partition("/")[0] in (*self.declared, "vendor")  # noqa: E731 - one expression
        origins.begin(wire_id, self.client, self, declares, may_ask=method in MAY_ASK)
        self.waiting[wire_id] = method
        self.process.send(self.front, message)

    def end_origin(self, wire_id, how):
        origins = self.process.upstream.origins
        origin = origins.get(wire_id)
        if origin is not None:
            (origins.answer if how == ANSWERED or not origin.may_ask else origins.cancel)(origin)

    def on_shared_message(self, message, about):
        if isinstance(message, Response):
            del self.waiting[message.id]
            self.end_origin(message.id, ANSWERED)
        elif message_is(message, "notifications/cancelled"):
            self.questions.remove(raw(json.loads(message.params)["requestId"]))

    def on_assigned(self, message):
        self.questions.append(message.id)

    def reply(self, number, result):
        self.process.send(self.front, Response(number, raw(result), b""))

    def calls_lost(self, wire_ids, text, data):
        assert set(wire_ids) == set(self.waiting)
        self.waiting.clear()
        self.questions.clear()
        process, self.process = self.process, None
        process.leave(self.front)

    def cancel(self, wire_id):
        del self.waiting[wire_id]
        self.end_origin(wire_id, CANCELLED)
        params = raw({"requestId": int(wire_id)})
        self.process.send(self.front, Notification("notifications/cancelled", params))

    def end(self, _reason):
        self.over = True
        del self.world.clients[self.name]
        if self.process is not None:
            self.process.leave(self.front)

    def tick(self, now):
        pass


class World:
    """The clients, the processes, and the model of what must come of each step."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.ids = itertools.count(1)
        self.names = itertools.count(1)
        self.clients = {}
        # A request of the server belongs to no client for certain if many have calls.
        self.most = self.rng.choice((2, 3, 6))
        self.current = None
        self.processes = []
        # Every request of a client, by wire id.
        self.sent = {}
        self.now = 100.0
        self.later = []
        self.seen = 0

    def new_id(self):
        return b"%d" % next(self.ids)

    def find(self):
        if self.current is None or self.current.ended:
            self.current = Process(self)
            self.processes.append(self.current)
        return self.current

    def client_of(self, process, front):
        member = process.every[front]
        return member if isinstance(member, Stateless) else member._session

    # ---- the model

    def finish(self, wire_id, state):
        """Note the only end of a request."""
        sent = self.sent[wire_id]
        assert sent.state == OPEN, (wire_id, sent.method, sent.state, state)
        sent.state, sent.ended_at = state, self.now

    def check(self):
        """Check what holds after each step."""
        for process in self.processes:
            open_ = [one for one in self.sent.values() if one.process is process and one.state == OPEN]
            assert process.upstream.calling == bool(open_), [(one.method, one.at_server) for one in open_]
            if process is self.current and process.opened:
                at_least, at_most = set(), set()
                for member in self.clients.values():
                    if isinstance(member, Member) and member.route.process is process:
                        at_most |= member.may | member.in_doubt()
                        at_least |= member.may - member.in_doubt()
                assert at_least <= process.uris | {"x://refused"}, (at_least, process.uris)
                assert process.uris <= at_most, (process.uris, at_most)

    # ---- effects

    def perform(self, process, effects):
        for effect in effects:
            match effect:
                case ToServer(message):
                    self.at_server(process, message)
                case ToFront(front, message, about):
                    self.at_front(process, front, message, about)
                case Assigned(front, message, origin):
                    stateless = process.members[front]
                    assert origin.owner is stateless
                    assert process.related in (b"", origin.wire_id)
                    assert json.loads(message.params)["of"] == stateless.name
                    stateless.on_assigned(message)
                case CallsLost(front, wire_ids, text, data):
                    for wire_id in wire_ids:
                        assert self.sent[wire_id].client is self.client_of(process, front)
                        self.finish(wire_id, LOST)
                    process.members[front].calls_lost(wire_ids, text, data)
                case FrontOpened(front, _):
                    process.members[front].ready = True
                case StartProcess():
                    assert not process.alive
                    assert not process.starting
                    process.starting = True
                case KillProcess():
                    process.reset()
                    process.refused = False
                case Unopened():
                    process.refused = True
                case Opened():
                    assert not process.opened
                    process.opened = True
                case _:
                    assert isinstance(effect, LogOnly | ServerRequestRefused | LogDebug | Undeclared)

    def at_front(self, process, front, message, about):
        """Check whose a message of the server is."""
        assert front in process.members, message
        client = self.client_of(process, front)
        self.seen += 1
        if isinstance(message, Response):
            sent = self.sent[message.id]
            assert (sent.client, sent.process) == (client, process)
            if message.result:
                assert json.loads(message.result).get("of") in (None, client.name)
            self.finish(message.id, ANSWERED)
        else:
            params = json.loads(message.params or b"{}")
            whose = params.get("data", params).get("of")
            assert whose in (None, client.name), (client.name, message)
            if isinstance(message, Request):
                process.given.append(message.id)
                assert process.related in (b"", about)
            if about:
                assert self.sent[about].client is client
            if front.translated and message_is(message, "notifications/progress"):
                assert self.sent[raw(params["progressToken"])].client is client
            if message_is(message, "notifications/resources/updated") and not front.translated:
                self.check_updated(process, client, params["uri"])
        process.members[front].on_shared_message(message, about)

    def check_updated(self, process, client, uri):
        """Check that a client has subscribed to a resource, or has not received the response to its last request about it.

        A request that was under way while the process was replaced applies to the former process.
        """
        assert uri in client.may | client.in_doubt()

    def at_server(self, process, message):
        """Check what a server receives, and note it."""
        if not process.alive:
            return
        if isinstance(message, Request):
            sent = self.sent.get(message.id)
            if message.method == "initialize":
                process.initialize = message.id
                return
            assert process.opened
            params = json.loads(message.params or b"{}")
            if sent is None:
                assert message.method in ("resources/subscribe", "resources/unsubscribe", "logging/setLevel")
            else:
                assert (sent.process, sent.state, sent.at_server) == (process, OPEN, False)
                sent.at_server = True
                sent.token_at_server = params.get("_meta", {}).get("progressToken")
                if sent.token:
                    assert sent.token_at_server == json.loads(sent.front.progress_token(message.id))
                if sent.method in METHODS:
                    assert params.get("of") == sent.client.name
                    process.callers.add(sent.client)
            if message.method == "resources/subscribe" and params["uri"] != "x://refused":
                process.uris.add(params["uri"])
            elif message.method == "resources/unsubscribe":
                process.uris.discard(params["uri"])
            if message.method in ("resources/subscribe", "resources/unsubscribe", "logging/setLevel"):
                process.pending[message.id] = params.get("uri")
        elif isinstance(message, Response):
            whose = process.asked.pop(json.dumps(json.loads(message.id)))
            if message.result:
                assert json.loads(message.result)["from"] == whose
        elif message.method == "notifications/cancelled":
            wire_id = raw(json.loads(message.params)["requestId"])
            assert self.sent[wire_id].at_server

    # ---- steps of clients

    def any_client(self, kind=object):
        found = [one for one in self.clients.values() if isinstance(one, kind)]
        return self.rng.choice(found) if found else None

    def join(self):
        if len(self.clients) >= self.most:
            return
        name = f"c{next(self.names)}"
        declared = self.rng.choice(DECLARED)
        if self.rng.random() < 0.3:
            self.clients[name] = Stateless(self, name, declared)
            return
        member = self.clients[name] = Member(self, name, declared)
        version = self.rng.choice(("2025-11-25", "2025-06-18", "2024-11-05"))
        info = {"name": "mcp", "version": "0.1.0"}
        member.send("initialize", {"protocolVersion": version, "capabilities": declared, "clientInfo": info})

    def call(self):
        if client := self.any_client():
            meta = {"_meta": {"progressToken": self.rng.choice(TOKENS)}} if self.rng.random() < 0.5 else {}
            if isinstance(client, Member) and any("token" in one for one in [meta]):
                meta = {}
            method = self.rng.choice(METHODS)
            token = meta.get("_meta", {}).get("progressToken")
            client.send(method, {"name": "t", "of": client.name, "token": token, **meta})

    def call_again(self):
        """Use an id that is in use."""
        member = self.any_client(Member)
        if member and member.waiting:
            number = self.rng.choice([*member.waiting])
            assert not member.send("tools/call", {"name": "t", "of": member.name}, number)

    def cancel(self):
        client = self.any_client()
        if not client or not client.waiting:
            return
        number = self.rng.choice([*client.waiting])
        if isinstance(client, Stateless):
            client.cancel(number)
        elif client.waiting[number][0] in METHODS:
            del client.waiting[number]
            client.send_notification("notifications/cancelled", {"requestId": number})

    def leave(self):
        if client := self.any_client():
            client.end("the client left")

    def reply(self):
        client = self.any_client()
        if client and client.questions:
            number = client.questions.pop(self.rng.randrange(len(client.questions)))
            client.reply(number, {"from": client.name})

    def reply_to_another(self):
        """Answer a request that the client has not received."""
        client = self.any_client()
        if isinstance(client, Member):
            number = self.rng.randrange(1, 30)
            if number not in client.questions:
                client.reply(number, {"from": "another"})
        elif client and client.process and client.process.given:
            number = client.process.given[-1]
            if number not in client.questions:
                client.reply(number, {"from": "another"})

    def subscribe(self):
        member = self.any_client(Member)
        if not member or not member.version:
            return
        uri = self.rng.choice(URIS)
        method = self.rng.choice(("resources/subscribe", "resources/unsubscribe"))
        before = set(member.may)
        if method == "resources/subscribe":
            member.may.add(uri)
        else:
            member.may.discard(uri)
        if not member.send(method, {"uri": uri}):
            member.may = before

    def set_level(self):
        if member := self.any_client(Member):
            member.send("logging/setLevel", {"level": self.rng.choice(LEVELS)})

    # ---- steps of processes

    def any_process(self, *, opened=True):
        found = [one for one in self.processes if one.alive and (one.opened or not opened)]
        return self.rng.choice(found) if found else None

    def from_server(self, process, message, related=b""):
        process.related = related
        self.perform(process, process.upstream.on_server_message(message, related))
        process.related = b""

    def start(self):
        for process in self.processes:
            if process.starting:
                process.starting = False
                if self.rng.random() < 0.1:
                    process.reset()
                    self.perform(process, process.upstream.on_exit("not started", {}))
                elif not process.ended:
                    process.alive = True
                    self.perform(process, process.upstream.on_start())
                return

    def open(self):
        process = self.any_process(opened=False)
        if process and not process.opened and process.initialize:
            number, process.initialize = process.initialize, b""
            if self.rng.random() < 0.15:
                self.from_server(process, Response(number, b"", raw({"code": -32602, "message": "no"})))
            else:
                self.from_server(process, Response(number, raw(SERVER), b""))

    def refuse(self):
        for process in self.processes:
            if process.refused and process.alive:
                process.refused = False
                calls = [
                    one for one, sent in self.sent.items() if sent.process is process and sent.state == OPEN
                ]
                self.perform(process, process.upstream.refuse(raw({"code": -32602, "message": "no"})))
                assert all(self.sent[one].state != OPEN for one in calls)

    def exit(self):
        process = self.any_process(opened=False)
        if process and not process.refused and self.rng.random() < 0.3:
            process.reset()
            self.perform(process, process.upstream.on_exit("gone", {"reason": "exited"}))
            assert not process.upstream.calling

    def restart(self):
        """Replace the process. Its calls go on; `end_replaced` ends it."""
        if self.current is not None and self.rng.random() < 0.4:
            self.current = None
            for client in self.clients.values():
                if isinstance(client, Member):
                    client.route.detach()

    def end_replaced(self):
        for process in [one for one in self.processes if one is not self.current]:
            if not process.upstream.calling or self.rng.random() < 0.1:
                self.end_process(process)

    def end_process(self, process):
        process.ended = True
        self.perform(process, process.upstream.close("replaced"))
        process.members.clear()
        process.reset()
        process.starting = False
        self.processes.remove(process)

    def running(self, process):
        return {
            one: sent
            for one, sent in self.sent.items()
            if sent.process is process and sent.at_server and not sent.answered
        }

    def answer(self):
        """Answer any request: of clients, also cancelled ones, or of the bridge."""
        if not (process := self.any_process()):
            return
        waiting = {**self.running(process), **dict.fromkeys(process.pending)}
        if not waiting:
            return
        wire_id = self.rng.choice([*waiting])
        sent = self.sent.get(wire_id)
        if sent is not None:
            sent.answered, sent.answered_at = True, self.now
        if wire_id in process.pending:
            refused = process.pending.pop(wire_id) == "x://refused"
            error = raw({"code": UNKNOWN, "message": "no"}) if refused else b""
            self.from_server(process, Response(wire_id, b"" if refused else b"{}", error))
        else:
            self.from_server(process, Response(wire_id, raw({"of": sent.client.name}), b""))

    def answer_wrongly(self):
        """Answer again, or under an id that no request has."""
        if process := self.any_process():
            done = [one for one, sent in self.sent.items() if sent.process is process and sent.answered]
            wire_id = self.rng.choice([*done, b"999999", b'"a"'])
            self.from_server(process, Response(wire_id, raw({"of": "nobody"}), b""))

    def cause(self, process):
        """Return a call in whose course the server may send a message now, None if there is none."""

        def late(sent):
            if sent.state in (CANCELLED, GONE) and self.now - sent.ended_at >= LIMITS.held_seconds:
                return True
            return sent.answered and self.now - sent.answered_at >= AFTER_ANSWER

        found = [
            sent
            for sent in self.sent.values()
            if sent.process is process and sent.at_server and sent.asks and not late(sent)
        ]
        return self.rng.choice(found) if found else None

    def ask(self):
        if not (process := self.any_process()) or not (sent := self.cause(process)):
            return
        server_id = self.rng.choice(SERVER_IDS)
        if json.dumps(server_id) in process.asked:
            return
        process.asked[json.dumps(server_id)] = sent.client.name
        params = raw({"of": sent.client.name})
        # A server over HTTP sends it on the response stream of the call, or on a stream of no call.
        [wire_id] = [one for one, other in self.sent.items() if other is sent]
        related = self.rng.choice((wire_id, b""))
        self.from_server(process, Request(raw(server_id), self.rng.choice(ASKED), params), related)

    def withdraw(self):
        if (process := self.any_process()) and process.asked:
            server_id = self.rng.choice([*process.asked])
            params = b'{"requestId":%b}' % server_id.encode()
            self.from_server(process, Notification("notifications/cancelled", params))
            del process.asked[server_id]

    def notify(self):
        if not (process := self.any_process()) or not (sent := self.cause(process)):
            return
        name = sent.client.name
        method = self.rng.choice(("notifications/message", "vendor/news", "notifications/progress"))
        params = {"of": name, "level": self.rng.choice(LEVELS)}
        if method == "notifications/message":
            params = {"level": params["level"], "data": {"of": name}}
        elif method == "notifications/progress":
            params = {
                "progressToken": sent.token_at_server,
                "progress": 1,
                "of": name,
                "token": sent.params.get("token"),
            }
        self.from_server(process, Notification(method, raw(params)))

    def progress_wrongly(self):
        if process := self.any_process():
            # A client can guess wire ids.
            token = self.rng.choice([*TOKENS, 999999, *map(int, self.sent)])
            params = {"progressToken": token, "progress": 1, "of": "nobody"}
            self.from_server(process, Notification("notifications/progress", raw(params)))

    def change(self):
        if process := self.any_process():
            method = self.rng.choice(("notifications/tools/list_changed", "notifications/resources/updated"))
            params = {"uri": self.rng.choice(URIS)} if method.endswith("updated") else {}
            self.from_server(process, Notification(method, raw(params)))

    def tick(self):
        self.now += self.rng.choice((0.5, 1, 1.5, 5, 15, 45))
        for process in tuple(self.processes):
            self.perform(process, process.upstream.on_tick(self.now))
        for client in tuple(self.clients.values()):
            client.tick(self.now)

    # ---- a walk

    def step(self, what):
        what(self)
        while self.later:
            self.later.pop()()
        self.check()

    def finish_all(self):
        """Let every process start, accept and answer, and every client leave."""
        for _ in range(200):
            for what in (World.start, World.open, World.refuse, World.answer):
                self.step(what)
        for process in self.processes:
            left = [one for one in self.running(process).values() if one.state == OPEN]
            assert not left or not process.alive
        for client in tuple(self.clients.values()):
            client.end("the client left")
        assert not any(process.upstream.calling for process in self.processes)
        assert not any(process.uris for process in self.processes if process is self.current)
        for process in tuple(self.processes):
            self.end_process(process)
        assert all(sent.state != OPEN for sent in self.sent.values())


STEPS = {
    World.join: 2,
    World.call: 5,
    World.call_again: 1,
    World.cancel: 1,
    World.leave: 1,
    World.reply: 2,
    World.reply_to_another: 2,
    World.subscribe: 2,
    World.set_level: 1,
    World.start: 4,
    World.open: 4,
    World.refuse: 2,
    World.exit: 0.5,
    World.restart: 1,
    World.end_replaced: 1,
    World.answer: 5,
    World.answer_wrongly: 1,
    World.ask: 4,
    World.withdraw: 1,
    World.notify: 3,
    World.progress_wrongly: 1,
    World.change: 2,
    World.tick: 1,
}


def walk(seed, length=300):
    world = World(seed)
    steps = world.rng.choices([*STEPS], [*STEPS.values()], k=length)
    for what in steps:
        world.step(what)
    world.finish_all()
    return world


@pytest.mark.parametrize("seed", range(walks(40, 300)))
def test_each_message_reaches_its_own_client_and_each_request_ends_once(seed):
    walk(seed)


def test_the_walks_deliver_messages():
    """In few walks no client gets a message, because each leaves or is refused too early."""
    assert sum(walk(seed).seen for seed in range(20)) > 200
