"""The names and the descriptions of the tools that an aggregate offers. Pure.

The configuration names a tool as SERVER__TOOL. A new name belongs to the renamed tool, whatever tools the servers have, so that
the tool that a call reaches depends on the configuration only.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Final

import msgspec

from ...validators import json_object
from ...validators.rejection import INVALID_PARAMS
from ..core.access_policy import AccessPolicy
from ..core.aggregate_members import Membership
from ..core.errors import read_fault

# Between the name of a server and that of its tool or prompt.
SEPARATOR: Final = "__"
# The names that an error suggests, at most.
_MOST_SUGGESTED: Final = 3
# The part of a name that is compared (characters), and the names, at most.
_LONGEST: Final = 128
_MOST_COMPARED: Final = 1000
# A name that is less similar than this is not suggested, from 0 to 1.
_SIMILAR: Final = 0.5


def split(name: str, servers: Sequence[str]) -> tuple[str, str] | None:
    """Return the server of a tool or prompt and its name there, None if the name has no server."""
    server, separator, rest = name.partition(SEPARATOR)
    if separator and server in servers:
        return server, rest
    # The name of a server may hold an underscore at its end, or two. No name and separator begin as those of another server.
    for server in servers:
        if name.startswith(f"{server}{SEPARATOR}"):
            return server, name[len(server) + len(SEPARATOR) :]
    return None


class ToolNames:
    """The names under a configuration, with the servers in their order."""

    def __init__(self, about: Membership) -> None:
        self._servers = [*about.members]
        self._policy = AccessPolicy(about.allow, about.deny)
        self._new = about.rename
        self._old = {new: old for old, new in about.rename.items()}
        self._descriptions = about.describe

    def offered(self, name: str) -> str:
        """Return the name under which the tool SERVER__TOOL is offered, empty if it is not."""
        if not self._policy.allows(name):
            return ""
        return self._new.get(name) or ("" if name in self._old else name)

    def find(self, name: str) -> tuple[str, str] | None:
        """Return the server of an offered tool and its name there, None if there is no such tool."""
        former = self._old.get(name, name)
        return split(former, self._servers) if self.offered(former) == name else None

    def is_taken(self, name: str) -> bool:
        """Return whether a tool SERVER__TOOL is left out because another tool was given its name."""
        return self._policy.allows(name) and name in self._old and name not in self._new

    def item(self, tool: msgspec.Raw, name: str, offered: str) -> msgspec.Raw:
        """Return a tool of a list with its offered name, and its description if it has another one."""
        about = json_object.peek(tool)
        about["name"] = json_object.raw(json_object.text(offered))
        description = self._descriptions.get(name)
        if description is not None:
            about["description"] = json_object.raw(json_object.text(description))
        return json_object.raw(json_object.write(about))

    def unmatched(self, names: Collection[str]) -> list[str]:
        """Return the tools that the configuration names, and that are none of the tools of the servers."""
        return [name for name in {**self._new, **self._descriptions} if name not in names]

    def error_as_offered(self, error: bytes, own: str, offered: str) -> bytes:
        """Return the error of a call. A server knows an unknown tool by its own name only."""
        if not error or offered not in self._old:
            return error
        fault = read_fault(error)
        if fault.code != INVALID_PARAMS or fault.message != _unknown(own):
            return error
        found = json_object.peek(error)
        found["message"] = json_object.raw(json_object.text(_unknown(offered)))
        return json_object.write(found)


def _unknown(name: str) -> str:
    return f"Unknown tool: {name}"


def unknown_tool(name: str, known: Iterable[str] = ()) -> str:
    """Return the error text for a tool that is not offered, with known names that are similar."""
    similar = near(name, known)
    return f"{_unknown(name)}; similar: {', '.join(similar)}" if similar else _unknown(name)


def near(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that a wrong one may stand for, the most similar first, with or without their servers."""
    wanted, own = _pairs(name), _pairs(_own(name))
    ranked: list[tuple[float, int, str]] = []
    for index, one in enumerate(islice(known, _MOST_COMPARED)):
        as_own, as_whole = _likeness(own, _pairs(_own(one))), _likeness(wanted, _pairs(one))
        if max(as_own, as_whole) >= _SIMILAR:
            # The name of a server makes all of its tools similar, so it counts less.
            ranked.append((-(2 * as_own + as_whole), index, one))
    return [one for *_, one in sorted(ranked)][:_MOST_SUGGESTED]


def _own(name: str) -> str:
    return name.rpartition(SEPARATOR)[2]


def _pairs(name: str) -> frozenset[str]:
    """Return the pairs of neighbours in a name, whose number limits the time of a comparison."""
    text = f" {name[:_LONGEST].lower()} "
    return frozenset(text[index : index + 2] for index in range(len(text) - 1))


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the coefficient of Dice of two sets, from 0 to 1."""
    return 2 * len(one & other) / (len(one) + len(other))
