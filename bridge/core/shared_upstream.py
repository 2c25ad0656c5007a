"""Share one legacy server process between several clients without translation: ids, initialize, subscriptions, requests.

Each client has a `Front`. The process is initialized once, with every capability that a client can declare; later clients
get the stored result. This class has the phases of the process and sends each message to the part that handles it:
`SharedCalls` (requests of fronts), `SharedServerRequests`, `SharedSubscriptions`, `SharedLogLevel` and `SharedTasks`. Payloads
pass unchanged, except for progress tokens and log levels.

Pure: an event is a method call that returns a tuple of effects, to be carried out in order before the next event.
Invariant: a message of the server is sent to the front that it belongs to, or to none.
Invariant: a request of a front ends in exactly one response, one `CallsLost`, or its cancellation.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from ...validators import json_object
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.list_changes import KIND_OF
from ...validators.mcp_params import read_cancelled, read_progress, read_request, with_progress_token
from ...validators.rejection import INTERNAL_ERROR, Rejection
from . import extensions
from .access_policy import AccessPolicy
from .attribution import Client, Origins, Phase
from .effects import LogDebug, ServerRequestRefused, StartProcess, ToServer
from .errors import fault_text, initialize_late, initialize_refused
from .forwarded_requests import ForwardedRequests
from .front import Front, call_in
from .shared_calls import SharedCall, SharedCalls
from .shared_effects import (
    CallsLost,
    Effect,
    Effects,
    FrontOpened,
    KillProcess,
    Opened,
    ToFront,
    Unopened,
    failure,
)
from .shared_log_level import SharedLogLevel
from .shared_server_requests import SharedServerRequests
from .shared_subscriptions import SharedSubscriptions
from .shared_tasks import NAME_A_TASK, SharedTasks
from .tasks import task_of
from .upstream_handshake import UpstreamHandshake

# There is no process; the next request starts one.
_IDLE: Final = "idle"
_STARTING: Final = "starting"
_OPENING: Final = "opening"
# The server has refused `initialize`, and the caller decides whether that is final.
_REFUSED: Final = "refused"
_OPEN: Final = "open"
_OVER: Final = "over"

# A translator writes the name without escapes.
_TOKEN: Final = b'"progressToken"'

_REQUEST: Final = "request"
_ACCEPTED: Final = "initialize accepted"
_REFUSAL: Final = "initialize refused"
_EXIT: Final = "process exit"
# The next phase by phase and event. In all other phases the event changes no phase. `on_start` leads to _OPENING and `close`
# to _OVER from any phase.
_NEXT: Final = {
    (_IDLE, _REQUEST): _STARTING,
    (_OPENING, _ACCEPTED): _OPEN,
    (_OPENING, _REFUSAL): _REFUSED,
    **dict.fromkeys(((phase, _EXIT) for phase in (_STARTING, _OPENING, _REFUSED, _OPEN)), _IDLE),
}

# Handles a request of a front with its raw progress token.
_Handler = Callable[[Front, Request, bytes], Effects]


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
        # Added by `attach`, removed by `detach`.
        self._fronts: dict[Front, None] = {}
        self._reset()

    def _reset(self) -> None:
        """Replace the state of the last process."""
        limits, fronts = self._limits, self._fronts
        # The calls of the process that may cause requests of the server.
        self.origins = Origins(limits.held_seconds, several=True)
        requests = ForwardedRequests()
        self._calls = calls = SharedCalls(limits, self._next_id, fronts, self.origins, requests)
        self._server_requests = SharedServerRequests(limits, self._policy, fronts, calls, requests)
        self._subscriptions = SharedSubscriptions(limits, fronts, calls)
        self._level = SharedLogLevel(fronts, calls)
        self._tasks = SharedTasks(limits, calls)
        # By method. All other requests are sent with `SharedCalls.begin`.
        self._handlers: dict[str, _Handler] = {
            "resources/subscribe": self._subscriptions.subscribe,
            "resources/unsubscribe": self._subscriptions.unsubscribe,
            "logging/setLevel": self._level.set,
            **dict.fromkeys(NAME_A_TASK, self._tasks.on_request),
        }

    # ---- state

    @property
    def calling(self) -> bool:
        """Whether a request of a front has no response."""
        return bool(self._calls.by_id)

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

    def _advance(self, event: str) -> None:
        self._phase = _NEXT.get((self._phase, event), self._phase)

    # ---- fronts

    def attach(self, front: Front) -> Effects:
        """Add a front, with the subscriptions and the log level that it has from a former process."""
        self._fronts[front] = None
        if self._phase != _OPEN:
            return self._start_process() if front.translated else ()
        if front.translated:
            return (FrontOpened(front, self._handshake.result),)
        return (*self._level.adjust(), *self._subscriptions.restore(front), *self._missed(front))

    def detach(self, front: Front) -> Effects:
        """Remove a front: its calls and tasks are cancelled, requests to it are answered with an error."""
        if self._fronts.pop(front, self) is self:
            return ()
        effects = (
            *self._calls.cancel_all(front),
            *self._server_requests.remove_front(front),
            *self._tasks.remove_front(front),
        )
        if self._phase != _OPEN:
            return effects
        return (*effects, *self._subscriptions.remove(front), *self._level.adjust())

    def hand_over(self, front: Front) -> list[tuple[Request, bytes]]:
        """Remove the requests of a front that another process must get, because it gets the later ones. Return them with tokens.

        They are those for subscriptions and the log level that wait for this process to open.
        """
        return self._calls.take_combined(front)

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

    # ---- from a front

    def on_front_message(self, front: Front, message: Message, token: bytes = b"") -> Effects:
        """Handle a message of a front. `token` is the raw progress token of a request that is not translated."""
        if type(message) is Request:
            if message.method == "initialize":
                return self._on_initialize(front, message)
            if token or (front.translated and _TOKEN in message.params):
                try:
                    message, token = self._replace_token(front, message, token)
                except Rejection as rejection:
                    return (ToFront(front, failure(message.id, rejection.code, rejection.text)),)
            if self._phase == _OPEN:
                return self._handlers.get(message.method, self._calls.begin)(front, message, token)
            return self._calls.hold(front, message, token) or self._start_process()
        if type(message) is Response:
            return self._server_requests.on_response(front, message)
        assert type(message) is Notification  # noqa: S101 - the union has three members
        return self._on_front_notification(front, message)

    def _replace_token(self, front: Front, message: Request, token: bytes) -> tuple[Request, bytes]:
        """Return a request with a progress token that no other client has or can guess, and the former token. Raises Rejection."""
        token = token or read_request("", message.params, self._limits)[0]
        if not token:
            return message, token
        params = with_progress_token(message.params, front.progress_token(message.id))
        return Request(message.id, message.method, params), token

    def _start_process(self) -> Effects:
        if self._phase != _IDLE:
            return ()
        self._advance(_REQUEST)
        return (StartProcess(),)

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
        self._calls.by_id[message.id] = SharedCall(front, "initialize", b"", version)
        return self._start_process()

    def _answer_initialize(self, front: Front, wire_id: bytes, version: str) -> ToFront:
        front.ready = True
        return ToFront(front, Response(wire_id, self._handshake.result_for(version), b""))

    def _on_front_notification(self, front: Front, message: Notification) -> Effects:
        if message.method == "notifications/cancelled":
            raw_id, _ = read_cancelled(message.params)
            call = self._calls.by_id.get(raw_id)
            if call is None or call.front is not front:
                return (LogDebug("cancellation_unmatched"),)
            return self._calls.cancel(raw_id, message.params)
        if message.method == "notifications/initialized" or self._phase != _OPEN:
            return ()
        return self._server_requests.on_notification(front, message)

    # ---- the process

    def on_start(self) -> Effects:
        """Handle the start of a process: send `initialize`."""
        self._phase = _OPENING
        return (ToServer(self._handshake.start(self._next_id())),)

    def refuse(self, error: bytes) -> Effects:
        """Handle a final refusal of `initialize`: all fronts that wait get the error, and the process is killed."""
        if self._phase != _REFUSED:
            return ()
        self._advance(_EXIT)
        calls = self._calls.by_id
        self._reset()
        text = initialize_refused(error)
        return (
            *(ToFront(call.front, Response(wire_id, b"", error)) for wire_id, call in calls.items()),
            *(CallsLost(front, (), text, {}) for front in self._fronts if front.translated),
            KillProcess(),
        )

    def on_exit(self, text: str, data: dict[str, object]) -> Effects:
        """Handle the exit of the process, or a failed start: requests in flight fail with the reason."""
        if self._phase == _OVER:
            return ()
        opened = self._phase == _OPEN
        self._advance(_EXIT)
        calls = self._calls.by_id
        effects: list[Effect] = [*self._server_requests.on_exit()]
        self._reset()
        lost: dict[Front, list[bytes]] = {front: [] for front in self._fronts}
        for wire_id, call in calls.items():
            if call.front in lost:
                lost[call.front].append(wire_id)
        for front, wire_ids in lost.items():
            front.renewed = front.renewed or (opened and front.ready)
            if wire_ids or front.translated:
                effects.append(CallsLost(front, tuple(wire_ids), text, data))
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
        text = initialize_late(limit)
        return (*self.on_exit(text, {"reason": "not started"}), KillProcess(text))

    # ---- from the server

    def on_server_message(self, message: Message, related: bytes = b"") -> Effects:
        """Handle a message of the server. Never raises, however wrong the message is.

        `related` is the wire id of the request on whose response stream it came, where that is known.
        """
        if isinstance(message, Response):
            return self._on_response(message)
        if not json_object.has_room(message.params):
            return _refuse_many_members(message)
        if isinstance(message, Notification):
            return self._on_notification(message)
        return self._server_requests.on_request(message, related)

    def reassign(self, message: Request, client: Client) -> Effects:
        """Assign a request of the server again, because the call of a translated front that had it has ended."""
        return self._server_requests.reassign(message, client)

    def _on_response(self, message: Response) -> Effects:
        wire_id = message.id
        if self._phase != _OPEN:
            return self._on_initialize_response(message)
        call = self._calls.by_id.pop(wire_id, None)
        if call is None:
            return self._on_unmatched(message)
        self._calls.counted.discard(wire_id)
        front = call.front
        effects: Effects = (ToFront(front, message),)
        if call.detail or call.task or call.method in self._handlers:
            effects = self._on_special_response(call, message)
        elif call.method == "tasks/list" and not front.translated:
            effects = (ToFront(front, self._tasks.list_of(front, message)),)
        origin = self.origins.get(wire_id)
        task = task_of(message.result) if self._tasks.declared and call.method == "tools/call" else b""
        if task:
            self._tasks.add(front, wire_id, call.token, task, origin)
        elif origin is not None and not front.translated:
            self.origins.answer(origin)
        if message.error:
            self._server_requests.on_error(front, message.error)
        return (*effects, *self._calls.send_queued()) if self._calls.queued else effects

    def _on_special_response(self, call: SharedCall, message: Response) -> Effects:
        effects: Effects = (ToFront(call.front, message),)
        if call.method == "resources/subscribe":
            return (*effects, *self._subscriptions.on_response(message))
        if call.method == "logging/setLevel" and message.error:
            self._level.on_refused(call)
        elif call.task:
            self._tasks.on_response(call, message)
        return effects

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
        self._advance(_ACCEPTED)
        self._handshake.accept(message.result)
        self._tasks.declared = self._handshake.has_tasks()
        effects: list[Effect] = [Opened(), ToServer(Notification("notifications/initialized", b""))]
        effects.extend(self._level.adjust())
        effects.extend(self._subscriptions.restore_all())
        for wire_id, call in self._waiting():
            del self._calls.by_id[wire_id]
            effects.append(self._answer_initialize(call.front, wire_id, call.detail))
        effects.extend(
            FrontOpened(front, self._handshake.result) for front in self._fronts if front.translated
        )
        for front, request, token in self._calls.take_held():
            effects.extend(self._handlers.get(request.method, self._calls.begin)(front, request, token))
        for front in self._fronts:
            effects.extend(self._missed(front))
        return tuple(effects)

    def _on_initialize_refused(self, error: bytes) -> Effects:
        version = self._handshake.next_version({call.detail for _, call in self._waiting()})
        if version:
            return (ToServer(self._handshake.offer(version, self._next_id())),)
        self._advance(_REFUSAL)
        return (Unopened(error),)

    def _waiting(self) -> list[tuple[bytes, SharedCall]]:
        """Return the requests of fronts that wait for the result of `initialize`, by wire id."""
        return [item for item in self._calls.by_id.items() if item[1].method == "initialize"]

    def _on_unmatched(self, message: Response) -> Effects:
        known = self._calls.take_abandoned(message.id)
        # The front of this request has left or cancelled it, and others may wait for the response.
        if self._subscriptions.is_pending(message.id):
            return self._subscriptions.on_response(message)
        origin = self.origins.get(message.id)
        if origin is None and known:
            return (LogDebug("response_not_awaited"),)
        if origin is None or (origin.phase is Phase.ANSWERED and not known):
            return (LogDebug("response_unmatched", ("server", message.id)),)
        self._calls.abandon(message.id)
        if origin.phase is not Phase.ANSWERED:
            self.origins.answer(origin)
        task = task_of(message.result) if self._tasks.declared else b""
        return (self._tasks.cancel(task),) if task else ()

    # ---- notifications of the server

    def _on_notification(self, message: Notification) -> Effects:
        method = message.method
        if method in KIND_OF:
            return tuple(ToFront(front, message) for front in self._fronts if front.ready or front.translated)
        match method:
            case "notifications/progress":
                return self._on_progress(message)
            case "notifications/cancelled":
                return self._server_requests.on_cancelled(message)
            case "notifications/resources/updated":
                return self._subscriptions.on_updated(message)
            case "notifications/message":
                return self._level.on_log_message(message)
            case "notifications/elicitation/complete":
                front = self._server_requests.front_of_url(message)
            case _:
                # A notification that is unknown to the bridge is sent if it can belong to one front only.
                front = self._tasks.front_of(message)
        if front is None:
            return (LogDebug("notification_ambiguous"),)
        return (ToFront(front, message, self._calls.newest_of(front)),)

    def _on_progress(self, message: Notification) -> Effects:
        token = read_progress(message.params)
        wire_id = call_in(token)
        owner = self._calls.by_id.get(wire_id) or self._tasks.of_call(wire_id)
        if owner is None or token != owner.front.progress_token(wire_id):
            return (LogDebug("progress_unmatched"),)
        if not owner.token:
            return (LogDebug("progress_without_token"),)
        found = json_object.peek(message.params)
        found["progressToken"] = json_object.raw(owner.token)
        return (ToFront(owner.front, Notification(message.method, json_object.write(found)), wire_id),)


def _refuse_many_members(message: Request | Notification) -> Effects:
    if isinstance(message, Notification):
        return (LogDebug("notification_with_too_many_members"),)
    refusal = ToServer(failure(message.id, INTERNAL_ERROR, json_object.TOO_MANY))
    return (refusal, ServerRequestRefused(message.method, "too_many_members"))
