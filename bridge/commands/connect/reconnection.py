"""What the client of `connect` has sent and not been answered, over one connection to its server after another. Pure.

An event is a method call; it returns what is to be written, in order. No request reaches a server twice. When a connection is
lost, requests that were sent on it fail with the reason, and what was not sent waits for the next connection, as does a request
that the daemon has refused because it, or the server, is being replaced. There the session is opened again as the client has
opened it, like the daemon does for a server process that has exited.
"""

import json
import secrets
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, cast

import attrs
import msgspec

from ....validators import json_object, jsonrpc
from ....validators.jsonrpc import Message, Request, Response
from ....validators.limits import TRUSTING, Limits
from ....validators.mcp_params import cancelled, read_cancelled
from ....validators.rejection import INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, SERVER_ERROR, Rejection
from .bounded_lines import Oversize

_LISTEN: Final = "subscriptions/listen"
_INITIALIZE: Final = "initialize"
_READY: Final = "notifications/initialized"
_CANCELLED: Final = "notifications/cancelled"
# The revisions in which a line may be a batch (MCP 2025-03-26 basic; JSON-RPC 2.0 for the first revision).
_WITH_BATCHES: Final = ("2024-11-05", "2025-03-26")
# Requests of the server that no longer count, whose late answers are dropped; and subscriptions that are repeated.
_MOST: Final = 128
# What a message that is held counts beside its text, in bytes.
_OVERHEAD: Final = 200
# How much of a message is looked into for its id where it cannot be read, in bytes.
_EDGE: Final = 1024


class ToClient(NamedTuple):
    """Write this line to the client. It answers the requests with these raw ids."""

    line: bytes
    answers: tuple[bytes, ...] = ()


class ToServer(NamedTuple):
    """Send this message on the connection that is open."""

    text: bytes


class Say(NamedTuple):
    """Write this sentence to standard error."""

    text: str


Effect = ToClient | ToServer | Say
Effects = list[Effect]


class _Held(NamedTuple):
    """A message that waits for a connection. `raw_id` is that of a request, or else nothing.

    `refusal` is the answer of a server that is being replaced, which has not begun the request.
    """

    text: bytes
    raw_id: bytes = b""
    refusal: bytes = b""

    @property
    def size(self) -> int:
        """What it counts in the limit, in bytes."""
        return len(self.text) + _OVERHEAD


# There is no connection.
AWAY: Final = "away"
# The request that opens the session again is not answered.
REPLAYING: Final = "replaying"
# The server has refused that; the next request of the client repeats it.
RESTING: Final = "resting"
OPEN: Final = "open"
# `data.reason` of the daemon's refusals because it, or the server, is being replaced.
_STOPPING: Final = "stopping"
# With these `initialize` is refused where another process will accept it.
_REPLACED: Final = (_STOPPING, "session ended")
# The code of the daemon's own refusals (JSON text); a request that was in flight fails under another one.
_REFUSED: Final = b"%d" % SERVER_ERROR


class Reconnection:
    """The state of one client."""

    def __init__(self, limits: Limits) -> None:
        self._limits = attrs.evolve(TRUSTING, batch=limits.batch)
        self._most_bytes = limits.stdin_bytes
        self.phase = AWAY
        # Requests that were sent and are not answered, by the values of their ids; `_asked_bytes` is the size of the texts.
        self._asked: dict[object, list[_Held]] = {}
        self._asked_bytes = 0
        # Those of them that last until they are taken back.
        self._lasting: set[object] = set()
        self._held: list[_Held] = []
        self._held_bytes = 0
        # The request that opens the session, and its id; `_opened` when it was accepted.
        self._initialize = b""
        self._initialize_id = b""
        self._opened = False
        self._refused = False  # the server has refused to open it again
        self._version = ""
        self._ready = b""  # notifications/initialized as the client has sent it
        self._level = b""
        self._uris: dict[str, None] = {}
        # Raw ids of requests of the server that are not answered, by their values; and those of lost connections.
        self._questions: dict[object, bytes] = {}
        self._orphans: dict[object, None] = {}
        self._own = f"mcp-bridge-{secrets.token_hex(6)}-"
        self._next_own = 1
        self._replay = b""

    # ---- what the shell asks

    @property
    def answered(self) -> bool:
        """Whether no request waits to be sent, or for an answer that will come by itself."""
        return not self.waiting and self._asked.keys() <= self._lasting

    @property
    def waiting(self) -> bool:
        """Whether a request waits to be sent."""
        return any(one.raw_id for one in self._held)

    @property
    def full(self) -> bool:
        """Whether no more input is to be read until there is a connection."""
        return self._held_bytes > self._most_bytes

    @property
    def turned_away(self) -> bool:
        """Whether a request waits that was refused on the connection that is open."""
        return self.phase == OPEN and any(one.refusal for one in self._held)

    # ---- from the client

    def on_client_message(self, line: bytes) -> Effects:
        """Take a line of the client."""
        try:
            line.decode()
        except UnicodeDecodeError:
            text = line.decode(errors="replace").encode()
            return [self._unreadable(text, PARSE_ERROR, "the message is not UTF-8")]
        if jsonrpc.is_batch(line):
            return self._batch(line)
        return self._single(line)

    def _single(self, text: bytes, *, within: bool = False) -> Effects:
        try:
            message = jsonrpc.decode(text, self._limits)
            if within and isinstance(message, Request) and message.method == _INITIALIZE:
                raise jsonrpc.invalid("initialize must not be part of a batch")
        except Rejection as rejection:
            return [self._unreadable(text, rejection.code, rejection.text)]
        return self._take(message, text.strip())

    def _batch(self, line: bytes) -> Effects:
        try:
            texts = jsonrpc.split_batch(line, self._limits)
        except Rejection as rejection:
            return [ToClient(jsonrpc.error(b"null", rejection.code, rejection.text))]
        opening = self._initialize and not self._opened
        if not (opening or self._version in _WITH_BATCHES):
            found = [_id_in(text) for text in texts]
            reason = f"a batch is allowed up to revision {_WITH_BATCHES[-1]} only"
            ids = [one for one in found if one != b"null"] or [b"null"]
            return [ToClient(jsonrpc.error(raw_id, INVALID_REQUEST, reason)) for raw_id in ids]
        effects: Effects = []
        for text in texts:
            effects += self._single(one_line(text), within=True)
        return effects

    def _unreadable(self, text: bytes, code: int, reason: str) -> Effect:
        """Answer what cannot be read, under its id where that is one of a request and of no other in flight."""
        found = Oversize(len(text), text[:_EDGE], text[-_EDGE:])
        if found.is_answer:
            # The server waits for it.
            if found.id and self.phase == OPEN and self._questions.pop(value_of(found.id), b""):
                return ToServer(
                    jsonrpc.error(found.id, INTERNAL_ERROR, f"invalid response of the client: {reason}")
                )
            return ToClient(jsonrpc.error(b"null", code, reason))
        raw_id = _id_in(text)
        if value_of(raw_id) in self._asked:
            raw_id = b"null"
        return ToClient(jsonrpc.error(raw_id, code, reason))

    def _take(self, message: Message, text: bytes) -> Effects:
        if isinstance(message, Request):
            return self._request(message, text)
        if isinstance(message, Response):
            value = value_of(message.id)
            if value in self._orphans:
                del self._orphans[value]
                return []
            self._questions.pop(value, None)
            return self._forward(text)
        if message.method == _CANCELLED:
            return self._cancel(read_cancelled(message.params)[0], text)
        if message.method == _READY:
            self._ready = text
            if self._opened and self.phase != OPEN:
                return []  # it is sent when the session is opened again
        return self._forward(text)

    def _request(self, message: Request, text: bytes) -> Effects:
        value = value_of(message.id)
        method = message.method
        if method == _INITIALIZE and not self._opened and not self._initialize:
            self._initialize, self._initialize_id = text, message.id
        elif method == "logging/setLevel":
            self._level = message.params
        elif method in ("resources/subscribe", "resources/unsubscribe"):
            self._follow(method, message.params)
        elif method == _LISTEN:
            self._lasting.add(value)
        if self.phase == OPEN:
            self._ask(value, _Held(text, message.id))
            return [ToServer(text)]
        self._hold(_Held(text, message.id))
        return self._open_again() if self.phase == RESTING else []

    def _ask(self, value: object, message: _Held) -> None:
        if self._asked_bytes + message.size > self._most_bytes:
            message = message._replace(text=b"")  # it is not kept, and not sent again
        self._asked_bytes += message.size
        self._asked.setdefault(value, []).append(message)

    def _follow(self, method: str, params: bytes) -> None:
        uri = json_object.string(json_object.peek(params).get("uri"))
        if method == "resources/unsubscribe":
            self._uris.pop(uri, None)
        elif uri and len(self._uris) < _MOST:
            self._uris[uri] = None

    def _cancel(self, named: bytes, text: bytes) -> Effects:
        value = value_of(named)
        kept = [one for one in self._held if not one.raw_id or value_of(one.raw_id) != value]
        if len(kept) < len(self._held):
            self._held, self._held_bytes = kept, sum(one.size for one in kept)
            self._lasting.discard(value)
            return []
        self._settle(value)
        return [ToServer(text)] if self.phase == OPEN else []

    def _forward(self, text: bytes) -> Effects:
        if self.phase == OPEN:
            return [ToServer(text)]
        if not self.full:
            self._hold(_Held(text))
        return []

    def _hold(self, message: _Held) -> None:
        self._held.append(message)
        self._held_bytes += message.size

    def too_large(self, message: Oversize, limit: int, key: str, *, from_client: bool) -> Effects:
        """Answer a message over a limit, where its id can be read, so that it costs itself only."""
        text = f"dropped a message of {message.size} bytes: the limit is {limit} ({key})"
        effects: Effects = [Say(text)]
        if not message.id:
            return effects
        value = value_of(message.id)
        if message.is_answer and not from_client:
            self._settle(value)
        error = jsonrpc.error(message.id, INVALID_REQUEST if from_client else INTERNAL_ERROR, text)
        if from_client != message.is_answer:
            effects.append(ToClient(error, (message.id,)))
        elif self.phase == OPEN:
            self._questions.pop(value, None)
            effects.append(ToServer(error))
        return effects

    # ---- from the server

    def on_server_message(self, line: bytes) -> Effects | None:
        """Take a message of the server. Returns None where it is no JSON-RPC."""
        try:
            if jsonrpc.is_batch(line):
                raise jsonrpc.invalid("a batch")
            message = jsonrpc.decode(line, TRUSTING)
        except Rejection:
            answers = answers_in(line)
            if answers is None:
                return None
            for raw_id in answers:
                self._settle(value_of(raw_id))
            return [ToClient(line, answers)]
        if isinstance(message, Response):
            return self._answered(message, line)
        if isinstance(message, Request):
            value = value_of(message.id)
            self._orphans.pop(value, None)
            if len(self._questions) < _MOST:
                self._questions[value] = message.id
        elif message.method == _CANCELLED:
            self._questions.pop(value_of(read_cancelled(message.params)[0]), None)
        return [ToClient(line)]

    def _answered(self, message: Response, line: bytes) -> Effects:
        value = value_of(message.id)
        if isinstance(value, str) and value.startswith(self._own):
            return self._opened_again(message) if message.id == self._replay else []
        if self._initialize and not self._opened and value == value_of(self._initialize_id):
            if _is_replaced(message.error):
                return []  # another process answers it, on the next connection
            if message.error:
                self._initialize = b""
            else:
                self._opened, self._version = True, _version_in(message.result)
        elif message.error and _has_not_begun(message.error) and self._turn_away(value, line):
            return []
        self._settle(value)
        return [ToClient(line, (message.id,))]

    def _turn_away(self, value: object, refusal: bytes) -> bool:
        """Let a request wait for the next connection; return whether that is possible."""
        asked = self._asked.get(value)
        if not asked or not asked[-1].text:
            return False
        message = self._take_asked(value, asked)
        self._hold(message._replace(refusal=refusal))
        return True

    def give_back(self) -> Effects:
        """Answer the requests that were refused on the connection that is open with their refusals: it has not ended in time."""
        if self.phase != OPEN:
            return []
        refused = [one for one in self._held if one.refusal]
        self._held = [one for one in self._held if not one.refusal]
        self._held_bytes = sum(one.size for one in self._held)
        self._lasting.difference_update(value_of(one.raw_id) for one in refused)
        return [ToClient(one.refusal, (one.raw_id,)) for one in refused]

    def _settle(self, value: object) -> None:
        asked = self._asked.get(value)
        if asked is not None:
            self._take_asked(value, asked)
            if value not in self._asked:
                self._lasting.discard(value)

    def _take_asked(self, value: object, asked: list[_Held]) -> _Held:
        message = asked.pop()
        self._asked_bytes -= message.size
        if not asked:
            del self._asked[value]
        return message

    # ---- connections

    def connected(self) -> Effects:
        """A connection is open."""
        if not self._opened:
            self.phase = OPEN
            return self._release()
        self.phase = RESTING
        return [] if self._refused and not self.waiting else self._open_again()

    def _open_again(self) -> Effects:
        self.phase, self._refused = REPLAYING, False
        self._replay = self._own_id()
        params = jsonrpc.decode(self._initialize, self._limits)
        assert isinstance(params, Request)  # noqa: S101 - it was one when it was stored
        return [ToServer(jsonrpc.request(self._replay, _INITIALIZE, params.params))]

    def _own_id(self) -> bytes:
        self._next_own += 1
        return json_object.text(f"{self._own}{self._next_own}")

    def _opened_again(self, message: Response) -> Effects:
        if message.error:
            if _is_replaced(message.error):
                return []
            self.phase, self._refused = RESTING, True
            text = json_object.string(json_object.peek(message.error).get("message"))
            return self._fail_held(f"the server rejected the repeated initialize: {text}")
        self.phase = OPEN
        sent: list[bytes] = []
        if self._ready:
            sent.append(jsonrpc.notification(_READY, b""))
        if self._level:
            sent.append(jsonrpc.request(self._own_id(), "logging/setLevel", self._level))
        for uri in self._uris:
            params = json_object.write({"uri": uri})
            sent.append(jsonrpc.request(self._own_id(), "resources/subscribe", params))
        effects: Effects = [ToServer(text) for text in sent]
        version = _version_in(message.result)
        if version != self._version:
            effects.append(Say(f"the server now uses revision {version} instead of {self._version}"))
        return [*effects, *self._release(), *self._missed(message.result)]

    def _release(self) -> Effects:
        held, self._held, self._held_bytes = self._held, [], 0
        for one in held:
            if one.raw_id:
                self._ask(value_of(one.raw_id), one._replace(refusal=b""))
        return [ToServer(one.text) for one in held]

    def _missed(self, result: bytes | msgspec.Raw) -> Effects:
        # Another process may have other lists, and nothing was received of changes meanwhile.
        if not self._ready:
            return []
        offered = json_object.peek(json_object.peek(result).get("capabilities"))
        effects: Effects = [
            ToClient(jsonrpc.notification(f"notifications/{name}/list_changed", b""))
            for name in ("tools", "prompts", "resources")
            if bytes(json_object.peek(offered.get(name)).get("listChanged", b"")) == b"true"
        ]
        for uri in self._uris:
            params = json_object.write({"uri": uri})
            effects.append(ToClient(jsonrpc.notification("notifications/resources/updated", params)))
        return effects

    def disconnected(self, reason: str) -> Effects:
        """The connection is lost: what was sent on it fails, but for `initialize`, which may be repeated."""
        self.phase = AWAY
        opening: list[_Held] = []
        asked = self._asked.get(value_of(self._initialize_id))
        if self._initialize and not self._opened and asked:
            self._take_asked(value_of(self._initialize_id), asked)
            opening.append(_Held(self._initialize, self._initialize_id))
            if self._ready and all(one.text is not self._ready for one in self._held):
                opening.append(_Held(self._ready))
        effects = self._fail_asked(f"{reason}; the request was sent before and may have been executed")
        for value, raw_id in self._questions.items():
            params = cancelled(raw_id, json_object.text(reason))
            effects.append(ToClient(jsonrpc.notification(_CANCELLED, params)))
            self._orphans[value] = None
        while len(self._orphans) > _MOST:
            del self._orphans[next(iter(self._orphans))]
        self._questions.clear()
        self._held = [*opening, *self._held]
        self._held_bytes += sum(one.size for one in opening)
        return effects

    def ended(self, reason: str, unwritten: Iterable[bytes] = ()) -> Effects:
        """There will be no connection any more: all that is not answered, or whose answer is `unwritten`, fails."""
        return [*_errors(unwritten, reason), *self._fail_asked(reason), *self._fail_held(reason)]

    def _fail_asked(self, reason: str) -> Effects:
        ids = [one.raw_id for asked in self._asked.values() for one in asked]
        self._lasting.difference_update(self._asked)
        self._asked.clear()
        self._asked_bytes = 0
        return _errors(ids, reason)

    def _fail_held(self, reason: str) -> Effects:
        ids = [one.raw_id for one in self._held if one.raw_id]
        self._held, self._held_bytes = [], 0
        return _errors(ids, reason)


def _errors(ids: Iterable[bytes], reason: str) -> Effects:
    return [
        ToClient(jsonrpc.error(raw_id, INTERNAL_ERROR, reason, {"reason": "connection lost"}), (raw_id,))
        for raw_id in ids
    ]


def _id_in(text: bytes) -> bytes:
    """Return the raw id of a request that cannot be read, or `null` where none is found."""
    raw_id = jsonrpc.readable_id(text)
    return jsonrpc.request_id_in_prefix(text) if raw_id == b"null" else raw_id


def _is_replaced(error: bytes) -> bool:
    return _reason_of(error) in _REPLACED


def _has_not_begun(error: bytes) -> bool:
    """Return whether the daemon has refused a request before any server has received it, because one is being replaced."""
    return _reason_of(error) == _STOPPING and bytes(json_object.peek(error).get("code", b"")) == _REFUSED


def _reason_of(error: bytes) -> str:
    data = json_object.peek(json_object.peek(error).get("data")) if error else {}
    return json_object.string(data.get("reason"))


def _version_in(result: bytes | msgspec.Raw) -> str:
    return json_object.string(json_object.peek(result).get("protocolVersion"))


def one_line(data: bytes) -> bytes:
    """Return a JSON text on one line and in UTF-8. In a string of JSON there is no line end."""
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode(errors="replace").encode()
    return data.replace(b"\r", b" ").replace(b"\n", b" ").strip()


def answers_in(line: bytes) -> tuple[bytes, ...] | None:
    """Return the raw ids of the answers in a line of the server, None if the line is no JSON-RPC.

    As from a server on a pipe, a line is JSON-RPC if it says so, or has an id beside a result or an error.
    """
    try:
        if not jsonrpc.is_batch(line):
            message = jsonrpc.decode(line, TRUSTING)
            return (message.id,) if isinstance(message, Response) else ()
    except Rejection:
        pass
    try:
        found: Any = json.loads(line)
    except RecursionError:  # deeper than we can read: the client decides
        return ()
    except ValueError:
        return None
    members: list[Any] = found if isinstance(found, list) else [found]  # pyright: ignore[reportUnknownVariableType] - JSON
    messages = [cast("dict[str, Any]", one) for one in members if isinstance(one, dict)]
    messages = [one for one in messages if _is_message(one)]
    if not messages:
        return None
    return tuple(json.dumps(one["id"]).encode() for one in messages if "id" in one and "method" not in one)


def _is_message(found: dict[str, Any]) -> bool:
    return found.get("jsonrpc") == "2.0" or ("id" in found and ("result" in found or "error" in found))


def value_of(raw_id: bytes) -> object:
    """Return what an id is, however it is written."""
    try:
        value: object = json.loads(raw_id)
    except ValueError:
        return raw_id
    return value if isinstance(value, str | int | float) else raw_id
