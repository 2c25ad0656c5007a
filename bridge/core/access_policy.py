"""Restrict the tools and the protocol features of a server that its clients can use. Pure.

A denied tool is not listed, and a call of it is refused before it reaches the server. Patterns are those of Python's fnmatch
(`*`, `?`, `[set]`) and case-sensitive.

A denied feature is removed from the capabilities of both sides. Its requests are refused and its notifications are dropped,
in both directions.
"""

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Final

import msgspec

from ...validators import json_object, stateless_request
from ...validators.json_object import Members
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ...validators.list_changes import CAPABILITY_OF
from ...validators.mcp_params import read_items, read_list
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Rejection
from .argument_limits import ArgumentLimits
from .content_policy import ContentPolicy  # noqa: TC001 - as the other modules of the policy
from .definition_guard import USED, DefinitionGuard
from .errors import URL_ELICITATION_REQUIRED, fault_text, read_fault

# Features by the first word of their methods. They are named as the capabilities (MCP 2025-11-25 basic/lifecycle).
_FEATURES: Final = {
    "tools": "tools",
    "resources": "resources",
    "prompts": "prompts",
    "completion": "completions",
    "logging": "logging",
    "message": "logging",
    "sampling": "sampling",
    "elicitation": "elicitation",
    "roots": "roots",
}
_LISTENING: Final = {**CAPABILITY_OF, "resourceSubscriptions": "resources"}
_OPENING: Final = frozenset({"initialize", "server/discover"})
_LIMITS: Final = Limits()


class _Tool(msgspec.Struct, gc=False):
    name: str = ""


_decode_name: Final = msgspec.json.Decoder(_Tool).decode


def feature_of(method: str) -> str:
    """Return the feature that a method belongs to, an empty string for none."""
    return _FEATURES.get(method.removeprefix("notifications/").partition("/")[0], "")


class AccessPolicy:
    """Allows tools that match a pattern of `allow` and none of `deny`, and all features but `without`.

    `arguments` limits the arguments of requests. With `within` both policies apply. The result is then the policy of one principal, so a shared cache must not store its
    lists.
    """

    def __init__(
        self,
        allow: Iterable[str] = ("*",),
        deny: Iterable[str] = (),
        without: Iterable[str] = (),
        *,
        within: "AccessPolicy | None" = None,
        arguments: ArgumentLimits | None = None,
    ) -> None:
        allowed, denied = tuple(allow), tuple(deny)
        self._allow = re.compile("|".join(map(translate, allowed)) or r"(?!)")
        self._deny = re.compile("|".join(map(translate, denied)) or r"(?!)")
        self._without = frozenset(without)
        self._within = within
        # Compares the lists of the server with approved ones, None if they are not compared. Set by the owner of the policy.
        self.guard: DefinitionGuard | None = None
        # Checks the content of calls, None if no check is on. Set by the owner of the policy of the server.
        self.content: ContentPolicy | None = None
        # Whether anything is denied. If not, no payload is parsed.
        self.restricts = allowed != ("*",) or bool(denied or self._without)
        if within is not None:
            self._without |= within._without  # noqa: SLF001 - the other object is of this class
            self.restricts |= within.restricts
            arguments = within._arguments  # noqa: SLF001 - likewise
            self.content = within.content
        self._arguments: ArgumentLimits | None = arguments
        # Whether requests of the client are checked.
        self.checks = self.restricts or arguments is not None

    # ---- requests

    def check_request(self, method: str, params: bytes, name: str, status: int) -> None:
        """Raise the Rejection of a request that is not allowed. `name` is the tool or prompt, `status` that of a denied feature."""
        if self.restricts:
            if self.denied(method):
                raise self.refusal(method, status)
            if method in USED:
                self.check_use(method, name)
        if self._arguments is not None:
            self._arguments.check(method, params, name)

    # ---- tools

    def allows(self, name: str) -> bool:
        """Return whether a client may use the tool with this name."""
        if self._within is not None and not self._within.allows(name):
            return False
        return self._allow.match(name) is not None and self._deny.match(name) is None

    def guarded_by(self, guard: DefinitionGuard | None) -> "AccessPolicy":
        """Apply a guard too, and return this policy. What it blocks is denied."""
        self.guard = guard
        self.restricts |= guard is not None and guard.blocks
        self.checks |= self.restricts
        return self

    def check_use(self, method: str, name: str) -> None:
        """Raise the Rejection of an unknown tool or prompt if a request may not use that with this name."""
        if method == "tools/call":
            self.check(name)
        if self.guard is not None:
            self.guard.check(method, name)

    def check(self, name: str) -> None:
        """Raise the Rejection of an unknown tool if the tool with this name is not allowed."""
        if not self.allows(name):
            raise Rejection(200, INVALID_PARAMS, f"Unknown tool: {name}", reason="tool_denied")

    def _filter(self, found: Members, limits: Limits) -> bool:
        tools = read_items(found.get("tools"), limits)
        allowed = [tool for tool in tools if self.allows(_name_of(tool))]
        if len(allowed) == len(tools):
            return False
        found["tools"] = json_object.raw(msgspec.json.encode(allowed))
        return True

    # ---- features

    def denied(self, method: str) -> bool:
        """Return whether the feature of this method is denied."""
        return feature_of(method) in self._without

    def refusal(self, method: str, status: int) -> Rejection:
        """Return the Rejection of a method whose feature is denied."""
        return Rejection(status, METHOD_NOT_FOUND, _off(feature_of(method)), reason="feature_denied")

    def declared(self, capabilities: bytes | msgspec.Raw) -> bytes:
        """Return the capabilities of either side without denied features."""
        if not self._without:
            return bytes(capabilities)
        found = json_object.peek(capabilities)
        tasks = json_object.peek(found.get("tasks"))
        if "requests" in tasks:
            tasks["requests"] = self._without_denied(json_object.peek(tasks["requests"]))
            found["tasks"] = json_object.raw(json_object.write(tasks))
        return bytes(self._without_denied(found))

    def opening(self, payload: bytes | msgspec.Raw) -> bytes:
        """Return the payload without denied capabilities.

        The payload is the params or the result of `initialize`, or the result of `server/discover`.
        """
        found = json_object.peek(payload)
        if not self._without or "capabilities" not in found:
            return bytes(payload)
        found["capabilities"] = json_object.raw(self.declared(found["capabilities"]))
        return json_object.write(found)

    def request(self, method: str, params: bytes) -> bytes:
        """Return the params of a stateless request without denied capabilities, log levels and subscriptions."""
        if not self._without:
            return params
        found = json_object.read(params)
        meta = json_object.read(found["_meta"])
        meta[stateless_request.CLIENT_CAPABILITIES] = json_object.raw(
            self.declared(meta[stateless_request.CLIENT_CAPABILITIES])
        )
        if "logging" in self._without:
            meta.pop(stateless_request.LOG_LEVEL, None)
        found["_meta"] = json_object.raw(json_object.write(meta))
        if method == stateless_request.LISTEN:
            wanted = json_object.peek(found.get("notifications"))
            kept = {key: value for key, value in wanted.items() if _LISTENING.get(key) not in self._without}
            found["notifications"] = json_object.raw(json_object.write(kept))
        return json_object.write(found)

    def answer(self, method: str, message: Response, limits: Limits = _LIMITS) -> Response:
        """Return the response of the server as its client gets it.

        A list of tools beyond the limits becomes an error, and so does a result that requires input by a denied feature.
        """
        if message.error:
            denied = self._denied_in_error(message.error) if self._without else ""
        elif method == "tools/list":
            return self._listed(message, limits)
        elif method in _OPENING:
            return self._opened(message, json_object.peek(message.result))
        else:
            denied = self._denied_in_result(message.result) if self._without else ""
        if not denied:
            return message
        return Response(
            message.id, b"", fault_text(INTERNAL_ERROR, f"the server requires input, and {_off(denied)}")
        )

    def _listed(self, message: Response, limits: Limits) -> Response:
        try:
            found = read_list(message.result, limits)
            changed = self._filter(found, limits)
        except Rejection as rejection:
            return Response(message.id, b"", fault_text(rejection.code, rejection.text))
        return self._kept_private(message, found, changed=changed)

    def _opened(self, message: Response, found: Members) -> Response:
        changed = bool(self._without) and "capabilities" in found
        if changed:
            found["capabilities"] = json_object.raw(self.declared(found["capabilities"]))
        return self._kept_private(message, found, changed=changed)

    def _kept_private(self, message: Response, found: Members, *, changed: bool) -> Response:
        # A shared cache would return the list of one principal to another (MCP 2026-07-28 server/utilities/caching).
        if self._within is not None and "cacheScope" in found:
            found["cacheScope"] = json_object.raw(b'"private"')
            changed = True
        return Response(message.id, json_object.write(found) if changed else message.result, b"")

    def _without_denied(self, found: Members) -> msgspec.Raw:
        return json_object.raw(
            json_object.write({key: value for key, value in found.items() if key not in self._without})
        )

    def _denied_in_result(self, result: bytes | msgspec.Raw) -> str:
        # A modern server requires input in a result, possibly by a feature that its client has not declared.
        for request in json_object.peek(json_object.peek(result).get("inputRequests")).values():
            feature = feature_of(json_object.string(json_object.peek(request).get("method")))
            if feature in self._without:
                return feature
        return ""

    def _denied_in_error(self, error: bytes) -> str:
        # A client that has declared the feature must not get an error that it has not, or a URL to open.
        fault = read_fault(error)
        wanted: Iterable[str] = ()
        if fault.code == URL_ELICITATION_REQUIRED:
            wanted = ("elicitation",)
        elif fault.code == stateless_request.MISSING_CAPABILITY and isinstance(fault.data, msgspec.Raw):
            wanted = json_object.peek(json_object.peek(fault.data).get("requiredCapabilities"))
        return next((feature for feature in wanted if feature in self._without), "")


def _name_of(tool: msgspec.Raw) -> str:
    try:
        return _decode_name(tool).name
    except json_object.UNREADABLE:
        return ""


def _off(feature: str) -> str:
    return f"{feature} is disabled for this server"


EVERYTHING = AccessPolicy()
