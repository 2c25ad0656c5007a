"""The requests of all fronts to a shared server process: held, queued, at the server, or cancelled. Pure.

Requests keep the wire ids of their fronts. All fronts take wire ids from one counter, so the call of a response is found by one
look-up.
"""

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from ...validators.jsonrpc import Notification, Request
from ...validators.limits import Limits
from ...validators.mcp_params import cancelled_again
from ...validators.rejection import SERVER_ERROR
from .abandoned_requests import AbandonedRequests
from .attribution import MAY_ASK, Origins
from .effects import ToServer
from .fair_queue import FairQueue
from .forwarded_requests import ForwardedRequests
from .front import Front, find_front
from .shared_effects import Effect, Effects, ToFront, failure

# Requests that the server gets once for several clients, so that one client cannot cancel them.
_COMBINED: Final = frozenset({"resources/subscribe", "resources/unsubscribe", "logging/setLevel"})


class SharedCall(msgspec.Struct, frozen=True):
    """A request of a front without a response. `detail` depends on the method."""

    front: Front
    method: str
    # The raw progress token of the client, or nothing.
    token: bytes
    # The revision of initialize, the URI of resources/subscribe, the level before logging/setLevel.
    detail: str = ""
    # The canonical id of the task of a tasks/* request.
    task: bytes = b""


class SharedCalls:
    """The unanswered requests of the fronts of one process. `next_id` returns unique wire ids.

    `origins` are the calls that may cause requests of the server, and `requests` the unanswered requests of the server.
    """

    __slots__ = (
        "_abandoned",
        "_fronts",
        "_held",
        "_held_bytes",
        "_limits",
        "_requests",
        "by_id",
        "counted",
        "next_id",
        "origins",
        "queued",
    )

    def __init__(
        self,
        limits: Limits,
        next_id: Callable[[], bytes],
        fronts: Collection[Front],
        origins: Origins,
        requests: ForwardedRequests,
    ) -> None:
        self._limits = limits
        self.next_id = next_id
        self._fronts = fronts
        self.origins = origins
        self._requests = requests
        # All unanswered requests by wire id, oldest first. A response or `cancel` removes an entry.
        self.by_id: dict[bytes, SharedCall] = {}
        # Requests of the bridge itself, and cancelled calls at the server.
        self._abandoned = AbandonedRequests()
        # Requests for a process that is not open yet, with their tokens, by wire id, and their bytes. `take_held` removes all.
        self._held: dict[bytes, tuple[Front, Request, bytes]] = {}
        self._held_bytes = 0
        # Requests that wait until the server has fewer than `calls_at_once`, by wire id. Principals take turns, and
        # fronts without a principal. `send_queued` removes entries.
        self.queued: FairQueue[tuple[Front, Request]] = FairQueue()
        # Wire ids of the requests at the server that `calls_at_once` counts: not those that never wait, such as pings, because
        # they would delay the queued requests of others. A response or `cancel` removes an id.
        self.counted: set[bytes] = set()

    # ---- requests of a front

    def hold(self, front: Front, message: Request, token: bytes) -> Effects:
        """Hold a request until the process is open. At the limit `stdin_bytes` the request is refused."""
        size = len(message.params)
        if self._held and self._held_bytes + size > self._limits.stdin_bytes:
            text = (
                f"{self._held_bytes} bytes wait for the server to be started "
                f"and the limit stdin_bytes is {self._limits.stdin_bytes}"
            )
            return (ToFront(front, failure(message.id, SERVER_ERROR, text)),)
        self._held[message.id] = (front, message, token)
        self._held_bytes += size
        self.by_id[message.id] = SharedCall(front, message.method, token)
        return ()

    def take_held(self) -> list[tuple[Front, Request, bytes]]:
        """Remove and return the requests that were held, each with its progress token."""
        held, self._held, self._held_bytes = self._held, {}, 0
        for wire_id in held:
            del self.by_id[wire_id]
        return list(held.values())

    def take_combined(self, front: Front) -> list[tuple[Request, bytes]]:
        """Remove and return the held requests of a front for its subscriptions and its log level, with their tokens."""
        own = [
            (request, token)
            for one, request, token in self._held.values()
            if one is front and request.method in _COMBINED
        ]
        for request, _ in own:
            self.cancel(request.id, b"")
        return own

    def begin(self, front: Front, message: Request, token: bytes) -> Effects:
        """Send a request of a front now, or when the server has fewer than `calls_at_once`."""
        self.by_id[message.id] = SharedCall(front, message.method, token)
        if message.method != "ping":
            if len(self.counted) >= self._limits.calls_at_once and self._is_full():
                self.queued.add(front.principal or front, message.id, (front, message))
                return ()
            self.counted.add(message.id)
        return self._send(front, message)

    def send_queued(self) -> Effects:
        """Send as many queued requests as the server may have at once."""
        effects: list[Effect] = []
        while self.queued and not self._is_full():
            wire_id, queued = self.queued.pop_next()
            self.counted.add(wire_id)
            effects.extend(self._send(*queued))
        return tuple(effects)

    def cancel(self, wire_id: bytes, params: bytes) -> Effects:
        """Cancel a request of a front, at the server if it was sent.

        `params` are those of the front's cancellation, if there was one.
        """
        call = self.by_id.pop(wire_id)
        held = self._held.pop(wire_id, None)
        if held is not None:
            self._held_bytes -= len(held[1].params)
            return ()
        if call.method == "initialize":
            return ()
        if self.queued.pop(wire_id) is not None:
            return ()
        self.counted.discard(wire_id)
        self._abandoned.add(wire_id)
        if call.method in _COMBINED:
            return ()
        origin = self.origins.get(wire_id)
        if origin is not None and not call.task and not call.front.translated:
            if origin.may_ask:
                self.origins.cancel(origin)
            else:
                self.origins.answer(origin)
        cancellation = ToServer(Notification("notifications/cancelled", cancelled_again(params, wire_id)))
        return (cancellation, *self.send_queued())

    def cancel_all(self, front: Front) -> Effects:
        """Cancel all requests of a front that leaves."""
        own = [wire_id for wire_id, call in self.by_id.items() if call.front is front]
        # Queued requests first: otherwise the place of a cancelled one would be given to them.
        own.sort(key=lambda wire_id: wire_id not in self.queued)
        return tuple(
            effect for wire_id in own for effect in self.cancel(wire_id, b'{"reason":"the client left"}')
        )

    def _is_full(self) -> bool:
        # A call that waits for its client must not delay calls of others.
        waiting = self._requests.calls() & self.counted
        return len(self.counted) - len(waiting) >= self._limits.calls_at_once

    def _send(self, front: Front, message: Request) -> Effects:
        if not front.translated:
            may_ask = message.method in MAY_ASK
            self.origins.begin(message.id, front.client, front, front.declared, may_ask=may_ask)
        return (ToServer(message),)

    # ---- requests of the bridge, and abandoned calls

    def own_id(self) -> bytes:
        """Return the wire id of a request of the bridge itself, whose response is dropped."""
        return self._abandoned.add(self.next_id())

    def abandon(self, wire_id: bytes) -> None:
        """Expect and drop a further response with this id."""
        self._abandoned.add(wire_id)

    def take_abandoned(self, wire_id: bytes) -> bool:
        """Return whether the response with this id is expected and dropped. No further response is expected then."""
        return self._abandoned.take(wire_id)

    # ---- the front of a message that names none

    def newest_of(self, front: Front) -> bytes:
        """Return the wire id of the newest request of a front, or nothing."""
        return next((one for one, call in reversed(self.by_id.items()) if call.front is front), b"")

    def only_front(self) -> Front | None:
        """Return the front that may have caused a message without a request, None if several may have."""
        involved = {find_front(self._fronts, owner) for owner in {*self.origins.owners}}
        if not involved:
            ready = {front for front in self._fronts if front.ready or front.translated}
            involved = {*(ready or self._fronts)}
        if len(involved) != 1:
            return None
        front = involved.pop()
        return front if front in self._fronts else None
