"""Requests of a shared server process to its fronts, each with an id of the bridge. Pure."""

from typing import NamedTuple

from ...validators import json_object
from ...validators.jsonrpc import Request
from .front import Front
from .tasks import canonical_text


class ForwardedRequest(NamedTuple):
    """A request of the server without a response of its front."""

    server_id: bytes
    front: Front
    # The raw progress token of the request, or nothing.
    token: bytes
    # Whether the request has a member `task`.
    augmented: bool
    # The wire id of the call that the request belongs to, or nothing.
    about: bytes


class ForwardedRequests:
    """The requests of one process. `remove` drops a request."""

    __slots__ = ("_ids", "by_id")

    def __init__(self) -> None:
        # By the id of the bridge, and the ids of the bridge by the canonical ids of the server.
        self.by_id: dict[bytes, ForwardedRequest] = {}
        self._ids: dict[bytes, bytes] = {}

    def id_of(self, server_id: bytes) -> bytes | None:
        """Return the id of the bridge for an id of the server, None if there is none."""
        return self._ids.get(canonical_text(server_id))

    def add(self, own_id: bytes, front: Front, message: Request, about: bytes) -> None:
        """Add a request that is sent to a front under this id, for the call `about`."""
        found = json_object.peek(message.params)
        token = bytes(json_object.peek(found.get("_meta")).get("progressToken", b""))
        self.by_id[own_id] = ForwardedRequest(message.id, front, token, "task" in found, about)
        self._ids[canonical_text(message.id)] = own_id

    def remove(self, own_id: bytes) -> ForwardedRequest:
        request = self.by_id.pop(own_id)
        del self._ids[canonical_text(request.server_id)]
        return request

    def remove_front(self, front: Front) -> list[ForwardedRequest]:
        own = [own_id for own_id, request in self.by_id.items() if request.front is front]
        return [self.remove(own_id) for own_id in own]

    def has_token(self, front: Front, token: bytes) -> bool:
        """Return whether a request to this front has this progress token."""
        return any(one.front is front and one.token == token for one in self.by_id.values())

    def calls(self) -> set[bytes]:
        """Return the wire ids of the calls that wait for their clients."""
        return {one.about for one in self.by_id.values()}
