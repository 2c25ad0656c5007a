"""Modern requests in front of a legacy server: one child, one `initialize`, any number of stateless requests.

A legacy server sends requests to its client in the middle of a call; to which call such a request belongs is decided by
`attribution`, and how its client gets it by `input_rounds`. Calls run concurrently, and no call waits for another.

Pure. Ids towards the server are ours; `requestState` is plain text here, the multiplexer in front signs it.
Invariant: a request of the multiplexer ends in exactly one response, unless the multiplexer has cancelled it.
Invariant: no message of the server raises an exception here.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from ...validators import json_object, jsonrpc, stateless_request
from ...validators.json_object import Members
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.mcp_params import cancelled_again, read_cancelled
from ...validators.rejection import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Rejection,
)
from ..core import errors, extensions, input_over, tasks
from ..core.abandoned_requests import AbandonedRequests
from ..core.attribution import INTERACTIVE, MAY_ASK, Client, Origin, Origins, Phase
from ..core.effects import (
    Effect,
    Effects,
    EraMismatch,
    LogDebug,
    ServerRequestRefused,
    SetTimer,
    Timer,
    ToRequester,
    ToServer,
    Unassigned,
)
from ..core.handshake import Handshake, HandshakePhase, initialize_params
from . import rules_legacy_to_modern
from .input_rounds import UNSENT, Call, CallPhase, InputRequest, InputRounds
from .rules_legacy_to_modern import Profile
from .subscriptions import LISTS, Listening
from .timers import InputsGathered, UrlTimeout

if TYPE_CHECKING:
    from ..core.requests import ClientRequest

# How long other input requests of the same call may follow the first and still go out with it (seconds).
GATHERING: Final = 0.015
# How long a server may take to announce that an opened URL is complete, before its call is sent again (seconds).
COMPLETION: Final = 30.0
# Methods that are passed on, with the capability that the server must have declared for them.
_PASSED: Final = {
    "tools/list": "tools",
    "tools/call": "tools",
    "prompts/list": "prompts",
    "prompts/get": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resources",
    "resources/read": "resources",
    "completion/complete": "completions",
}
# The revision since which `completion/complete` has a context (MCP 2025-06-18 server/utilities/completion).
_CONTEXT_SINCE: Final = "2025-06-18"


class LegacyAdapter:
    """Speaks the modern era to the multiplexer and a handshake revision to one server process (effects.Translator).

    `capabilities` (of `profile`, where there are none) and `info`, the clientInfo of its client, are what the server is
    told at `initialize`. `mint` makes the random name of a held call. `origins` are the calls of the process and `ids` its
    wire ids. With `shared` others use the process as well: their owner does the handshake (`opened`, `refused`) and assigns
    the server's requests (`assigned`).
    """

    def __init__(
        self,
        limits: Limits,
        profile: Profile,
        mint: Callable[[], str],
        *,
        version: str = "0",
        info: bytes = b"",
        capabilities: dict[str, object] | None = None,
        origins: Origins | None = None,
        ids: Callable[[], bytes] | None = None,
        shared: bool = False,
    ) -> None:
        self._limits = limits
        self._profile = profile
        self._version = version
        self._info = info
        self._capabilities = profile.declared() if capabilities is None else capabilities
        self._extended = False  # whether the server has declared an extension
        self._shared = shared
        self._cursors = f"{mint()[:8]}."  # a cursor is valid at the child that has made it
        self._origins = Origins(limits.held_seconds) if origins is None else origins
        self._mint_id = ids or map(b"%d".__mod__, itertools.count(1)).__next__
        self._handshake = Handshake()
        self._initialize_id = b""
        # Requests before the end of the handshake, with what the multiplexer knows of them.
        self._early: list[tuple[Request, ClientRequest | None]] = []
        self._calls: dict[bytes, Call] = {}  # without an answer of the server, by wire id
        self._requesters: dict[bytes, Call] = {}  # by the id of the request that waits
        self._rounds = InputRounds(mint)
        self._roots = _Roots()
        # The last members of the params of its calls that are dropped as they are (`for_modern.envelope_ending`).
        self._ending = b""
        self._tasked: set[str] = set()  # tools that the server runs as tasks only
        self._abandoned = AbandonedRequests()
        several = self._origins.several
        self._listening = Listening(
            self._handshake, self._mint_id, self._abandoned, limits.stream_messages, several=several
        )
        self._level = ""  # the log level that the server was sent

    @property
    def busy(self) -> bool:
        """Whether the end of the child would break something."""
        return bool(
            self._calls or self._requesters or len(self._rounds) or len(self._listening) or self._early
        )

    @property
    def opening(self) -> bool:
        """Whether the server has not answered `initialize`."""
        return self._handshake.phase is HandshakePhase.OPENING

    # ---- effects.Translator

    def on_start(self) -> Effects:
        """Open the server's session, unless the owner of a shared process does it."""
        if self._shared:
            return ()
        self._initialize_id = self._mint_id()
        params = initialize_params(self._capabilities, self._version, self._info)
        return (ToServer(Request(self._initialize_id, "initialize", params)),)

    def from_client(self, message: Message, asked: "ClientRequest | None" = None) -> Effects:
        """A modern request, the cancellation of one, or a notification of an extension."""
        if isinstance(message, Request):
            if self._handshake.phase is HandshakePhase.OPENING:
                self._early.append((message, asked))
                return ()
            return self._requested(message, asked)
        if isinstance(message, Notification) and message.method == "notifications/cancelled":
            return self._cancelled(read_cancelled(message.params)[0], message.params)
        if isinstance(message, Notification) and self._extends(message.method):
            params = rules_legacy_to_modern.remove_envelope(json_object.peek(message.params), b"")
            return (ToServer(Notification(message.method, params)),)
        return (LogDebug("dropped what has no place in front of a legacy server"),)

    def from_server(self, message: Message) -> Effects:
        """A message of the server."""
        if isinstance(message, Response):
            return self._answered(message)
        if not json_object.has_room(message.params):
            if isinstance(message, Request):
                return _refuse(message, INTERNAL_ERROR, json_object.TOO_MANY, "too_many_members")
            return (LogDebug("dropped a notification: " + json_object.TOO_MANY),)
        if isinstance(message, Notification):
            return self._notified(message)
        return self._server_requested(message)

    def on_timer(self, timer: Timer) -> Effects:
        """Send the input requests that were gathered, or stop waiting for a URL."""
        match timer:
            case InputsGathered(key):
                call = self._rounds.get(key)
                if call is not None and call.phase is CallPhase.RUNNING and call.unsent:
                    return self._hold(call)
            case UrlTimeout(key):
                call = self._rounds.get(key)
                if call is not None and call.phase is CallPhase.RUNNING and call.urls:
                    return self._send_again(call)
            case _:
                pass
        return ()

    def on_tick(self, now: float) -> Effects:
        """End what has waited too long. `now` is in seconds on any steady clock."""
        effects: list[Effect] = []
        if not self._shared:
            self._origins.tick(now)
            if self._handshake.is_late(now, self._limits.start_seconds):
                text = f"the server did not answer initialize within {self._limits.start_seconds:g} s"
                effects.extend(self.refused(text))
        for call in self._rounds.held:
            call.since = now if call.since is None else call.since
            if now - call.since > self._limits.held_seconds:
                effects.extend(self._give_up(call))
        for message in self._roots.late(now, self._limits.held_seconds):
            effects.extend(_refuse(message, INTERNAL_ERROR, _NO_ROOTS, "no_call"))
        return effects

    # ---- the owner of a shared process

    def opened(self, result: bytes | msgspec.Raw) -> Effects:
        """The server has answered `initialize` with this result."""
        self._handshake.open(result)
        self._extended = bool(extensions.names_in(json_object.write(self._handshake.capabilities)))
        return self._send_early()

    def refused(self, text: str) -> Effects:
        """The server has not opened its session, for this reason."""
        self._handshake.refuse(text)
        return (EraMismatch(text), *self._send_early())

    def assigned(self, message: Request, origin: Origin) -> Effects:
        """A request of the server belongs to this call."""
        call = self._calls.get(origin.wire_id)
        if call is None or len(call.inputs) >= self._limits.in_flight:
            text = f"the limit of {self._limits.in_flight} requests to the client in one call is reached"
            return _refuse(message, INTERNAL_ERROR, text, "limit")
        first = not call.unsent
        self._rounds.add(call, message)
        return (
            (SetTimer(GATHERING, InputsGathered(call.key)),)
            if first and call.phase is CallPhase.RUNNING
            else ()
        )

    def on_exit(self) -> Effects:
        """The server is gone, and the held calls with it."""
        return [_input_over(call) for call in self._rounds.held]

    def undeclared(self, message: Request, origin: Origin) -> None:
        """A request was refused because the client of this call has not declared it: if the call fails, that is why."""
        call = self._calls.get(origin.wire_id)
        refusal = (
            None
            if call is None
            else rules_legacy_to_modern.undeclared_refusal(message.method, message.params, call.profile)
        )
        if call is not None and refusal is not None:
            call.lacks.update(refusal.needs)

    def clients_that_want(self, level: str) -> set[Client]:
        """Return the clients with a running call that wants log lines of this level."""
        return {call.client for call in self._wanting(level)}

    # ---- the handshake

    def _send_early(self) -> Effects:
        early, self._early = self._early, []
        return [effect for request, asked in early for effect in self._requested(request, asked)]

    # ---- requests

    def _requested(self, request: Request, asked: "ClientRequest | None") -> Effects:
        if self._handshake.phase is HandshakePhase.REFUSED:
            return _fail(request.id, INTERNAL_ERROR, self._handshake.refusal)
        method = request.method
        if len(request.params) > json_object.MOST_UNNAMED and not json_object.has_room(request.params):
            return _fail(request.id, INVALID_PARAMS, json_object.TOO_MANY)
        if method == "server/discover":
            return (self._discovered(request.id),)
        if method == "subscriptions/listen":
            return self._listen(request)
        capability = _PASSED.get(method)
        if capability is None:
            if not self._extends(method):
                return _fail(request.id, METHOD_NOT_FOUND, "there is no such method")
            return self._begin_extended(request, asked)
        if not self._handshake.has(capability):
            return _fail(request.id, METHOD_NOT_FOUND, f"the server has no {capability}")
        if (
            self._ending
            and method == "tools/call"
            and rules_legacy_to_modern.is_plain_call(request.params, self._ending)
        ):
            return self._begin_plain(request, asked)
        found = json_object.read(request.params)
        state = found.get("requestState") if method in INTERACTIVE else None
        if state is not None:
            return self._retried(request, found, json_object.string(state), asked)
        self._ending = rules_legacy_to_modern.removable_suffix(request.params, found)
        return self._begin(request, found, asked)

    def _begin_plain(self, request: Request, asked: "ClientRequest | None") -> Effects:
        # Of its params nothing changes, but that the envelope at their end is dropped.
        call = Call(request.method, request.params, "", self._profile, UNSENT)
        self._bind(call, request.id, asked)
        return self._send(call, plain=request.params[: -len(self._ending)] + b"}")

    def _extends(self, method: str) -> bool:
        # A method of an extension passes as it is.
        return self._extended and not extensions.is_core(method)

    def _begin_extended(self, request: Request, asked: "ClientRequest | None") -> Effects:
        found = json_object.read(request.params)
        call = Call(request.method, request.params, "", self._profile, UNSENT)
        self._bind(call, request.id, asked, found)
        return self._send(call, found)

    def _begin(self, request: Request, found: Members, asked: "ClientRequest | None") -> Effects:
        method, params = request.method, request.params
        if "cursor" in found:
            cursor = json_object.string(found["cursor"])
            if not cursor.startswith(self._cursors):
                return _fail(request.id, INVALID_PARAMS, "Invalid cursor")
            found["cursor"] = json_object.raw(json_object.text(cursor.removeprefix(self._cursors)))
            params = json_object.write(found)
        if (
            method == "completion/complete"
            and self._handshake.revision < _CONTEXT_SINCE
            and "context" in found
        ):
            del found["context"]
            params = json_object.write(found)
        uri = json_object.string(found["uri"]) if "uri" in found else ""
        call = Call(method, params, uri, self._profile, UNSENT)
        self._bind(call, request.id, asked, found)
        return self._send(call, found)

    def _bind(
        self, call: Call, requester: bytes, asked: "ClientRequest | None", found: Members | None = None
    ) -> None:
        if found is not None:
            call.token, call.level = rules_legacy_to_modern.progress_token_and_log_level(found.get("_meta"))
        call.requester = requester
        self._requesters[requester] = call
        if asked is not None:
            call.client = asked.client
            declared = asked.envelope.capabilities
            call.profile = (
                rules_legacy_to_modern.NO_PROFILE
                if declared == b"{}"
                else rules_legacy_to_modern.profile_of(asked.policy.declared(declared))
            )
            if call.wire_id:
                call.origin.client = call.client

    def _send(self, call: Call, found: Members | None = None, plain: bytes = b"") -> Effects:
        # `found` are the members of its params, which may be changed, and `plain` the params for the server, if known.
        if len(self._roots) and (waiting := self._roots.carried_by(call)):
            return self._ask_first(call, waiting)
        call.wire_id = call.token_id = self._mint_id()
        call.phase = CallPhase.RUNNING
        self._calls[call.wire_id] = call
        params = plain or rules_legacy_to_modern.remove_envelope(
            json_object.read(call.params) if found is None else found,
            call.wire_id,
            rounds=call.method in _PASSED,
        )
        if self._tasked and call.method == "tools/call":
            call.tasked = call.tasked or rules_legacy_to_modern.tool_name(params) in self._tasked
        if call.tasked:
            params = rules_legacy_to_modern.add_task(params)
        effects: list[Effect] = [*self._set_level(call)] if call.level else []
        effects.append(ToServer(Request(call.wire_id, call.method, params)))
        may_ask = call.method in MAY_ASK
        call.origin = self._origins.begin(call.wire_id, call.client, self, call.declares, may_ask=may_ask)
        return effects

    def _ask_first(self, call: Call, messages: Iterable[Request]) -> Effects:
        """Hold a call until its client has answered these. The server has asked before, so it gets the answers before the call."""
        call.deferred = True
        for message in messages:
            self._rounds.add(call, message)
        return self._hold(call)

    def _set_level(self, call: Call) -> Effects:
        if not call.level or "logging" not in self._handshake.capabilities:
            return ()
        wanted = min(
            (other.level for other in (*self._calls.values(), call) if other.level),
            key=stateless_request.LOG_LEVELS.index,
        )
        if wanted == self._level:
            return ()
        self._level = wanted
        own_id = self._abandoned.add(self._mint_id())
        return (ToServer(Request(own_id, "logging/setLevel", b'{"level":"%b"}' % wanted.encode())),)

    def _discovered(self, requester: bytes) -> Effect:
        handshake = self._handshake
        found: dict[str, object] = {
            "supportedVersions": list(stateless_request.SUPPORTED),
            "capabilities": extensions.carried(
                {name: value for name, value in handshake.capabilities.items() if name != "tasks"}
            ),
        }
        if handshake.instructions is not None:
            found["instructions"] = handshake.instructions
        result = json_object.read(json_object.write(found))
        rules_legacy_to_modern.add_server_info(result, handshake.server_info)
        return _answer(
            requester, json_object.write(rules_legacy_to_modern.add_result_type("server/discover", result))
        )

    def _listen(self, request: Request) -> Effects:
        effects = self._listening.open(request.id, request.params)
        if effects is None:
            text = f"more than {self._limits.stream_messages} resources are subscribed, the limit"
            return _fail(request.id, INVALID_PARAMS, text)
        return effects

    # ---- cancellation

    def _cancelled(self, requester: bytes, params: bytes) -> Effects:
        if requester in self._listening:
            return self._listening.close(requester)
        self._early = [(request, asked) for request, asked in self._early if request.id != requester]
        call = self._requesters.pop(requester, None)
        return () if call is None else self._drop(call, params)

    def _drop(self, call: Call, params: bytes = b"") -> Effects:
        """Cancel a call whose client has left. Its input requests may belong to another call of the client."""
        self._requesters.pop(call.requester, None)
        left = self._rounds.remove(call)
        effects: list[Effect] = []
        if self._calls.pop(call.wire_id, None) is not None:
            if call.task:
                effects.append(self._cancel_task(call.task))
            self._origins.cancel(call.origin)
            self._abandoned.add(call.wire_id)
            params = rules_legacy_to_modern.remove_envelope(
                json_object.peek(cancelled_again(params, call.wire_id)), b"", rounds=False
            )
            effects.append(ToServer(Notification("notifications/cancelled", params)))
        effects.extend(self._assign_again(call, left))
        return effects

    def _cancel_task(self, task: bytes) -> Effect:
        own_id = self._abandoned.add(self._mint_id())
        return ToServer(Request(own_id, "tasks/cancel", rules_legacy_to_modern.task_id_params(task)))

    def _assign_again(self, call: Call, left: Iterable[InputRequest]) -> Effects:
        """Find another call of the same client for the requests that a call has left."""
        client = call.client
        if self._shared:
            return [Unassigned(one.message, client) for one in left]
        return [effect for one in left for effect in self._assign(one.message, client)]

    # ---- held calls

    def _hold(self, call: Call) -> Effects:
        effects: list[Effect] = []
        if call.phase is not CallPhase.HELD and len(self._rounds.held) >= self._limits.held_calls:
            over = next((one for one in self._rounds.held if one.slot is not None), None)
            if over is None:
                requester = call.requester
                text = f"the limit of {self._limits.held_calls} calls that wait for their client is reached"
                return (*self._drop(call), *_fail(requester, INTERNAL_ERROR, text))
            # The server has answered this one, and its client has not come for the answer.
            effects.extend(self._assign_again(over, self._rounds.remove(over)))
        self._requesters.pop(call.requester, None)
        if call.origin is not UNSENT and call.origin.phase is Phase.RUNNING:
            call.origin.phase = Phase.HELD
        inputs = self._rounds.send(call)
        state = f"{call.key}.{call.round}"
        result = rules_legacy_to_modern.input_required_result(inputs, state, self._handshake.server_info)
        return (_answer(call.requester, result), *effects)

    def _retried(
        self, request: Request, found: Members, state: str, asked: "ClientRequest | None"
    ) -> Effects:
        key, _, number = state.partition(".")
        call = self._rounds.get(key)
        if (
            call is None
            or call.method != request.method
            or not self._rounds.take(call, number, found.get("inputResponses"))
        ):
            return _fail(request.id, INVALID_PARAMS, "Invalid or expired requestState")
        self._bind(call, request.id, asked, found)
        if call.unanswered and call.slot is None:
            return self._hold(call)
        return self._resume(call)

    def _resume(self, call: Call) -> Effects:
        call.phase = CallPhase.RUNNING
        if call.origin.phase is Phase.HELD:
            call.origin.phase = Phase.RUNNING
        effects: list[Effect] = [*self._set_level(call)]
        answered = self._rounds.answers(call)
        for one in answered:
            if one.message.method == "roots/list" and not self._origins.several:
                self._roots.known = one.answer or b""
            if one.server_id:
                effects.append(ToServer(Response(one.server_id, one.answer or b"", b"")))
        if call.slot is not None:
            effects.extend(self._finish(call, call.slot))
        elif call.deferred:
            call.deferred = False
            effects.extend(self._send(call))
        elif call.urls:
            effects.extend(self._urls_opened(call, answered))
        return effects

    def _urls_opened(self, call: Call, answered: list[InputRequest]) -> Effects:
        if any(_action(one) != "accept" for one in answered):
            return self._finish(call, _not_opened(call))
        if call.completions:
            return (SetTimer(COMPLETION, UrlTimeout(call.key)),)
        return self._send_again(call)

    def _send_again(self, call: Call) -> Effects:
        call.urls = False
        call.completions.clear()
        call.task = b""
        return self._send(call)

    def _give_up(self, call: Call) -> Effects:
        effects: list[Effect] = [LogDebug("held_call_expired")]
        for one in self._rounds.clear(call):
            if one.message.method == "elicitation/create":
                effects.append(ToServer(Response(one.server_id, b'{"action":"cancel"}', b"")))
            else:
                refusal = errors.fault_text(INTERNAL_ERROR, "the client did not answer in time")
                effects.append(ToServer(Response(one.server_id, b"", refusal)))
        return (*effects, *self._drop(call))

    # ---- requests of the server

    def _server_requested(self, message: Request) -> Effects:
        if message.method == "ping":
            return (ToServer(Response(message.id, b"{}", b"")),)
        if message.id in self._rounds or message.id in self._roots:
            return _refuse(
                message, INVALID_REQUEST, "this id is in use by a request in progress", "id_in_use"
            )
        return self._assign(message)

    def _assign(self, message: Request, again_for: Client | None = None) -> Effects:
        task = tasks.related_task(message.params)
        found = self._origins.assign(message.method, message.params, task, again_for)
        if isinstance(found, Origin):
            return self.assigned(message, found)
        call = None if found.origin is None else self._calls.get(found.origin.wire_id)
        if found.reason not in ("no_call", "not_declared"):
            return _refuse(message, found.code, found.text, found.reason)
        profile = self._profile if call is None else call.profile
        refusal = rules_legacy_to_modern.undeclared_refusal(message.method, message.params, profile)
        if refusal is None:
            return self._unrelated(message)
        if call is not None:
            call.lacks.update(refusal.needs)
        answer = ToServer(Response(message.id, b"", refusal.error))
        return (answer, ServerRequestRefused(message.method, "not_declared"))

    def _unrelated(self, message: Request) -> Effects:
        # No call is in progress, or one that cannot carry a request, such as completion/complete.
        if message.method == "roots/list" and not self._origins.several:
            if self._roots.known:
                return (ToServer(Response(message.id, self._roots.known, b"")),)
            if self._roots.keep(message, self._limits.in_flight):
                return ()
        text = "no call is in progress that this request can belong to"
        return _refuse(message, INTERNAL_ERROR, text, "no_call")

    # ---- responses of the server

    def _answered(self, message: Response) -> Effects:
        if self._initialize_id and message.id == self._initialize_id:
            return self._initialized(message)
        call = self._calls.pop(message.id, None)
        is_small = type(message.result) is bytes and len(message.result) <= json_object.MOST_UNNAMED
        if not is_small and not json_object.has_room(message.result):
            message = Response(message.id, b"", errors.fault_text(INTERNAL_ERROR, json_object.TOO_MANY))
        if call is None:
            return self._unmatched(message)
        if not call.task and call.method == "tools/call" and not message.error:
            call.task = self._task_of(message)
            if call.task:  # `tasks/result` answers when the task is done
                return self._wait_for_task(call)
        self._origins.answer(call.origin)
        if call.phase is not CallPhase.RUNNING:  # for the retry
            call.slot = Response(message.id, bytes(message.result), message.error)
            return (_input_over(call),)
        if message.error and call.method in INTERACTIVE:
            fault = errors.read_fault(message.error)
            if fault.code == errors.URL_ELICITATION_REQUIRED:
                return self._urls_required(call, fault)
            if fault.code == METHOD_NOT_FOUND and self._may_be_tasked(call):
                call.tasked = True
                return self._send(call)
        return self._finish(call, message)

    def _initialized(self, message: Response) -> Effects:
        self._initialize_id = b""
        if message.error:
            text = errors.read_fault(message.error).message
            return self.refused(f"the server refused to initialize: {text}")
        ready = ToServer(Notification("notifications/initialized", b""))
        return (ready, *self.opened(message.result))

    def _wait_for_task(self, call: Call) -> Effects:
        if call.tasked:
            self._tasked.add(rules_legacy_to_modern.tool_name(call.params))
        call.wire_id = self._mint_id()
        self._calls[call.wire_id] = call
        call.origin.task = call.task
        self._origins.rename(call.origin, call.wire_id)
        return (
            ToServer(Request(call.wire_id, "tasks/result", rules_legacy_to_modern.task_id_params(call.task))),
        )

    def _may_be_tasked(self, call: Call) -> bool:
        # A server refuses a tool that it runs as a task only in this way, while its list of tools was not read.
        requests = json_object.peek(self._handshake.setting("tasks", "requests"))
        return (
            call.method == "tools/call"
            and not (call.tasked or call.task)
            and "call" in json_object.peek(requests.get("tools"))
        )

    def _task_of(self, message: Response) -> bytes:
        return tasks.task_of(message.result) if "tasks" in self._handshake.capabilities else b""

    def _unmatched(self, message: Response) -> Effects:
        known = self._abandoned.take(message.id)
        task = self._task_of(message)
        if task:  # of a call that was cancelled before it had become one
            return (self._cancel_task(task),)
        origin = self._origins.get(message.id)
        if origin is not None and (known or origin.phase is not Phase.ANSWERED):
            self._origins.answer(origin)
            return ()
        effects = self._listening.answered(message)
        if effects is not None:
            return effects
        return (
            (LogDebug("response_not_awaited"),)
            if known
            else (LogDebug("response_unmatched", ("server", message.id)),)
        )

    def _finish(self, call: Call, message: Response) -> Effects:
        if call.method == "tools/list" and "tasks" in self._handshake.capabilities:
            self._tasked |= rules_legacy_to_modern.tools_that_require_tasks(message.result, self._limits)
        if call.lacks and rules_legacy_to_modern.has_failed(message):
            return self._end_with(call, rules_legacy_to_modern.missing_capability_error(call.lacks))
        if call.method not in _PASSED:
            return self._finish_extended(call, message)
        if message.error:
            uri = call.uri if call.method == "resources/read" else ""
            return self._end_with(call, rules_legacy_to_modern.modern_error(message.error, uri))
        found = rules_legacy_to_modern.remove_related_task(message.result) if call.task else message.result
        try:
            result = rules_legacy_to_modern.modern_result(
                call.method, found, self._handshake.server_info, self._cursors, self._limits
            )
        except Rejection as rejection:  # too large for what has to be changed in it
            return self._end_with(call, errors.fault_text(rejection.code, rejection.text))
        self._requesters.pop(call.requester, None)
        answer = _answer(call.requester, result)
        if not call.key:  # the server has asked for nothing in its course
            return (answer,)
        return (answer, *self._assign_again(call, self._rounds.remove(call)))

    def _finish_extended(self, call: Call, message: Response) -> Effects:
        if message.error:
            return self._end_with(call, rules_legacy_to_modern.modern_extension_error(message.error))
        self._requesters.pop(call.requester, None)
        return (_answer(call.requester, rules_legacy_to_modern.modern_extension_result(message.result)),)

    def _end_with(self, call: Call, error: bytes) -> Effects:
        self._requesters.pop(call.requester, None)
        left = self._rounds.remove(call)
        return (
            ToRequester(Response(call.requester, b"", error), call.requester),
            *self._assign_again(call, left),
        )

    def _urls_required(self, call: Call, fault: errors.Fault) -> Effects:
        if not call.profile.url:
            return self._end_with(
                call, rules_legacy_to_modern.missing_capability_error({"elicitation": {"url": {}}})
            )
        data = json_object.peek(None if fault.data is msgspec.UNSET else fault.data)
        left = self._rounds.clear(call)
        for one in json_object.items(data.get("elicitations"))[: self._limits.in_flight]:
            found = json_object.peek(one)
            if "elicitationId" in found:
                call.completions.add(bytes(found["elicitationId"]))
            found["mode"] = json_object.raw(b'"url"')
            self._rounds.add(call, Request(b"", "elicitation/create", json_object.write(found)))
        again = self._assign_again(call, left)
        if not call.inputs:
            text = "the server requires URLs to be opened and names none"
            return (*self._end_with(call, errors.fault_text(INTERNAL_ERROR, text)), *again)
        call.urls = True
        return (*self._hold(call), *again)

    # ---- notifications of the server

    def _notified(self, message: Notification) -> Effects:
        match message.method:
            case "notifications/progress":
                return self._progressed(message.params)
            case "notifications/message":
                return self._logged(message)
            case method if method in LISTS:
                return self._listening.list_changed(message)
            case "notifications/resources/updated":
                return self._listening.updated(message)
            case "notifications/cancelled":
                return self._withdrawn(read_cancelled(message.params)[0])
            case "notifications/elicitation/complete":
                return self._url_completed(message.params)
            case method if self._extends(method):
                return self._extension_notified(message)
            case _:
                return (LogDebug("dropped a notification that the modern era does not know"),)

    def _extension_notified(self, message: Notification) -> Effects:
        # Which call it belongs to is not known, so it is sent only where one client can have caused it.
        running = [call for call in self._calls.values() if call.phase is CallPhase.RUNNING]
        clients = self._origins.clients
        if len(clients) > 1 or (len(running) > 1 and not all(client.known for client in clients)):
            return (LogDebug("extension_notification_not_sent"),)
        return (ToRequester(message, running[-1].requester if running else b""),)

    def _progressed(self, params: bytes) -> Effects:
        found = json_object.peek(params)
        call = self._call_of_token(jsonrpc.wire_id(bytes(found.get("progressToken", b""))))
        value = json_object.number(found.get("progress"))
        if call is None or not call.token or call.phase is not CallPhase.RUNNING or value is None:
            return ()
        if call.progress is not None and value <= call.progress:
            return ()
        call.progress = value
        found["progressToken"] = json_object.raw(call.token)
        return (
            ToRequester(Notification("notifications/progress", json_object.write(found)), call.requester),
        )

    def _call_of_token(self, token: bytes) -> Call | None:
        tasks = {call.token_id: call for call in self._calls.values() if call.task}
        return self._calls.get(token) or tasks.get(token)

    def _logged(self, message: Notification) -> Effects:
        # A log line does not name its call: it is sent only where one client can have caused it.
        level = json_object.string(json_object.peek(message.params).get("level"))
        wanting = self._wanting(level)
        if not wanting or len(self._origins.clients) > 1:
            return (LogDebug("log_line_not_sent"),)
        if not wanting[-1].client.known and len(self._calls) > 1:
            return (LogDebug("log_line_not_sent"),)
        return (ToRequester(message, wanting[-1].requester),)

    def _wanting(self, level: str) -> list[Call]:
        if level not in stateless_request.LOG_LEVELS:
            return []
        rank = stateless_request.LOG_LEVELS.index(level)
        return [
            call
            for call in self._calls.values()
            if call.phase is CallPhase.RUNNING
            and call.level
            and rank >= stateless_request.LOG_LEVELS.index(call.level)
        ]

    def _withdrawn(self, server_id: bytes) -> Effects:
        call = self._rounds.withdraw(server_id)
        self._roots.withdraw(server_id)
        over = call is not None and call.phase is CallPhase.HELD and not call.unanswered
        return (_input_over(call),) if call is not None and over else ()

    def _url_completed(self, params: bytes) -> Effects:
        done = bytes(json_object.peek(params).get("elicitationId", b""))
        effects: list[Effect] = []
        for call in self._rounds.calls:
            if done in call.completions:
                call.completions.discard(done)
                if not call.completions and call.urls and call.phase is CallPhase.RUNNING:
                    effects.extend(self._send_again(call))
        return effects


class _Roots:
    """`roots/list` outside of calls: answered with what the client sent last, or kept for the first call that can ask."""

    def __init__(self) -> None:
        self.known = b""
        self._waiting: dict[
            bytes, tuple[Request, float | None]
        ] = {}  # by the server's id, with the first tick

    def __contains__(self, server_id: bytes) -> bool:
        return server_id in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, message: Request, limit: int) -> bool:
        """Keep a request. Returns False at the limit."""
        if len(self._waiting) >= limit:
            return False
        self._waiting[message.id] = (message, None)
        return True

    def withdraw(self, server_id: bytes) -> None:
        """The server has cancelled its request."""
        self._waiting.pop(server_id, None)

    def carried_by(self, call: Call) -> list[Request]:
        """Remove and return the requests that a call that begins can carry."""
        if not call.declares("roots/list", b""):
            return []
        waiting, self._waiting = self._waiting, {}
        return [message for message, _ in waiting.values()]

    def late(self, now: float, patience: float) -> list[Request]:
        """Remove and return the requests that have waited longer than `patience` (seconds)."""
        late: list[Request] = []
        for server_id, (message, since) in tuple(self._waiting.items()):
            if since is None:
                self._waiting[server_id] = (message, now)
            elif now - since > patience:
                del self._waiting[server_id]
                late.append(message)
        return late


_NO_ROOTS: Final = "no call of the client came that could have carried this request"


def _answer(requester: bytes, result: bytes) -> ToRequester:
    return ToRequester(Response(requester, result, b""), requester)


def _fail(requester: bytes, code: int, text: str) -> Iterable[ToRequester]:
    return (ToRequester(Response(requester, b"", errors.fault_text(code, text)), requester),)


def _refuse(message: Request, code: int, text: str, reason: str) -> Effects:
    refusal = Response(message.id, b"", errors.fault_text(code, text))
    return (ToServer(refusal), ServerRequestRefused(message.method, reason))


def _input_over(call: Call) -> ToRequester:
    return ToRequester(input_over.notification(f"{call.key}.{call.round}"))


def _action(one: InputRequest) -> str:
    return json_object.string(json_object.peek(one.answer).get("action"))


def _not_opened(call: Call) -> Response:
    text = "the URL that the server requires was not opened"
    if call.method == "tools/call":
        return Response(
            call.wire_id,
            json_object.write({"content": [{"type": "text", "text": text}], "isError": True}),
            b"",
        )
    return Response(call.wire_id, b"", errors.fault_text(INTERNAL_ERROR, text))
