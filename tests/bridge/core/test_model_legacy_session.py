"""A table of the life of a call in a session, and every history of four calls compared with it (Invariants I1 and I7).

The table says for each state of a call and each event what its client and its server get, and what state follows. `explore` applies
every history of the events to a session, up to renaming of the calls, and compares what the session does.
"""

import json
from collections import deque
from itertools import count

import pytest

from mcpbridged.bridge.core.effects import ToChild, ToClient
from mcpbridged.bridge.core.legacy_session import REVIVING, LegacySession
from mcpbridged.transports.send_queue import SendQueue
from mcpbridged.validators.jsonrpc import Notification, Request, Response, decode
from mcpbridged.validators.limits import Limits

LIMITS = Limits()
CALLS, MOST_EXITS = 4, 3
# States of a call: the server has it; it waits for the start of the server; the client has cancelled it; it has its response.
SENT, WAITING, CANCELLED, DONE = "sent", "waiting", "cancelled", "done"
# (state, event): what the client gets, what the server gets, the next state. An event that is not here cannot happen.
TABLE = {
    (SENT, "answer"): ("result", "", DONE),
    (SENT, "cancel"): ("error", "notifications/cancelled", CANCELLED),
    (SENT, "exit"): ("error", "", DONE),
    (WAITING, "cancel"): ("error", "", DONE),
    (WAITING, "start"): ("", "tools/call", SENT),
    (CANCELLED, "answer"): ("", "", DONE),
    (CANCELLED, "exit"): ("", "", DONE),
    # A server that responds twice.
    (DONE, "answer"): ("", "", DONE),
}
INITIALIZE = b'{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}'


class World:
    """A session whose server has responded to initialize, and the states that the table gives its calls."""

    def __init__(self, history, session_type=LegacySession):
        numbers = count(1)
        self.session = session_type(LIMITS, lambda: f"k{next(numbers)}", None)
        self.session.on_client_message(
            Request(b"0", "initialize", INITIALIZE), self.session.call_stream(SendQueue("initialize"))
        )
        self.session.on_server_message(Response(b"1", b'{"protocolVersion":"2025-11-25"}', b""))
        self.session.on_client_message(Notification("notifications/initialized", b""), None)
        self.states, self.queues, self.wires = [], [], {}
        self.runs, self.exits = True, 0
        self.fault = None
        for event in history:
            self.apply(*event)

    @property
    def key(self):
        return (self.session.phase, self.runs, self.exits, tuple(sorted(self.states)))

    def events(self):
        """Return what can happen next."""
        found = [("ask", len(self.states))] if len(self.states) < CALLS else []
        for name in ("answer", "cancel"):
            found += [
                (name, number)
                for number, state in enumerate(self.states)
                if (state, name) in TABLE and (name != "answer" or number in self.wires)
            ]
        if self.runs and self.exits < MOST_EXITS:
            found.append(("exit", None))
        if self.session.phase == REVIVING and not self.runs:
            found.append(("start", None))
        return found

    def apply(self, name, number):
        expected = {}
        if name == "ask":
            self.states.append(SENT if self.runs else WAITING)
            self.queues.append(SendQueue(str(number)))
            expected[number] = ("", "tools/call" if self.runs else "")
        else:
            for one in range(len(self.states)) if number is None else [number]:
                row = TABLE.get((self.states[one], name))
                if row is not None:
                    *expected[one], self.states[one] = row
        effects = [*self.effects(name, number)]
        self.compare(name, effects, {one: tuple(pair) for one, pair in expected.items() if any(pair)})

    def effects(self, name, number):
        session = self.session
        match name:
            case "ask":
                params = json.dumps({"name": str(number)}).encode()
                request = Request(b"%d" % (number + 10), "tools/call", params)
                yield from session.on_client_message(request, session.call_stream(self.queues[number]))
            case "answer":
                yield from session.on_server_message(Response(self.wires[number], b'{"of":%d}' % number, b""))
            case "cancel":
                params = b'{"requestId":%d}' % (number + 10)
                yield from session.on_client_message(Notification("notifications/cancelled", params), None)
            case "exit":
                self.runs, self.exits, self.wires = False, self.exits + 1, {}
                yield from session.on_server_exit("gone", {"reason": "exited"})
            case "start":
                self.runs = True
                [begin] = [effect for effect in session.on_server_start() if isinstance(effect, ToChild)]
                first = decode(begin.line, LIMITS)
                yield from session.on_server_message(
                    Response(first.id, b'{"protocolVersion":"2025-11-25"}', b"")
                )

    def compare(self, event, effects, expected):
        """Note what differs from the table."""
        found = {}
        for effect in effects:
            if isinstance(effect, ToClient):
                message = json.loads(effect.message)
                number = message["id"] - 10
                kind = "result" if "result" in message else "error"
                if effect.queue is not self.queues[number]:
                    self.fault = f"{event}: the response to call {number} is on another stream"
                if kind == "result" and message["result"] != {"of": number}:
                    self.fault = f"{event}: call {number} has the result of another"
                self.note(found, number, 0, kind)
            elif isinstance(effect, ToChild):
                self.note_sent(found, decode(effect.line, LIMITS))
        if found != expected:
            self.fault = f"{event}: {found} and not {expected}"

    def note_sent(self, found, message):
        params = json.loads(message.params or b"{}")
        if message.method == "tools/call":
            number = int(params["name"])
            self.wires[number] = message.id
            self.note(found, number, 1, message.method)
        elif message.method == "notifications/cancelled":
            [number] = [one for one, wire in self.wires.items() if json.loads(wire) == params["requestId"]]
            self.note(found, number, 1, message.method)

    def note(self, found, number, place, text):
        before = found.get(number, ("", ""))
        if before[place]:
            self.fault = f"call {number} has {text} twice"
        found[number] = (text, before[1]) if place == 0 else (before[0], text)


def explore(session_type=LegacySession):
    """Return the number of states, and the first history that differs from the table, with the difference."""
    first = World((), session_type)
    seen, waiting = {first.key}, deque([()])
    while waiting:
        history = waiting.popleft()
        for event in World(history, session_type).events():
            following = World((*history, event), session_type)
            if following.fault is not None:
                return len(seen), (*history, event), following.fault
            if following.key not in seen:
                seen.add(following.key)
                waiting.append((*history, event))
    return len(seen), None, None


def test_every_history_of_four_calls_is_that_of_the_table():
    states, history, fault = explore()
    assert history is None, (history, fault)
    assert states > 100


class Again(LegacySession):
    """Sends a call that was in flight again after the exit of its server."""

    def on_server_exit(self, *given):
        self.lost = [*self._pending.by_wire_id.values()] if hasattr(self._pending, "by_wire_id") else []
        return [*super().on_server_exit(*given), *getattr(self, "sent", ())]

    def on_client_message(self, message, stream):
        effects = super().on_client_message(message, stream)
        self.sent = [effect for effect in effects if isinstance(effect, ToChild)]
        return effects


class Twice(LegacySession):
    """Sends each response of a server twice."""

    def on_server_message(self, message):
        effects = super().on_server_message(message)
        return [*effects, *(effect for effect in effects if isinstance(effect, ToClient))]


class Silent(LegacySession):
    """Loses the errors of the calls that were in flight."""

    def on_server_exit(self, *given):
        return [effect for effect in super().on_server_exit(*given) if not isinstance(effect, ToClient)]


@pytest.mark.parametrize("session_type", [Again, Twice, Silent])
def test_a_session_that_differs_is_found(session_type):
    _, history, fault = explore(session_type)
    assert fault is not None
    assert len(history) <= 3
