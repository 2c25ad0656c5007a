"""Requests of a legacy server to its client: which call carries a request, or why it is refused. Pure."""

from collections.abc import Iterable
from typing import Final

from ...validators.jsonrpc import Request, Response
from ...validators.limits import Limits
from ...validators.rejection import INTERNAL_ERROR, INVALID_REQUEST
from ..core import errors, input_over, tasks
from ..core.attribution import Client, Origin, Origins
from ..core.effects import Effect, Effects, ServerRequestRefused, SetTimer, ToRequester, ToServer, Unassigned
from . import rules_legacy_to_modern
from .input_rounds import InputRounds
from .legacy_call import InputRequest, LegacyCall, LegacyPhase
from .roots_requests import NO_CALL, RootsRequests
from .rules_legacy_to_modern import Profile
from .timers import InputsGathered

# How long further input requests of a call may follow the first and still be sent in the same result (seconds).
GATHERING: Final = 0.015


class LegacyServerRequests:
    """The requests of one server process.

    `running` are the calls at the server, by wire id. `profile` is the profile that the server has received at `initialize`.
    With `shared`, the owner of a shared process assigns requests, and gets those back whose call has ended.
    """

    def __init__(
        self,
        limits: Limits,
        profile: Profile,
        origins: Origins,
        rounds: InputRounds,
        roots: RootsRequests,
        running: dict[bytes, LegacyCall],
        *,
        shared: bool,
    ) -> None:
        self._limits = limits
        self._profile = profile
        self._origins = origins
        self._rounds = rounds
        self._roots = roots
        self._running = running
        self._shared = shared

    def on_request(self, message: Request, related: bytes = b"") -> Effects:
        """Assign a request to a call, or answer it. `related` is the call on whose response stream it came, if known."""
        if message.method == "ping":
            return (ToServer(Response(message.id, b"{}", b"")),)
        if message.id in self._rounds or message.id in self._roots:
            text = "this id is in use by a request in progress"
            return refuse(message, INVALID_REQUEST, text, "id_in_use")
        return self._assign(message, related=related)

    def assigned(self, message: Request, origin: Origin) -> Effects:
        """Add a request to the call that it was assigned to."""
        call = self._running.get(origin.wire_id)
        if call is None or len(call.inputs) >= self._limits.in_flight:
            text = f"the limit of {self._limits.in_flight} requests to the client in one call is reached"
            return refuse(message, INTERNAL_ERROR, text, "limit")
        first = not call.unsent
        self._rounds.add(call, message)
        if first and call.phase is LegacyPhase.RUNNING:
            return (SetTimer(GATHERING, InputsGathered(call.key)),)
        return ()

    def undeclared(self, message: Request, origin: Origin) -> None:
        """Note that a request was refused because the client of this call has not declared it: the reason, if the call fails."""
        call = self._running.get(origin.wire_id)
        profile = self._profile if call is None else call.profile
        refusal = rules_legacy_to_modern.undeclared_refusal(message.method, message.params, profile)
        if call is not None and refusal is not None:
            call.missing = {**call.missing, **refusal.needs}

    def withdraw(self, server_id: bytes) -> Effects:
        """Remove a request that the server has cancelled. A round without further requests is over."""
        call = self._rounds.withdraw(server_id)
        self._roots.withdraw(server_id)
        if call is None or not call.held or call.unanswered:
            return ()
        return (ToRequester(input_over.notification(call.state)),)

    def reassign(self, call: LegacyCall, left: Iterable[InputRequest]) -> Effects:
        """Find another call of the same client for the requests of a call that has ended."""
        if self._shared:
            return tuple(Unassigned(request.message, call.client) for request in left)
        effects: list[Effect] = []
        for request in left:
            effects.extend(self._assign(request.message, call.client))
        return tuple(effects)

    def expire(self, now: float) -> Effects:
        """Refuse `roots/list` that no call could carry in time. `now` is in seconds."""
        late = self._roots.late(now, self._limits.held_seconds)
        return tuple(
            effect for message in late for effect in refuse(message, INTERNAL_ERROR, NO_CALL, "no_call")
        )

    def _assign(self, message: Request, again_for: Client | None = None, related: bytes = b"") -> Effects:
        task = tasks.related_task(message.params)
        found = self._origins.assign(message.method, message.params, task, again_for, related=related)
        if isinstance(found, Origin):
            return self.assigned(message, found)
        call = None if found.origin is None else self._running.get(found.origin.wire_id)
        if found.reason not in ("no_call", "not_declared"):
            return refuse(message, found.code, found.text, found.reason)
        profile = self._profile if call is None else call.profile
        refusal = rules_legacy_to_modern.undeclared_refusal(message.method, message.params, profile)
        if refusal is None:
            return self._without_call(message)
        if call is not None:
            call.missing = {**call.missing, **refusal.needs}
        answer = ToServer(Response(message.id, b"", refusal.error))
        return (answer, ServerRequestRefused(message.method, "not_declared"))

    def _without_call(self, message: Request) -> Effects:
        # No call is in progress, or one that cannot carry a request, such as `completion/complete`.
        if message.method == "roots/list" and not self._origins.several:
            if self._roots.known:
                return (ToServer(Response(message.id, self._roots.known, b"")),)
            if self._roots.keep(message, self._limits.in_flight):
                return ()
        text = "no call is in progress that this request can belong to"
        return refuse(message, INTERNAL_ERROR, text, "no_call")


def refuse(message: Request, code: int, text: str, reason: str) -> Effects:
    """Return the effects that answer a request of the server with an error."""
    refusal = Response(message.id, b"", errors.fault_text(code, text))
    return (ToServer(refusal), ServerRequestRefused(message.method, reason))
