"""Share one legacy server process between several clients without translation: ids, initialize, subscriptions, requests.

Each client has a `Front`. The process is initialized once, with every capability that a client can declare; later clients
get the stored result. Requests keep the wire ids of their front, which are unique because all fronts take them from one
counter, so the call of a response is found by one look-up. Payloads pass unchanged, except for progress tokens and log levels.

Pure: an event is a method call that returns a tuple of effects, to be carried out in order before the next event.
Invariant: a message of the server is sent to the front that it belongs to, or to none.
Invariant: a request of a front ends in exactly one response, one `CallsLost`, or its cancellation.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from ...validators import json_object, jsonrpc
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.mcp_params import (
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
from . import extensions, shared_subscriptions
from .abandoned_requests import AbandonedRequests
from .access_policy import AccessPolicy
from .attribution import MAY_ASK, Client, Origin, Origins, Phase, Refusal
from .effects import LogDebug, ServerRequestRefused, StartProcess, ToServer
from .errors import URL_ELICITATION_REQUIRED, fault_text, read_fault
from .forwarded_requests import ForwardedRequests
from .front import Front, FrontIds
from .shared_subscriptions import SharedSubscriptions
from .shared_tasks import SharedTasks, canonical_text, has_ended, task_in
from .tasks import related_task, task_of
from .upstream_handshake import LISTS, UpstreamHandshake

_LIST_CHANGED: Final = frozenset(f"notifications/{name}/list_changed" for name in LISTS)
# Requests that the server gets once for several clients, so that one client cannot cancel them.
_COMBINED: Final = frozenset({"resources/subscribe", "resources/unsubscribe", "logging/setLevel"})
_NAME_A_TASK: Final = frozenset({"tasks/get", "tasks/result", "tasks/cancel"})
# The log level of a client that has set none while another client has.
_DEFAULT_LEVEL: Final = "info"
_NOTHING: Final = b"{}"


class ToFront(NamedTuple):
    """Send this message of the server to a front. `about` is the wire id of the call that it belongs to, or nothing."""

    front: Front
    message: Message
    about: bytes = b""


class Assigned(NamedTuple):
    """Send this request of the server to a translated front, for this call."""

    front: Front
    message: Request
    origin: Origin


class Undeclared(NamedTuple):
    """Notify a translated front that a request was refused, because the client of this call has not declared it."""

    front: Front
    message: Request
    origin: Origin


class FrontOpened(NamedTuple):
    """Notify a translated front of the end of the handshake. `result` is that of `initialize`."""

    front: Front
    result: bytes


class CallsLost(NamedTuple):
    """Fail the requests of a front with these wire ids, because the process has exited."""

    front: Front
    wire_ids: tuple[bytes, ...]
    text: str
    data: dict[str, object]


class Opened(NamedTuple):
    """Record that the server has accepted `initialize`. Returned once for each process."""


class Unopened(NamedTuple):
    """Record that the server has refused `initialize` with this error, and call `refuse` when that is final."""

    error: bytes


class KillProcess(NamedTuple):
    """Kill the process. Its fronts have been notified."""


class LogOnly(NamedTuple):
    """Write a log message of the server to its log, because several clients can have caused it."""

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
    """A request of a front without a response. `detail` depends on the method."""

    front: Front
    method: str
    token: bytes
    # The URI of resources/subscribe, the level before logging/setLevel.
    detail: str = ""
    # The raw id of the task of a tasks/* request.
    task: bytes = b""


# There is no process; the next request starts one.
_IDLE: Final = "idle"
_STARTING: Final = "starting"
_OPENING: Final = "opening"
# The server has refused `initialize`, and the caller decides whether that is final.
_REFUSED: Final = "refused"
_OPEN: Final = "open"
_OVER: Final = "over"


class SharedUpstream:
    """The state machine of one shared process. `next_id` returns wire ids that are unique over all processes of a server."""

    def __init__(
        self, limits: Limits, next_id: Callable[[], bytes], policy: AccessPolicy, version: str = "0"
    ) -> None:
        self._limits = limits
        self._next_id = next_id
        self._policy = policy
        self._phase = _IDLE
        self._handshake = UpstreamHandshake(policy, version)
        self._fronts: dict[Front, None] = {}
        self._reset()

    def _reset(self) -> None:
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
        # Fronts that wait for the result of `initialize`, with their wire id and revision.
        self._waiting: list[tuple[Front, bytes, str]] = []
        self._requests = ForwardedRequests()
        self._subscriptions = SharedSubscriptions()
        # The log level of the server.
        self._level = ""
        self._tasks = SharedTasks(self._limits, self.origins)
        # Tasks of clients, and URLs that clients are requested to open.
        self._client_tasks = FrontIds(self._limits.in_flight)
        self._urls = FrontIds(self._limits.in_flight)

    # ---- state

    @property
    def calling(self) -> bool:
        """Whether a request of a front has no response."""
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
        """Store the clientInfo of a stateless client (raw), if it is the first client."""
        self._handshake.set_client_info(info)

    def add_extensions(self, declared: extensions.Found) -> None:
        """Store extensions of a client for the next `initialize`."""
        self._handshake.add_extensions(declared)

    # ---- fronts

    def attach(self, front: Front) -> Effects:
        """Add a front, with the subscriptions and the log level that it has from a former process."""
        missing = [uri for uri in front.uris if not self._is_wanted(uri)]
        self._fronts[front] = None
        if self._phase != _OPEN:
            return self._start_process() if front.translated else ()
        if front.translated:
            return (FrontOpened(front, self._handshake.result),)
        return (*self._lower_level(), *self._subscribe_again(missing), *self._missed(front))

    def detach(self, front: Front) -> Effects:
        """Remove a front: its calls and tasks are cancelled, requests to it are answered with an error."""
        if self._fronts.pop(front, self) is self:
            return ()
        effects: list[Effect] = []
        for wire_id in [one for one, call in self._calls.items() if call.front is front]:
            effects.extend(self._cancel(wire_id, b'{"reason":"the client left"}'))
        self._waiting = [one for one in self._waiting if one[0] is not front]
        text = "the client left without an answer"
        effects.extend(
            ToServer(_failure(request.server_id, INTERNAL_ERROR, text))
            for request in self._requests.remove_front(front)
        )
        effects.extend(map(self._cancel_task, self._tasks.remove_front(front)))
        self._client_tasks.remove(front)
        self._urls.remove(front)
        if self._phase == _OPEN:
            effects.extend(self._unsubscribe_all(front))
            effects.extend(self._lower_level())
        return tuple(effects)

    def _unsubscribe_all(self, front: Front) -> list[Effect]:
        left = [uri for uri in front.uris if not self._is_wanted(uri)]
        return [ToServer(shared_subscriptions.request("unsubscribe", self._own_id(), uri)) for uri in left]

    # ---- from a front

    def on_front_message(self, front: Front, message: Message, token: bytes = b"") -> Effects:
        """Handle a message of a front. `token` is the raw progress token of a request that is not translated."""
        if type(message) is Request:
            if message.method == "initialize":
                return self._on_initialize(front, message)
            if self._phase == _OPEN:
                return self._on_request(front, message, token)
            return self._hold(front, message, token)
        if type(message) is Response:
            return self._on_front_response(front, message)
        assert type(message) is Notification  # noqa: S101 - the union has three members
        return self._on_front_notification(front, message)

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
        return self._start_process()

    def _start_process(self) -> Effects:
        if self._phase != _IDLE:
            return ()
        self._phase = _STARTING
        return (StartProcess(),)

    def _on_request(self, front: Front, message: Request, token: bytes) -> Effects:
        method = message.method
        special = self._SPECIAL.get(method)
        if special is not None:
            return special(self, front, message, token)
        self._calls[message.id] = _Call(front, method, token)
        if len(self._calls) > self._limits.calls_at_once and method != "ping" and self._is_full(1):
            self._queued[message.id] = (front, message, token)
            return ()
        return self._send(front, message, token)

    def _is_full(self, more: int) -> bool:
        # A call that waits for its client must not delay calls of others.
        waiting = self._requests.calls() & self._calls.keys()
        given = len(self._calls) - len(self._queued) - len(waiting) - more
        return given >= self._limits.calls_at_once

    def _send_queued(self) -> list[Effect]:
        """Send as many queued requests as the server may have at once."""
        effects: list[Effect] = []
        while self._queued and not self._is_full(0):
            effects.extend(self._send(*self._queued.pop(next(iter(self._queued)))))
        return effects

    def _send(self, front: Front, message: Request, token: bytes) -> Effects:
        method = message.method
        if not front.translated:
            self.origins.begin(message.id, front.client, front, front.declared, may_ask=method in MAY_ASK)
        return (ToServer(_with_token(message) if token else message),)

    def _on_initialize(self, front: Front, message: Request) -> Effects:
        found = json_object.peek(message.params)
        front.capabilities = {
            name: msgspec.Raw(bytes(value))
            for name, value in json_object.peek(found.get("capabilities")).items()
        }
        version = json_object.string(found.get("protocolVersion"))
        self.add_extensions(extensions.declared_in(found.get("capabilities")))
        if self._phase == _OPEN:
            return (self._answer_initialize(front, message.id, version),)
        if not self._handshake.info:
            self._handshake.info = bytes(found.get("clientInfo", b""))
        self._calls[message.id] = _Call(front, "initialize", b"")
        self._waiting.append((front, message.id, version))
        return self._start_process()

    def _answer_initialize(self, front: Front, wire_id: bytes, version: str) -> ToFront:
        front.ready = True
        return ToFront(front, Response(wire_id, self._handshake.result_for(version), b""))

    def _on_subscribe(self, front: Front, message: Request, token: bytes) -> Effects:
        uri = json_object.string(json_object.peek(message.params).get("uri"))
        limit = self._limits.stream_messages
        if len(front.uris) >= limit and uri not in front.uris:
            text = f"the limit of {limit} subscribed resources is reached (stream_messages)"
            return (ToFront(front, _failure(message.id, INVALID_PARAMS, text)),)
        # The server refuses a request without a URI.
        if not uri:
            self._calls[message.id] = _Call(front, message.method, token)
            return (ToServer(message),)
        first = not self._is_wanted(uri)
        front.uris[uri] = None
        if first:
            self._calls[message.id] = _Call(front, message.method, token, uri)
            self._subscriptions.begin(uri, message.id)
            return (ToServer(message),)
        if self._subscriptions.join(uri, message.id):
            self._calls[message.id] = _Call(front, message.method, token, uri)
            return ()
        return (ToFront(front, Response(message.id, _NOTHING, b"")),)

    def _on_unsubscribe(self, front: Front, message: Request, token: bytes) -> Effects:
        uri = json_object.string(json_object.peek(message.params).get("uri"))
        front.uris.pop(uri, None)
        if self._is_wanted(uri):
            return (ToFront(front, Response(message.id, _NOTHING, b"")),)
        self._subscriptions.cancel(uri)
        self._calls[message.id] = _Call(front, message.method, token)
        return (ToServer(message),)

    def _is_wanted(self, uri: str) -> bool:
        return any(uri in front.uris for front in self._fronts)

    def _on_set_level(self, front: Front, message: Request, token: bytes) -> Effects:
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

    def _on_task_request(self, front: Front, message: Request, token: bytes) -> Effects:
        task_id = task_in(message.params)
        task = self._tasks.get(task_id)
        if self._tasks.declared and (task is None or task.front is not front):
            return (ToFront(front, _failure(message.id, INVALID_PARAMS, "Unknown task")),)
        self._calls[message.id] = _Call(front, message.method, token, "", task_id)
        if task is not None:
            task.since = None
            if message.method == "tasks/result" and task.origin is not None:
                self.origins.rename(task.origin, message.id)
        return (ToServer(_with_token(message) if token else message),)

    _SPECIAL: Final = {
        "resources/subscribe": _on_subscribe,
        "resources/unsubscribe": _on_unsubscribe,
        "logging/setLevel": _on_set_level,
        **dict.fromkeys(_NAME_A_TASK, _on_task_request),
    }

    def _on_front_notification(self, front: Front, message: Notification) -> Effects:
        method = message.method
        if method == "notifications/cancelled":
            raw_id, _ = read_cancelled(message.params)
            call = self._calls.get(raw_id)
            if call is None or call.front is not front:
                return (LogDebug("cancellation_unmatched"),)
            return self._cancel(raw_id, message.params)
        if method == "notifications/initialized" or self._phase != _OPEN:
            return ()
        if method == "notifications/progress" and not self._requests.has_token(
            front, read_progress(message.params)
        ):
            return (LogDebug("progress_unmatched"),)
        if (
            method == "notifications/tasks/status"
            and self._client_tasks.get(task_in(message.params)) is not front
        ):
            return (LogDebug("task_status_unmatched"),)
        return (ToServer(message),)

    def _cancel(self, wire_id: bytes, params: bytes) -> Effects:
        """Cancel a request of a front, at the server if it was sent.

        `params` are those of the front's cancellation, if there was one.
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
        cancellation = ToServer(Notification("notifications/cancelled", cancelled_again(params, wire_id)))
        return (cancellation, *self._send_queued())

    def _on_front_response(self, front: Front, message: Response) -> Effects:
        request = self._requests.by_id.get(message.id)
        if request is None or request.front is not front:
            return (LogDebug("response_unmatched", ("client", message.id)),)
        self._requests.remove(message.id)
        if request.augmented:
            task = task_of(message.result)
            if task:
                self._client_tasks.add(canonical_text(task), front)
        return (ToServer(Response(request.server_id, message.result, message.error)),)

    # ---- the process

    def on_start(self) -> Effects:
        """Handle the start of a process: send `initialize`."""
        self._phase = _OPENING
        return (ToServer(self._handshake.start(self._next_id())),)

    def refuse(self, error: bytes) -> Effects:
        """Handle a final refusal of `initialize`: all fronts that wait get the error, and the process is killed."""
        if self._phase != _REFUSED:
            return ()
        self._phase = _IDLE
        calls = self._calls
        fronts = self._fronts
        waiting = [(call.front, wire_id) for wire_id, call in calls.items()]
        self._reset()
        text = f"the server refused to initialize: {read_fault(error).message}"
        return (
            *(ToFront(front, Response(wire_id, b"", error)) for front, wire_id in waiting),
            *(CallsLost(front, (), text, {}) for front in fronts if front.translated),
            KillProcess(),
        )

    def on_exit(self, text: str, data: dict[str, object]) -> Effects:
        """Handle the exit of the process, or a failed start: requests in flight fail with the reason."""
        if self._phase == _OVER:
            return ()
        opened = self._phase == _OPEN
        self._phase = _IDLE
        calls, requests = self._calls, self._requests.by_id
        self._reset()
        effects: list[Effect] = [
            ToFront(request.front, Notification("notifications/cancelled", cancelled(own_id, b"")))
            for own_id, request in requests.items()
            if not request.front.translated
        ]
        for front in self._fronts:
            front.renewed = front.renewed or (opened and front.ready)
            on_exit = tuple(wire_id for wire_id, call in calls.items() if call.front is front)
            if on_exit or front.translated:
                effects.append(CallsLost(front, on_exit, text, data))
        return tuple(effects)

    def close(self, text: str) -> Effects:
        """End the use of the process: requests in flight fail, and no other process is started."""
        effects = self.on_exit(text, {"reason": "restarted"})
        self._phase = _OVER
        return effects

    def on_tick(self, now: float) -> Effects:
        """Handle the passing of time. `now` is in seconds on any steady clock."""
        self.origins.tick(now)
        self._tasks.on_tick(now)
        if self._phase != _OPENING:
            return ()
        limit = self._limits.start_seconds
        if not self._handshake.is_late(now, limit):
            return ()
        text = f"the server did not answer initialize within {limit:g} s"
        return (*self.on_exit(text, {"reason": "not started"}), KillProcess())

    # ---- from the server

    def on_server_message(self, message: Message) -> Effects:
        """Handle a message of the server. Never raises, however wrong the message is."""
        if isinstance(message, Response):
            return self._on_response(message)
        if not json_object.has_room(message.params):
            return self._refuse_many_members(message)
        if isinstance(message, Notification):
            return self._on_notification(message)
        return self._on_server_request(message)

    def _refuse_many_members(self, message: Request | Notification) -> Effects:
        if isinstance(message, Notification):
            return (LogDebug("notification_with_too_many_members"),)
        refusal = ToServer(_failure(message.id, INTERNAL_ERROR, json_object.TOO_MANY))
        return (refusal, ServerRequestRefused(message.method, "too_many_members"))

    def _on_response(self, message: Response) -> Effects:
        wire_id = message.id
        if self._phase != _OPEN:
            return self._on_initialize_response(message)
        call = self._calls.pop(wire_id, None)
        if call is None:
            return self._on_unmatched(message)
        effects: Effects = (ToFront(call.front, message),)
        if call.detail or call.task or call.method in self._SPECIAL:
            effects = self._on_special_response(call, message)
        elif call.method == "tasks/list" and not call.front.translated:
            effects = (ToFront(call.front, self._tasks.list_of(call.front, message)),)
        origin = self.origins.get(wire_id)
        task = task_of(message.result) if self._tasks.declared and call.method == "tools/call" else b""
        if task:
            self._tasks.add(call.front, wire_id, call.token, task, origin)
        elif origin is not None and not call.front.translated:
            self.origins.answer(origin)
        if message.error:
            self._store_urls(call.front, message.error)
        return (*effects, *self._send_queued()) if self._queued else effects

    def _on_initialize_response(self, message: Response) -> Effects:
        if message.id != self._handshake.wire_id or self._phase != _OPENING:
            return (LogDebug("response_unmatched", ("server", message.id)),)
        error = message.error
        found = json_object.peek(message.result)
        # A result of revision 2026-07-28.
        if "resultType" in found and "protocolVersion" not in found:
            error = fault_text(INTERNAL_ERROR, "the server answered initialize without a protocolVersion")
        if error:
            return self._on_initialize_refused(error)
        self._phase = _OPEN
        self._handshake.accept(message.result)
        self._tasks.declared = self._handshake.has_tasks()
        effects: list[Effect] = [Opened(), ToServer(Notification("notifications/initialized", b""))]
        effects.extend(self._lower_level())
        effects.extend(self._subscribe_again(uri for front in self._fronts for uri in front.uris))
        for front, wire_id, version in self._waiting:
            if self._calls.pop(wire_id, None) is not None:
                effects.append(self._answer_initialize(front, wire_id, version))
        self._waiting = []
        effects.extend(
            FrontOpened(front, self._handshake.result) for front in self._fronts if front.translated
        )
        held, self._held, self._held_bytes = self._held, [], 0
        for front, request, token in held:
            del self._calls[request.id]
            effects.extend(self._on_request(front, request, token))
        for front in self._fronts:
            effects.extend(self._missed(front))
        return tuple(effects)

    def _on_initialize_refused(self, error: bytes) -> Effects:
        version = self._handshake.next_version({version for _, _, version in self._waiting})
        if version:
            return (ToServer(self._handshake.offer(version, self._next_id())),)
        self._phase = _REFUSED
        return (Unopened(error),)

    def _subscribe_again(self, uris: Iterable[str]) -> list[Effect]:
        return [
            ToServer(shared_subscriptions.request("subscribe", self._own_id(), uri))
            for uri in dict.fromkeys(uris)
        ]

    def _missed(self, front: Front) -> list[Effect]:
        """Return notifications of what may have changed while a front had no process."""
        if not front.renewed:
            return []
        front.renewed = False
        changed = self._handshake.list_changes()
        changed.extend(
            Notification("notifications/resources/updated", json_object.write({"uri": uri}))
            for uri in front.uris
        )
        return [ToFront(front, one) for one in changed]

    def _on_unmatched(self, message: Response) -> Effects:
        known = self._abandoned.take(message.id)
        # The front of this request has left or cancelled it, and others may wait for the response.
        if self._subscriptions.is_pending(message.id):
            return self._on_subscribe_response(message)
        origin = self.origins.get(message.id)
        if origin is None and known:
            return (LogDebug("response_not_awaited"),)
        if origin is None or (origin.phase is Phase.ANSWERED and not known):
            return (LogDebug("response_unmatched", ("server", message.id)),)
        self._abandoned.add(message.id)
        if origin.phase is not Phase.ANSWERED:
            self.origins.answer(origin)
        task = task_of(message.result) if self._tasks.declared else b""
        return (self._cancel_task(task),) if task else ()

    def _on_special_response(self, call: _Call, message: Response) -> Effects:
        if call.method == "resources/subscribe":
            return (ToFront(call.front, message), *self._on_subscribe_response(message))
        if call.method == "logging/setLevel" and message.error:
            call.front.level = call.detail
            self._level = self._most_verbose()
        task = self._tasks.get(call.task)
        if task is not None and (call.method == "tasks/result" or has_ended(message.result)):
            self._tasks.end(task)
        return (ToFront(call.front, message),)

    def _on_subscribe_response(self, message: Response) -> Effects:
        uri, others = self._subscriptions.end(message.id)
        if uri and message.error:
            for front in self._fronts:
                front.uris.pop(uri, None)
        waiting = [(one, self._calls.pop(one)) for one in others if one in self._calls]
        return tuple(
            ToFront(call.front, Response(one, bytes(message.result), message.error)) for one, call in waiting
        )

    def _store_urls(self, front: Front, error: bytes) -> None:
        fault = read_fault(error)
        if fault.code != URL_ELICITATION_REQUIRED or not isinstance(fault.data, msgspec.Raw):
            return
        for one in json_object.items(json_object.peek(fault.data).get("elicitations"))[
            : self._limits.in_flight
        ]:
            self._store_url(front, one)

    def _store_url(self, front: Front, params: bytes | msgspec.Raw) -> None:
        found = json_object.peek(params)
        if "elicitationId" in found:
            self._urls.add(canonical_text(bytes(found["elicitationId"])), front)

    def _cancel_task(self, task_id: bytes) -> ToServer:
        return ToServer(Request(self._own_id(), "tasks/cancel", b'{"taskId":%b}' % task_id))

    # ---- notifications of the server

    def _on_notification(self, message: Notification) -> Effects:
        method = message.method
        if method == "notifications/progress":
            return self._on_progress(message)
        if method == "notifications/cancelled":
            return self._on_cancelled(message)
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
            return self._on_log_message(message)
        return self._on_other_notification(message)

    def _on_progress(self, message: Notification) -> Effects:
        raw_token = jsonrpc.wire_id(read_progress(message.params))
        owner = self._calls.get(raw_token) or self._tasks.of_call(raw_token)
        if owner is None:
            return (LogDebug("progress_unmatched"),)
        if owner.front.translated:
            return (ToFront(owner.front, message, raw_token),)
        if not owner.token:
            return (LogDebug("progress_without_token"),)
        found = json_object.peek(message.params)
        found["progressToken"] = json_object.raw(owner.token)
        return (ToFront(owner.front, Notification(message.method, json_object.write(found)), raw_token),)

    def _on_cancelled(self, message: Notification) -> Effects:
        raw_id, _ = read_cancelled(message.params)
        own_id = self._requests.id_of(raw_id)
        if own_id is None:
            return (LogDebug("cancellation_unmatched"),)
        front = self._requests.remove(own_id).front
        return (ToFront(front, Notification(message.method, cancelled_again(message.params, own_id))),)

    def _on_log_message(self, message: Notification) -> Effects:
        level = json_object.string(json_object.peek(message.params).get("level"))
        front = self._only_front()
        if front is None:
            return (LogOnly(message.params),)
        if not front.translated and level in LOG_LEVELS:
            wanted = front.level or (_DEFAULT_LEVEL if self._level else "")
            if wanted and LOG_LEVELS.index(level) < LOG_LEVELS.index(wanted):
                return ()
        return (ToFront(front, message, self._newest(front)),)

    def _on_other_notification(self, message: Notification) -> Effects:
        """Send a notification that is unknown to the bridge, if it can belong to one front only."""
        method = message.method
        front = None
        if method == "notifications/elicitation/complete":
            found = json_object.peek(message.params)
            front = self._urls.get(canonical_text(bytes(found.get("elicitationId", b""))))
        else:
            named = task_in(message.params) if method == "notifications/tasks/status" else b""
            task_id = named or canonical_text(related_task(message.params))
            task = self._tasks.get(task_id)
            if task is not None:
                front, task.since = task.front, None
                if named and has_ended(message.params):
                    self._tasks.end(task)
            elif not task_id:
                front = self._only_front()
        if front is None:
            return (LogDebug("notification_ambiguous"),)
        return (ToFront(front, message, self._newest(front)),)

    def _only_front(self) -> Front | None:
        """Return the front that may have caused a message without a request, None if several may have."""
        involved = {self._front_of(owner) for owner in self.origins.owners}
        if not involved:
            ready = {front for front in self._fronts if front.ready or front.translated}
            involved = {*(ready or self._fronts)}
        if len(involved) != 1:
            return None
        front = involved.pop()
        return front if front in self._fronts else None

    def _front_of(self, owner: object) -> Front | None:
        # The owner of a call of a translated front is its adapter.
        if isinstance(owner, Front):
            return owner
        return next((front for front in self._fronts if front.translated and front.owner is owner), None)

    def _newest(self, front: Front) -> bytes:
        return next((one for one, call in reversed(self._calls.items()) if call.front is front), b"")

    # ---- requests of the server

    def _on_server_request(self, message: Request) -> Effects:
        method = message.method
        if method == "ping":
            return (ToServer(Response(message.id, _NOTHING, b"")),)
        if self._requests.id_of(message.id) is not None:
            text = "this id is in use by a request in flight"
            return (ToServer(_failure(message.id, INVALID_REQUEST, text)),)
        if method in _NAME_A_TASK:
            owner = self._client_tasks.get(task_in(message.params))
            if owner is None:
                return (ToServer(_failure(message.id, INVALID_PARAMS, "Unknown task")),)
            own_id = self._next_id()
            self._requests.add(own_id, owner, message, b"")
            return (ToFront(owner, Request(own_id, method, message.params)),)
        if self._policy.denied(method):
            return self._refuse(
                message, Refusal(METHOD_NOT_FOUND, self._policy.refusal(method, 200).text, "denied")
            )
        return self._assign(message, b"")

    def reassign(self, message: Request, client: Client) -> Effects:
        """Assign a request of the server again, because the call of a translated front that had it has ended."""
        if message.id not in self._requests.by_id:
            return ()
        server_id = self._requests.remove(message.id).server_id
        return self._assign(Request(server_id, message.method, message.params), message.id, client)

    def _assign(self, message: Request, own_id: bytes, again_for: Client | None = None) -> Effects:
        method = message.method
        task = canonical_text(related_task(message.params))
        found = self.origins.assign(method, message.params, task, again_for)
        if isinstance(found, Refusal):
            return self._refuse(message, found)
        front = self._front_of(found.owner)
        if front is None or front not in self._fronts:
            return self._refuse(message, Refusal(INTERNAL_ERROR, "the client has left", "client_left"))
        if method == "elicitation/create":
            self._store_url(front, message.params)
        own_id = own_id or self._next_id()
        self._requests.add(own_id, front, message, found.wire_id)
        request = Request(own_id, method, message.params)
        effect = (
            Assigned(front, request, found) if front.translated else ToFront(front, request, found.wire_id)
        )
        return (effect, *self._send_queued())

    def _refuse(self, message: Request, refusal: Refusal) -> Effects:
        origin = refusal.origin
        front = None if origin is None else self._front_of(origin.owner)
        effects: list[Effect] = [
            ToServer(_failure(message.id, refusal.code, refusal.text)),
            ServerRequestRefused(message.method, refusal.reason),
        ]
        if origin is not None and front is not None and front.translated:
            effects.append(Undeclared(front, message, origin))
        return tuple(effects)


def _failure(raw_id: bytes, code: int, text: str) -> Response:
    return Response(raw_id, b"", fault_text(code, text))


def _with_token(message: Request) -> Request:
    """Return the request with its wire id as the progress token: unique, where those of the clients are not."""
    found = json_object.peek(message.params)
    meta = json_object.peek(found.get("_meta"))
    meta["progressToken"] = json_object.raw(message.id)
    found["_meta"] = json_object.raw(json_object.write(meta))
    return Request(message.id, message.method, json_object.write(found))


def _covers(uris: dict[str, None], uri: str) -> bool:
    return uri in uris or any(uri.startswith(one.rstrip("/") + "/") for one in uris)
