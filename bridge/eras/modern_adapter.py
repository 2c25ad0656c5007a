"""Present a modern server to a legacy client: the handshake and session that the client expects, over stateless requests.

`initialize` is answered from `server/discover` (`client_handshake`), each request gets its envelope, an `input_required` result
becomes requests to the client (`client_input_rounds`), and one `subscriptions/listen` carries the notifications that a legacy
server sends unsolicited (`listen_stream`).

Pure. Ids towards the server are made here and never used twice.
Invariant: a request of the session ends in exactly one response, unless the session has cancelled it.
Invariant: no message of the server raises an exception here.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from ...validators import json_object, stateless_request
from ...validators.json_object import Members
from ...validators.jsonrpc import Message, Notification, Request, Response, wire_id
from ...validators.limits import Limits
from ...validators.mcp_params import cancelled_again, read_cancelled
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Rejection
from ..core import input_over
from ..core.abandoned_requests import AbandonedRequests
from ..core.attribution import INTERACTIVE
from ..core.effects import (
    Effect,
    Effects,
    EraMismatch,
    LogDebug,
    SetTimer,
    Timer,
    ToRequester,
    ToServer,
    Translator,
)
from ..core.errors import fault_text, read_fault
from ..core.handshake import CORE_METHODS
from . import rules_modern_to_legacy
from .client_handshake import DEFAULT_LEVEL, ClientHandshake
from .client_input_rounds import ClientInputRounds, InputError, ModernCall, ModernPhase
from .listen_stream import ListenStream
from .responses import fail, respond, respond_error
from .timers import ListenDue, RetryDue, TaskPollDue

if TYPE_CHECKING:
    from ..core.requests import ClientRequest

# Input rounds of one call, at most. The clients of the official SDKs stop at 10.
MOST_ROUNDS: Final = 8
# The delay before a `requestState` without input requests is returned to the server (seconds).
RETRY_DELAY: Final = 0.25
# How long a client may take for the answers of one round (seconds).
INPUT_TIMEOUT: Final = 600.0
# The interval between polls of a task whose server names none, and the shortest interval (seconds).
POLL_INTERVAL: Final = 1.0
SHORTEST_POLL_INTERVAL: Final = 0.1


class ModernAdapter(Translator):
    """Speaks a handshake revision to a session and the modern era to its server (effects.Translator).

    `mint` returns a new random id for a URL that the client is to open. `name`, `level` and `own` are those of
    `ClientHandshake`.
    """

    def __init__(
        self,
        limits: Limits,
        mint: Callable[[], str],
        name: str = "server",
        *,
        own: bool = False,
        level: str = DEFAULT_LEVEL,
    ) -> None:
        self._limits = limits
        self._mint_id = map(b"%d".__mod__, itertools.count(1)).__next__
        self._abandoned = AbandonedRequests()
        self._handshake = ClientHandshake(name, level, own=own)
        # The ids of `initialize` and of the `server/discover` that answers it, while the server has not responded.
        self._opening: tuple[bytes, bytes] | None = None
        # By the id of the session's request. Removed with its response, or when it is cancelled.
        self._calls: dict[bytes, ModernCall] = {}
        # Calls in the phase SENT, by the id of the request to the server.
        self._sent: dict[bytes, ModernCall] = {}
        self._inputs = ClientInputRounds(limits, self._handshake, mint)
        self._stream = ListenStream(limits, self._handshake, self._mint_id, self._abandoned)

    # ---- effects.Translator

    def on_start(self) -> Effects:
        """Return no effects, because the client begins."""
        return ()

    def from_client(self, message: Message, _client_request: "ClientRequest | None" = None) -> Effects:
        """Handle a message of the session."""
        if isinstance(message, Request):
            return self._on_request(message)
        if isinstance(message, Response):
            return self._on_input_response(message)
        if message.method == "notifications/cancelled":
            return self._on_cancelled(read_cancelled(message.params)[0], message.params)
        if message.method == "notifications/initialized":
            return self._stream.start()
        if self._handshake.passes(message.method):
            return (ToServer(message),)
        # The modern era has no notifications of clients but `notifications/cancelled` (MCP 2026-07-28 schema).
        return ()

    def from_server(self, message: Message, related: bytes = b"") -> Effects:  # noqa: ARG002 - a message names its call
        if isinstance(message, Response):
            return self._on_response(message)
        if isinstance(message, Notification):
            if not json_object.has_room(message.params):
                return (LogDebug("notification_with_too_many_members"),)
            return self._on_notification(message)
        # MCP 2026-07-28 basic: a server must not send requests.
        return (LogDebug("request_of_modern_server_dropped"),)

    def on_timer(self, timer: Timer) -> Effects:
        """Return a `requestState` to the server, poll a task, or open the subscription again."""
        match timer:
            case ListenDue():
                return self._stream.reopen()
            case RetryDue(requester) if (call := self._find(requester, ModernPhase.PAUSED)) is not None:
                return self._retry(call)
            case TaskPollDue(requester) if (call := self._find(requester, ModernPhase.POLLING)) is not None:
                return self._send(call, "tasks/get", {"taskId": json_object.raw(call.task)})
            case _:
                return ()

    def _find(self, requester: bytes, phase: ModernPhase) -> ModernCall | None:
        call = self._calls.get(requester)
        return call if call is not None and call.phase is phase else None

    def on_tick(self, now: float) -> Effects:
        """End calls whose client has not answered in time. `now` is in seconds on any steady clock."""
        effects: list[Effect] = []
        for call in tuple(self._calls.values()):
            if call.phase is not ModernPhase.INPUT:
                continue
            if call.since is None:
                call.since = now
            elif now - call.since > INPUT_TIMEOUT:
                effects.extend(self._abort(call, f"the client did not answer within {INPUT_TIMEOUT:g} s"))
        return tuple(effects)

    # ---- requests of the client

    def _on_request(self, request: Request) -> Effects:
        method = request.method
        if not json_object.has_room(request.params):
            return fail(request.id, INVALID_PARAMS, json_object.TOO_MANY)
        if method == "initialize":
            return self._initialize(request)
        if method == "ping":
            return (respond(request.id, b"{}"),)
        if method == "logging/setLevel":
            return self._set_level(request)
        if method in ("resources/subscribe", "resources/unsubscribe"):
            return self._stream.on_request(request)
        capability = CORE_METHODS.get(method)
        if capability is None and not self._handshake.passes(method):
            return fail(request.id, METHOD_NOT_FOUND, "there is no such method")
        if capability is not None and capability not in self._handshake.offered:
            return fail(request.id, METHOD_NOT_FOUND, f"the server has no {capability}")
        params = json_object.read(request.params)
        if method == "tools/call":
            params.pop("task", None)
        call = ModernCall(request.id, method, params)
        self._calls[request.id] = call
        return self._send(call, method, dict(params))

    def _initialize(self, request: Request) -> Effects:
        self._handshake.begin(request.params)
        own_id = self._mint_id()
        self._opening = (request.id, own_id)
        return (ToServer(Request(own_id, "server/discover", self._handshake.envelope({}))),)

    def _set_level(self, request: Request) -> Effects:
        if not self._handshake.set_level(request.params):
            text = f"the level must be one of {', '.join(stateless_request.LOG_LEVELS)}"
            return fail(request.id, INVALID_PARAMS, text)
        return (respond(request.id, b"{}"),)

    def _send(self, call: ModernCall, method: str, params: dict[str, object]) -> Effects:
        call.phase = ModernPhase.SENT
        call.wire_id = self._mint_id()
        self._sent[call.wire_id] = call
        handshake = self._handshake
        enveloped = handshake.envelope(params, token=call.wire_id, level=handshake.level, tasks=call.tasks)
        return (ToServer(Request(call.wire_id, method, enveloped)),)

    def _retry(self, call: ModernCall) -> Effects:
        return self._send(call, call.method, call.retry_params())

    def _on_cancelled(self, requester: bytes, params: bytes) -> Effects:
        call = self._calls.pop(requester, None)
        if call is None:
            return ()
        effects: list[Effect] = []
        if self._sent.pop(call.wire_id, None) is not None:
            self._abandoned.add(call.wire_id)
            params = cancelled_again(params, call.wire_id)
            effects.append(ToServer(Notification("notifications/cancelled", params)))
        return (*effects, *self._withdraw(call))

    def _withdraw(self, call: ModernCall) -> Effects:
        """Cancel the input requests and the task of a call."""
        task = (self._cancel_task(call.task),) if call.task else ()
        return (*self._inputs.withdraw(call), *task)

    def _cancel_task(self, task: bytes) -> Effect:
        params: dict[str, object] = {"taskId": json_object.raw(task)}
        own_id = self._abandoned.add(self._mint_id())
        return ToServer(Request(own_id, "tasks/cancel", self._handshake.envelope(params, tasks=True)))

    # ---- responses of the server

    def _on_response(self, message: Response) -> Effects:
        call = self._sent.pop(message.id, None)
        if call is None:
            return self._on_other_response(message)
        if not json_object.has_room(message.result):
            error = fault_text(INTERNAL_ERROR, json_object.TOO_MANY)
            return self._end(call, respond_error(call.requester, error))
        if message.error:
            return self._on_error(call, message.error)
        found = json_object.peek(message.result)
        if call.task:
            return self._on_task(call, found)
        kind = json_object.string(found.get("resultType")) if "resultType" in found else "complete"
        if kind == "complete":
            return self._complete(call, message.result)
        if kind == "input_required" and call.method in INTERACTIVE:
            return self._on_input_required(call, found)
        if kind == "task" and call.tasks and "taskId" in found:
            call.task = bytes(found["taskId"])
            return self._poll_later(call, found)
        # A result type that an extension defines passes unchanged.
        if self._handshake.has_extensions:
            return self._end(call, respond(call.requester, bytes(message.result)))
        error = fault_text(INTERNAL_ERROR, "the server's result is of a kind that is not known")
        return self._end(call, respond_error(call.requester, error))

    def _on_other_response(self, message: Response) -> Effects:
        if self._opening is not None and message.id == self._opening[1]:
            return self._on_discovered(self._opening[0], message)
        if self._stream.owns(message.id):
            return self._stream.on_response(message)
        known = self._abandoned.take(message.id)
        found = json_object.peek(message.result)
        # The task of a call that was cancelled before it became one.
        if "taskId" in found and json_object.string(found.get("resultType")) == "task":
            return (self._cancel_task(bytes(found["taskId"])),)
        if known:
            return (LogDebug("response_not_awaited"),)
        return (LogDebug("response_unmatched", ("server", message.id)),)

    def _on_discovered(self, requester: bytes, message: Response) -> Effects:
        self._opening = None
        if message.error:
            fault = read_fault(message.error)
            text = f"the server refused server/discover: {fault.message}"
            return (*fail(requester, INTERNAL_ERROR, text, fault.data), EraMismatch(text))
        return (respond(requester, self._handshake.complete(message.result)),)

    def _on_error(self, call: ModernCall, error: bytes) -> Effects:
        if not call.tasks and rules_modern_to_legacy.requires_tasks_extension(error):
            call.tasks = True
            return self._send(call, call.method, dict(call.params))
        is_core = call.method in CORE_METHODS
        rules = rules_modern_to_legacy
        rule = rules.legacy_error if is_core else rules.legacy_extension_error
        translated = rule(call.method, error, self._handshake.revision)
        return self._end(call, respond_error(call.requester, translated))

    def _complete(self, call: ModernCall, result: bytes | msgspec.Raw) -> Effects:
        urls = self._inputs.complete_urls(call, []) if call.urls else ()
        if call.method not in CORE_METHODS:
            passed = rules_modern_to_legacy.legacy_extension_result(bytes(result))
            return (*urls, *self._end(call, respond(call.requester, passed)))
        try:
            translated = rules_modern_to_legacy.legacy_result(
                call.method, result, self._handshake.revision, self._limits
            )
            response = respond(call.requester, translated)
        except Rejection as rejection:
            response = respond_error(call.requester, fault_text(rejection.code, rejection.text))
        return (*urls, *self._end(call, response))

    def _end(self, call: ModernCall, response: ToRequester) -> Effects:
        self._calls.pop(call.requester, None)
        return (response,)

    def _abort(self, call: ModernCall, text: str) -> Effects:
        """Fail a call for a reason that is not an error of the server."""
        return (*self._withdraw(call), *self._end(call, _failure(call, text)))

    # ---- input rounds (MCP 2026-07-28 basic/patterns/mrtr)

    def _on_input_required(self, call: ModernCall, found: Members) -> Effects:
        call.rounds += 1
        if call.rounds > MOST_ROUNDS:
            return self._abort(call, f"the server required input in more than {MOST_ROUNDS} rounds")
        requests = json_object.peek(found.get("inputRequests"))
        state = found.get("requestState")
        call.state = None if state is None else bytes(state)
        call.answers = {}
        if requests:
            return self._request_input(call, requests)
        if call.state is None:
            return self._abort(call, "the server requires input and names none")
        call.phase = ModernPhase.PAUSED
        timer = SetTimer(RETRY_DELAY, RetryDue(call.requester))
        return (*self._inputs.complete_urls(call, []), timer)

    def _request_input(self, call: ModernCall, requests: Members) -> Effects:
        try:
            inputs = self._inputs.read(requests)
        except InputError as fault:
            return self._abort(call, str(fault))
        effects = (*self._inputs.complete_urls(call, inputs), *self._inputs.send(call, inputs))
        return effects if call.inputs else (*effects, *self._resume(call))

    def _on_input_response(self, message: Response) -> Effects:
        call = self._inputs.take(message.id)
        if call is None:
            return (LogDebug("response_unmatched", ("client", message.id)),)
        failure = self._inputs.answer(call, message)
        if failure:
            return self._abort(call, failure)
        return () if call.inputs else self._resume(call)

    def _resume(self, call: ModernCall) -> Effects:
        """Send the answers of a round to the server."""
        return self._send(call, "tasks/update", call.update_params()) if call.task else self._retry(call)

    # ---- tasks of the tasks extension, which the client does not see

    def _poll_later(self, call: ModernCall, found: Members) -> Effects:
        interval = json_object.number(found.get("pollIntervalMs"))
        seconds = POLL_INTERVAL if interval is None else max(SHORTEST_POLL_INTERVAL, interval / 1000)
        call.phase = ModernPhase.POLLING
        return (SetTimer(seconds, TaskPollDue(call.requester)),)

    def _on_task(self, call: ModernCall, found: Members) -> Effects:
        status = json_object.string(found.get("status"))
        if status == "completed":
            return self._complete(call, bytes(found.get("result", b"")))
        if status == "failed":
            error = fault_text(INTERNAL_ERROR, "the task failed")
            error = bytes(found["error"]) if "error" in found else error
            translated = rules_modern_to_legacy.legacy_error(call.method, error, self._handshake.revision)
            return self._end(call, respond_error(call.requester, translated))
        if status == "cancelled":
            error = fault_text(INTERNAL_ERROR, "the task was cancelled")
            return self._end(call, respond_error(call.requester, error))
        # A server that has not read an answer yet names its input request again. A key is used once in a task.
        inputs = json_object.peek(found.get("inputRequests"))
        requests = {key: request for key, request in inputs.items() if key not in call.requested}
        if status == "input_required" and requests:
            call.requested |= set(requests)
            call.answers = {}
            return self._request_input(call, requests)
        return self._poll_later(call, found)

    # ---- notifications of the server

    def _on_notification(self, message: Notification) -> Effects:
        method = message.method
        if method == "notifications/progress":
            return self._on_progress(message)
        if method == "notifications/message":
            return (ToRequester(message, self._only_requester()),)
        if method == "notifications/cancelled":
            return self._stream.on_cancelled(read_cancelled(message.params)[0])
        if method == input_over.METHOD:
            return self._on_input_over(json_object.text(input_over.state_of(message.params)))
        meta = json_object.peek(json_object.peek(message.params).get("_meta"))
        stream = wire_id(bytes(meta.get(stateless_request.SUBSCRIPTION_ID, b"")))
        if method == stateless_request.ACKNOWLEDGED:
            return self._stream.on_acknowledged(stream, message.params)
        if self._stream.publishes(method, stream):
            return (ToRequester(Notification(method, _without_subscription(message.params))),)
        if self._handshake.passes(method):
            params = message.params if not stream else _without_subscription(message.params)
            return (ToRequester(Notification(method, params), self._only_requester()),)
        return (LogDebug("notification_not_subscribed"),)

    def _only_requester(self) -> bytes:
        """Return the id of the only request of the session, empty if there is none or several."""
        return next(iter(self._calls)) if len(self._calls) == 1 else b""

    def _on_input_over(self, state: bytes) -> Effects:
        waiting = (call for call in self._calls.values() if call.phase is ModernPhase.INPUT)
        call = next((call for call in waiting if call.state == state), None)
        if call is None:
            return (LogDebug("input_over_unmatched"),)
        return (*self._inputs.withdraw(call), *self._retry(call))

    def _on_progress(self, message: Notification) -> Effects:
        found = json_object.peek(message.params)
        call = self._sent.get(wire_id(bytes(found.get("progressToken", b""))))
        progress = None if call is None else call.progress_to_client(found)
        if call is None or progress is None:
            return ()
        return (ToRequester(Notification(message.method, json_object.write(progress)), call.requester),)


def _failure(call: ModernCall, text: str) -> ToRequester:
    # The error of a tool is a result, because a model can read that (MCP 2025-11-25 server/tools#error-handling).
    if call.method == "tools/call":
        result = json_object.write({"content": [{"type": "text", "text": text}], "isError": True})
        return respond(call.requester, result)
    return respond_error(call.requester, fault_text(INTERNAL_ERROR, text))


def _without_subscription(params: bytes) -> bytes:
    found = json_object.peek(params)
    meta = json_object.peek(found.get("_meta"))
    meta.pop(stateless_request.SUBSCRIPTION_ID, None)
    if meta:
        found["_meta"] = json_object.raw(json_object.write(meta))
    else:
        found.pop("_meta", None)
    return json_object.write(found) if found else b""
