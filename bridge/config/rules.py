"""Find out what the configuration allows a request, step by step, and which key decides. Pure: no daemon is needed.

The steps are those of the gate, in its order: the right to the server, the features, the tools, and then the limits and rates,
which depend on what else the principal does.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

import attrs

from ...transports.options import LOCAL
from ...validators.rejection import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND
from ..core.access_policy import feature_of
from ..core.argument_limits import ArgumentLimits
from ..core.request_rates import RequestRates
from ..core.schema_checks import OFF
from .credentials import PRINCIPAL
from .schema import File, Server
from .settings import AGGREGATE, ALL, Settings, TokenConfig

CALL: Final = "tools/call"
_WITH_ARGUMENTS: Final = (CALL, "prompts/get")
# By key of [content], what is checked. The first are checks of calls of tools, the others of all messages of a server.
_CHECKS_OF_CALLS: Final = ("arguments", "output")
_CHECKS: Final = {
    "arguments": "arguments and inputSchema are compared",
    "output": "output and outputSchema are compared",
    "mime": "media types and base64 in the response are checked",
    "schemes": "schemes of addresses in the response are checked",
    "characters": "hidden characters in the response are checked",
}
# Results of a step.
PASSES: Final = "passes"
REFUSES: Final = "refuses"
# The request passes as long as the principal stays within a limit.
LIMITS: Final = "limits"

KeyPath = tuple[str | int, ...]


class Refusal(NamedTuple):
    """The error that a refused request gets: the HTTP status of a stateless client, and the code of JSON-RPC."""

    status: int
    code: int


@attrs.frozen
class Step:
    """One step. `path` leads to the deciding value in the file; without a value in the file it is empty, and a default decides."""

    name: str
    result: str
    text: str
    path: KeyPath = ()
    refusal: Refusal | None = None


@attrs.frozen
class Question:
    """A request: its principal, its server and its method; `tool` is empty for one that calls no tool, or any."""

    principal: str
    server: str
    method: str
    tool: str = ""


def principals(settings: Settings) -> tuple[str, ...]:
    """Return the names of all principals."""
    return (PRINCIPAL, LOCAL, *(token.name for token in settings.tokens))


def servers(file: File) -> tuple[str, ...]:
    """Return the names of all servers, also of disabled ones."""
    return (*file.servers, *((AGGREGATE,) if file.aggregate is not None else ()), *file.aggregates)


def explain(question: Question, file: File, settings: Settings) -> tuple[Step, ...]:
    """Return the steps of a request, up to the one that refuses it. Principal and server exist."""
    found: list[Step] = []
    for step in _steps(question, file, settings):
        found.append(step)
        if step.result == REFUSES:
            break
    return tuple(found)


def _steps(question: Question, file: File, settings: Settings) -> Iterator[Step]:
    token = next((token for token in settings.tokens if token.name == question.principal), None)
    yield _credential(question, token)
    server = file.servers.get(question.server, Server())
    if not server.enabled:
        yield Step(
            "server",
            REFUSES,
            "the server is disabled",
            ("servers", question.server, "enabled"),
            Refusal(404, INVALID_REQUEST),
        )
        return
    yield _right(question, file, token)
    if question.server == AGGREGATE or question.server in file.aggregates:
        path: KeyPath = ("aggregate",) if question.server == AGGREGATE else ("aggregates", question.server)
        yield Step(
            "members", PASSES, "each server of the aggregate applies its own rules", (*path, "servers")
        )
    else:
        yield _feature(question, file, server, token)
        if question.method == CALL:
            yield from _tool(question, server, token)
        if question.method in _WITH_ARGUMENTS:
            yield from _arguments(question, file, settings)
        yield from _content(question, file, settings)
    yield from _rates(question, settings)
    yield _in_flight(question, file, settings)


def _credential(question: Question, token: TokenConfig | None) -> Step:
    if token is not None:
        return Step("principal", PASSES, "the token of this name", ("tokens", token.name))
    text = (
        "the owner's token"
        if question.principal == PRINCIPAL
        else "the user of the daemon, on the Unix socket"
    )
    return Step("principal", PASSES, f"{text}; it may use everything that the servers allow")


def _right(question: Question, file: File, token: TokenConfig | None) -> Step:
    key, permitted = "servers", frozenset({ALL}) if token is None else token.servers
    if token is not None and question.server in file.aggregates:
        key, permitted = "aggregates", token.aggregates
    if token is None or ALL in permitted:
        return Step("server", PASSES, f"the principal may use all {key}")
    path = ("tokens", token.name, key if getattr(file.tokens[token.name], key) is not None else "servers")
    if question.server in permitted:
        return Step("server", PASSES, "the token is valid for the server", path)
    text = f"the token of {token.name!r} has no right to {question.server!r}"
    return Step("server", REFUSES, text, path, Refusal(403, INVALID_REQUEST))


def _feature(question: Question, file: File, server: Server, token: TokenConfig | None) -> Step:
    feature = feature_of(question.method)
    if not feature:
        return Step("feature", PASSES, "the method belongs to no feature that can be denied")
    lists = [
        (("features", "deny"), file.features.get("deny", ())),
        (("servers", question.server, "features", "deny"), server.features.get("deny", ())),
    ]
    if token is not None:
        lists.append(
            (("tokens", token.name, "features", "deny"), file.tokens[token.name].features.get("deny", ()))
        )
    for path, denied in lists:
        if feature in denied:
            at = tuple(denied).index(feature)
            text = f"{feature} is disabled for this server"
            return Step("feature", REFUSES, text, (*path, at), Refusal(404, METHOD_NOT_FOUND))
    return Step("feature", PASSES, f"{feature} is not denied")


def _tool(question: Question, server: Server, token: TokenConfig | None) -> Iterator[Step]:
    yield from _patterns(
        question.tool,
        ("servers", question.server),
        server.tools.get("allow", (ALL,)),
        server.tools.get("deny", ()),
    )
    if token is not None:
        yield from _patterns(question.tool, ("tokens", token.name), token.allow, token.deny)


def _patterns(tool: str, at: KeyPath, allow: tuple[str, ...], deny: tuple[str, ...]) -> Iterator[Step]:
    name, path = f"tools of {'.'.join(map(str, at))}", (*at, "tools")
    if not tool:
        if allow != (ALL,) or deny:
            yield Step(name, LIMITS, "depends on the tool, which is not given", path)
        return
    refusal = Refusal(200, INVALID_PARAMS)
    for number, pattern in enumerate(deny):
        if fnmatchcase(tool, pattern):
            text = f"Unknown tool: {tool} (the pattern {pattern!r} denies it)"
            yield Step(name, REFUSES, text, (*path, "deny", number), refusal)
            return
    for number, pattern in enumerate(allow):
        if fnmatchcase(tool, pattern):
            given = allow != (ALL,)
            yield Step(
                name, PASSES, f"the pattern {pattern!r} allows it", (*path, "allow", number) if given else ()
            )
            return
    yield Step(name, REFUSES, f"Unknown tool: {tool} (no pattern allows it)", (*path, "allow"), refusal)


def _arguments(question: Question, file: File, settings: Settings) -> Iterator[Step]:
    [config] = [one for one in settings.servers if one.name == question.server]
    limits = config.limits
    by_tool = dict(config.argument_bytes)
    most, key = ArgumentLimits(config.name, limits.argument_bytes, limits.argument_depth, by_tool).most_bytes(
        question.method, question.tool
    )
    if most:
        path: KeyPath = _limit_path(question.server, "argument_bytes", file)
        if key != "limits.argument_bytes":
            path = ("servers", config.name, "argument_bytes", key.split('"')[1])
        yield Step("arguments", LIMITS, f"at most {most} bytes ({key})", path)
    if limits.argument_depth:
        text = f"nested at most {limits.argument_depth} deep (limits.argument_depth)"
        yield Step("arguments", LIMITS, text, _limit_path(question.server, "argument_depth", file))


def _content(question: Question, file: File, settings: Settings) -> Iterator[Step]:
    [config] = [one for one in settings.servers if one.name == question.server]
    for key, text in _CHECKS.items():
        modes = config.content if key in _CHECKS_OF_CALLS else config.content.texts
        mode = getattr(modes, key)
        if mode != OFF and (question.method == CALL or key not in _CHECKS_OF_CALLS):
            own = getattr(file.servers[config.name].content, key)
            path: KeyPath = ("servers", config.name, "content", key) if own else ("content", key)
            yield Step("content", LIMITS, f"{text} ({mode})", path)


def _rates(question: Question, settings: Settings) -> Iterator[Step]:
    guard = RequestRates(settings.rates).guard(question.server)
    tool = question.tool if question.method == CALL else None
    seen: set[str] = set()
    for transport in ("http", "sse", "websocket", "pipe"):
        for applied in guard.applied(question.principal, transport, tool):
            if applied.key in seen:
                continue
            seen.add(applied.key)
            yield Step("rate", LIMITS, f"{applied.rate} ({applied.key})", _path_of_rate(applied.key))


def _path_of_rate(key: str) -> KeyPath:
    """Return the path of a key such as servers.NAME.tool_rates."PATTERN"; only a pattern has quotes, at the end."""
    head, quote, pattern = key.partition('"')
    path = tuple(head.removesuffix(".").split("."))
    return (*path, pattern.removesuffix('"')) if quote else path


def _in_flight(question: Question, file: File, settings: Settings) -> Step:
    [most] = [one.limits.in_flight for one in settings.servers if one.name == question.server]
    text = f"at most {most} at once in a session, or of a stateless principal (limits.in_flight)"
    return Step("requests", LIMITS, text, _limit_path(question.server, "in_flight", file))


def _limit_path(server: str, key: str, file: File) -> KeyPath:
    """Return the path of a limit in the table of the server or in that of all; empty for a default."""
    own = file.servers.get(server)
    if own is not None and key in own.limits:
        return ("servers", server, "limits", key)
    return ("limits", key) if key in file.limits else ()
