"""The calls of modern clients at one legacy server process, from the request to the response. Pure.

Invariant: a request of the multiplexer ends in exactly one response, unless the multiplexer has cancelled it.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from ...validators import json_object, stateless_request
from ...validators.counted import counted
from ...validators.json_object import Members
from ...validators.jsonrpc import Notification, Request, Response
from ...validators.limits import Limits
from ...validators.mcp_params import cancelled_again
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Rejection
from ..core import errors, input_over
from ..core.abandoned_requests import AbandonedRequests
from ..core.attribution import INTERACTIVE, MAY_ASK, Origins, Phase
from ..core.effects import Effect, Effects, LogDebug, SetTimer, ToRequester, ToServer
from ..core.handshake import CORE_METHODS, Handshake
from ..core.request_state import INVALID_STATE
from ..core.requests import ClientRequest
from . import rules_legacy_to_modern
from .input_rounds import InputRounds
from .legacy_call import UNSENT, InputRequest, LegacyCall, LegacyPhase
from .responses import fail, respond, respond_error
from .roots_requests import RootsRequests
from .task_tools import TaskTools
from .timers import UrlTimeout

# How long a server may take to announce that an opened URL is complete, before its call is sent again (seconds).
COMPLETION: Final = 30.0
# For each call: a member of an enumeration takes three times as long to read as this.
_RUNNING: Final = LegacyPhase.RUNNING


class AdapterState(NamedTuple):
    """The state of a server process that all parts of an adapter share.

    `mint_id` returns a new wire id. `cursors` is the prefix of cursors, because a cursor is valid at one process only.
    """

    limits: Limits
    handshake: Handshake
    origins: Origins
    mint_id: Callable[[], bytes]
    abandoned: AbandonedRequests
    cursors: str


class LegacyCalls:
    """The calls at the server, and those that are held for the input of their clients.

    `owner` is the adapter, as `Origin.owner` names it. `reassign` finds another call of the same client for requests of the server whose call has ended.
    """

    def __init__(
        self,
        owner: object,
        process: AdapterState,
        rounds: InputRounds,
        roots: RootsRequests,
        reassign: Callable[[LegacyCall, Iterable[InputRequest]], Effects],
    ) -> None:
        self._owner = owner
        self._limits = process.limits
        self._handshake = process.handshake
        self._origins = process.origins
        self._mint_id = process.mint_id
        self._abandoned = process.abandoned
        self._cursors = process.cursors
        self._rounds = rounds
        self._roots = roots
        self._reassign = reassign
        # Calls without a response of the server, by wire id. Removed with the response, or when they are cancelled.
        self.running: dict[bytes, LegacyCall] = {}
        # By the id of the client's request that waits. Removed when that has a response.
        self._requesters: dict[bytes, LegacyCall] = {}
        self._task_tools = TaskTools(process.limits, process.handshake)
        # The log level that the server has, empty before the first `logging/setLevel`.
        self._level = ""

    @property
    def busy(self) -> bool:
        """Whether a call is in progress or held."""
        return bool(self.running or self._requesters or len(self._rounds))

    # ---- from the client

    def begin(
        self,
        call: LegacyCall,
        requester: bytes,
        client_request: ClientRequest | None,
        found: Members | None = None,
    ) -> None:
        """Let this request of a client wait for the call. `found` are its params, if they may have a token or a level."""
        if found is not None:
            call.progress_token, call.log_level = rules_legacy_to_modern.progress_token_and_log_level(
                found.get("_meta")
            )
        call.requester = requester
        self._requesters[requester] = call
        if client_request is not None:
            call.client = client_request.client
            declared = client_request.envelope.capabilities
            call.profile = (
                rules_legacy_to_modern.NO_PROFILE
                if declared == b"{}"
                else rules_legacy_to_modern.profile_of(client_request.policy.declared(declared))
            )
            if call.wire_id:
                call.origin.client = call.client

    def send(self, call: LegacyCall, found: Members | None = None, plain: bytes = b"") -> Effects:
        """Send a call to the server.

        `found` are the members of its params, which are changed. `plain` are the params for the server, if they are known.
        """
        if self._roots.waiting and (waiting := self._roots.carried_by(call)):
            # The server has sent these before, and gets the answers before the call.
            for message in waiting:
                self._rounds.add(call, message)
            return self.hold(call, LegacyPhase.DEFERRED)
        call.wire_id = call.server_token = self._mint_id()
        call.phase = _RUNNING
        self.running[call.wire_id] = call
        params = plain or rules_legacy_to_modern.remove_envelope(
            json_object.read(call.params) if found is None else found,
            call.wire_id,
            rounds=call.method in CORE_METHODS,
        )
        if self._task_tools.names and call.method == "tools/call":
            call.as_task = call.as_task or rules_legacy_to_modern.tool_name(params) in self._task_tools.names
        if call.as_task:
            params = rules_legacy_to_modern.add_task(params)
        request = ToServer(Request(call.wire_id, call.method, params))
        effects = (*self._set_level(call), request) if call.log_level else (request,)
        may_ask = call.method in MAY_ASK
        call.origin = self._origins.begin(
            call.wire_id, call.client, self._owner, call.declares, may_ask=may_ask
        )
        return effects

    def retry(
        self, request: Request, found: Members, state: str, client_request: ClientRequest | None
    ) -> Effects:
        """Resume a held call with the answers of its client, or hold it again if answers are missing."""
        key, _, number = state.partition(".")
        call = self._rounds.get(key)
        if (
            call is None
            or call.method != request.method
            or not self._rounds.take(call, number, found.get("inputResponses"))
        ):
            return fail(request.id, INVALID_PARAMS, INVALID_STATE)
        self.begin(call, request.id, client_request, found)
        if call.unanswered and call.phase is not LegacyPhase.ANSWERED:
            return self.hold(call, call.phase)
        return self._resume(call)

    def cancel(self, requester: bytes, params: bytes) -> Effects:
        """Cancel the call of this request. `params` are those of the client's notification."""
        call = self._requesters.pop(requester, None)
        return () if call is None else self._drop(call, params)

    def _drop(self, call: LegacyCall, params: bytes = b"") -> Effects:
        """End a call whose client has left. Its input requests may belong to another call of the client."""
        self._requesters.pop(call.requester, None)
        left = self._rounds.remove(call)
        effects: list[Effect] = []
        if self.running.pop(call.wire_id, None) is not None:
            if call.task:
                effects.append(self._cancel_task(call.task))
            self._origins.cancel(call.origin)
            self._abandoned.add(call.wire_id)
            params = rules_legacy_to_modern.remove_envelope(
                json_object.peek(cancelled_again(params, call.wire_id)), b"", rounds=False
            )
            effects.append(ToServer(Notification("notifications/cancelled", params)))
        return (*effects, *self._reassign(call, left))

    def _set_level(self, call: LegacyCall) -> Effects:
        """Set the most verbose log level that a running call wants."""
        if not call.log_level or "logging" not in self._handshake.capabilities:
            return ()
        wanted = min(
            (other.log_level for other in (*self.running.values(), call) if other.log_level),
            key=stateless_request.LOG_LEVELS.index,
        )
        if wanted == self._level:
            return ()
        self._level = wanted
        own_id = self._abandoned.add(self._mint_id())
        return (ToServer(Request(own_id, "logging/setLevel", b'{"level":"%b"}' % wanted.encode())),)

    # ---- held calls

    def hold(self, call: LegacyCall, phase: LegacyPhase = LegacyPhase.HELD) -> Effects:
        """Send the input requests of a call to its client, and wait for the retry in this phase."""
        effects: Effects = ()
        if not call.held and len(self._rounds.held) >= self._limits.held_calls:
            done = next((other for other in self._rounds.held if other.phase is LegacyPhase.ANSWERED), None)
            if done is None:
                requester, limit = call.requester, self._limits.held_calls
                text = f"the limit of {counted(limit, 'call that waits for its', 'calls that wait for their')} client is reached"
                return (*self._drop(call), *fail(requester, INTERNAL_ERROR, text))
            effects = self._reassign(done, self._rounds.remove(done))
        self._requesters.pop(call.requester, None)
        if call.origin is not UNSENT and call.origin.phase is Phase.RUNNING:
            call.origin.phase = Phase.HELD
        call.phase = phase
        result = rules_legacy_to_modern.input_required_result(
            self._rounds.send(call), call.state, self._handshake.server_info
        )
        return (respond(call.requester, result), *effects)

    def _resume(self, call: LegacyCall) -> Effects:
        phase, call.phase = call.phase, LegacyPhase.RUNNING
        if call.origin.phase is Phase.HELD:
            call.origin.phase = Phase.RUNNING
        effects: list[Effect] = [*self._set_level(call)]
        answered = self._rounds.answers(call)
        for request in answered:
            if request.message.method == "roots/list" and not self._origins.several:
                self._roots.known = request.answer or b""
            if request.server_id:
                effects.append(ToServer(Response(request.server_id, request.answer or b"", b"")))
        if phase is LegacyPhase.ANSWERED and call.response is not None:
            effects.extend(self._finish(call, call.response))
        elif phase is LegacyPhase.DEFERRED:
            effects.extend(self.send(call))
        elif phase is LegacyPhase.URLS_REQUIRED:
            effects.extend(self._on_urls_answered(call, answered))
        return tuple(effects)

    def expire(self, now: float) -> Effects:
        """End calls that were held for too long. `now` is in seconds."""
        effects: list[Effect] = []
        for call in self._rounds.held:
            call.since = now if call.since is None else call.since
            if now - call.since > self._limits.held_seconds:
                effects.append(LogDebug("held_call_expired"))
                effects.extend(ToServer(response) for response in self._rounds.refuse_all(call))
                effects.extend(self._drop(call))
        return tuple(effects)

    # ---- URLs that the server requires (MCP 2025-11-25 client/elicitation#url-elicitation-required-error)

    def _require_urls(self, call: LegacyCall, fault: errors.Fault) -> Effects:
        if not call.profile.url:
            error = rules_legacy_to_modern.missing_capability_error({"elicitation": {"url": {}}})
            return self._end(call, error)
        data = json_object.peek(None if fault.data is msgspec.UNSET else fault.data)
        left = self._rounds.clear(call)
        for elicitation in json_object.items(data.get("elicitations"))[: self._limits.in_flight]:
            found = json_object.peek(elicitation)
            if "elicitationId" in found:
                call.completions |= {bytes(found["elicitationId"])}
            found["mode"] = json_object.raw(b'"url"')
            self._rounds.add(call, Request(b"", "elicitation/create", json_object.write(found)))
        again = self._reassign(call, left)
        if not call.inputs:
            text = "the server requires URLs to be opened and names none"
            return (*self._end(call, errors.fault_text(INTERNAL_ERROR, text)), *again)
        return (*self.hold(call, LegacyPhase.URLS_REQUIRED), *again)

    def _on_urls_answered(self, call: LegacyCall, answered: list[InputRequest]) -> Effects:
        if any(_action(request) != "accept" for request in answered):
            return self._finish(call, _urls_not_opened(call))
        if call.completions:
            call.phase = LegacyPhase.URLS_AWAITED
            return (SetTimer(COMPLETION, UrlTimeout(call.key)),)
        return self._send_again(call)

    def on_url_completed(self, elicitation_id: bytes) -> Effects:
        """Send the calls again that have waited for this URL (raw id) only."""
        effects: list[Effect] = []
        for call in self._rounds.calls:
            if elicitation_id in call.completions:
                call.completions -= {elicitation_id}
                if not call.completions and call.phase is LegacyPhase.URLS_AWAITED:
                    effects.extend(self._send_again(call))
        return tuple(effects)

    def on_url_timeout(self, key: str) -> Effects:
        """Send a call again although the server has not announced that its URLs are complete."""
        call = self._rounds.get(key)
        return self._send_again(call) if call is not None and call.phase is LegacyPhase.URLS_AWAITED else ()

    def _send_again(self, call: LegacyCall) -> Effects:
        call.completions = frozenset()
        call.task = b""
        return self.send(call)

    # ---- responses of the server

    def on_response(self, call: LegacyCall, message: Response) -> Effects:
        """Handle the response to a call, which the caller has removed from `running`."""
        if not call.task and call.method == "tools/call" and not message.error:
            call.task = self._task_tools.task_of(message)
            # The response to `tasks/result` comes when the task is done.
            if call.task:
                return self._await_task(call)
        self._origins.answer(call.origin)
        if call.phase is not _RUNNING:
            call.phase = LegacyPhase.ANSWERED
            call.response = Response(message.id, bytes(message.result), message.error)
            return (ToRequester(input_over.notification(call.state)),)
        if message.error and call.method in INTERACTIVE:
            fault = errors.read_fault(message.error)
            if fault.code == errors.URL_ELICITATION_REQUIRED:
                return self._require_urls(call, fault)
            if fault.code == METHOD_NOT_FOUND and self._task_tools.may_require_task(call):
                call.as_task = True
                return self.send(call)
        return self._finish(call, message)

    def on_abandoned_response(self, message: Response) -> Effects | None:
        """Handle the response to a call that was cancelled. Returns None if it belongs to none."""
        known = self._abandoned.take(message.id)
        task = self._task_tools.task_of(message)
        # The call was cancelled before it became a task.
        if task:
            return (self._cancel_task(task),)
        origin = self._origins.get(message.id)
        if origin is not None and (known or origin.phase is not Phase.ANSWERED):
            self._origins.answer(origin)
            return ()
        return (LogDebug("response_not_awaited"),) if known else None

    def _finish(self, call: LegacyCall, message: Response) -> Effects:
        method = call.method
        if method == "tools/list":
            self._task_tools.learn(message.result)
        if call.missing and rules_legacy_to_modern.has_failed(message):
            return self._end(call, rules_legacy_to_modern.missing_capability_error(call.missing))
        if method not in CORE_METHODS:
            return self._finish_extension(call, message)
        if message.error:
            uri = call.uri if method == "resources/read" else ""
            return self._end(call, rules_legacy_to_modern.modern_error(message.error, uri))
        found = rules_legacy_to_modern.remove_related_task(message.result) if call.task else message.result
        try:
            result = rules_legacy_to_modern.modern_result(
                method, found, self._handshake.server_info, self._cursors, self._limits
            )
        except Rejection as rejection:
            return self._end(call, errors.fault_text(rejection.code, rejection.text))
        self._requesters.pop(call.requester, None)
        response = ToRequester(Response(call.requester, result, b""), call.requester)
        # Most calls have had no input request.
        if not call.key:
            return (response,)
        return (response, *self._reassign(call, self._rounds.remove(call)))

    def _finish_extension(self, call: LegacyCall, message: Response) -> Effects:
        if message.error:
            return self._end(call, rules_legacy_to_modern.modern_extension_error(message.error))
        self._requesters.pop(call.requester, None)
        return (respond(call.requester, rules_legacy_to_modern.modern_extension_result(message.result)),)

    def _end(self, call: LegacyCall, error: bytes) -> Effects:
        self._requesters.pop(call.requester, None)
        return (respond_error(call.requester, error), *self._reassign(call, self._rounds.remove(call)))

    # ---- tasks of revision 2025-11-25 (MCP 2025-11-25 basic/utilities/tasks), which the client does not see

    def _await_task(self, call: LegacyCall) -> Effects:
        if call.as_task:
            self._task_tools.add(call)
        call.wire_id = self._mint_id()
        self.running[call.wire_id] = call
        call.origin.task = call.task
        self._origins.rename(call.origin, call.wire_id)
        params = rules_legacy_to_modern.task_id_params(call.task)
        return (ToServer(Request(call.wire_id, "tasks/result", params)),)

    def _cancel_task(self, task: bytes) -> Effect:
        own_id = self._abandoned.add(self._mint_id())
        return ToServer(Request(own_id, "tasks/cancel", rules_legacy_to_modern.task_id_params(task)))

    # ---- notifications of the server

    def of_token(self, token: bytes) -> LegacyCall | None:
        """Return the call that sent this progress token. A task keeps the token of its first request."""
        by_token = {call.server_token: call for call in self.running.values() if call.task}
        return self.running.get(token) or by_token.get(token)

    def at_server(self) -> list[LegacyCall]:
        """Return the calls that both the server and the client wait for, oldest first."""
        return [call for call in self.running.values() if call.phase is LegacyPhase.RUNNING]

    def wanting(self, level: str) -> list[LegacyCall]:
        """Return the running calls that want log messages of this level, oldest first."""
        levels = stateless_request.LOG_LEVELS
        included = levels[: levels.index(level) + 1] if level in levels else ()
        return [call for call in self.at_server() if call.log_level in included]


def _action(request: InputRequest) -> str:
    return json_object.string(json_object.peek(request.answer).get("action"))


def _urls_not_opened(call: LegacyCall) -> Response:
    text = "the URL that the server requires was not opened"
    if call.method == "tools/call":
        result = json_object.write({"content": [{"type": "text", "text": text}], "isError": True})
        return Response(call.wire_id, result, b"")
    return Response(call.wire_id, b"", errors.fault_text(INTERNAL_ERROR, text))
