"""Order the requests to a server that is not started, or has as many calls as it may have at once. Pure."""

from ...validators.jsonrpc import Request
from ...validators.limits import Limits
from .effects import StartProcess, ToServer
from .fair_queue import FairQueue

Effects = tuple[ToServer | StartProcess, ...]


class StartQueue:
    """The requests that a server has not received, and the calls that it has."""

    __slots__ = ("_at_once", "_sent", "_starting", "held", "queued", "running")

    def __init__(self, limits: Limits) -> None:
        self._at_once = limits.calls_at_once
        # Whether there is a server process, and whether its start was requested.
        self.running = False
        self._starting = False
        # Messages for the start of the server, oldest first.
        self.held: list[ToServer] = []
        # Wire ids of calls that are sent or held. `remove` drops an id.
        self._sent: set[bytes] = set()
        # Calls that wait for others to end, by wire id. Principals take turns.
        self.queued: FairQueue[ToServer] = FairQueue()

    @property
    def size(self) -> int:
        """The size of the params of all messages that wait (bytes)."""
        messages = (one.message for one in (*self.held, *self.queued.values()))
        return sum(len(one.params) for one in messages if isinstance(one, Request))

    def send(self, order: ToServer) -> Effects:
        """Send a message now or when the server has started. The first message starts the server."""
        if self.running:
            return (order,)
        self.held.append(order)
        return self.start()

    def send_call(self, wire_id: bytes, order: ToServer) -> Effects:
        """Send a call now, when the server has started, or when another call has ended."""
        if len(self._sent) >= self._at_once:
            self.queued.add(order.request.principal if order.request is not None else "", wire_id, order)
            return ()
        self._sent.add(wire_id)
        return (order,) if self.running else self.send(order)

    def send_queued(self) -> Effects:
        """Send as many calls as the server may have at once."""
        effects: list[ToServer | StartProcess] = []
        while self.queued and len(self._sent) < self._at_once:
            wire_id, order = self.queued.pop_next()
            self._sent.add(wire_id)
            effects.extend(self.send(order))
        return tuple(effects)

    def has_sent(self, wire_id: bytes) -> bool:
        """Return whether this call was sent, or is held for the start."""
        return wire_id in self._sent

    def remove(self, wire_id: bytes) -> None:
        """Remove a call that has ended."""
        self._sent.discard(wire_id)
        if self.queued:
            self.queued.pop(wire_id)

    def remove_held(self, wire_id: bytes) -> None:
        """Remove a request that is held for the start."""
        self.held = [
            one for one in self.held if not (isinstance(one.message, Request) and one.message.id == wire_id)
        ]

    def start(self) -> Effects:
        """Request the start of the server, unless it runs or is being started."""
        if self.running or self._starting:
            return ()
        self._starting = True
        return (StartProcess(),)

    def on_start(self) -> Effects:
        """Return the messages that were held for the start."""
        self._starting, self.running = False, True
        held, self.held = self.held, []
        return tuple(held)

    def clear(self) -> None:
        """Drop all messages and calls, because the server is gone."""
        self.running = self._starting = False
        self.held.clear()
        self.queued.clear()
        self._sent.clear()
