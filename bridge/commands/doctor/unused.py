"""Find what is on and was not used for long, with lines that switch it off. Pure.

Nothing is reported of a server or a token that may be new, because a client may not have had the time to use it.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from ....validators.counted import counted
from ...config.settings import AGGREGATE, ServerConfig
from .finding import WARNING, Finding

_DAY: Final = 86_400
# How long something must have been on (seconds).
LONG: Final = 7 * _DAY
# The requests that a server must have received before its other capabilities count as unused.
_ENOUGH_CALLS: Final = 20
# By capability of a server, the methods that use it. Many clients list everything at their start, so a list is no use.
# Logging is none of them, because a modern client requests it in a member of other requests.
_METHODS: Final[Mapping[str, frozenset[str]]] = {
    "prompts": frozenset({"prompts/get"}),
    "resources": frozenset({"resources/read", "resources/subscribe", "subscriptions/listen"}),
    "completions": frozenset({"completion/complete"}),
}
_USES: Final = frozenset({"tools/call", "tasks/get"}).union(*_METHODS.values())


def unused_tokens(names: Iterable[str], age: float) -> Iterator[Finding]:
    """Yield the finding about each token that no client has used. `age` is how long all of them exist at least (seconds)."""
    for name in names if age >= LONG else ():
        yield Finding(
            WARNING,
            f"tokens.{name}: no client has used it for {_days(age)}",
            "if no client needs it, revoke it",
            (f"mcp-bridge token revoke {name}", "mcp-bridge reload"),
        )


def unused_server(server: Mapping[str, Any], config: ServerConfig, now: float) -> Iterator[Finding]:
    """Yield the finding about a server that no client has used, although a process of it may be kept. `now` is in seconds."""
    # A daemon from before an update does not send the times. The requests of this command count too.
    methods_since = server.get("methods_since", 0)
    since = server.get("since", now) if not server["calls"] else methods_since or now
    name = server["name"]
    is_aggregate = config.aggregate is not None or name == AGGREGATE
    if now - since < LONG or is_aggregate or _USES & set(server.get("used_methods", ())):
        return
    kept = ""
    if (config.eager or config.spare) and server["pids"]:
        processes = counted(len(server["pids"]), "process uses", "processes use")
        kept = f"; {processes} {server['memory'] / 2**20:.0f} MiB"
    yield Finding(
        WARNING,
        f"servers.{name}: no client has used it for {_days(now - since)}{kept}",
        "if no client needs it, disable it; its configuration stays",
        (f"mcp-bridge disable {name}",),
    )


def unused_features(
    server: Mapping[str, Any], config: ServerConfig, offered: Collection[str], now: float
) -> Iterator[Finding]:
    """Yield the finding about the capabilities that a server offers and no client has used. `now` is in seconds."""
    since = server.get("methods_since", 0)
    used = set(server.get("used_methods", ()))
    # A server without any use has a finding of its own.
    if config.aggregate is not None or not since or now - since < LONG:
        return
    if server["calls"] < _ENOUGH_CALLS or not _USES & used:
        return
    unused = [name for name, methods in _METHODS.items() if name in offered and not methods & used]
    if unused:
        denied = json.dumps([*config.without, *unused])
        yield Finding(
            WARNING,
            f"servers.{server['name']}: no client has used its {' and '.join(unused)} for {_days(now - since)}",
            f"to hide them from clients, add to [servers.{server['name']}]",
            (f"features = {{ deny = {denied} }}", "mcp-bridge reload"),
        )


def _days(seconds: float) -> str:
    return counted(int(seconds // _DAY), "day")
