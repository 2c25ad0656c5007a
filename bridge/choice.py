"""Which tools of a server its clients get to see and to call. Pure.

A tool that is not chosen is as if the server had none of that name: it is not listed, and a call of it never reaches the
server. Patterns are those of fnmatch: * and ? and [set], and upper and lower case differ.
"""

import re
from collections.abc import Iterable
from fnmatch import translate

import msgspec

from ..validators import members
from ..validators.rejection import INVALID_PARAMS, Rejection


class Choice:
    """Those that match a pattern of `allow` and none of `deny`."""

    def __init__(self, allow: Iterable[str] = ("*",), deny: Iterable[str] = ()) -> None:
        allowed, denied = tuple(allow), tuple(deny)
        self._allow = re.compile("|".join(map(translate, allowed)) or r"(?!)")
        self._deny = re.compile("|".join(map(translate, denied)) or r"(?!)")
        # Whether anything is left out: without that no payload is looked at.
        self.restricts = allowed != ("*",) or bool(denied)

    def permits(self, name: str) -> bool:
        """Whether there is such a tool for a client."""
        return self._allow.match(name) is not None and self._deny.match(name) is None

    def check(self, name: str) -> None:
        """Raise the Rejection of a tool that there is not."""
        if not self.permits(name):
            raise Rejection(200, INVALID_PARAMS, f"Unknown tool: {name}")

    def filtered(self, result: bytes | msgspec.Raw) -> bytes:
        """The result of `tools/list` with the chosen ones only; all else stays as it was."""
        found = members.peek(result)
        tools = members.items(found.get("tools"))
        chosen = [tool for tool in tools if self.permits(members.string(members.peek(tool).get("name")))]
        if len(chosen) == len(tools):
            return bytes(result)
        found["tools"] = members.raw(msgspec.json.encode(chosen))
        return members.write(found)


EVERYTHING = Choice()
