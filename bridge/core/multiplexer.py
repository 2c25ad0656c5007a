"""Send stateless requests of many clients to one modern server, each with an id and a progress token of the bridge.

The server is really modern, or legacy behind an adapter. A subscription is named by the id of the request that opened it. A
`requestState` is signed, and accepted only from the principal that received it. Everything else passes unchanged.

Pure: an event is a method call that returns a tuple of effects, to be carried out in order before the next event.
Invariant: a message leaves only on the queue of the request that it belongs to.
Invariant: a request that was sent to the server ends in exactly one response, unless its client has left.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, assert_never

from ...validators import json_object, jsonrpc, mirrored_headers, stateless_request
from ...validators.counted import counted
from ...validators.jsonrpc import Message, Notification, Request, Response, canonical_id
from ...validators.limits import Limits
from ...validators.mcp_params import cancelled, cancelled_again, read_cancelled, read_items, read_progress
from ...validators.rejection import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    TIMEOUT,
    Rejection,
    retry_after,
)
from ...validators.revisions import MODERN_REVISION, MODERN_REVISIONS
from ...validators.stateless_request import LISTEN, MODERN_NAMED
from . import errors, extensions, input_over
from .abandoned_requests import AbandonedRequests
from .attribution import INTERACTIVE
from .call_metrics import Recorder
from .call_timeouts import CallTimeouts
from .content_policy import ContentPolicy
from .definition_guard import GUARDED
from .effects import (
    CANCELLED,
    OK,
    EraMismatch,
    LogDebug,
    RequestFinished,
    StartProcess,
    ToClient,
    ToServer,
    failed_with,
    finished,
)
from .notification_targets import subscription_of, target_of_extension, target_of_log_message
from .outcomes import outcome_of
from .request_state import INVALID_STATE, StateSigner, binding
from .requests import ClientRequest
from .schema_checks import ToolSchemas
from .start_queue import StartQueue
from .tool_headers import ToolHeaderCache

# Methods that MCP 2026-07-28 has removed. They are refused here, because a server may still implement them.
_REMOVED: Final = frozenset(
    {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}
    | {"tasks/list", "tasks/result"}
)
_COMPLETE: Final = b'{"resultType":"complete"}'
# The HTTP status by error code (MCP 2026-07-28 basic/transports/streamable-http). It is 200 for other codes.
_STATUS: Final = {
    INVALID_REQUEST: 400,
    METHOD_NOT_FOUND: 404,
    mirrored_headers.HEADER_MISMATCH: 400,
    stateless_request.MISSING_CAPABILITY: 400,
    stateless_request.UNSUPPORTED_VERSION: 400,
}
_INPUT_REQUIRED: Final = b'"input_required"'

Effect = ToServer | ToClient | StartProcess | EraMismatch | RequestFinished | LogDebug
Effects = tuple[Effect, ...]


class Multiplexer:
    """The state machine in front of one server process. All processes of a daemon have the same `signer`.

    With `shared` the clients of a really modern server may be several principals.
    """

    def __init__(
        self,
        limits: Limits,
        signer: StateSigner,
        *,
        shared: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        self._limits = limits
        self._recorder = recorder or Recorder()
        self._signer = signer
        # The principal of each task by task id, None if the server has one principal. At the limit the oldest is dropped.
        self._tasks: dict[str, str] | None = {} if shared else None
        self._next_id = 1
        # Requests by wire id, oldest first, and the number of subscriptions among them. `_remove` drops an entry.
        self._calls: dict[bytes, ClientRequest] = {}
        self._listens = 0
        # By queue, the wire ids by the canonical ids of the client.
        self._queues: dict[object, dict[bytes, bytes]] = {}
        self._timeouts = CallTimeouts(limits)
        self._abandoned = AbandonedRequests()
        self._start = StartQueue(limits)
        self._tools = ToolHeaderCache(limits)
        # What the checks of content know of the tools of the server.
        self._schemas = ToolSchemas()
        # Input rounds whose client gets `input_over`: by the state of the server, the queue and the signed state.
        self._rounds: dict[str, tuple[object, str]] = {}

    @property
    def in_flight(self) -> int:
        """The number of requests without a response, including subscriptions."""
        return len(self._calls) + len(self._tools.waiting)

    @property
    def calling(self) -> int:
        """The number of requests without a response, except subscriptions, which have no end of their own."""
        return self.in_flight - self._listens

    @property
    def queues(self) -> set[object]:
        """The queues of the requests without a response."""
        return {call.queue for call in self.requests}

    @property
    def requests(self) -> tuple[ClientRequest, ...]:
        """The requests without a response."""
        return (*self._calls.values(), *self._tools.waiting)

    def request_of(self, wire_id: bytes) -> ClientRequest | None:
        """Return the request with this wire id, None if there is none without a response."""
        return self._calls.get(wire_id)

    def waits(self, queue: object) -> bool:
        """Return whether a request of this queue has no response yet, subscriptions excepted."""
        sent = self._queues.get(queue, {}).values()
        return any(call.queue is queue for call in self._tools.waiting) or any(
            self._calls[wire_id].request.method != LISTEN for wire_id in sent
        )

    # ---- events from clients

    def on_request(self, call: ClientRequest) -> Effects:
        """Handle a request. Raises Rejection."""
        method = call.request.method
        start, tools = self._start, self._tools
        # Subscriptions are in `_calls` too, so below the smaller limit there is room for either kind.
        if method == LISTEN or len(self._calls) + len(tools.waiting) >= self._limits.in_flight:
            self._check_room(method)
        if start.held or start.queued or tools.waiting:
            self._check_size(len(call.request.params))
        if method in _REMOVED:
            raise Rejection(404, METHOD_NOT_FOUND, "there is no such method in this revision")
        ids = self._queues.get(call.queue)
        if ids is not None and canonical_id(call.request.id) in ids:
            raise jsonrpc.invalid(jsonrpc.ID_IN_USE)
        policy = call.policy
        if policy.checks:
            policy.check_request(method, call.request.params, call.envelope.name, 404)
        if policy.content is not None:
            found = self._checked(call, policy.content)
            if isinstance(found, Response):
                return self._respond(call, found)
            call = found
        if self._tasks is not None and MODERN_NAMED.get(method) == "taskId":
            _check_task(call, self._tasks)
        envelope = call.envelope
        # Most requests have no progress token and no state, and pass unchanged.
        passes = not (envelope.token or policy.restricts or method == LISTEN) and envelope.state is None
        params = call.request.params if passes else self._params(call)
        if method == "tools/call" and self._needs_tools(call):
            return self._wait_for_tools(call)
        return self._send(call, params)

    def on_disconnect(self, queue: object) -> Effects:
        """Handle the end of a client's stream, which cancels its requests (MCP 2026-07-28 basic/transports)."""
        self._rounds = {state: round_ for state, round_ in self._rounds.items() if round_[0] is not queue}
        effects: list[Effect] = []
        for call in self._tools.take_waiting_of(queue):
            effects.extend(finished(call, CANCELLED))
        for raw_id in tuple(self._queues.get(queue, ())):
            effects.extend(self.on_cancelled(queue, raw_id))
        return tuple(effects)

    def on_cancelled(
        self, queue: object, raw_id: bytes, outcome: str = CANCELLED, params: bytes = b""
    ) -> Effects:
        """Handle the cancellation of one request. `params` are those of the client's notification, if there was one."""
        wire_id = self._queues.get(queue, {}).get(canonical_id(raw_id))
        if wire_id is None:
            return ()
        sent = self._start.has_sent(wire_id) or self._calls[wire_id].request.method == LISTEN
        ended = finished(self._remove(wire_id), outcome)
        if not sent:
            return ended
        effects: list[Effect] = [*ended]
        if self._start.running:
            self._abandoned.add(wire_id)
            effects.append(
                ToServer(Notification("notifications/cancelled", cancelled_again(params, wire_id)))
            )
        else:
            self._start.remove_held(wire_id)
        return (*effects, *self._start.send_queued())

    def on_notification(self, message: Notification) -> Effects:
        """Handle a notification of a client, which belongs to an extension."""
        return (ToServer(message),) if self._start.running else (LogDebug("notification_without_server"),)

    def on_permissions_changed(self, principal: str) -> Effects:
        """Complete the subscriptions of a principal whose policy has changed. Its clients subscribe again."""
        effects: list[Effect] = []
        for call in tuple(self._calls.values()):
            if call.principal == principal and call.request.method == LISTEN:
                effects.extend(self.on_cancelled(call.queue, call.request.id, OK))
                effects.extend(_complete_listen(call, _with_subscription(_COMPLETE, call.request.id)))
        return tuple(effects)

    def _check_room(self, method: str) -> None:
        # A subscription lasts as long as its client, so it must not take the place of a call.
        if method == LISTEN:
            used, limit, noun, after = self._listens, self._limits.sessions, "open subscription", ""
        else:
            used, limit, noun, after = self.calling, self._limits.in_flight, "call", " in flight"
        if used >= limit:
            raise _full(f"the limit of {counted(limit, noun)}{after} is reached")

    def _check_size(self, more: int) -> None:
        # Requests that wait have the limit of the requests in front of a server that does not read.
        waiting = self._start.size + sum(len(one.request.params) for one in self._tools.waiting)
        if waiting + more > self._limits.stdin_bytes:
            raise _full(f"{waiting} bytes wait for the server and the limit is {self._limits.stdin_bytes}")

    def _params(self, call: ClientRequest) -> bytes:
        request, envelope = call.request, call.envelope
        inner = None
        if envelope.state is not None and request.method in INTERACTIVE:
            inner = self._signer.verify(_bound_to(call), partial(_arguments, call), envelope.state)
            if inner is None:
                raise Rejection(200, INVALID_PARAMS, INVALID_STATE)
        params = (
            call.policy.request(request.method, request.params) if call.policy.restricts else request.params
        )
        tasks = self._tasks if request.method == LISTEN else None
        if not envelope.token and envelope.state is None and tasks is None:
            return params
        found = json_object.read(params)
        if tasks is not None:
            _listen_to_own_tasks(found, tasks, call.principal, self._limits)
        if envelope.token:
            meta = json_object.read(found["_meta"])
            meta["progressToken"] = json_object.raw(b"%d" % self._next_id)
            found["_meta"] = json_object.raw(json_object.write(meta))
        if inner is not None:
            found["requestState"] = json_object.raw(json_object.text(inner))
        return json_object.write(found)

    def _send(self, call: ClientRequest, params: bytes) -> Effects:
        method = call.request.method
        wire_id = b"%d" % self._next_id
        self._next_id += 1
        self._calls[wire_id] = call
        raw_id = call.request.id
        key = raw_id if raw_id.isdigit() else canonical_id(raw_id)
        self._queues.setdefault(call.queue, {})[key] = wire_id
        order = ToServer(Request(wire_id, method, params), call)
        if method == LISTEN:
            self._listens += 1
            return self._start.send(order)
        if self._timeouts.limited:
            self._timeouts.add(wire_id)
        return self._start.send_call(wire_id, order)

    # ---- headers that mirror arguments of a tool

    def _needs_tools(self, call: ClientRequest) -> bool:
        content = call.policy.content
        if content is not None and content.needs_tools(self._schemas, call.request.method):
            return True
        return call.headers is not None and not self._tools.check(call)

    def _checked(self, call: ClientRequest, content: ContentPolicy) -> ClientRequest | Response:
        found = content.on_request(self._schemas, call.request, call.envelope.name, MODERN_REVISION)
        return found if isinstance(found, Response) else call._replace(request=found)

    def _wait_for_tools(self, call: ClientRequest) -> Effects:
        self._tools.waiting.append(call)
        if self._tools.listing_id:
            return ()
        self._tools.begin()
        return self._list_tools()

    def _list_tools(self, cursor: bytes = b"") -> Effects:
        wire_id = b"%d" % self._next_id
        self._next_id += 1
        self._tools.listing_id = wire_id
        if self._timeouts.limited:
            self._timeouts.add(wire_id)
        found: dict[str, object] = {"_meta": stateless_request.OWN_META}
        if cursor:
            found["cursor"] = json_object.raw(cursor)
        return self._start.send(ToServer(Request(wire_id, "tools/list", json_object.write(found))))

    def _on_tools(self, message: Response) -> Effects:
        self._timeouts.remove(message.id)
        self._read_schemas(message)
        try:
            cursor = self._tools.on_page(message.result)
        except Rejection as rejection:
            return self._refuse_waiting(rejection)
        return self._list_tools(cursor) if cursor else self._check_waiting()

    def _read_schemas(self, message: Response) -> None:
        for call in self._tools.waiting:
            if call.policy.content is not None:
                call.policy.content.on_response(self._schemas, "tools/list", "", message)
                return

    def _refuse_waiting(self, rejection: Rejection) -> Effects:
        # No call with headers can be checked without the list.
        self._tools.listing_id = b""
        self._schemas.known = True
        effects: list[Effect] = []
        for call in self._tools.take_waiting():
            if call.headers is None:
                effects.extend(self._check_and_send(call))
                continue
            error = jsonrpc.error(call.request.id, rejection.code, rejection.text)
            effects.append(ToClient(call.queue, error, last=not call.pipe))
            effects.extend(finished(call, failed_with(rejection.code)))
        return tuple(effects)

    def _time_out_waiting(self, how: str, new_id: Callable[[], str]) -> Effects:
        listing_id, self._tools.listing_id = self._tools.listing_id, b""
        self._timeouts.remove(listing_id)
        effects: list[Effect] = []
        if self._start.running:
            self._abandoned.add(listing_id)
            effects.append(ToServer(Notification("notifications/cancelled", cancelled(listing_id, b""))))
        text = f"the list of tools that the call waits for {how}"
        return (*effects, *(_timed_out(call, text, new_id) for call in self._tools.take_waiting()))

    def _check_waiting(self) -> Effects:
        # A list that cannot be read is not requested again for each call.
        self._schemas.known = True
        effects: list[Effect] = []
        for call in self._tools.take_waiting():
            effects.extend(self._check_and_send(call))
        return tuple(effects)

    def _check_and_send(self, call: ClientRequest) -> Effects:
        try:
            if call.policy.content is not None:
                checked = self._checked(call, call.policy.content)
                if isinstance(checked, Response):
                    return self._respond(call, checked)
                call = checked
            params = self._params(call)
            if call.headers is None or self._tools.check(call, listed=True):
                return self._send(call, params)
            return self._wait_for_tools(call)
        except Rejection as rejection:
            text = jsonrpc.error(call.request.id, rejection.code, rejection.text, rejection.data)
            refused = ToClient(call.queue, text, last=not call.pipe, status=rejection.status)
            return (refused, *finished(call, failed_with(rejection.code)))

    # ---- events from the server

    def start_process(self) -> Effects:
        """Start the server before a request needs it."""
        return self._start.start()

    def remove_requests(self) -> list[ClientRequest]:
        """Remove and return all requests. None of them may have been sent to the server."""
        removed = [*self._calls.values(), *self._tools.waiting]
        for wire_id in (*self._calls, self._tools.listing_id):
            self._timeouts.remove(wire_id)
        self._calls.clear()
        self._queues.clear()
        self._listens = 0
        self._start.clear()
        self._tools.waiting.clear()
        self._tools.listing_id = b""
        return removed

    def on_server_start(self) -> Effects:
        """Handle the start of the server: send the requests that were held for it."""
        return self._start.on_start()

    def on_server_exit(self, text: str, data: dict[str, object]) -> Effects:
        """Handle the exit of the server, or a failed start: requests in flight fail, subscriptions are complete.

        A client then subscribes again and reads the lists again, so it misses no change.
        """
        self._start.clear()
        self._abandoned = AbandonedRequests()
        self._timeouts.remove(self._tools.listing_id)
        self._tools.clear()
        # Another process may have other tools.
        self._schemas.clear()
        effects: list[Effect] = []
        for wire_id in tuple(self._calls):
            call = self._remove(wire_id)
            if call.request.method == LISTEN and data.get("reason") != "not started":
                effects.extend(_complete_listen(call, _with_subscription(_COMPLETE, call.request.id)))
                effects.extend(finished(call, OK))
            else:
                effects.append(_failed(call, text, data))
                effects.extend(finished(call, failed_with(INTERNAL_ERROR)))
        for call in self._tools.take_waiting():
            effects.append(_failed(call, text, data))
            effects.extend(finished(call, failed_with(INTERNAL_ERROR)))
        return tuple(effects)

    def close(self, text: str) -> Effects:
        """Complete the subscriptions and fail the requests in flight, because the server is stopped."""
        return self.on_server_exit(text, {"reason": "stopping"})

    def on_server_message(self, message: Message, about: bytes = b"") -> Effects:
        """Handle a message of the server. `about` is the id of the request that it belongs to, where that is known."""
        match message:
            case Response():
                return self._on_response(message)
            case Notification():
                return self._on_server_notification(message, about)
            case Request():
                return (LogDebug("request_of_modern_server_dropped"),)
            case _:
                assert_never(message)

    def _on_response(self, message: Response) -> Effects:
        wire_id = message.id
        if wire_id == self._tools.listing_id:
            return self._on_tools(message)
        if wire_id not in self._calls:
            if self._abandoned.take(wire_id):
                return (LogDebug("response_not_awaited"),)
            return (LogDebug("response_unmatched", ("server", wire_id)),)
        call = self._remove(wire_id)
        policy = call.policy
        if policy.guard is not None and call.request.method in GUARDED:
            message = policy.guard.on_list(call.request.method, message)
        if policy.restricts:
            message = policy.answer(call.request.method, message, self._limits)
        if policy.content is not None:
            message = policy.content.on_response(
                self._schemas, call.request.method, call.envelope.name, message
            )
        effects = self._respond(call, message)
        return (*effects, *self._start.send_queued()) if self._start.queued else effects

    def _respond(self, call: ClientRequest, message: Response) -> Effects:
        effects = self._answer(call, message)
        if call.since is not None:
            counts = self._recorder.counts
            if counts is not None:
                counts.on_response(call.request.method, call.envelope.name, call.since, message)
            else:
                effects = (*effects, *finished(call, outcome_of(call.request.method, message)))
        return effects

    def _answer(self, call: ClientRequest, message: Response) -> Effects:
        if message.error:
            return _answer_error(call, message)
        method = call.request.method
        if method in INTERACTIVE:
            if self._tasks is not None:
                self._store_task(call, message, self._tasks)
            if type(message.result) is not bytes or _INPUT_REQUIRED in message.result:
                message = self._sign_state(call, message)
        elif method == "tools/list":
            self._tools.on_client_page(call, message.result)
        elif method == LISTEN:
            return _complete_listen(call, _with_subscription(bytes(message.result), call.request.id))
        elif method == "server/discover":
            message = _with_common_versions(message)
        return (ToClient(call.queue, jsonrpc.response(call.request.id, message), last=not call.pipe),)

    def _store_task(self, call: ClientRequest, message: Response, tasks: dict[str, str]) -> None:
        # A result that is a view is too large for a task.
        if type(message.result) is not bytes or b'"taskId"' not in message.result:
            return
        found = json_object.peek(message.result)
        if json_object.string(found.get("resultType")) == "task":
            tasks[json_object.string(found.get("taskId"))] = call.principal
            if len(tasks) > self._limits.stream_messages:
                del tasks[next(iter(tasks))]

    def _sign_state(self, call: ClientRequest, message: Response) -> Response:
        found = json_object.peek(message.result)
        if json_object.string(found.get("resultType")) != "input_required" or "requestState" not in found:
            return message
        inner = json_object.string(found["requestState"])
        state = self._signer.sign(_bound_to(call), _arguments(call), inner)
        found["requestState"] = json_object.raw(json_object.text(state))
        if call.pipe and input_over.declared_in(call.envelope.capabilities):
            self._rounds[inner] = (call.queue, state)
            if len(self._rounds) > self._limits.held_calls:
                del self._rounds[next(iter(self._rounds))]
        return Response(message.id, json_object.write(found), b"")

    def _on_server_notification(self, message: Notification, about: bytes) -> Effects:
        if not json_object.has_room(message.params):
            return (LogDebug("notification_with_too_many_members"),)
        method = message.method
        match method:
            case "notifications/progress":
                return self._on_progress(message, about)
            case "notifications/message":
                calls = self._calls
                call = calls.get(about) if about else target_of_log_message(calls, message.params)
                return () if call is None or call.policy.denied(method) else _notify(call, message)
            case "notifications/cancelled":
                return self._on_listen_cancelled(read_cancelled(message.params)[0])
            case input_over.METHOD:
                return self._on_input_over(input_over.state_of(message.params))
            case "notifications/tools/list_changed":
                self._tools.mark_outdated()
                self._schemas.clear()
            case _:
                pass
        if not extensions.is_core(method):
            return self._on_extension(message, about)
        return self._publish(message)

    def _on_progress(self, message: Notification, about: bytes) -> Effects:
        wire_id = about or jsonrpc.wire_id(read_progress(message.params))
        call = self._calls.get(wire_id)
        if call is None or not call.envelope.token or call.request.method == LISTEN:
            return (LogDebug("progress_unmatched"),)
        if self._timeouts.limited:
            self._timeouts.on_progress(wire_id)
        found = json_object.peek(message.params)
        found["progressToken"] = json_object.raw(call.envelope.token)
        return _notify(call, Notification(message.method, json_object.write(found)))

    def _on_input_over(self, inner: str) -> Effects:
        queue, state = self._rounds.pop(inner, (None, ""))
        if queue is None:
            return (LogDebug("input_over_unmatched"),)
        message = input_over.notification(state)
        return (ToClient(queue, jsonrpc.notification(message.method, message.params)),)

    def _on_listen_cancelled(self, wire_id: bytes) -> Effects:
        # On stdio a server may cancel a subscription, and nothing else (MCP 2026-07-28 basic/patterns/subscriptions).
        call = self._calls.get(wire_id)
        if call is None or call.request.method != LISTEN:
            return (LogDebug("cancellation_unmatched"),)
        self._remove(self._abandoned.add(wire_id))
        return _complete_listen(call, _with_subscription(_COMPLETE, call.request.id))

    def _on_extension(self, message: Notification, about: bytes) -> Effects:
        call = target_of_extension(self._calls, message.params, about)
        if call is None or call.policy.denied(message.method):
            return (LogDebug("extension_notification_not_sent"),)
        if call.request.method == LISTEN:
            message = Notification(message.method, _with_subscription(message.params, call.request.id))
        return _notify(call, message)

    def _publish(self, message: Notification) -> Effects:
        call = self._calls.get(subscription_of(message.params))
        if call is None or call.request.method != LISTEN:
            return (LogDebug("notification_without_subscription"),)
        if call.policy.denied(message.method):
            return (LogDebug("notification_denied"),)
        params = _with_subscription(message.params, call.request.id)
        return _notify(call, Notification(message.method, params))

    def on_tick(self, now: float, new_id: Callable[[], str] = errors.no_id) -> Effects:
        """Handle the passing of time: cancel calls beyond their limits. `now` is in seconds on any steady clock."""
        if not self._timeouts.limited:
            return ()
        effects: list[Effect] = []
        for wire_id, how in self._timeouts.on_tick(now):
            if wire_id == self._tools.listing_id:
                effects.extend(self._time_out_waiting(how, new_id))
                continue
            call = self._calls[wire_id]
            effects.extend(self.on_cancelled(call.queue, call.request.id, failed_with(TIMEOUT)))
            effects.append(_timed_out(call, f"the call {how}", new_id))
        return tuple(effects)

    def _remove(self, wire_id: bytes) -> ClientRequest:
        call = self._calls.pop(wire_id)
        self._listens -= call.request.method == LISTEN
        self._start.remove(wire_id)
        if self._timeouts.limited:
            self._timeouts.remove(wire_id)
        ids = self._queues[call.queue]
        raw_id = call.request.id
        del ids[raw_id if raw_id.isdigit() else canonical_id(raw_id)]
        if not ids:
            del self._queues[call.queue]
        return call


def _full(text: str) -> Rejection:
    return Rejection(429, INTERNAL_ERROR, text, headers=retry_after(1))


def _bound_to(call: ClientRequest) -> bytes:
    return binding(call.principal, call.request.method, call.envelope.name)


def _arguments(call: ClientRequest) -> bytes:
    return bytes(json_object.read(call.request.params).get("arguments", b""))


def _check_task(call: ClientRequest, tasks: Mapping[str, str]) -> None:
    if tasks.get(call.envelope.name) != call.principal:
        raise Rejection(200, INVALID_PARAMS, "Unknown task")


def _listen_to_own_tasks(
    found: json_object.Members, tasks: Mapping[str, str], principal: str, limits: Limits
) -> None:
    wanted = json_object.peek(found.get("notifications"))
    if "taskIds" in wanted:
        named = map(json_object.string, read_items(wanted["taskIds"], limits))
        own = [task for task in named if tasks.get(task) == principal]
        found["notifications"] = json_object.raw(json_object.write({**wanted, "taskIds": own}))


def _with_subscription(payload: bytes, client_id: bytes) -> bytes:
    """Return a payload with the subscription id of the client."""
    found = json_object.peek(payload)
    meta = json_object.peek(found.get("_meta"))
    meta[stateless_request.SUBSCRIPTION_ID] = json_object.raw(client_id)
    found["_meta"] = json_object.raw(json_object.write(meta))
    return json_object.write(found)


def _with_common_versions(discovered: Response) -> Response:
    """Return a result of `server/discover` without the revisions that the bridge does not support."""
    found = json_object.peek(discovered.result)
    offered = list(map(json_object.string, json_object.items(found.get("supportedVersions"))))
    common = [version for version in offered if version in MODERN_REVISIONS]
    if common == offered:
        return discovered
    return Response(discovered.id, json_object.write({**found, "supportedVersions": common}), b"")


def _answer_error(call: ClientRequest, message: Response) -> Effects:
    fault = errors.read_fault(message.error)
    # These errors are about the request of the bridge, not about that of the client.
    if fault.code in (stateless_request.UNSUPPORTED_VERSION, mirrored_headers.HEADER_MISMATCH):
        text = f"the server refused the request of the bridge: {fault.message}"
        failed = _failed(call, text, {"originalCode": fault.code}, 200)
        return (
            (failed, EraMismatch(text)) if fault.code == stateless_request.UNSUPPORTED_VERSION else (failed,)
        )
    response = jsonrpc.response(call.request.id, message)
    return (ToClient(call.queue, response, last=not call.pipe, status=_STATUS.get(fault.code, 200)),)


def _notify(call: ClientRequest, message: Notification) -> tuple[ToClient, ...]:
    content = call.policy.content
    checked = message if content is None else content.on_notification(message)
    if checked is None:
        return ()
    return (ToClient(call.queue, jsonrpc.notification(checked.method, checked.params)),)


def _complete_listen(call: ClientRequest, result: bytes) -> Effects:
    # On a connection for many requests a subscription ends with its result and with a cancellation
    # (MCP 2026-07-28 basic/patterns/subscriptions).
    over = jsonrpc.response(call.request.id, Response(b"", result, b""))
    completed = ToClient(call.queue, over, last=not call.pipe)
    if not call.pipe:
        return (completed,)
    over = jsonrpc.notification("notifications/cancelled", cancelled(call.request.id, b""))
    return (completed, ToClient(call.queue, over))


def _timed_out(call: ClientRequest, text: str, new_id: Callable[[], str]) -> ToClient:
    error = jsonrpc.error(call.request.id, TIMEOUT, text, errors.timeout_data(new_id))
    return ToClient(call.queue, error, last=not call.pipe)


def _failed(call: ClientRequest, text: str, data: dict[str, object], status: int = 503) -> ToClient:
    error = jsonrpc.error(call.request.id, INTERNAL_ERROR, text, data)
    return ToClient(call.queue, error, last=not call.pipe, status=status)
