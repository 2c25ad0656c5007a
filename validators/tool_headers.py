"""Read from lists of tools which arguments are mirrored in headers (MCP 2026-07-28 server/tools, x-mcp-header). Pure."""

from collections.abc import Container
from typing import Final

import msgspec

from . import json_object
from .limits import Limits
from .mcp_params import read_items, read_list
from .mirrored_headers import ParamHeader, SchemaReader
from .rejection import Rejection

# The most names of tools and headers that are stored.
TOOLS: Final = 16 * 1024

Mirrors = tuple[ParamHeader, ...] | Rejection


class ToolHeaders:
    """The header annotations of the listed tools by name. At the limit the oldest are dropped."""

    __slots__ = ("_size", "by_name", "incomplete")

    def __init__(self) -> None:
        # By the name of a tool its annotations, or why they cannot be read. `add` and the limit drop entries.
        self.by_name: dict[str, Mirrors] = {}
        # The number of names of tools and headers.
        self._size = 0
        # Whether tools were dropped.
        self.incomplete = False

    def add(self, name: str, mirrors: Mirrors, needed: Container[str] = ()) -> None:
        """Store the annotations of a tool. A needed name is not dropped for others."""
        self._drop(name)
        self.by_name[name] = mirrors
        self._size += _weight(mirrors)
        while self._size > TOOLS:
            self.incomplete = True
            oldest = next((one for one in self.by_name if one != name and one not in needed), None)
            if oldest is None:
                return
            self._drop(oldest)

    def _drop(self, name: str) -> None:
        mirrors = self.by_name.pop(name, None)
        if mirrors is not None:
            self._size -= _weight(mirrors)


def _weight(mirrors: Mirrors) -> int:
    return 1 if isinstance(mirrors, Rejection) else 1 + len(mirrors)


def read_tools(
    result: bytes | msgspec.Raw, tools: ToolHeaders, limits: Limits, needed: Container[str] = ()
) -> json_object.Members:
    """Add the tools of one page of a list, and return the members of the page. Needed tools are not dropped for others.

    Raises Rejection for a page beyond the limits.
    """
    found = read_list(result, limits)
    schemas = SchemaReader(limits)
    for one in read_items(found.get("tools"), limits):
        tool = json_object.peek(one)
        mirrors: Mirrors
        try:
            mirrors = schemas.param_headers(bytes(tool.get("inputSchema", b"{}")))
        # A client must drop a tool with invalid annotations, so there is nothing to compare.
        except ValueError:
            mirrors = ()
        except Rejection as rejection:
            mirrors = rejection
        name = json_object.string(tool.get("name"))
        # A longer name cannot be called.
        if len(name) <= limits.name:
            tools.add(name, mirrors, needed)
    return found


def without_invalid_tools(result: bytes | msgspec.Raw, limits: Limits) -> tuple[bytes, list[str]]:
    """Return a page of a list without the tools whose annotations are invalid, and the names of these.

    A client over HTTP must not use them (MCP 2026-07-28 server/tools). The page is empty if nothing was removed. Raises Rejection
    for a page beyond the limits.
    """
    found = read_list(result, limits)
    schemas = SchemaReader(limits)
    kept: list[msgspec.Raw] = []
    dropped: list[str] = []
    for one in read_items(found.get("tools"), limits):
        tool = json_object.peek(one)
        try:
            schemas.param_headers(bytes(tool.get("inputSchema", b"{}")))
        except ValueError:
            dropped.append(json_object.string(tool.get("name")))
            continue
        except Rejection:
            # It cannot be examined, and may be valid.
            pass
        kept.append(one)
    if not dropped:
        return b"", []
    return json_object.write(
        {**found, "tools": json_object.raw(b"[%b]" % b",".join(map(bytes, kept)))}
    ), dropped
