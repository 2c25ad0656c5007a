"""`mcp-bridge remove`, `enable` and `disable`: change servers of the configuration file."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

from ..config.edit import ConfigText
from ..config.server_names import SEPARATOR
from ..config.tables import BadConfig
from ..core.exit_codes import EX_OK
from .config_change import change, take_effect
from .invocation import Invocation
from .output import notice, print_line


def remove(invocation: Invocation) -> int:
    """Remove servers, also from aggregates and tokens. The former text is kept. Raises BadConfig."""
    names = list(dict.fromkeys(invocation.options.servers))

    def removed(config: ConfigText) -> None:
        for name in names:
            _check_known(invocation, config, name)
        for name in names:
            config.remove_server(name)
            for path, servers in [*_lists(config)]:
                if name in servers:
                    _drop(config, path, [one for one in servers if one != name])
            _drop_tools(config, f"{name}{SEPARATOR}")

    change(invocation, removed, backup=True)
    print_line(f"removed {', '.join(names)}")
    take_effect(invocation)
    return EX_OK


def enable(invocation: Invocation) -> int:
    """Make servers available to clients. Raises BadConfig."""
    return _switch(invocation, on=True)


def disable(invocation: Invocation) -> int:
    """Make servers unavailable to clients, and keep their tables. Raises BadConfig."""
    return _switch(invocation, on=False)


def _switch(invocation: Invocation, *, on: bool) -> int:
    names = list(dict.fromkeys(invocation.options.servers))
    changed: list[str] = []

    def switched(config: ConfigText) -> None:
        for name in names:
            _check_known(invocation, config, name)
            if (config.get(("servers", name, "enabled")) is not False) != on:
                config.set_key(("servers", name, "enabled"), on)
                changed.append(name)

    change(invocation, switched)
    word = "enabled" if on else "disabled"
    for name in names:
        print_line(f"{word} {name}" if name in changed else f"{name} is {word} already")
    if changed:
        take_effect(invocation)
    return EX_OK


def _check_known(invocation: Invocation, config: ConfigText, name: str) -> None:
    if config.get(("servers", name)) is None:
        known = ", ".join(_table(config.get(("servers",)))) or "none"
        raise BadConfig(f"{invocation.file}: there is no server {name!r}; there are {known}")


def _table(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _lists(config: ConfigText) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Return every list of servers, with its place."""
    places: Iterable[tuple[str, ...]] = (
        ("aggregate",),
        *(("aggregates", name) for name in _table(config.get(("aggregates",)))),
        *(("tokens", name) for name in _table(config.get(("tokens",)))),
    )
    for place in places:
        servers = config.get((*place, "servers"))
        if isinstance(servers, list):
            yield (*place, "servers"), cast("list[str]", servers)


def _drop(config: ConfigText, path: tuple[str, ...], left: list[str]) -> None:
    """Replace a list of servers by those that are left. An aggregate without servers is removed."""
    owner = ".".join(path[:-1])
    if left or path[0] == "tokens":
        config.set_key(path, left)
        notice(
            f"removed it from {owner}.servers"
            + ("" if left else ", which is empty now: the token can use no server")
        )
    else:
        config.remove(path[:-1])
        notice(f"removed [{owner}], which had no other server")
        if path[0] == "aggregates":
            _drop_from_tokens(config, path[1])


def _drop_from_tokens(config: ConfigText, aggregate: str) -> None:
    for token in _table(config.get(("tokens",))):
        path = ("tokens", token, "aggregates")
        named = config.get(path)
        if isinstance(named, list) and aggregate in named:
            config.set_key(path, [one for one in cast("list[str]", named) if one != aggregate])
            notice(f"removed it from {'.'.join(path)}")


def _drop_tools(config: ConfigText, prefix: str) -> None:
    """Remove what named aggregates have for the tools of a server, whose names begin with `prefix`."""
    for name in _table(config.get(("aggregates",))):
        where = ("aggregates", name)
        for key in ("rename", "describe"):
            entries = _table(config.get((*where, key)))
            gone = [tool for tool in entries if tool.startswith(prefix)]
            for path in [(key,)] if gone and len(gone) == len(entries) else [(key, tool) for tool in gone]:
                config.remove((*where, *path))
            if gone:
                notice(f"removed {', '.join(gone)} from {'.'.join(where)}.{key}")
        for key, patterns in _table(config.get((*where, "tools"))).items():
            left = [one for one in cast("list[str]", patterns) if not one.startswith(prefix)]
            if left != patterns:
                config.set_key((*where, "tools", key), left)
                notice(f"removed patterns of its tools from {'.'.join(where)}.tools.{key}")
