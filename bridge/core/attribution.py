"""Attribute requests of a legacy server to calls: the table of the calls of one server process, and the rule. Pure.

Over HTTP a server sends its request on the response stream of the call that has caused it (MCP 2025-11-25 basic/transports).
On stdio, and on a stream of no request, it does not name the call. A wrong choice shows the data of one client to another, so
such a request is assigned only if every possible call belongs to the same client.

Invariant: `assign` never returns a call of one client while a call of another client may have caused the request.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, NamedTuple

import msgspec

from ...validators.rejection import INTERNAL_ERROR, METHOD_NOT_FOUND

# Methods in whose course a server may send requests to its client.
MAY_ASK: Final = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})
# Methods whose modern result may be `input_required` (MCP 2026-07-28 basic/patterns/mrtr).
INTERACTIVE: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
# How long a call of a shared process may be the origin of a request after its response (seconds).
AFTER_ANSWER: Final = 2.0


class Client(NamedTuple):
    """One running client program. If it is not `known`, several programs may have the same `key`."""

    key: str
    known: bool = True


class Phase(Enum):
    """The phases of a call. In the first three the server has not responded."""

    RUNNING = auto()
    # The client has an `input_required` result and has not retried the request.
    HELD = auto()
    # The client has cancelled the call.
    CANCELLED = auto()
    # The server has responded.
    ANSWERED = auto()


# For each call: a member of an enumeration takes three times as long to read as this.
_ANSWERED: Final = Phase.ANSWERED


def nothing(method: str, params: bytes) -> bool:  # noqa: ARG001 - as Origin.declared
    """Return False, as `Origin.declared` of a call without a client."""
    return False


class Origin(msgspec.Struct, eq=False):
    """A call of the server process. `owner` is the object of the front that sent the call, opaque here.

    `declared` returns whether the client of this call has declared the capability for a request with this method and params.
    """

    wire_id: bytes
    client: Client
    owner: object
    declared: Callable[[str, bytes], bool]
    # Whether a server may send requests while it handles the method (`MAY_ASK`).
    may_ask: bool
    phase: Phase = Phase.RUNNING
    # The raw id of the task that the server has created for the call, or nothing.
    task: bytes = b""
    # The time of the first `tick` in the phase CANCELLED or ANSWERED (seconds).
    since: float | None = None


class Refusal(NamedTuple):
    """A request of the server that cannot be sent to a client. `reason` is an identifier for the log.

    `origin` is the call that would have been chosen, if its client had declared the capability.
    """

    code: int
    text: str
    reason: str
    origin: Origin | None = None


class Origins:
    """The calls of one server process, oldest first.

    `several` is set if the process can have several clients: then an answered call remains a candidate for `AFTER_ANSWER`.
    A cancelled call without a response remains a candidate for `cancelled_seconds`.
    """

    def __init__(self, cancelled_seconds: float, *, several: bool = False) -> None:
        self._cancelled_seconds = cancelled_seconds
        self.several = several
        # By wire id. `tick` removes old calls, and `answer` calls that cannot change a decision.
        self._by_id: dict[bytes, Origin] = {}
        # The last answered call by client and `may_ask`: earlier calls change no decision. `tick` removes entries.
        self._answered: dict[tuple[Client, bool], Origin] = {}

    def begin(
        self,
        wire_id: bytes,
        client: Client,
        owner: object,
        declared: Callable[[str, bytes], bool],
        *,
        may_ask: bool = True,
    ) -> Origin:
        """Add a call that is sent to the server. `may_ask` is whether its method is one of `MAY_ASK`."""
        origin = Origin(wire_id, client, owner, declared, may_ask=may_ask)
        self._by_id[wire_id] = origin
        return origin

    def rename(self, origin: Origin, wire_id: bytes) -> None:
        """Replace the id of a call, as `tasks/result` does for the call of a task. The call becomes the newest."""
        if self._by_id.pop(origin.wire_id, None) is not None:
            origin.wire_id = wire_id
            self._by_id[wire_id] = origin

    def get(self, wire_id: bytes) -> Origin | None:
        """Return the call with this id, None if there is none."""
        return self._by_id.get(wire_id)

    def cancel(self, origin: Origin) -> None:
        """Record that the cancellation of the call was sent to the server."""
        origin.phase, origin.since = Phase.CANCELLED, None

    def answer(self, origin: Origin) -> None:
        """Record the response of the server to the call."""
        origin.phase, origin.since = _ANSWERED, None
        # This also breaks a reference cycle, so that the call is freed without the garbage collector.
        origin.declared = nothing
        if self._by_id.get(origin.wire_id) is not origin:
            return
        if not self.several:
            del self._by_id[origin.wire_id]
            return
        key = (origin.client, origin.may_ask)
        before = self._answered.get(key)
        if before is not None and before is not origin:
            self._by_id.pop(before.wire_id, None)
        self._answered[key] = origin

    def tick(self, now: float) -> None:
        """Remove calls that are too old to cause a request. `now` is in seconds on any steady clock."""
        for origin in tuple(self._by_id.values()):
            if origin.phase not in (Phase.CANCELLED, Phase.ANSWERED):
                continue
            if origin.since is None:
                origin.since = now
            limit = self._cancelled_seconds if origin.phase is Phase.CANCELLED else AFTER_ANSWER
            if now - origin.since > limit:
                del self._by_id[origin.wire_id]
        self._answered = {key: one for key, one in self._answered.items() if one.wire_id in self._by_id}

    @property
    def clients(self) -> set[Client]:
        """The clients of all calls in the table."""
        return {origin.client for origin in self._by_id.values()}

    @property
    def owners(self) -> tuple[object, ...]:
        """The owners of all calls in the table, oldest call first."""
        return tuple(origin.owner for origin in self._by_id.values())

    def assign(
        self,
        method: str,
        params: bytes,
        task: bytes = b"",
        again_for: Client | None = None,
        *,
        related: bytes = b"",
    ) -> Origin | Refusal:
        """Return the call that a request of the server belongs to, or why there is none.

        1. `related`, the wire id of the call on whose response stream the request came: that call is the only candidate,
           whatever its method is. A call that is over, or no call: refused.
        2. `task`, the related task of the request, names a call: that call.
        3. No candidate: refused.
        4. Several candidates, and not all of them of one known client: refused as ambiguous, or as in 8 if no client of a
           running or held candidate has declared it.
        5. The newest running candidate whose client has declared to answer the method.
        6. The newest held candidate whose client has declared it: the request is sent in the next input round.
        7. Only cancelled and answered candidates: refused.
        8. No client has declared it: refused with `METHOD_NOT_FOUND`.

        Candidates are all calls in the table with `may_ask`. "Newest" is never applied across clients. A request whose call
        has ended is assigned `again_for` the client of that call: calls of other clients, and of a client that is not known,
        are no candidates, because none of them has caused the request.
        """
        if related:
            named = self._by_id.get(related)
            candidates = [] if named is None else [named]
        else:
            candidates = [one for one in self._by_id.values() if one.may_ask]
        if again_for is not None and self.several:
            candidates = [one for one in candidates if again_for.known and one.client == again_for]
        if task and not related:
            candidates = [one for one in candidates if one.task == task]
        if not candidates:
            return Refusal(INTERNAL_ERROR, _UNRELATED, "no_call")
        first = candidates[0].client
        open_ = [one for one in candidates if one.phase in (Phase.RUNNING, Phase.HELD)]
        undeclared = f"the client of the call in progress has not declared that it answers {method}"
        if len(candidates) > 1 and not (first.known and all(one.client == first for one in candidates)):
            if open_ and not any(one.declared(method, params) for one in open_):
                return Refusal(METHOD_NOT_FOUND, undeclared, "not_declared")
            return Refusal(INTERNAL_ERROR, _AMBIGUOUS, "ambiguous")
        if not open_:
            return Refusal(INTERNAL_ERROR, _OVER, "cancelled")
        for phase in (Phase.RUNNING, Phase.HELD):
            for one in reversed(open_):
                if one.phase is phase and one.declared(method, params):
                    return one
        return Refusal(METHOD_NOT_FOUND, undeclared, "not_declared", open_[-1])


_UNRELATED: Final = "no call is in progress that this request can belong to"
_AMBIGUOUS: Final = (
    "calls of several clients are in progress, and the request does not name the one it belongs to"
)
_OVER: Final = "the call that this request can belong to was cancelled or has been answered"
