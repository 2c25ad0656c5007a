"""Requests that a process has not received, and that are moved to a process of another era."""

from collections.abc import Iterable
from typing import Protocol

from ..core.requests import ClientRequest


class Destination(Protocol):
    """A process that has received moved requests."""

    @property
    def busy(self) -> bool:
        """Whether a client waits for a message of this process."""
        ...

    def waits(self, queue: object) -> bool:
        """Return whether a request of a send queue has no response yet."""
        ...

    def on_disconnect(self, queue: object) -> None:
        """Cancel the requests of a send queue whose client has disconnected."""
        ...

    def cancel(self, queue: object, raw_id: bytes, params: bytes = b"") -> None:
        """Cancel one request of a client."""
        ...


class MovedRequests:
    """The requests of one process that are moved, in the order of their arrival, and their new processes."""

    __slots__ = ("_moved", "_waiting")

    def __init__(self) -> None:
        # Requests without a new process. Added by `begin`; removed by `on_moved`, `remove`, or when they are cancelled.
        self._waiting: list[ClientRequest] = []
        # By send queue, the processes that have received its requests. Removed when the client disconnects.
        self._moved: dict[object, list[Destination]] = {}

    @property
    def busy(self) -> bool:
        """Whether a moved request has no response."""
        return bool(self._waiting) or any(
            destination.busy for moved in self._moved.values() for destination in moved
        )

    @property
    def next(self) -> ClientRequest | None:
        """The request that is moved next, None if there is none."""
        return self._waiting[0] if self._waiting else None

    def begin(self, requests: Iterable[ClientRequest]) -> None:
        """Move these requests."""
        self._waiting = [*requests]

    def on_moved(self, request: ClientRequest, destination: Destination) -> None:
        """Note which process has received a request."""
        self.remove(request)
        self._moved.setdefault(request.queue, []).append(destination)

    def remove(self, request: ClientRequest) -> None:
        """Remove a request that no other process accepts."""
        self._waiting.remove(request)

    def waits(self, queue: object) -> bool:
        """Return whether a request of a send queue has no response yet."""
        return any(request.queue is queue for request in self._waiting) or any(
            destination.waits(queue) for destination in self._moved.get(queue, ())
        )

    def on_disconnect(self, queue: object) -> None:
        """Cancel the requests of a send queue whose client has disconnected."""
        self._waiting = [request for request in self._waiting if request.queue is not queue]
        for destination in self._moved.pop(queue, ()):
            destination.on_disconnect(queue)

    def cancel(self, queue: object, raw_id: bytes, params: bytes) -> None:
        """Cancel one request of a client. `params` are those of its notification."""
        self._waiting = [
            request for request in self._waiting if (request.queue, request.request.id) != (queue, raw_id)
        ]
        for destination in self._moved.get(queue, ()):
            destination.cancel(queue, raw_id, params)
