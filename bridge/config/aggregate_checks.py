"""Check the tables of aggregates. Pure.

The tools of a server are not known from the file. An entry that cannot name a tool of any member is an error here; one that could
is checked by the aggregate, which logs it.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from ..core.access_policy import AccessPolicy
from .child_environment import shown
from .schema import Aggregate, File, NamedAggregate
from .server_names import SEPARATOR, suggested, why_not_served
from .settings import AGGREGATE, ALL
from .tables import Reading

# The first character of a pattern that stands for others (fnmatch).
_WILD: Final = re.compile(r"[*?\[]")


def members_of(wanted: Iterable[str], served: Iterable[str]) -> tuple[str, ...]:
    """Return the members that a list names. `ALL` stands for the served ones that it does not name."""
    named = [*wanted]
    others = [name for name in served if name not in named]
    return tuple(one for name in named for one in (others if name == ALL else (name,)))


def check_aggregates(reading: Reading) -> None:
    """Add the errors of all aggregates."""
    file = reading.file
    found: list[tuple[tuple[str, ...], Aggregate | NamedAggregate]] = [
        (("aggregates", name), one) for name, one in file.aggregates.items()
    ]
    if file.aggregate is not None:
        found.insert(0, (("aggregate",), file.aggregate))
    for path, wanted in found:
        _check_members(reading, path, wanted)
    if found and file.listen.unix is False:
        text = f"{'.'.join(found[0][0])}: it needs the Unix socket, but listen.unix is false"
        reading.add(text, "listen", "unix")
    if file.aggregate is not None and _is_served(file, AGGREGATE):
        text = f"servers.{AGGREGATE}: the name is reserved for the [aggregate]"
        reading.add(text, "servers", AGGREGATE, is_key=True)
    for name, one in file.aggregates.items():
        _check_name(reading, name)
        _check_tools(reading, name, one)


def _is_served(file: File, name: str) -> bool:
    return name in file.servers and file.servers[name].enabled


def _check_members(reading: Reading, path: tuple[str, ...], wanted: Aggregate | NamedAggregate) -> None:
    file, where = reading.file, ".".join(path)
    served = [name for name in file.servers if _is_served(file, name)]
    for index, name in enumerate(wanted.servers):
        if wanted.servers[:index].count(name) == 1:
            text = f"{where}: servers: {name!r} is listed {wanted.servers.count(name)} times"
            reading.add(text, *path, "servers", index)
        if name == ALL and isinstance(wanted, NamedAggregate):
            if not served:
                reading.add(f"{where}: servers: there is no server", *path, "servers", index)
        elif name in file.aggregates and name not in file.servers:
            text = f"{where}: servers: {name!r} is an aggregate, and an aggregate holds servers only"
            reading.add(text, *path, "servers", index)
        elif name not in served and not reading.has_fault("servers", name):
            text = f"{where}: servers: {why_not_served(name, file, served)}"
            reading.add(text, *path, "servers", index)


def _check_name(reading: Reading, name: str) -> None:
    """Check that a name belongs to no server and no other aggregate. Both have the same commands and clients."""
    file, path = reading.file, ("aggregates", name)
    if name.lower() == AGGREGATE:
        text = f"aggregates.{name}: the name is reserved for the [aggregate]; choose another name"
        reading.add(text, *path, is_key=True)
    for kind, others in (("server", file.servers), ("aggregate", file.aggregates)):
        for other in others:
            if other.lower() != name.lower() or (kind == "aggregate" and other == name):
                continue
            how = "is that of" if other == name else "differs in capitals only from that of"
            text = f"aggregates.{name}: its name {how} the {kind} {other!r}; choose another name"
            reading.add(text, *path, is_key=True)


def _check_tools(reading: Reading, name: str, wanted: NamedAggregate) -> None:
    """Check the entries that name tools."""
    where, path = f"aggregates.{name}", ("aggregates", name)
    if any(reading.has_fault(*path, key) for key in ("servers", "tools", "rename", "describe")):
        return
    served = [one for one in reading.file.servers if _is_served(reading.file, one)]
    members = members_of(wanted.servers, served)
    for side, patterns in wanted.tools.items():
        for index, pattern in enumerate(patterns):
            if not _can_match(pattern, members):
                text = f"{where}: tools.{side}: {shown(pattern)} matches no tool: {_form_of(members)}"
                reading.add(text, *path, "tools", side, index)
    policy = AccessPolicy(wanted.tools.get("allow", (ALL,)), wanted.tools.get("deny", ()))
    for key, entries in (("rename", wanted.rename), ("describe", wanted.describe)):
        for tool in entries:
            for reason in _faults_of_tool(tool, members, policy):
                reading.add(f"{where}: {key}: {reason}", *path, key, tool, is_key=True)
    first: dict[str, str] = {}
    for tool, new in wanted.rename.items():
        if new == tool:
            reading.add(f"{where}: rename: {shown(tool)} has this name already", *path, "rename", tool)
        elif first.setdefault(new, tool) != tool:
            text = f"{where}: rename: {shown(first[new])} and {shown(tool)} would both be named {shown(new)}"
            reading.add(text, *path, "rename", tool)


def _faults_of_tool(tool: str, members: tuple[str, ...], policy: AccessPolicy) -> Iterator[str]:
    if not any(tool.startswith(prefix) and tool != prefix for prefix in _prefixes(members)):
        yield f"{shown(tool)} is no tool: {_form_of(members)}{suggested(tool.partition(SEPARATOR)[0], members)}"
    elif not policy.allows(tool):
        yield f"{shown(tool)} is not offered: tools.allow or tools.deny hides it"


def _form_of(members: tuple[str, ...]) -> str:
    return f"a tool is named SERVER{SEPARATOR}TOOL, such as {members[0]}{SEPARATOR}TOOL"


def _prefixes(members: tuple[str, ...]) -> list[str]:
    return [f"{member}{SEPARATOR}" for member in members]


def _can_match(pattern: str, members: tuple[str, ...]) -> bool:
    """Return whether a pattern may match a tool of a member, judged by its characters before the first wildcard."""
    wild = _WILD.search(pattern)
    if wild is None:
        return any(pattern.startswith(prefix) and pattern != prefix for prefix in _prefixes(members))
    literal = pattern[: wild.start()]
    return any(literal.startswith(prefix) or prefix.startswith(literal) for prefix in _prefixes(members))
