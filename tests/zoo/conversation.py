"""The conversation of a client with each server: the same bytes over every connection."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio
from carriers import MODERN, PROTOCOL_VERSION, Carrier
from compare import (
    ENDED,
    LISTS,
    SILENT,
    Expected,
    Others,
    Record,
    Seen,
    has_items,
    members,
    page_name,
    read,
)
from servers import Call, Server

PREFIX = "io.modelcontextprotocol/"
CLIENT = {"name": "zoo", "title": "Zoo \u00fc", "version": "1"}
CAPABILITIES = {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}}
# Responses to the requests of a server.
ANSWERS: Mapping[str, Any] = {
    "ping": {},
    "roots/list": {"roots": [{"uri": "file:///zoo/%C3%BC", "name": "Zoo \u00fc"}]},
    "sampling/createMessage": {
        "role": "assistant",
        "content": {"type": "text", "text": "HELLO \u00fc \U0001f30d"},
        "model": "zoo",
        "stopReason": "endTurn",
    },
    "elicitation/create": {"action": "decline"},
}
# The ways in which clients write JSON.
STYLES: Sequence[Mapping[str, Any]] = (
    {"separators": (",", ":"), "ensure_ascii": False},
    {"separators": (", ", ": "), "ensure_ascii": True},
    {"separators": (" , ", " :  "), "ensure_ascii": False},
)
# Limit on a request, and on a request to which the server exits or sends no response (seconds).
TIMEOUT = 30
SHORT_TIMEOUT = 3
# Limit on the pages of a list, and on the input rounds of one request.
MOST_PAGES = 12
MOST_ROUNDS = 4
# A conversation on the pipe ends after this time without a message (seconds).
QUIET = 0.4
# Limit on the wait for late notifications (seconds). Only missing notifications cost this time.
LATE = 3
# After how long a list that lacks items is requested again (seconds).
AGAIN = 0.25


@attrs.frozen
class Step:
    """A request under the name that it has in the report; or a notification, without an id."""

    name: str
    line: bytes
    id: bytes = b""
    # Limit on the response (seconds).
    timeout: float = TIMEOUT


def written(number: int, method: str, params: Any, *, notification: bool = False) -> Step:
    """Return a request in one of the styles, with one of the kinds of ids."""
    style = STYLES[number % len(STYLES)]
    ids = (number, f"id-{number}", f"\u00fc {number}")
    identity = {} if notification else {"id": ids[number % len(ids)]}
    message: dict[str, Any] = {"jsonrpc": "2.0", **identity, "method": method, "params": params}
    if number % 2:
        message = dict(reversed(message.items()))
    line = json.dumps(message, **style).encode()
    return Step(method, line, (members(line) or {}).get("id", b""))


def script(server: Server, *, modern: bool, prefix: str = "") -> list[Step]:
    """Return all steps of a conversation. `prefix` is that of the names at the aggregate."""
    asked = [Call(method, {}) for method in LISTS]
    calls = [*server.calls, Call("tools/call", {"name": "no such tool", "arguments": {}})]
    completion = {"ref": {"type": "ref/prompt", "name": "none"}, "argument": {"name": "a", "value": ""}}
    last = [Call("completion/complete", completion)]
    if not modern:
        last = [Call("logging/setLevel", {"level": "debug"}), *last]
    unknown = Call("zoo/unknown", {"a": [1.0, 1e3, "\u00fc"]})
    # The last, because some servers end then.
    every = [*asked, *calls, *last, unknown]
    opening = [Call("server/discover", {})] if modern else [Call("ping", {})]
    fatal = [unknown, *opening] if modern else [unknown]
    steps = [] if modern else _handshake(server)
    names: dict[str, int] = {}
    for call in [*opening, *every]:
        params = dict(call.params)
        if prefix and "name" in params and call.method in ("tools/call", "prompts/get"):
            params["name"] = prefix + params["name"]
        if modern:
            params["_meta"] = {**params.get("_meta", {}), **_envelope(server)}
        step = written(len(steps) + 1, call.method, params)
        name = " ".join(filter(None, [call.method, call.params.get("name"), call.params.get("uri")]))
        names[name] = names.get(name, 0) + 1
        timeout = SHORT_TIMEOUT if server.dies_of_unknown_methods and call in fatal else TIMEOUT
        name = f"{name} ({names[name]})" if names[name] > 1 else name
        steps.append(attrs.evolve(step, name=name, timeout=timeout))
    return steps


def _handshake(server: Server) -> list[Step]:
    capabilities = {**CAPABILITIES, **_extensions(server)}
    params = {"protocolVersion": server.revision, "capabilities": capabilities, "clientInfo": CLIENT}
    return [
        written(1, "initialize", params),
        # Without params, as most SDKs write it.
        Step("initialized", b'{"jsonrpc":"2.0","method":"notifications/initialized"}'),
    ]


def _envelope(server: Server) -> dict[str, Any]:
    declared = {"roots": {}, "sampling": {}, "elicitation": {}}
    return {
        PROTOCOL_VERSION: MODERN,
        f"{PREFIX}clientInfo": CLIENT,
        f"{PREFIX}clientCapabilities": {**declared, **_extensions(server)},
    }


def _extensions(server: Server) -> dict[str, Any]:
    return {"extensions": server.extensions} if server.extensions else {}


class Conversation:
    """Send the steps one after the other; answer the server meanwhile; record every message."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.record = Record()

    async def take(self, steps: Sequence[Step], expected: Expected | None = None) -> None:
        """Take all steps, until the server is silent or ends; then wait for late notifications."""
        for step in steps:
            await self._send(step.line)
            if not step.id:
                # The effects of this step precede the next step, so that the order is the same on every connection.
                await self._settle(None if expected is None else expected.after_handshake)
                self.record.settled = len(self.record.arrived)
                continue
            answer = await self._ask(step)
            if expected is not None:
                answer = await self._until_whole(step, answer, expected.items.get(step.name, 0))
            if answer.kind in (ENDED, SILENT):
                return
            await self._follow(step, answer)
        await self._settle(None if expected is None else expected.all)

    async def take_at_once(self, steps: Sequence[Step], expected: Expected | None = None) -> None:
        """Send all lines without waiting for any answer, as a script does that writes a file to the pipe."""
        waiting = {json.loads(step.id): step for step in steps if step.id}
        self.record.ids = {step.name: step.id for step in waiting.values()}
        self.record.answers = {step.name: Seen(SILENT) for step in waiting.values()}
        for step in steps:
            await self._send(step.line)
        with trio.move_on_after(TIMEOUT):
            while waiting and (message := await self._next()) is not None:
                if message.is_answer and (step := waiting.pop(json.loads(message.id or b"0"), None)):
                    self.record.answers[step.name] = message
        await self._settle(None if expected is None else expected.all)

    async def _ask(self, step: Step) -> Seen:
        self.record.ids[step.name] = step.id
        answer = await self._answer(step)
        for number in range(MOST_ROUNDS):
            found = members(answer.payload) or {}
            if "inputRequests" not in found:
                break
            again = retry(step, number, found)
            await self._carrier.send(again.line)
            answer = await self._answer(again)
            # Under the id of the step, which it is the answer of.
            if answer.id == again.id:
                answer = attrs.evolve(answer, id=step.id)
        self.record.answers[step.name] = answer
        return answer

    async def _until_whole(self, step: Step, answer: Seen, count: int) -> Seen:
        """Request a list again until it has so many items, for a limited time."""
        with trio.move_on_after(TIMEOUT):
            while not has_items(step.name, answer, count):
                await trio.sleep(AGAIN)
                await self._carrier.send(step.line)
                answer = await self._ask(step)
        return answer

    async def _follow(self, step: Step, answer: Seen) -> None:
        """Request the further pages of a list."""
        if step.name not in LISTS:
            return
        for page in range(2, MOST_PAGES + 1):
            cursor = (members(answer.payload) or {}).get("nextCursor")
            if cursor is None:
                return
            message = json.loads(step.line)
            message["params"]["cursor"] = json.loads(cursor)
            number = json.dumps(f"{step.name}-{page}").encode()
            line = json.dumps({**message, "id": json.loads(number)}).encode()
            further = Step(page_name(step.name, page), line, number)
            await self._send(line)
            answer = await self._ask(further)

    async def _settle(self, expected: Others | None) -> None:
        """Wait until no more comes (on the pipe), or until the expected messages of the server are there."""
        if expected is None:
            with trio.move_on_after(QUIET) as scope:
                while await self._next() is not None:
                    scope.deadline = trio.current_time() + QUIET
            return
        with trio.move_on_after(LATE):
            while expected - self.record.others and await self._next() is not None:
                pass

    async def _send(self, line: bytes) -> None:
        message = read(line)
        assert message is not None
        self.record.sent.append(message)
        await self._carrier.send(line)

    async def _answer(self, step: Step) -> Seen:
        with trio.move_on_after(step.timeout):
            while (message := await self._next()) is not None:
                if message.is_answer and message.id and json.loads(message.id) == json.loads(step.id):
                    return message
            return Seen(ENDED)
        return Seen(SILENT)

    async def _next(self) -> Seen | None:
        """Return the next message, or None at the end of the connection."""
        while True:
            try:
                line = await self._carrier.received.receive()
            except trio.EndOfChannel:
                return None
            message = read(line)
            if message is None:
                self.record.noise += 1
                continue
            self.record.arrived.append(message)
            if message.kind == "request":
                await self._send(answer_to(message))
            return message


def retry(step: Step, number: int, asked: Mapping[str, bytes]) -> Step:
    """Return the retry with responses to the input requests of a result (revision 2026-07-28)."""
    message = json.loads(step.line)
    requests = json.loads(asked["inputRequests"])
    message["params"]["inputResponses"] = {key: ANSWERS[found["method"]] for key, found in requests.items()}
    if "requestState" in asked:
        message["params"]["requestState"] = json.loads(asked["requestState"])
    message["id"] = f"{step.name} retry {number}"
    line = json.dumps(message).encode()
    return attrs.evolve(step, line=line, id=(members(line) or {})["id"])


def answer_to(message: Seen) -> bytes:
    """Return the response of this client under the raw id."""
    if message.method not in ANSWERS:
        body = b'"error":{"code":-32601,"message":"not here"}'
    else:
        body = b'"result" : ' + json.dumps(ANSWERS[message.method]).encode()
    return b'{"jsonrpc":"2.0","id":' + message.id + b"," + body + b"}"
