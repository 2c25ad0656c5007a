"""The requests that a remote server has not answered, by their ids. Pure."""

from collections.abc import Callable, Iterator

import attrs
import trio

from ...validators.jsonrpc import canonical_id, wire_id
from .messages import Received, Sent


@attrs.define(eq=False)
class Call:
    """One request. Each ends once: in a response, an error, or its cancellation by the client."""

    sent: Sent
    # Called with the response in the step that ends the call; returns the line that is passed on, empty for none.
    on_response: Callable[[Received], bytes] | None = None
    # Whether the bridge itself has sent it, so that no error is passed on.
    internal: bool = False
    # The session that it was sent in: LegacySession.generation, and the session id, which may be empty.
    generation: int = 0
    session: str = ""
    # Whether the server has begun its response, so that the request may have been carried out.
    begun: bool = False
    # Set at the same time, and at the end of the call.
    reached: trio.Event = attrs.field(factory=trio.Event)
    # Whether the client has cancelled it.
    withdrawn: bool = False
    # Whether its response comes on another stream (status 202).
    elsewhere: bool = False
    ended: bool = False
    # How often it was refused because of its session.
    refusals: int = 0
    # Ends the exchange of the call.
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def begin(self) -> None:
        """Record that the server has begun its response."""
        self.begun = True
        self.reached.set()

    @property
    def id(self) -> bytes:
        """The raw id of the request."""
        return self.sent.id


class Calls:
    """The requests without a response."""

    def __init__(self) -> None:
        # By canonical id. `add` adds, `end` removes.
        self._open: dict[bytes, Call] = {}

    def __iter__(self) -> Iterator[Call]:
        return iter(tuple(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def add(self, call: Call) -> None:
        """Add a request."""
        self._open[canonical_id(call.id)] = call

    def find(self, raw_id: bytes) -> Call | None:
        """Return the request with this id, also where the server has changed its spelling, for example to a string."""
        found = self._open.get(canonical_id(raw_id))
        return self._open.get(wire_id(raw_id)) if found is None else found

    def end(self, call: Call) -> bool:
        """End a request. Returns False if it has ended before."""
        if call.ended:
            return False
        call.ended = True
        call.reached.set()
        key = canonical_id(call.id)
        if self._open.get(key) is call:
            del self._open[key]
        return True
