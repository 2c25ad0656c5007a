"""Calls of one session that wait for a list of tools, which the bridge requests because the client has not. Pure."""

from ...validators import json_object
from ...validators.jsonrpc import Request, Response
from ...validators.limits import Limits


class ToolListing:
    """The waiting calls, and the request of the bridge for the list. `listing_id` is its wire id, empty if there is none."""

    __slots__ = ("_limits", "_pages", "_waiting", "listing_id")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.listing_id = b""
        # How many pages were requested.
        self._pages = 0
        # The calls with their raw progress tokens, oldest first.
        self._waiting: list[tuple[Request, bytes]] = []

    def add(self, request: Request, token: bytes) -> None:
        """Let a call wait."""
        self._waiting.append((request, token))

    def begin(self, wire_id: bytes, cursor: bytes) -> Request:
        """Return the request for a page. The `cursor` is raw JSON, or empty for the first page."""
        self._pages = self._pages + 1 if cursor else 1
        self.listing_id = wire_id
        return Request(wire_id, "tools/list", b'{"cursor":%b}' % cursor if cursor else b"")

    def end(self, message: Response) -> bytes:
        """Handle the response. Return the raw cursor of the next page, nothing after the last or at the limit of pages."""
        self.listing_id = b""
        cursor = bytes(json_object.peek(message.result).get("nextCursor", b"null"))
        return cursor if cursor != b"null" and self._pages < self._limits.list_pages else b""

    def remove(self, wire_id: bytes) -> bool:
        """Remove the call with this wire id. Return whether it has waited."""
        kept = [entry for entry in self._waiting if entry[0].id != wire_id]
        removed = len(kept) < len(self._waiting)
        self._waiting = kept
        return removed

    def take(self) -> list[tuple[Request, bytes]]:
        """Remove and return the waiting calls."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def clear(self) -> list[bytes]:
        """Remove everything, because the process has exited. Return the wire ids of the waiting calls."""
        self.listing_id = b""
        return [request.id for request, _ in self.take()]
