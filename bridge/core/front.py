"""Clients of a shared server process, and the ids that belong to each of them. Pure, except for a random secret of each client."""

import os
from collections.abc import Collection

from ...validators import json_object
from .attribution import Client


class Front:
    """One client of a shared process.

    A `translated` front stands for any number of stateless clients, and its `owner` is their adapter, opaque here. It does not
    send `initialize`, adds the calls of its clients to `SharedUpstream.origins` itself, and chooses the client of a message.
    Other fronts have no owner, because the process keeps them until it has answered the last call of a client that has left.
    """

    __slots__ = (
        "_level",
        "_secret",
        "capabilities",
        "client",
        "owner",
        "principal",
        "ready",
        "renewed",
        "successor",
        "translated",
        "uris",
    )

    def __init__(
        self, client: Client, owner: object = None, *, translated: bool = False, principal: str = ""
    ) -> None:
        self.client = client
        # The principal of the client, or an empty text if it is not known or there are several.
        self.principal = principal
        self.owner = owner
        self.translated = translated
        self.capabilities: json_object.Members = {}
        # Whether `initialize` was answered.
        self.ready = False
        self._level = ""
        # The front of the same client at the process that replaces this one, None if there is none.
        self.successor: Front | None = None
        # The subscribed URIs.
        self.uris: dict[str, None] = {}
        # Whether the process has replaced the one that the client was initialized with.
        self.renewed = False
        self._secret = os.urandom(8).hex().encode()

    def progress_token(self, wire_id: bytes) -> bytes:
        """Return the progress token (raw JSON text) that the server gets for a request of this client.

        Another client cannot guess it. A server may read a member of its params that the bridge does not, such as the first
        of two, or `ProgressToken`, and would send progress for it.
        """
        return b'"%b.%b"' % (wire_id, self._secret)

    def follow(self, before: "Front") -> None:
        """Take the state of a front of the process that this one replaces. That process sends no more updates of resources."""
        self.capabilities = before.capabilities
        self.ready = self.renewed = before.ready
        self.level = before.level
        self.uris, before.uris = before.uris, {}
        before.successor = self

    @property
    def level(self) -> str:
        """The log level of the client, or nothing. Both processes of a client filter by the level that it sets at the newer."""
        front = self
        while front.successor is not None:
            front = front.successor
        return front._level  # noqa: SLF001 - of the same class

    @level.setter
    def level(self, level: str) -> None:
        self._level = level

    def declared(self, method: str, params: bytes) -> bool:
        """Return whether the client has declared the capability for a request (MCP 2025-11-25 client)."""
        if method == "roots/list":
            return "roots" in self.capabilities
        if method == "sampling/createMessage":
            wanted = json_object.peek(params)
            tools = "tools" in wanted or "toolChoice" in wanted
            sampling = self.capabilities.get("sampling")
            return sampling is not None and (not tools or "tools" in json_object.peek(sampling))
        if method == "elicitation/create":
            return self._elicits(json_object.string(json_object.peek(params).get("mode")))
        if method.startswith("tasks/"):
            return "tasks" in self.capabilities
        return True

    def _elicits(self, mode: str) -> bool:
        declared = self.capabilities.get("elicitation")
        if declared is None:
            return False
        modes = json_object.peek(declared)
        return "url" in modes if mode == "url" else "form" in modes or "url" not in modes


class FrontIds:
    """The front of each id of one kind, at most `limit` ids of a front. An id of two fronts belongs to neither."""

    __slots__ = ("_fronts", "_limit", "_own")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._fronts: dict[bytes, Front] = {}
        # The same ids by front, oldest first. Beyond the limit the oldest id of the front is dropped.
        self._own: dict[Front, dict[bytes, None]] = {}

    def get(self, key: bytes) -> Front | None:
        """Return the front of an id, None if there is none."""
        return self._fronts.get(key)

    def add(self, key: bytes, front: Front) -> None:
        """Store an id of a front."""
        owner = self._fronts.get(key, front)
        if owner is not front:
            del self._fronts[key], self._own[owner][key]
            return
        self._fronts[key] = front
        own = self._own.setdefault(front, {})
        own[key] = None
        if len(own) > self._limit:
            oldest = next(iter(own))
            del own[oldest], self._fronts[oldest]

    def remove(self, front: Front) -> None:
        """Drop all ids of a front."""
        for key in self._own.pop(front, ()):
            del self._fronts[key]


def call_in(token: bytes) -> bytes:
    """Return the wire id in a progress token (`Front.progress_token`), and another text for any other token."""
    return token[1:].partition(b".")[0]


def find_front(fronts: Collection[Front], owner: object) -> Front | None:
    """Return the front that the owner of a call names, None if there is none: a front, or the adapter of a translated front."""
    if isinstance(owner, Front):
        return owner
    return next((front for front in fronts if front.translated and front.owner is owner), None)
