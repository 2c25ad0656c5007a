"""Share one legacy server process between several clients without translation: ids, initialize, subscriptions, requests.

Each client has a `Front`. The process is initialized once, with every capability that a client can declare; later clients
get the stored result. Requests keep the wire ids of their front, which are unique because all fronts take them from one
counter, so an answer is found by one look-up. Payloads pass untouched, except for progress tokens and log levels.

Pure. An event is a method call that returns a tuple of effects, to be carried out in their order before the next event.
Invariant I1: a message of the server is handed to the front that it belongs to, or to none.
Invariant I7: a request of a front ends in exactly one answer, one `CallsLost`, or its cancellation.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from ...validators import json_object, jsonrpc
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.mcp_params import (
    LEGACY_REVISIONS,
    agreed_version,
    cancelled,
    cancelled_again,
    read_cancelled,
    read_progress,
)
from ...validators.rejection import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    SERVER_ERROR,
)
from ...validators.stateless_request import LOG_LEVELS
from . import extensions
from .abandoned_requests import AbandonedRequests
from .access_policy import AccessPolicy
from .attribution import MAY_ASK, Client, Origin, Origins, Phase, Refusal
from .effects import LogDebug, ServerRequestRefused, StartProcess, ToServer
from .errors import URL_ELICITATION_REQUIRED, fault_text, read_fault
from .handshake import client_info
from .tasks import related_task, task_of

# What the server is told that its clients can do. What a client has not declared is refused when it is asked.
_CAPABILITIES: Final = msgspec.json.encode(
    {
        "roots": {"listChanged": True},
        "sampling": {"context": {}, "tools": {}},
        "elicitation": {"form": {}, "url": {}},
        "tasks": {
            "list": {},
            "cancel": {},
            "requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}},
        },
    }
)
# How many extensions of clients are kept for the server, and how many bytes of their names and settings.
_EXTENSIONS: Final = 256
_EXTENSIONS_BYTES: Final = 64 * 1024
_LISTS: Final = ("tools", "prompts", "resources")
_LIST_CHANGED: Final = frozenset(f"notifications/{name}/list_changed" for name in _LISTS)
# Requests that the server gets once for several clients: one client cannot cancel them.
_COMBINED: Final = frozenset({"resources/subscribe", "resources/unsubscribe", "logging/setLevel"})
_NAME_A_TASK: Final = frozenset({"tasks/get", "tasks/result", "tasks/cancel"})
# Up to this size the escapes of an id are read (bytes).
_LONGEST_ID: Final = 64 * 1024
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})
# The level of a client that has set none while another one has.
_DEFAULT_LEVEL: Final = "info"
_NOTHING: Final = b"{}"


class Front:
    """One client of a shared process. `owner` is the object of the shell that gets its messages, opaque here.

    A `translated` front stands for any number of stateless clients, and its owner is their translator. It does not send
    `initialize`, it keeps the calls of its clients in `SharedUpstream.origins` itself, and it decides which of its
    clients gets a message.
    """

    __slots__ = ("capabilities", "client", "level", "owner", "ready", "renewed", "translated", "uris")

    def __init__(self, client: Client, owner: object, *, translated: bool = False) -> None:
        self.client = client
        self.owner = owner
        self.translated = translated
        self.capabilities: json_object.Members = {}
        # Whether `initialize` was answered.
        self.ready = False
        # The log level that it has set, or nothing.
        self.level = ""
        # The resources that it has subscribed to.
        self.uris: dict[str, None] = {}
        # Whether the process is another one than the one that it was initialized with.
        self.renewed = False

    def follow(self, before: "Front") -> None:
        """Go on as a front of another process of the same server."""
        self.capabilities = before.capabilities
        self.ready = self.renewed = before.ready
        self.level = before.level
        self.uris = dict(before.uris)

    def declared(self, method: str, params: bytes) -> bool:
        """Return whether its client has declared that it answers such a request (MCP 2025-11-25, client features)."""
        if method == "roots/list":
            return "roots" in self.capabilities
        if method == "sampling/createMessage":
            wanted = json_object.peek(params)
            tools = "tools" in wanted or "toolChoice" in wanted
            sampling = self.capabilities.get("sampling")
            return sampling is not None and (not tools or "tools" in json_object.peek(sampling))
        if method == "elicitation/create":
            return self._elicits(json_object.string(json_object.peek(params).get("mode")))
        if method.startswith("tasks/"):
            return "tasks" in self.capabilities
        return True

    def _elicits(self, mode: str) -> bool:
        declared = self.capabilities.get("elicitation")
        if declared is None:
            return False
        modes = json_object.peek(declared)
        return "url" in modes if mode == "url" else "form" in modes or "url" not in modes


class ToFront(NamedTuple):
    """Hand this message of the server to a front. `about` is the wire id of the call that it belongs to, or nothing."""

    front: Front
    message: Message
    about: bytes = b""


class Assigned(NamedTuple):
    """Hand this request of the server to a translated front, for this call."""

    front: Front
    message: Request
    origin: Origin


class Undeclared(NamedTuple):
    """A request of the server was refused because the client of this call has not declared it. For a translated front."""

    front: Front
    message: Request
    origin: Origin


class FrontOpened(NamedTuple):
    """The handshake is done. `result` is what the server answered to `initialize`. For a translated front."""

    front: Front
    result: bytes


class CallsLost(NamedTuple):
    """The process is gone, and with it the requests of a front with these wire ids."""

    front: Front
    wire_ids: tuple[bytes, ...]
    text: str
    data: dict[str, object]


class Opened(NamedTuple):
    """The server has accepted `initialize`. Sent once for each process."""


class Unopened(NamedTuple):
    """The server has refused `initialize` with this error. `refuse` is expected, at once or later."""

    error: bytes


class KillProcess(NamedTuple):
    """The process is of no use: kill it. Its fronts know already."""


class LogOnly(NamedTuple):
    """A log message of the server that several clients can have caused: for the log of the server."""

    params: bytes


Effect = (
    ToServer
    | ToFront
    | Assigned
    | Undeclared
    | FrontOpened
    | CallsLost
    | Opened
    | Unopened
    | KillProcess
    | StartProcess
    | LogOnly
    | ServerRequestRefused
    | LogDebug
)
Effects = tuple[Effect, ...]


class _Call(NamedTuple):
    """A request of a front that the server has not answered. `detail` depends on the method."""

    front: Front
    method: str
    token: bytes
    # The URI of resources/subscribe, the level before logging/setLevel.
    detail: str = ""
    # The raw id of the task of a tasks/* request.
    task: bytes = b""


class _Question(NamedTuple):
    """A request of the server that a front has not answered."""

    server_id: bytes
    front: Front
    token: bytes
    augmented: bool
    # The wire id of the call that it belongs to, or nothing.
    about: bytes


class _Task:
    """A task that the server has made of a call of a front (MCP 2025-11-25 basic/utilities/tasks)."""

    __slots__ = ("front", "origin", "since", "token", "wire_id")

    def __init__(self, front: Front, wire_id: bytes, token: bytes, origin: Origin | None) -> None:
        self.front = front
        self.wire_id = wire_id
        self.token = token
        self.origin = origin
        # When `ticked` first saw it since the last message about it (seconds).
        self.since: float | None = None


# There is no process; the next request starts one.
_IDLE: Final = "idle"
_STARTING: Final = "starting"
_OPENING: Final = "opening"
# The server has refused `initialize`, and the shell finds out why.
_REFUSED: Final = "refused"
_OPEN: Final = "open"
_OVER: Final = "over"


class SharedUpstream:
    """The state machine of one shared process. `next_id` returns wire ids that are unique over all processes of a server.

    `choice` is what the operator allows of the server.
    """

    def __init__(
        self, limits: Limits, next_id: Callable[[], bytes], policy: AccessPolicy, version: str = "0"
    ) -> None:
        self._limits = limits
        self._next_id = next_id
        self._policy = policy
        self._version = version
        self._phase = _IDLE
        self._opening_since = 0.0
        self._initialize_id = b""
        # The revisions that this process was offered.
        self._offered: set[str] = set()
        self._result = b""
        self._info = b""
        # What clients have declared that the bridge does not know in advance. A process is told of it when it is started.
        self._extra: extensions.Found = {}
        self._extra_bytes = 0
        self._fronts: dict[Front, None] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        # The calls of the process that may cause requests of the server.
        self.origins = Origins(self._limits.held_seconds, several=True)
        # Unanswered requests of fronts by wire id, oldest first.
        self._calls: dict[bytes, _Call] = {}
        self._abandoned = AbandonedRequests()
        # Messages for a process that is not open yet, and their bytes.
        self._held: list[tuple[Front, Request, bytes]] = []
        self._held_bytes = 0
        # Requests that wait until the server has fewer than `calls_at_once`, by wire id.
        self._queued: dict[bytes, tuple[Front, Request, bytes]] = {}
        # Fronts that wait for the answer to `initialize`, with their wire id and revision.
        self._waiting: list[tuple[Front, bytes, str]] = []
        # Unanswered requests of the server by our id, and our ids by those of the server.
        self._questions: dict[bytes, _Question] = {}
        self._question_ids: dict[bytes, bytes] = {}
        # Our subscribe requests: the URI, and the requests of other fronts that wait for the same.
        self._subscribing: dict[bytes, tuple[str, list[bytes]]] = {}
        self._pending: dict[str, bytes] = {}
        # What the server was told to log.
        self._level = ""
        self._has_tasks = False
        # Tasks of the server by their ids, and those with a progress token by the wire ids of their calls.
        self._tasks: dict[bytes, _Task] = {}
        self._task_tokens: dict[bytes, _Task] = {}
        # Tasks of clients, and URLs that clients were asked to open, by their ids.
        self._client_tasks: dict[bytes, Front] = {}
        self._urls: dict[bytes, Front] = {}

    # ---- state

    @property
    def calling(self) -> bool:
        """Whether a request of a front waits for its answer."""
        return bool(self._calls)

    @property
    def is_opening(self) -> bool:
        """Whether a process is being started, or has not answered `initialize`."""
        return self._phase in (_STARTING, _OPENING, _REFUSED)

    @property
    def is_refused(self) -> bool:
        """Whether `refuse` is expected."""
        return self._phase == _REFUSED

    def set_client_info(self, info: bytes) -> None:
        """Take the clientInfo of a stateless client (raw), if it is the first client."""
        if not self._info and (found := client_info(info)):
            self._info = json_object.write(found)

    def add_extensions(self, declared: extensions.Found) -> None:
        """Keep what a client has declared. Of an extension with two settings the first are kept.

        At the limit the rest is left out: the server is not told of it.
        """
        for key, settings in declared.items():
            size = sum(map(len, key)) + len(settings)
            if (
                key not in self._extra
                and len(self._extra) < _EXTENSIONS
                and self._extra_bytes + size <= _EXTENSIONS_BYTES
            ):
                self._extra[key] = settings
                self._extra_bytes += size

    # ---- fronts

    def attach(self, front: Front) -> Effects:
        """Add a front. One that was `renewed` gets its subscriptions and its level back."""
        missing = [uri for uri in front.uris if not self._is_wanted(uri)]
        self._fronts[front] = None
        if self._phase != _OPEN:
            return self._wake() if front.translated else ()
        if front.translated:
            return (FrontOpened(front, self._result),)
        return (*self._lower_level(), *self._subscribe_again(missing), *self._catch_up(front))

    def detach(self, front: Front) -> Effects:
        """Remove a front: its calls and tasks are cancelled, what it was asked is answered with an error."""
        if self._fronts.pop(front, self) is self:
            return ()
        effects: list[Effect] = []
        for wire_id in [one for one, call in self._calls.items() if call.front is front]:
            effects.extend(self._take_back(wire_id, b'{"reason":"the client left"}'))
        self._waiting = [one for one in self._waiting if one[0] is not front]
        for own_id in [one for one, question in self._questions.items() if question.front is front]:
            server_id = self._forget_question(own_id).server_id
            effects.append(ToServer(_failure(server_id, INTERNAL_ERROR, "the client left without an answer")))
        for task_id in [one for one, task in self._tasks.items() if task.front is front]:
            self._forget_task(task_id)
            effects.append(self._cancel_task(task_id))
        for kept in (self._client_tasks, self._urls):
            for key in [key for key, owner in kept.items() if owner is front]:
                del kept[key]
        if self._phase == _OPEN:
            effects.extend(self._unsubscribe_all(front))
            effects.extend(self._lower_level())
        return tuple(effects)

    def _unsubscribe_all(self, front: Front) -> list[Effect]:
        left = [uri for uri in front.uris if not self._is_wanted(uri)]
        return [
            ToServer(Request(self._own_id(), "resources/unsubscribe", json_object.write({"uri": uri})))
            for uri in left
        ]

    # ---- from a front

    def on_front_message(self, front: Front, message: Message, token: bytes = b"") -> Effects:
        """Take a message of a front. `token` is the raw progress token of a request that is not translated."""
        if type(message) is Request:
            if message.method == "initialize":
                return self._initialized_by(front, message)
            if self._phase == _OPEN:
                return self._requested(front, message, token)
            return self._hold(front, message, token)
        if type(message) is Response:
            return self._question_answered(front, message)
        assert type(message) is Notification  # noqa: S101 - the union has three members
        return self._front_notified(front, message)

    def _hold(self, front: Front, message: Request, token: bytes) -> Effects:
        size = len(message.params)
        if self._held and self._held_bytes + size > self._limits.stdin_bytes:
            text = (
                f"{self._held_bytes} bytes wait for the server to be started "
                f"and the limit stdin_bytes is {self._limits.stdin_bytes}"
            )
            return (ToFront(front, _failure(message.id, SERVER_ERROR, text)),)
        self._held.append((front, message, token))
        self._held_bytes += size
        self._calls[message.id] = _Call(front, message.method, token)
        return self._wake()

    def _wake(self) -> Effects:
        if self._phase != _IDLE:
            return ()
        self._phase = _STARTING
        return (StartProcess(),)

    def _requested(self, front: Front, message: Request, token: bytes) -> Effects:
        method = message.method
        special = self._SPECIAL.get(method)
        if special is not None:
            return special(self, front, message, token)
        self._calls[message.id] = _Call(front, method, token)
        if len(self._calls) > self._limits.calls_at_once and method != "ping" and self._is_full(1):
            self._queued[message.id] = (front, message, token)
            return ()
        return self._give(front, message, token)

    def _is_full(self, more: int) -> bool:
        # A call that waits for its client must not hold up those of others.
        waiting = {question.about for question in self._questions.values() if question.about in self._calls}
        given = len(self._calls) - len(self._queued) - len(waiting) - more
        return given >= self._limits.calls_at_once

    def _release(self) -> list[Effect]:
        """Give the server the next requests that wait."""
        effects: list[Effect] = []
        while self._queued and not self._is_full(0):
            effects.extend(self._give(*self._queued.pop(next(iter(self._queued)))))
        return effects

    def _give(self, front: Front, message: Request, token: bytes) -> Effects:
        method = message.method
        if not front.translated:
            self.origins.begin(message.id, front.client, front, front.declared, may_ask=method in MAY_ASK)
        return (ToServer(_with_token(message) if token else message),)

    def _initialized_by(self, front: Front, message: Request) -> Effects:
        found = json_object.peek(message.params)
        front.capabilities = {
            name: msgspec.Raw(bytes(value))
            for name, value in json_object.peek(found.get("capabilities")).items()
        }
        version = json_object.string(found.get("protocolVersion"))
        self.add_extensions(extensions.declared_in(found.get("capabilities")))
        if self._phase == _OPEN:
            return (self._welcome(front, message.id, version),)
        if not self._info:
            self._info = bytes(found.get("clientInfo", b""))
        self._calls[message.id] = _Call(front, "initialize", b"")
        self._waiting.append((front, message.id, version))
        return self._wake()

    def _welcome(self, front: Front, wire_id: bytes, version: str) -> ToFront:
        front.ready = True
        return ToFront(front, Response(wire_id, self._result_for(version), b""))

    def _result_for(self, version: str) -> bytes:
        # The oldest revision of the two: a client must not get a later one than it has asked for.
        found = json_object.peek(self._result)
        negotiated = json_object.string(found.get("protocolVersion"))
        if (agreed := agreed_version(version, negotiated)) != negotiated:
            found["protocolVersion"] = json_object.raw(json_object.text(agreed))
            return json_object.write(found)
        return self._result

    def _subscribed(self, front: Front, message: Request, token: bytes) -> Effects:
        uri = json_object.string(json_object.peek(message.params).get("uri"))
        limit = self._limits.stream_messages
        if len(front.uris) >= limit and uri not in front.uris:
            text = f"the limit of {limit} subscribed resources is reached (stream_messages)"
            return (ToFront(front, _failure(message.id, INVALID_PARAMS, text)),)
        if not uri:  # for the server to refuse
            self._calls[message.id] = _Call(front, message.method, token)
            return (ToServer(message),)
        first = not self._is_wanted(uri)
        front.uris[uri] = None
        if first:
            self._calls[message.id] = _Call(front, message.method, token, uri)
            self._subscribing[message.id] = (uri, [])
            self._pending[uri] = message.id
            return (ToServer(message),)
        if uri in self._pending:
            self._calls[message.id] = _Call(front, message.method, token, uri)
            self._subscribing[self._pending[uri]][1].append(message.id)
            return ()
        return (ToFront(front, Response(message.id, _NOTHING, b"")),)

    def _unsubscribed(self, front: Front, message: Request, token: bytes) -> Effects:
        uri = json_object.string(json_object.peek(message.params).get("uri"))
        front.uris.pop(uri, None)
        if self._is_wanted(uri):
            return (ToFront(front, Response(message.id, _NOTHING, b"")),)
        self._pending.pop(uri, None)
        self._calls[message.id] = _Call(front, message.method, token)
        return (ToServer(message),)

    def _is_wanted(self, uri: str) -> bool:
        return any(uri in front.uris for front in self._fronts)

    def _level_set(self, front: Front, message: Request, token: bytes) -> Effects:
        found = json_object.peek(message.params)
        level = json_object.string(found.get("level"))
        before = front.level
        if level in LOG_LEVELS:
            front.level = level
            self._level = self._most_verbose()
            found["level"] = json_object.raw(json_object.text(self._level))
            message = Request(message.id, message.method, json_object.write(found))
        self._calls[message.id] = _Call(front, message.method, token, before)
        return (ToServer(message),)

    def _most_verbose(self) -> str:
        return min((front.level for front in self._fronts if front.level), key=LOG_LEVELS.index, default="")

    def _lower_level(self) -> Effects:
        level = self._most_verbose()
        if not level or level == self._level:
            return ()
        self._level = level
        return (ToServer(Request(self._own_id(), "logging/setLevel", json_object.write({"level": level}))),)

    def _own_id(self) -> bytes:
        return self._abandoned.add(self._next_id())

    def _task_named(self, front: Front, message: Request, token: bytes) -> Effects:
        task_id = _task_in(message.params)
        task = self._tasks.get(task_id)
        if self._has_tasks and (task is None or task.front is not front):
            return (ToFront(front, _failure(message.id, INVALID_PARAMS, "Unknown task")),)
        self._calls[message.id] = _Call(front, message.method, token, "", task_id)
        if task is not None:
            task.since = None
            if message.method == "tasks/result" and task.origin is not None:
                self.origins.rename(task.origin, message.id)
        return (ToServer(_with_token(message) if token else message),)

    _SPECIAL: Final = {
        "resources/subscribe": _subscribed,
        "resources/unsubscribe": _unsubscribed,
        "logging/setLevel": _level_set,
        **dict.fromkeys(_NAME_A_TASK, _task_named),
    }

    def _front_notified(self, front: Front, message: Notification) -> Effects:
        method = message.method
        if method == "notifications/cancelled":
            raw_id, _ = read_cancelled(message.params)
            call = self._calls.get(raw_id)
            if call is None or call.front is not front:
                return (LogDebug("cancellation_unmatched"),)
            return self._take_back(raw_id, message.params)
        if method == "notifications/initialized" or self._phase != _OPEN:
            return ()
        if method == "notifications/progress" and not self._may_report(front, read_progress(message.params)):
            return (LogDebug("progress_unmatched"),)
        if method == "notifications/tasks/status" and not self._is_task_of(front, message.params):
            return (LogDebug("task_status_unmatched"),)
        return (ToServer(message),)

    def _may_report(self, front: Front, token: bytes) -> bool:
        return any(one.front is front and one.token == token for one in self._questions.values())

    def _is_task_of(self, front: Front, params: bytes) -> bool:
        return self._client_tasks.get(_task_in(params)) is front

    def _take_back(self, wire_id: bytes, params: bytes) -> Effects:
        """Cancel a request of a front at the server, where the server may still work on it.

        `params` are those of the front's own cancellation, if there was one.
        """
        call = self._calls.pop(wire_id)
        held = [one for one in self._held if one[1].id == wire_id] if self._held else []
        if held or call.method == "initialize":
            self._held = [one for one in self._held if one not in held]
            self._held_bytes -= sum(len(one[1].params) for one in held)
            return ()
        if self._queued.pop(wire_id, None) is not None:
            return ()
        self._abandoned.add(wire_id)
        if call.method in _COMBINED:
            return ()
        origin = self.origins.get(wire_id)
        if origin is not None and not call.task and not call.front.translated:
            if origin.may_ask:
                self.origins.cancel(origin)
            else:
                self.origins.answer(origin)
        taken_back = ToServer(Notification("notifications/cancelled", cancelled_again(params, wire_id)))
        return (taken_back, *self._release())

    def _question_answered(self, front: Front, message: Response) -> Effects:
        question = self._questions.get(message.id)
        if question is None or question.front is not front:
            return (LogDebug("response_unmatched", ("client", message.id)),)
        self._forget_question(message.id)
        if question.augmented:
            task = task_of(message.result)
            if task:
                self._remember(self._client_tasks, _canonical(task), front)
        return (ToServer(Response(question.server_id, message.result, message.error)),)

    # ---- the process

    def on_start(self) -> Effects:
        """A process is there: open its session."""
        self._phase = _OPENING
        self._opening_since = 0.0
        self._offered.clear()
        return self._offer(LEGACY_REVISIONS[-1])

    def _offer(self, version: str) -> Effects:
        self._offered.add(version)
        self._initialize_id = self._next_id()
        capabilities = {**json_object.peek(_CAPABILITIES), **extensions.as_capabilities(self._extra.items())}
        params = json_object.write(
            {
                "protocolVersion": version,
                "capabilities": json_object.raw(self._policy.declared(json_object.write(capabilities))),
                "clientInfo": self._client_info(),
            }
        )
        return (ToServer(Request(self._initialize_id, "initialize", params)),)

    def _client_info(self) -> dict[str, object]:
        # The name of the first client, which other clients share the process with.
        found: dict[str, object] = {**json_object.peek(self._info)}
        name = json_object.string(json_object.peek(self._info).get("name"))
        if not name:
            return {"name": "mcp-bridge", "version": self._version}
        found["name"] = f"{name} (via mcp-bridge {self._version})"
        return found

    def refuse(self, error: bytes) -> Effects:
        """The refusal of `initialize` is final: every front that waits gets it, and the process ends."""
        if self._phase != _REFUSED:
            return ()
        self._phase = _IDLE
        calls = self._calls
        fronts = self._fronts
        waiting = [(call.front, wire_id) for wire_id, call in calls.items()]
        self._begin_anew()
        text = f"the server refused to initialize: {read_fault(error).message}"
        return (
            *(ToFront(front, Response(wire_id, b"", error)) for front, wire_id in waiting),
            *(CallsLost(front, (), text, {}) for front in fronts if front.translated),
            KillProcess(),
        )

    def on_exit(self, text: str, data: dict[str, object]) -> Effects:
        """The process is gone, or could not be started. Everything in flight fails with the reason."""
        if self._phase == _OVER:
            return ()
        opened = self._phase == _OPEN
        self._phase = _IDLE
        calls, questions = self._calls, self._questions
        self._begin_anew()
        effects: list[Effect] = [
            ToFront(question.front, Notification("notifications/cancelled", cancelled(own_id, b"")))
            for own_id, question in questions.items()
            if not question.front.translated
        ]
        for front in self._fronts:
            front.renewed = front.renewed or (opened and front.ready)
            on_exit = tuple(wire_id for wire_id, call in calls.items() if call.front is front)
            if on_exit or front.translated:
                effects.append(CallsLost(front, on_exit, text, data))
        return tuple(effects)

    def close(self, text: str) -> Effects:
        """The process is to end for good."""
        effects = self.on_exit(text, {"reason": "restarted"})
        self._phase = _OVER
        return effects

    def on_tick(self, now: float) -> Effects:
        """Time has passed (seconds on any steady clock)."""
        self.origins.tick(now)
        for task_id, task in list(self._tasks.items()):
            if task.since is None:
                task.since = now
            elif now - task.since > self._limits.held_seconds:
                self._forget_task(task_id)
        if self._phase != _OPENING:
            return ()
        self._opening_since = self._opening_since or now
        limit = self._limits.start_seconds
        if now - self._opening_since <= limit:
            return ()
        text = f"the server did not answer initialize within {limit:g} s"
        return (*self.on_exit(text, {"reason": "not started"}), KillProcess())

    # ---- from the server

    def on_server_message(self, message: Message) -> Effects:
        """Take a message of the server. Never raises, however wrong the message is."""
        if isinstance(message, Response):
            return self._answered(message)
        if not json_object.has_room(message.params):
            return self._refuse_many_members(message)
        if isinstance(message, Notification):
            return self._notified(message)
        return self._asked(message)

    def _refuse_many_members(self, message: Request | Notification) -> Effects:
        if isinstance(message, Notification):
            return (LogDebug("notification_with_too_many_members"),)
        refusal = ToServer(_failure(message.id, INTERNAL_ERROR, json_object.TOO_MANY))
        return (refusal, ServerRequestRefused(message.method, "too_many_members"))

    def _answered(self, message: Response) -> Effects:
        wire_id = message.id
        if self._phase != _OPEN:
            return self._handshake_answered(message)
        call = self._calls.pop(wire_id, None)
        if call is None:
            return self._late(message)
        effects: Effects = (ToFront(call.front, message),)
        if call.detail or call.task or call.method in self._SPECIAL:
            effects = self._special_answered(call, message)
        elif call.method == "tasks/list" and not call.front.translated:
            effects = (ToFront(call.front, self._tasks_of(call.front, message)),)
        origin = self.origins.get(wire_id)
        task = task_of(message.result) if self._has_tasks and call.method == "tools/call" else b""
        if task:
            self._became_task(call, wire_id, task, origin)
        elif origin is not None and not call.front.translated:
            self.origins.answer(origin)
        if message.error:
            self._note_urls(call.front, message.error)
        return (*effects, *self._release()) if self._queued else effects

    def _handshake_answered(self, message: Response) -> Effects:
        if message.id != self._initialize_id or self._phase != _OPENING:
            return (LogDebug("response_unmatched", ("server", message.id)),)
        error = message.error
        found = json_object.peek(message.result)
        if "resultType" in found and "protocolVersion" not in found:  # a result of revision 2026-07-28
            error = fault_text(INTERNAL_ERROR, "the server answered initialize without a protocolVersion")
        if error:
            return self._unopened(error)
        self._phase = _OPEN
        self._result = bytes(self._policy.opening(message.result))
        self._has_tasks = "tasks" in json_object.peek(json_object.peek(self._result).get("capabilities"))
        effects: list[Effect] = [Opened(), ToServer(Notification("notifications/initialized", b""))]
        effects.extend(self._lower_level())
        effects.extend(self._subscribe_again(uri for front in self._fronts for uri in front.uris))
        for front, wire_id, version in self._waiting:
            if self._calls.pop(wire_id, None) is not None:
                effects.append(self._welcome(front, wire_id, version))
        self._waiting = []
        effects.extend(FrontOpened(front, self._result) for front in self._fronts if front.translated)
        held, self._held, self._held_bytes = self._held, [], 0
        for front, request, token in held:
            del self._calls[request.id]
            effects.extend(self._requested(front, request, token))
        for front in self._fronts:
            effects.extend(self._catch_up(front))
        return tuple(effects)

    def _unopened(self, error: bytes) -> Effects:
        # A server may refuse a revision that it does not know, and accept the one that its client has asked for.
        wanted = {version for _, _, version in self._waiting} & {*LEGACY_REVISIONS} - self._offered
        if wanted:
            return self._offer(max(wanted))
        self._phase = _REFUSED
        return (Unopened(error),)

    def _subscribe_again(self, uris: Iterable[str]) -> list[Effect]:
        return [
            ToServer(Request(self._own_id(), "resources/subscribe", json_object.write({"uri": uri})))
            for uri in dict.fromkeys(uris)
        ]

    def _catch_up(self, front: Front) -> list[Effect]:
        """Tell a front of what may have changed while it had no process."""
        if not front.renewed:
            return []
        front.renewed = False
        offered = json_object.peek(json_object.peek(self._result).get("capabilities"))
        changed = [
            Notification(f"notifications/{name}/list_changed", b"")
            for name in _LISTS
            if bytes(json_object.peek(offered.get(name)).get("listChanged", b"")) == b"true"
        ]
        changed.extend(
            Notification("notifications/resources/updated", json_object.write({"uri": uri}))
            for uri in front.uris
        )
        return [ToFront(front, one) for one in changed]

    def _late(self, message: Response) -> Effects:
        known = self._abandoned.take(message.id)
        if message.id in self._subscribing:  # its front has left or taken it back, others may wait
            return self._subscription_answered(message)
        origin = self.origins.get(message.id)
        if origin is None and known:
            return (LogDebug("response_not_awaited"),)
        if origin is None or (origin.phase is Phase.ANSWERED and not known):
            return (LogDebug("response_unmatched", ("server", message.id)),)
        self._abandoned.add(message.id)
        if origin.phase is not Phase.ANSWERED:
            self.origins.answer(origin)
        task = task_of(message.result) if self._has_tasks else b""
        return (self._cancel_task(task),) if task else ()

    def _special_answered(self, call: _Call, message: Response) -> Effects:
        if call.method == "resources/subscribe":
            return (ToFront(call.front, message), *self._subscription_answered(message))
        if call.method == "logging/setLevel" and message.error:
            call.front.level = call.detail
            self._level = self._most_verbose()
        task = self._tasks.get(call.task)
        if task is not None and (call.method == "tasks/result" or self._has_ended(message.result)):
            self._task_ended(task)
        return (ToFront(call.front, message),)

    def _subscription_answered(self, message: Response) -> Effects:
        uri, others = self._subscribing.pop(message.id, ("", []))
        if self._pending.get(uri) == message.id:
            del self._pending[uri]
            if message.error:
                for front in self._fronts:
                    front.uris.pop(uri, None)
        waiting = [(one, self._calls.pop(one)) for one in others if one in self._calls]
        return tuple(
            ToFront(call.front, Response(one, bytes(message.result), message.error)) for one, call in waiting
        )

    def _note_urls(self, front: Front, error: bytes) -> None:
        fault = read_fault(error)
        if fault.code != URL_ELICITATION_REQUIRED or not isinstance(fault.data, msgspec.Raw):
            return
        for one in json_object.items(json_object.peek(fault.data).get("elicitations"))[
            : self._limits.in_flight
        ]:
            self._note_url(front, one)

    def _note_url(self, front: Front, params: bytes | msgspec.Raw) -> None:
        found = json_object.peek(params)
        if "elicitationId" in found:
            self._remember(self._urls, _canonical(bytes(found["elicitationId"])), front)

    def _remember(self, kept: dict[bytes, Front], key: bytes, front: Front) -> None:
        """Keep an id of a front, at most `in_flight` of each: at the limit its oldest one is forgotten."""
        if kept.get(key, front) is not front:  # two clients with the same id: of neither
            del kept[key]
            return
        kept[key] = front
        mine = [one for one, other in kept.items() if other is front]
        if len(mine) > self._limits.in_flight:
            del kept[mine[0]]

    # ---- tasks of the server

    def _became_task(self, call: _Call, wire_id: bytes, task_id: bytes, origin: Origin | None) -> None:
        task_id = _canonical(task_id)
        if origin is not None and not call.front.translated:
            origin.task = task_id
        task = _Task(call.front, wire_id, call.token, None if call.front.translated else origin)
        mine = [one for one, other in self._tasks.items() if other.front is call.front]
        if len(mine) >= self._limits.in_flight:
            self._forget_task(mine[0])
        self._tasks[task_id] = task
        if call.token or call.front.translated:
            self._task_tokens[wire_id] = task

    def _task_ended(self, task: _Task) -> None:
        if task.origin is not None and task.origin.phase is not Phase.ANSWERED:
            self.origins.answer(task.origin)

    def _forget_task(self, task_id: bytes) -> None:
        task = self._tasks.pop(task_id)
        self._task_tokens.pop(task.wire_id, None)
        self._task_ended(task)

    def _cancel_task(self, task_id: bytes) -> ToServer:
        return ToServer(Request(self._own_id(), "tasks/cancel", b'{"taskId":%b}' % task_id))

    def _has_ended(self, result: bytes | msgspec.Raw) -> bool:
        return json_object.string(json_object.peek(result).get("status")) in _ENDED

    def _tasks_of(self, front: Front, message: Response) -> Response:
        found = json_object.peek(message.result)
        mine = [
            one
            for one in json_object.items(found.get("tasks"))
            if (task := self._tasks.get(_task_in(one))) is not None and task.front is front
        ]
        if "tasks" not in found:
            return message
        found["tasks"] = json_object.raw(msgspec.json.encode(mine))
        return Response(message.id, json_object.write(found), b"")

    # ---- notifications of the server

    def _notified(self, message: Notification) -> Effects:
        method = message.method
        if method == "notifications/progress":
            return self._progressed(message)
        if method == "notifications/cancelled":
            return self._withdrawn(message)
        if method in _LIST_CHANGED:
            return tuple(ToFront(front, message) for front in self._fronts if front.ready or front.translated)
        if method == "notifications/resources/updated":
            uri = json_object.string(json_object.peek(message.params).get("uri"))
            return tuple(
                ToFront(front, message)
                for front in self._fronts
                if front.translated or _covers(front.uris, uri)
            )
        if method == "notifications/message":
            return self._logged(message)
        return self._belongs(message)

    def _progressed(self, message: Notification) -> Effects:
        raw_token = jsonrpc.wire_id(read_progress(message.params))
        owner = self._calls.get(raw_token) or self._task_tokens.get(raw_token)
        if owner is None:
            return (LogDebug("progress_unmatched"),)
        if owner.front.translated:
            return (ToFront(owner.front, message, raw_token),)
        if not owner.token:
            return (LogDebug("progress_without_token"),)
        found = json_object.peek(message.params)
        found["progressToken"] = json_object.raw(owner.token)
        return (ToFront(owner.front, Notification(message.method, json_object.write(found)), raw_token),)

    def _withdrawn(self, message: Notification) -> Effects:
        raw_id, _ = read_cancelled(message.params)
        own_id = self._question_ids.get(_canonical(raw_id))
        if own_id is None:
            return (LogDebug("cancellation_unmatched"),)
        front = self._forget_question(own_id).front
        return (ToFront(front, Notification(message.method, cancelled_again(message.params, own_id))),)

    def _logged(self, message: Notification) -> Effects:
        level = json_object.string(json_object.peek(message.params).get("level"))
        front = self._only_front()
        if front is None:
            return (LogOnly(message.params),)
        if not front.translated and level in LOG_LEVELS:
            wanted = front.level or (_DEFAULT_LEVEL if self._level else "")
            if wanted and LOG_LEVELS.index(level) < LOG_LEVELS.index(wanted):
                return ()
        return (ToFront(front, message, self._newest(front)),)

    def _belongs(self, message: Notification) -> Effects:
        """Hand on what the bridge does not know, where it can be of one front only."""
        method = message.method
        front = None
        if method == "notifications/elicitation/complete":
            found = json_object.peek(message.params)
            front = self._urls.get(_canonical(bytes(found.get("elicitationId", b""))))
        else:
            named = _task_in(message.params) if method == "notifications/tasks/status" else b""
            task_id = named or _canonical(related_task(message.params))
            task = self._tasks.get(task_id)
            if task is not None:
                front, task.since = task.front, None
                if named and self._has_ended(message.params):
                    self._task_ended(task)
            elif not task_id:
                front = self._only_front()
        if front is None:
            return (LogDebug("notification_ambiguous"),)
        return (ToFront(front, message, self._newest(front)),)

    def _only_front(self) -> Front | None:
        """Return the front that has caused what the server sends by itself, where it can be one only."""
        involved = {self._front_of(owner) for owner in self.origins.owners}
        if not involved:
            ready = {front for front in self._fronts if front.ready or front.translated}
            involved = {*(ready or self._fronts)}
        if len(involved) != 1:
            return None
        front = involved.pop()
        return front if front in self._fronts else None

    def _front_of(self, owner: object) -> Front | None:
        # A translated front is known to its calls by its translator.
        if isinstance(owner, Front):
            return owner
        return next((front for front in self._fronts if front.translated and front.owner is owner), None)

    def _newest(self, front: Front) -> bytes:
        return next((one for one, call in reversed(self._calls.items()) if call.front is front), b"")

    # ---- requests of the server

    def _asked(self, message: Request) -> Effects:
        method = message.method
        if method == "ping":
            return (ToServer(Response(message.id, _NOTHING, b"")),)
        if _canonical(message.id) in self._question_ids:
            text = "this id is in use by a request in flight"
            return (ToServer(_failure(message.id, INVALID_REQUEST, text)),)
        if method in _NAME_A_TASK:
            owner = self._client_tasks.get(_task_in(message.params))
            if owner is None:
                return (ToServer(_failure(message.id, INVALID_PARAMS, "Unknown task")),)
            return (ToFront(owner, Request(self._new_question(owner, message), method, message.params)),)
        if self._policy.denied(method):
            return self._refused(
                message, Refusal(METHOD_NOT_FOUND, self._policy.refusal(method, 200).text, "denied")
            )
        return self._assign(message, b"")

    def reassign(self, message: Request, client: Client) -> Effects:
        """A translated front gives back a request that its client has not answered, because the call has ended."""
        if message.id not in self._questions:
            return ()
        server_id = self._forget_question(message.id).server_id
        return self._assign(Request(server_id, message.method, message.params), message.id, client)

    def _assign(self, message: Request, own_id: bytes, again_for: Client | None = None) -> Effects:
        method = message.method
        task = _canonical(related_task(message.params))
        found = self.origins.assign(method, message.params, task, again_for)
        if isinstance(found, Refusal):
            return self._refused(message, found)
        front = self._front_of(found.owner)
        if front is None or front not in self._fronts:
            return self._refused(message, Refusal(INTERNAL_ERROR, "the client has left", "client_left"))
        if method == "elicitation/create":
            self._note_url(front, message.params)
        own_id = self._new_question(front, message, own_id, found.wire_id)
        request = Request(own_id, method, message.params)
        asked = (
            Assigned(front, request, found) if front.translated else ToFront(front, request, found.wire_id)
        )
        return (asked, *self._release())

    def _refused(self, message: Request, refusal: Refusal) -> Effects:
        origin = refusal.origin
        front = None if origin is None else self._front_of(origin.owner)
        effects: list[Effect] = [
            ToServer(_failure(message.id, refusal.code, refusal.text)),
            ServerRequestRefused(message.method, refusal.reason),
        ]
        if origin is not None and front is not None and front.translated:
            effects.append(Undeclared(front, message, origin))
        return tuple(effects)

    def _new_question(self, front: Front, message: Request, own_id: bytes = b"", about: bytes = b"") -> bytes:
        own_id = own_id or self._next_id()
        found = json_object.peek(message.params)
        token = bytes(json_object.peek(found.get("_meta")).get("progressToken", b""))
        self._questions[own_id] = _Question(message.id, front, token, "task" in found, about)
        self._question_ids[_canonical(message.id)] = own_id
        return own_id

    def _forget_question(self, own_id: bytes) -> _Question:
        question = self._questions.pop(own_id)
        del self._question_ids[_canonical(question.server_id)]
        return question


def _failure(raw_id: bytes, code: int, text: str) -> Response:
    return Response(raw_id, b"", fault_text(code, text))


def _with_token(message: Request) -> Request:
    """Return the request with its wire id as the progress token: unique, where those of the clients are not."""
    found = json_object.peek(message.params)
    meta = json_object.peek(found.get("_meta"))
    meta["progressToken"] = json_object.raw(message.id)
    found["_meta"] = json_object.raw(json_object.write(meta))
    return Request(message.id, message.method, json_object.write(found))


def _task_in(params: bytes | msgspec.Raw) -> bytes:
    return _canonical(bytes(json_object.peek(params).get("taskId", b"")))


def _canonical(raw: bytes) -> bytes:
    # Two spellings of one string are one id, unless it is so long that no server has given it.
    return json_object.text(json_object.string(raw)) if len(raw) <= _LONGEST_ID and b"\\" in raw else raw


def _covers(uris: dict[str, None], uri: str) -> bool:
    return uri in uris or any(uri.startswith(one.rstrip("/") + "/") for one in uris)
