"""The tools of one remote server of the modern era, as far as their arguments are mirrored in headers. Pure.

A client learns the annotations of a tool from lists of tools, and sends a call of a tool that it has not seen without these
headers (MCP 2026-07-28 server/tools, x-mcp-header; basic/transports/streamable-http).
"""

from typing import Final

from ...validators import jsonrpc
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ...validators.mirrored_headers import mirror_arguments
from ...validators.rejection import Rejection
from ...validators.tool_headers import ToolHeaders, read_tools, without_invalid_tools
from ..options import Headers
from .messages import Received

# The annotation, and a part of it that is not written with escapes.
_ANNOTATION: Final = (b"x-mcp-header", b"\\u00")


class ToolList:
    """The annotations by the name of a tool. `version` counts the complete lists of the bridge itself."""

    def __init__(self, limits: Limits) -> None:
        self.version = 0
        self._limits = limits
        self._tools = ToolHeaders()
        # The pages of the unfinished list of the bridge, and their number.
        self._listed = ToolHeaders()
        self._pages = 0

    def headers(self, name: str, params: bytes) -> Headers:
        """Return the header fields that mirror the arguments of a call."""
        mirrors = self._tools.by_name.get(name, ())
        return () if isinstance(mirrors, Rejection) else tuple(mirror_arguments(params, mirrors))

    def on_page(self, received: Received) -> tuple[bytes, list[str]]:
        """Learn from a list that the client has requested. Return the line for the client, and the names of tools dropped from it."""
        annotated = any(map(received.line.__contains__, _ANNOTATION))
        if received.error or not (annotated or self._tools.by_name):
            return received.line, []
        try:
            response = self._response(received)
            read_tools(response.result, self._tools, self._limits)
            page, dropped = without_invalid_tools(response.result, self._limits) if annotated else (b"", [])
        except Rejection:
            # Beyond a limit, or no valid response.
            return received.line, []
        return (
            jsonrpc.response(response.id, Response(response.id, page, b"")) if page else received.line
        ), dropped

    def begin(self) -> None:
        """Begin a list of the bridge."""
        self._listed, self._pages = ToolHeaders(), 0

    def on_own_page(self, received: Received) -> bytes:
        """Read a page of the list of the bridge. Return the raw cursor of the next, empty after the last or the limit.

        Raises Rejection for an error, and for a page beyond the limits.
        """
        found = read_tools(self._response(received).result, self._listed, self._limits)
        self._pages += 1
        cursor = bytes(found.get("nextCursor", b"null"))
        if cursor != b"null" and self._pages < self._limits.list_pages:
            return cursor
        self._tools = self._listed
        self.version += 1
        return b""

    def _response(self, received: Received) -> Response:
        message = jsonrpc.decode(received.line, self._limits, deep=True)
        if not isinstance(message, Response) or message.error:
            raise jsonrpc.invalid("no list of tools")
        return message
