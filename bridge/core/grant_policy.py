"""The access policy of a principal with a role: it narrows the policy of a server. Pure.

A pattern of `methods` restricts the requests of clients. Requests that begin and keep a connection are always permitted, and so
are notifications and what a server sends, which `features` can switch off.

With `read_only` a tool may be called only if the last list of the server has annotated it with `readOnlyHint: true`. An annotation
is a statement of the server (MCP 2025-11-25 server/tools), so the patterns of the operator apply as well.
"""

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Final

import msgspec

from ...validators import json_object
from ...validators.json_object import Members
from ...validators.limits import Limits
from ...validators.mcp_params import read_items
from ...validators.rejection import INVALID_PARAMS, METHOD_NOT_FOUND, Rejection
from .access_policy import AccessPolicy
from .grants import ALL, Grant

# Requests without which no other request can be made.
ALWAYS: Final = frozenset({"initialize", "ping", "server/discover"})
# Requests of servers to clients.
_OF_SERVERS: Final = frozenset({"sampling/createMessage", "elicitation/create", "roots/list"})
# The requests of clients by the capability of the server that they need (MCP 2025-11-25 and 2026-07-28).
_REQUESTS: Final = {
    "tools": ("tools/list", "tools/call"),
    "resources": (
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
    ),
    "prompts": ("prompts/list", "prompts/get"),
    "completions": ("completion/complete",),
    "logging": ("logging/setLevel",),
}
# Requests of clients that belong to several capabilities.
_FURTHER: Final = frozenset(
    {"subscriptions/listen", "tasks/get", "tasks/list", "tasks/result", "tasks/cancel"}
)
# Requests that change nothing at a server, except of tools without the annotation.
READING: Final = _FURTHER | {method for methods in _REQUESTS.values() for method in methods}
# The most tools of one server whose annotation is stored.
_MOST_TOOLS: Final = 4096


class _Annotations(msgspec.Struct, gc=False):
    read_only: bool = msgspec.field(default=False, name="readOnlyHint")


class _Tool(msgspec.Struct, gc=False):
    name: str = ""
    annotations: _Annotations | None = None


_decode_tool: Final = msgspec.json.Decoder(_Tool).decode


class ReadOnlyTools:
    """The tools of one server that its last list has annotated as read-only."""

    def __init__(self) -> None:
        # The names. Added and removed by `note`; bounded by `_MOST_TOOLS`.
        self._names: set[str] = set()

    def note(self, tools: Iterable[bytes | msgspec.Raw]) -> None:
        """Store the annotations of the tools of a list, or of a part of it."""
        for tool in tools:
            try:
                read = _decode_tool(tool)
            # A tool that cannot be read is not read-only, whatever its name is.
            except json_object.UNREADABLE:
                self._names.discard(json_object.string(json_object.peek(tool).get("name")))
                continue
            if read.annotations is None or not read.annotations.read_only:
                self._names.discard(read.name)
            elif len(self._names) < _MOST_TOOLS:
                self._names.add(read.name)

    def __contains__(self, name: str) -> bool:
        return name in self._names


class _Narrow:
    """One grant with its patterns compiled."""

    def __init__(self, grant: Grant, read_only: ReadOnlyTools) -> None:
        self._allow, self._deny, self._methods = map(_compiled, (grant.allow, grant.deny, grant.methods))
        self._any_method = grant.methods == (ALL,) and not grant.read_only
        self._read_only = read_only if grant.read_only else None
        self.without = frozenset(grant.without) | self._features_without_a_method()
        self.restricts = grant.allow != (ALL,) or bool(grant.deny or self.without) or not self._any_method

    def _features_without_a_method(self) -> frozenset[str]:
        return frozenset(
            feature for feature, methods in _REQUESTS.items() if not any(map(self.permits, methods))
        )

    def permits(self, method: str) -> bool:
        """Return whether a client may send a request with this method."""
        if self._any_method:
            return True
        return self._methods.match(method) is not None and (self._read_only is None or method in READING)

    def shows(self, tool: str) -> bool:
        """Return whether the tool with this name may be listed."""
        if self._allow.match(tool) is None or self._deny.match(tool) is not None:
            return False
        return self._read_only is None or tool in self._read_only


class GrantPolicy(AccessPolicy):
    """The policy of a role within that of a server. What one of the grants permits is permitted."""

    def __init__(self, grants: Iterable[Grant], within: AccessPolicy, read_only: ReadOnlyTools) -> None:
        given = tuple(grants)
        # None where no grant depends on annotations.
        self._read_only = read_only if any(grant.read_only for grant in given) else None
        self._narrow = tuple(_Narrow(grant, read_only) for grant in given)
        shared = [narrow.without for narrow in self._narrow]
        # Without a grant nothing is permitted.
        without = frozenset[str].intersection(*shared) if shared else frozenset(_REQUESTS)
        super().__init__(without=without, within=within)
        self.restricts |= all(narrow.restricts for narrow in self._narrow)
        self.checks |= self.restricts

    def allows(self, name: str) -> bool:
        """Return whether the tool with this name is listed."""
        return super().allows(name) and any(narrow.shows(name) for narrow in self._narrow)

    def check(self, name: str) -> None:
        """Raise the Rejection of an unknown tool if a client may not call the tool with this name."""
        if not (
            super().allows(name)
            and any(narrow.permits("tools/call") and narrow.shows(name) for narrow in self._narrow)
        ):
            raise Rejection(200, INVALID_PARAMS, f"Unknown tool: {name}", reason="tool_denied")

    def denied(self, method: str) -> bool:
        """Return whether a method, or its feature, is denied."""
        if super().denied(method):
            return True
        if method in ALWAYS or method in _OF_SERVERS or method.startswith("notifications/"):
            return False
        return not any(narrow.permits(method) for narrow in self._narrow)

    def refusal(self, method: str, status: int) -> Rejection:
        """Return the Rejection of a method that is denied."""
        if super().denied(method):
            return super().refusal(method, status)
        return Rejection(
            status,
            METHOD_NOT_FOUND,
            "the method is not permitted for this credential",
            reason="method_denied",
        )

    def _filter(self, found: Members, limits: Limits) -> bool:
        if self._read_only is not None:
            self._read_only.note(read_items(found.get("tools"), limits))
        return super()._filter(found, limits)


def _compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")
