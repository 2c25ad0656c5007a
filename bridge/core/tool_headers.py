"""Check request headers that mirror arguments of a tool (MCP 2026-07-28 server/tools, x-mcp-header; SEP-2243). Pure.

The annotations of the tools are read from the results of `tools/list`, of the bridge and of clients.
"""

import msgspec

from ...validators import json_object, mirrored_headers
from ...validators.limits import Limits
from ...validators.rejection import Rejection
from ...validators.tool_headers import ToolHeaders, read_tools
from .requests import ClientRequest


class ToolHeaderCache:
    """The header annotations of one server, and the calls that wait for its list of tools."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # None until the tools were listed.
        self._tools: ToolHeaders | None = None
        # Calls that are checked when the tools are listed, oldest first.
        self.waiting: list[ClientRequest] = []
        # The id of the unanswered `tools/list` of the bridge, or nothing. Its pages so far, and their number.
        self.listing_id = b""
        self._listed = ToolHeaders()
        self._pages = 0
        # Whether a call was sent since the list: it may have changed the tools.
        self._called = False
        # Whether the server has notified a change, or a list of a client was unreadable.
        self._outdated = False

    def check(self, call: ClientRequest, *, listed: bool = False) -> bool:
        """Check the headers of a call. Return False if the tools must be listed first, which were not just `listed`.

        Raises Rejection if a header differs from its argument, or if the annotations of the tool cannot be read.
        """
        tools = self._tools
        if tools is None or self._outdated:
            return False
        mirrors = tools.by_name.get(call.envelope.name)
        if mirrors is None and (self._called or (tools.incomplete and not listed)):
            return False
        if isinstance(mirrors, Rejection):
            raise Rejection(mirrors.status, mirrors.code, mirrors.text)
        if mirrors and call.headers is not None:
            try:
                mirrored_headers.check_param_headers(call.headers, call.request.params, mirrors)
            except Rejection:
                # The tool may have changed since.
                if self._called:
                    return False
                raise
        self._called = True
        return True

    def mark_outdated(self) -> None:
        """Require a new list before the next check."""
        self._outdated = True

    def begin(self) -> None:
        self._listed, self._pages = ToolHeaders(), 0

    def on_page(self, result: bytes | msgspec.Raw) -> bytes:
        """Read a page of the list of the bridge. Return the raw cursor of the next, nothing after the last or the limit.

        Raises Rejection for a page beyond the limits.
        """
        found = self._read(result, self._listed)
        self._pages += 1
        cursor = bytes(found.get("nextCursor", b"null"))
        if cursor != b"null" and self._pages < self._limits.list_pages:
            return cursor
        self.listing_id = b""
        self._tools, self._called, self._outdated = self._listed, False, False
        return b""

    def on_client_page(self, call: ClientRequest, result: bytes | msgspec.Raw) -> None:
        """Read a page that a client has requested, once the bridge has a list."""
        if self._tools is None:
            return
        try:
            found = self._read(result, self._tools)
        except Rejection:
            self._outdated = True
            return
        whole = bytes(found.get("nextCursor", b"null")) == b"null"
        if whole and b'"cursor"' not in call.request.params and not call.policy.restricts:
            self._outdated = False

    def take_waiting(self) -> list[ClientRequest]:
        """Remove and return the calls that wait."""
        waiting, self.waiting = self.waiting, []
        return waiting

    def take_waiting_of(self, queue: object) -> list[ClientRequest]:
        """Remove and return the calls that wait with this queue."""
        taken = [one for one in self.waiting if one.queue is queue]
        self.waiting = [one for one in self.waiting if one.queue is not queue]
        return taken

    def clear(self) -> None:
        """Drop the list, because the server process has exited."""
        self._tools, self.listing_id = None, b""

    def _read(self, result: bytes | msgspec.Raw, tools: ToolHeaders) -> json_object.Members:
        return read_tools(result, tools, self._limits, {one.envelope.name for one in self.waiting})
