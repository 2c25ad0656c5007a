"""Present a legacy server process to modern clients: one `initialize`, and any number of stateless requests.

A legacy server sends requests to its client in the middle of a call. `attribution` decides which call such a request belongs
to, `server_requests` adds it to the call, and `input_rounds` carries it to the client. Calls run concurrently, and no call
waits for another.

Pure. Ids towards the server are made here; `requestState` is plain text here, the multiplexer in front signs it.
Invariant: a request of the multiplexer ends in exactly one response, unless the multiplexer has cancelled it.
Invariant: no message of the server raises an exception here.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ...validators import json_object, jsonrpc
from ...validators.counted import counted
from ...validators.json_object import Members
from ...validators.jsonrpc import Message, Notification, Request, Response
from ...validators.limits import Limits
from ...validators.list_changes import KIND_OF
from ...validators.mcp_params import read_cancelled
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND
from ...validators.revisions import COMPLETION_CONTEXT_SINCE, MODERN_REVISIONS
from ...validators.stateless_request import LISTEN
from ..core import errors, extensions, input_over
from ..core.abandoned_requests import AbandonedRequests
from ..core.attribution import INTERACTIVE, Origin, Origins
from ..core.effects import Effect, Effects, EraMismatch, LogDebug, Timer, ToRequester, ToServer
from ..core.handshake import CORE_METHODS, Handshake, HandshakePhase, initialize_params
from ..core.requests import ClientRequest
from . import rules_legacy_to_modern
from .input_rounds import InputRounds
from .legacy_call import UNSENT, InputRequest, LegacyCall, LegacyPhase
from .legacy_calls import AdapterState, LegacyCalls
from .responses import fail, respond
from .roots_requests import RootsRequests
from .rules_legacy_to_modern import Profile
from .server_requests import LegacyServerRequests, refuse
from .subscriptions import Subscriptions
from .timers import InputsGathered, UrlTimeout

# For each request: a member of an enumeration takes three times as long to read as this.
_OPEN: Final = HandshakePhase.OPEN


class LegacyAdapter:
    """Speaks the modern era to the multiplexer and a handshake revision to one server process (effects.Translator).

    `capabilities` (by default those of `profile`), `version` and `info`, the clientInfo of the client, are sent at
    `initialize`. `mint` returns the random name of a held call. `origins` are the calls of the process and `ids` its wire
    ids. With `shared`, other adapters use the process as well: their owner does the handshake (`opened`, `refused`) and
    assigns the server's requests (`assigned`).
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
        self._shared = shared
        declared = profile.declared() if capabilities is None else capabilities
        self._initialize_params = initialize_params(declared, version, info)
        self._cursors = f"{mint()[:8]}."
        self._origins = Origins(limits.held_seconds) if origins is None else origins
        self._mint_id = ids or map(b"%d".__mod__, itertools.count(1)).__next__
        self._handshake = Handshake()
        # The id of `initialize`, until the server has responded.
        self._initialize_id = b""
        # Requests before the end of the handshake, oldest first.
        self._early: list[tuple[Request, ClientRequest | None]] = []
        # Whether the server has declared an extension.
        self._has_extensions = False
        # The last bytes of the params of its plain calls (`rules_legacy_to_modern.removable_suffix`).
        self._suffix = b""
        self._rounds, roots = InputRounds(mint), RootsRequests()
        abandoned = AbandonedRequests()
        process = AdapterState(
            limits, self._handshake, self._origins, self._mint_id, abandoned, self._cursors
        )
        self._calls = LegacyCalls(self, process, self._rounds, roots, self._reassign)
        self._server_requests = LegacyServerRequests(
            limits, profile, self._origins, self._rounds, roots, self._calls.running, shared=shared
        )
        several = self._origins.several
        self._subscriptions = Subscriptions(
            self._handshake, self._mint_id, abandoned, limits.stream_messages, several=several
        )

    @property
    def busy(self) -> bool:
        """Whether the end of the process would end a request, a held call or a subscription."""
        return bool(self._early) or self._calls.busy or len(self._subscriptions) > 0

    @property
    def opening(self) -> bool:
        """Whether the server has not responded to `initialize`."""
        return self._handshake.phase is HandshakePhase.OPENING

    # ---- effects.Translator

    def requester_of(self, wire_id: bytes) -> bytes:
        """Return the id of the request (raw) for which a call is at the server, or nothing."""
        call = self._calls.running.get(wire_id)
        return b"" if call is None else call.requester

    def on_start(self) -> Effects:
        """Send `initialize`, unless the owner of a shared process sends it."""
        if self._shared:
            return ()
        self._initialize_id = self._mint_id()
        return (ToServer(Request(self._initialize_id, "initialize", self._initialize_params)),)

    def from_client(self, message: Message, client_request: ClientRequest | None = None) -> Effects:
        """Handle a modern request, the cancellation of a request, or a notification of an extension."""
        if isinstance(message, Request):
            if self._handshake.phase is _OPEN:
                return self._on_request(message, client_request)
            return self._before_open(message, client_request)
        if isinstance(message, Notification) and message.method == "notifications/cancelled":
            return self._on_cancelled(read_cancelled(message.params)[0], message.params)
        if isinstance(message, Notification) and self._passes(message.method):
            params = rules_legacy_to_modern.remove_envelope(json_object.peek(message.params), b"")
            return (ToServer(Notification(message.method, params)),)
        return (LogDebug("message_of_modern_client_dropped"),)

    def from_server(self, message: Message, related: bytes = b"") -> Effects:
        if isinstance(message, Response):
            return self._on_response(message)
        if not json_object.has_room(message.params):
            if isinstance(message, Request):
                return refuse(message, INTERNAL_ERROR, json_object.TOO_MANY, "too_many_members")
            return (LogDebug("notification_with_too_many_members"),)
        if isinstance(message, Notification):
            return self._on_notification(message, related)
        return self._server_requests.on_request(message, related)

    def on_timer(self, timer: Timer) -> Effects:
        """Send the input requests that were gathered, or stop waiting for a URL."""
        match timer:
            case UrlTimeout(key):
                return self._calls.on_url_timeout(key)
            case InputsGathered(key) if (call := self._rounds.get(key)) is not None and call.is_gathering:
                return self._calls.hold(call)
            case _:
                return ()

    def on_tick(self, now: float) -> Effects:
        """End all that has waited for too long. `now` is in seconds on any steady clock."""
        effects: list[Effect] = []
        if not self._shared:
            self._origins.tick(now)
            if self._handshake.is_late(now, self._limits.start_seconds):
                effects.extend(self.refused(errors.initialize_late(self._limits.start_seconds)))
        return (*effects, *self._calls.expire(now), *self._server_requests.expire(now))

    # ---- the owner of a shared process

    def opened(self, result: bytes | msgspec.Raw) -> Effects:
        """Handle the result of `initialize`."""
        self._handshake.open(result)
        self._has_extensions = bool(extensions.names_in(json_object.write(self._handshake.capabilities)))
        return self._send_early()

    def refused(self, text: str) -> Effects:
        """Fail all requests for this reason, because the server has not opened its session."""
        self._handshake.refuse(text)
        return (EraMismatch(text), *self._send_early())

    def assigned(self, message: Request, origin: Origin) -> Effects:
        """Add a request of the server to the call that it was assigned to."""
        return self._server_requests.assigned(message, origin)

    def undeclared(self, message: Request, origin: Origin) -> None:
        """Note that a request was refused because the client of this call has not declared it."""
        self._server_requests.undeclared(message, origin)

    def on_exit(self) -> Effects:
        """Notify the clients of held calls that the calls have ended with the server."""
        return tuple(ToRequester(input_over.notification(call.state)) for call in self._rounds.held)

    def _reassign(self, call: LegacyCall, left: Iterable[InputRequest]) -> Effects:
        return self._server_requests.reassign(call, left)

    def _send_early(self) -> Effects:
        early, self._early = self._early, []
        effects: list[Effect] = []
        for request, client_request in early:
            effects.extend(self.from_client(request, client_request))
        return tuple(effects)

    # ---- requests of clients

    def _before_open(self, request: Request, client_request: ClientRequest | None) -> Effects:
        if self._handshake.phase is HandshakePhase.REFUSED:
            return fail(request.id, INTERNAL_ERROR, self._handshake.refusal)
        self._early.append((request, client_request))
        return ()

    def _on_request(self, request: Request, client_request: ClientRequest | None) -> Effects:
        method = request.method
        if len(request.params) > json_object.MOST_UNNAMED and not json_object.has_room(request.params):
            return fail(request.id, INVALID_PARAMS, json_object.TOO_MANY)
        if method == "server/discover":
            return (self._discover(request.id),)
        if method == LISTEN:
            return self._listen(request)
        capability = CORE_METHODS.get(method)
        if capability is None:
            if not self._passes(method):
                return fail(request.id, METHOD_NOT_FOUND, "there is no such method")
            return self._begin(request, json_object.read(request.params), client_request)
        if capability not in self._handshake.capabilities and not self._handshake.has(capability):
            return fail(request.id, METHOD_NOT_FOUND, f"the server has no {capability}")
        if (
            self._suffix
            and method == "tools/call"
            and rules_legacy_to_modern.is_plain_call(request.params, self._suffix)
        ):
            return self._begin_plain(request, client_request)
        found = json_object.read(request.params)
        state = found.get("requestState") if method in INTERACTIVE else None
        if state is not None:
            return self._calls.retry(request, found, json_object.string(state), client_request)
        self._suffix = rules_legacy_to_modern.removable_suffix(request.params, found)
        return self._begin_core(request, found, client_request)

    def _begin_plain(self, request: Request, client_request: ClientRequest | None) -> Effects:
        # The only change to the params is that the envelope at their end is dropped.
        call = LegacyCall(request.method, request.params, "", self._profile, UNSENT)
        self._calls.begin(call, request.id, client_request)
        return self._calls.send(call, plain=request.params[: -len(self._suffix)] + b"}")

    def _begin(self, request: Request, found: Members, client_request: ClientRequest | None) -> Effects:
        call = LegacyCall(request.method, request.params, "", self._profile, UNSENT)
        self._calls.begin(call, request.id, client_request, found)
        return self._calls.send(call, found)

    def _begin_core(self, request: Request, found: Members, client_request: ClientRequest | None) -> Effects:
        method, params = request.method, request.params
        if "cursor" in found:
            cursor = json_object.string(found["cursor"])
            if not cursor.startswith(self._cursors):
                return fail(request.id, INVALID_PARAMS, "Invalid cursor")
            found["cursor"] = json_object.raw(json_object.text(cursor.removeprefix(self._cursors)))
            params = json_object.write(found)
        if (
            method == "completion/complete"
            and self._handshake.revision < COMPLETION_CONTEXT_SINCE
            and "context" in found
        ):
            del found["context"]
            params = json_object.write(found)
        uri = json_object.string(found["uri"]) if "uri" in found else ""
        call = LegacyCall(method, params, uri, self._profile, UNSENT)
        self._calls.begin(call, request.id, client_request, found)
        return self._calls.send(call, found)

    def _passes(self, method: str) -> bool:
        """Return whether a method belongs to an extension, whose messages pass unchanged."""
        return self._has_extensions and not extensions.is_core(method)

    def _discover(self, requester: bytes) -> Effect:
        handshake = self._handshake
        found: dict[str, object] = {
            "supportedVersions": list(MODERN_REVISIONS),
            "capabilities": extensions.carried(
                {name: value for name, value in handshake.capabilities.items() if name != "tasks"}
            ),
        }
        if handshake.instructions is not None:
            found["instructions"] = handshake.instructions
        result = json_object.read(json_object.write(found))
        rules_legacy_to_modern.add_server_info(result, handshake.server_info)
        rules_legacy_to_modern.add_result_type("server/discover", result)
        return respond(requester, json_object.write(result))

    def _listen(self, request: Request) -> Effects:
        effects = self._subscriptions.open(request.id, request.params)
        if effects is None:
            limit = self._limits.stream_messages
            text = f"more than {counted(limit, 'resource is', 'resources are')} subscribed, the limit"
            return fail(request.id, INVALID_PARAMS, text)
        return effects

    def _on_cancelled(self, requester: bytes, params: bytes) -> Effects:
        if requester in self._subscriptions:
            return self._subscriptions.close(requester)
        self._early = [early for early in self._early if early[0].id != requester]
        return self._calls.cancel(requester, params)

    # ---- responses of the server

    def _on_response(self, message: Response) -> Effects:
        if self._initialize_id and message.id == self._initialize_id:
            return self._on_initialized(message)
        call = self._calls.running.pop(message.id, None)
        is_small = type(message.result) is bytes and len(message.result) <= json_object.MOST_UNNAMED
        if not is_small and not json_object.has_room(message.result):
            message = Response(message.id, b"", errors.fault_text(INTERNAL_ERROR, json_object.TOO_MANY))
        if call is not None:
            return self._calls.on_response(call, message)
        effects = self._calls.on_abandoned_response(message)
        if effects is None:
            effects = self._subscriptions.on_response(message)
        return (LogDebug("response_unmatched", ("server", message.id)),) if effects is None else effects

    def _on_initialized(self, message: Response) -> Effects:
        self._initialize_id = b""
        if message.error:
            return self.refused(errors.initialize_refused(message.error))
        ready = ToServer(Notification("notifications/initialized", b""))
        return (ready, *self.opened(message.result))

    # ---- notifications of the server

    def _on_notification(self, message: Notification, related: bytes) -> Effects:
        match message.method:
            case "notifications/progress":
                return self._on_progress(message.params)
            case "notifications/message":
                return self._on_log_message(message, related)
            case method if method in KIND_OF:
                return self._subscriptions.on_list_changed(message)
            case "notifications/resources/updated":
                return self._subscriptions.on_resource_updated(message)
            case "notifications/cancelled":
                return self._server_requests.withdraw(read_cancelled(message.params)[0])
            case "notifications/elicitation/complete":
                elicitation_id = json_object.peek(message.params).get("elicitationId", b"")
                return self._calls.on_url_completed(bytes(elicitation_id))
            case method if self._passes(method):
                return self._on_extension_notification(message, related)
            case _:
                return (LogDebug("notification_unknown_to_modern_era"),)

    def _on_extension_notification(self, message: Notification, related: bytes) -> Effects:
        if call := self._calls.running.get(related):
            return (ToRequester(message, call.requester),)
        # The notification does not name its call, so it is sent only if a single client can have caused it.
        running = self._calls.at_server()
        clients = self._origins.clients
        if len(clients) > 1 or (len(running) > 1 and not all(client.known for client in clients)):
            return (LogDebug("extension_notification_not_sent"),)
        return (ToRequester(message, running[-1].requester if running else b""),)

    def _on_progress(self, params: bytes) -> Effects:
        found = json_object.peek(params)
        call = self._calls.of_token(jsonrpc.wire_id(bytes(found.get("progressToken", b""))))
        value = json_object.number(found.get("progress"))
        if call is None or not call.progress_token or call.phase is not LegacyPhase.RUNNING or value is None:
            return ()
        if call.progress is not None and value <= call.progress:
            return ()
        call.progress = value
        found["progressToken"] = json_object.raw(call.progress_token)
        progress = Notification("notifications/progress", json_object.write(found))
        return (ToRequester(progress, call.requester),)

    def _on_log_message(self, message: Notification, related: bytes) -> Effects:
        level = json_object.string(json_object.peek(message.params).get("level"))
        wanting = self._calls.wanting(level)
        if related in self._calls.running:
            named = (ToRequester(message, call.requester) for call in wanting if call.wire_id == related)
            return tuple(named) or (LogDebug("log_line_not_sent"),)
        # The message does not name its call, so it is sent only if a single client can have caused it.
        if not wanting or len(self._origins.clients) > 1:
            return (LogDebug("log_line_not_sent"),)
        if not wanting[-1].client.known and len(self._calls.running) > 1:
            return (LogDebug("log_line_not_sent"),)
        return (ToRequester(message, wanting[-1].requester),)
