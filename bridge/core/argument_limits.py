"""Limit the size and the nesting of the arguments that clients send to tools and prompts. Pure.

The arguments are the member `arguments` of the params of `tools/call` and `prompts/get`, measured as JSON text. The last of
repeated members counts, as in most JSON parsers.
"""

import re
from collections.abc import Mapping
from fnmatch import translate
from typing import Final

from ...validators import json_object
from ...validators.incremental_json import depth_ok
from ...validators.rejection import INVALID_PARAMS, Rejection

_CALL: Final = "tools/call"
_WITH_ARGUMENTS: Final = frozenset({_CALL, "prompts/get"})


class ArgumentLimits:
    """The limits of one server. A limit of 0 is no limit.

    `by_tool` maps patterns of tools (fnmatch) to bytes. The first pattern that matches replaces `most_bytes` for a tool.
    """

    def __init__(self, server: str, most_bytes: int, depth: int, by_tool: Mapping[str, int]) -> None:
        self._server = server
        self._most_bytes = most_bytes
        self._depth = depth
        # The compiled pattern, the pattern as it was written, and the limit (bytes).
        self._by_tool = [(re.compile(translate(key)), key, most) for key, most in by_tool.items()]

    def most_bytes(self, method: str, name: str) -> tuple[int, str]:
        """Return the limit for a tool or a prompt (bytes, 0 for none), and the key that sets the limit."""
        if method == _CALL:
            for pattern, key, most in self._by_tool:
                if pattern.match(name):
                    return most, f'servers.{self._server}.argument_bytes."{key}"'
        return self._most_bytes, "limits.argument_bytes"

    def check(self, method: str, params: bytes, name: str) -> None:
        """Raise the Rejection of a request whose arguments exceed a limit: 200, -32602."""
        if method not in _WITH_ARGUMENTS:
            return
        most, key = self.most_bytes(method, name)
        if not self._depth and (not most or len(params) <= most):
            return
        found = json_object.peek(params).get("arguments")
        if found is None:
            return
        arguments = bytes(found)
        if most and len(arguments) > most:
            text = f"the arguments have {len(arguments)} bytes and the limit is {most} ({key})"
            raise _over(text, most, len(arguments), key)
        if self._depth and not depth_ok(arguments, self._depth):
            key = "limits.argument_depth"
            text = f"the arguments are nested deeper than the limit of {self._depth} ({key})"
            raise _over(text, self._depth, None, key)


def limits_of(server: str, most_bytes: int, depth: int, by_tool: Mapping[str, int]) -> ArgumentLimits | None:
    """Return the limits of a server, None if it has none."""
    if not (most_bytes or depth or by_tool):
        return None
    return ArgumentLimits(server, most_bytes, depth, by_tool)


def _over(text: str, limit: int, value: int | None, key: str) -> Rejection:
    data: dict[str, object] = {"limit": limit, "key": key}
    if value is not None:
        data["value"] = value
    return Rejection(200, INVALID_PARAMS, text, data=data, reason="argument_limit")
