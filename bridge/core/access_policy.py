"""What of a server its clients get to see and to use: which of its tools, and which features of the protocol. Pure.

A tool that is not chosen is as if the server had none of that name: it is not listed, and a call of it never reaches the
server. Patterns are those of fnmatch: * and ? and [set], and upper and lower case differ.

A feature that is switched off is as if neither side had it: it is in nobody's capabilities, and what belongs to it passes in
no direction.
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
from ...validators.mcp_params import read_items, read_list
from ...validators.rejection import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Rejection
from .errors import URL_ELICITATION_REQUIRED, fault_text, read_fault

# The features by the first word of their methods. Their names are those of the capabilities (digest 1.6).
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
_LISTENING: Final = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
    "resourceSubscriptions": "resources",
}
_OPENING: Final = frozenset({"initialize", "server/discover"})
_LIMITS: Final = Limits()


class _Tool(msgspec.Struct, gc=False):
    name: str = ""


_decode_name: Final = msgspec.json.Decoder(_Tool).decode


def feature_of(method: str) -> str:
    """The feature that a request or notification belongs to, if any."""
    return _FEATURES.get(method.removeprefix("notifications/").partition("/")[0], "")


class AccessPolicy:
    """Tools that match a pattern of `allow` and none of `deny`, and all features but `without`.

    What `within` leaves is narrowed by that: it is then one principal's, and no other must be shown it.
    """

    def __init__(
        self,
        allow: Iterable[str] = ("*",),
        deny: Iterable[str] = (),
        without: Iterable[str] = (),
        *,
        within: "AccessPolicy | None" = None,
    ) -> None:
        allowed, denied = tuple(allow), tuple(deny)
        self._allow = re.compile("|".join(map(translate, allowed)) or r"(?!)")
        self._deny = re.compile("|".join(map(translate, denied)) or r"(?!)")
        self._without = frozenset(without)
        self._within = within
        # Whether anything is left out: without that no payload is looked at.
        self.restricts = allowed != ("*",) or bool(denied or self._without)
        if within is not None:
            self._without |= within._without  # noqa: SLF001 - of our own kind
            self.restricts |= within.restricts

    # ---- tools

    def allows(self, name: str) -> bool:
        """Whether there is such a tool for a client."""
        if self._within is not None and not self._within.allows(name):
            return False
        return self._allow.match(name) is not None and self._deny.match(name) is None

    def check(self, name: str) -> None:
        """Raise the Rejection of a tool that there is not."""
        if not self.allows(name):
            raise Rejection(200, INVALID_PARAMS, f"Unknown tool: {name}")

    def filtered(self, result: bytes | msgspec.Raw, limits: Limits = _LIMITS) -> bytes:
        """The result of `tools/list` with the chosen ones only; all else stays as it was. Raises Rejection beyond the limits."""
        found = read_list(result, limits)
        changed = self._filter(found, limits)
        return json_object.write(found) if changed else bytes(result)

    def _filter(self, found: Members, limits: Limits) -> bool:
        tools = read_items(found.get("tools"), limits)
        chosen = [tool for tool in tools if self.allows(_name_of(tool))]
        if len(chosen) == len(tools):
            return False
        found["tools"] = json_object.raw(msgspec.json.encode(chosen))
        return True

    # ---- features

    def denied(self, method: str) -> bool:
        """Whether what this method belongs to is switched off."""
        return feature_of(method) in self._without

    def refusal(self, method: str, status: int) -> Rejection:
        """What whoever uses such a method is told."""
        return Rejection(status, METHOD_NOT_FOUND, _off(feature_of(method)))

    def declared(self, capabilities: bytes | msgspec.Raw) -> bytes:
        """The capabilities of either side, without what is switched off."""
        if not self._without:
            return bytes(capabilities)
        found = json_object.peek(capabilities)
        tasks = json_object.peek(found.get("tasks"))
        if "requests" in tasks:
            tasks["requests"] = self._left(json_object.peek(tasks["requests"]))
            found["tasks"] = json_object.raw(json_object.write(tasks))
        return bytes(self._left(found))

    def opening(self, payload: bytes | msgspec.Raw) -> bytes:
        """The params or the result of `initialize`, or the result of `server/discover`, with what is left to declare."""
        found = json_object.peek(payload)
        if not self._without or "capabilities" not in found:
            return bytes(payload)
        found["capabilities"] = json_object.raw(self.declared(found["capabilities"]))
        return json_object.write(found)

    def request(self, method: str, params: bytes) -> bytes:
        """The params of a stateless request, with what is left to declare, to log and to listen to."""
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
        if method == "subscriptions/listen":
            wanted = json_object.peek(found.get("notifications"))
            kept = {key: value for key, value in wanted.items() if _LISTENING.get(key) not in self._without}
            found["notifications"] = json_object.raw(json_object.write(kept))
        return json_object.write(found)

    def answer(self, method: str, message: Response, limits: Limits = _LIMITS) -> Response:
        """The server's answer, as its client gets it. A list that is too large to be looked into becomes an error."""
        if message.error:
            asked = self._asked_in_vain(message.error) if self._without else ""
        elif method == "tools/list":
            return self._listed(message, limits)
        elif method in _OPENING:
            return self._opened(message, json_object.peek(message.result))
        else:
            asked = self._asked_for(message.result) if self._without else ""
        if not asked:
            return message
        return Response(message.id, b"", fault_text(INTERNAL_ERROR, f"the server asks, and {_off(asked)}"))

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
        # A cache that others use as well would show them what is one principal's (digest 1.18).
        if self._within is not None and "cacheScope" in found:
            found["cacheScope"] = json_object.raw(b'"private"')
            changed = True
        return Response(message.id, json_object.write(found) if changed else message.result, b"")

    def _left(self, found: Members) -> msgspec.Raw:
        return json_object.raw(
            json_object.write({key: value for key, value in found.items() if key not in self._without})
        )

    def _asked_for(self, result: bytes | msgspec.Raw) -> str:
        # A modern server asks in an answer, if it likes also for what its client has not declared.
        for request in json_object.peek(json_object.peek(result).get("inputRequests")).values():
            feature = feature_of(json_object.string(json_object.peek(request).get("method")))
            if feature in self._without:
                return feature
        return ""

    def _asked_in_vain(self, error: bytes) -> str:
        # A client that has declared it must not hear that it has not, nor be sent to a URL all the same.
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
    return f"{feature} is switched off for this server"


EVERYTHING = AccessPolicy()
