"""Find out what the configuration allows a request, step by step, and which key decides. Pure: no daemon is needed.

The steps are those of the gate, in its order: the right to the server, the features, the methods, the tools, and then the limits
and rates, which depend on what else the principal does.

An access token is named by its scopes. It may do what one of them permits.
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

import attrs

from ...transports.options import LOCAL
from ...validators.rejection import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND
from ..core.access_policy import feature_of
from ..core.argument_limits import ArgumentLimits
from ..core.grant_policy import ALWAYS, READING
from ..core.grants import Grant
from ..core.request_rates import RequestRates
from ..core.schema_checks import OFF
from .credentials import PRINCIPAL
from .schema import File, Server
from .settings import AGGREGATE, ALL, Settings, TokenConfig

CALL: Final = "tools/call"
# In front of the scopes, separated by spaces, of an access token.
SCOPES: Final = "scope:"
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


@attrs.frozen
class _Holder:
    """A grant, and the path of its table."""

    path: KeyPath
    grant: Grant


def scopes_in(principal: str) -> list[str]:
    """Return the scopes that a principal names, none if it is no access token."""
    return principal.removeprefix(SCOPES).split() if principal.startswith(SCOPES) else []


def _holders(question: Question, settings: Settings) -> list[_Holder]:
    """Return the grants of a principal, none for one that may use everything. Those that read only are last."""
    scopes: Mapping[str, Grant] = {}
    if settings.access_tokens is not None:
        scopes = settings.access_tokens.scopes
    found = [
        _Holder(("access_tokens", "scopes", name), scopes[name]) for name in scopes_in(question.principal)
    ]
    found += [
        _Holder(("tokens", token.name), token.grant)
        for token in settings.tokens
        if token.name == question.principal
    ]
    return sorted(found, key=lambda holder: holder.grant.read_only)


def principals(settings: Settings) -> tuple[str, ...]:
    """Return the names of all principals, and the scopes of access tokens."""
    scopes = () if settings.access_tokens is None else settings.access_tokens.scopes
    return (PRINCIPAL, LOCAL, *(token.name for token in settings.tokens), *(SCOPES + name for name in scopes))


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
    holders = _holders(question, settings)
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
    scoped = bool(scopes_in(question.principal))
    yield _right_of_scopes(question, holders) if scoped else _right(question, file, token)
    holders = [holder for holder in holders if not scoped or holder.grant.covers(question.server)]
    if question.server == AGGREGATE or question.server in file.aggregates:
        path: KeyPath = ("aggregate",) if question.server == AGGREGATE else ("aggregates", question.server)
        yield Step(
            "members", PASSES, "each server of the aggregate applies its own rules", (*path, "servers")
        )
    else:
        yield _feature(question, file, server, token)
        yield from _method(question.method, holders)
        if question.method == CALL:
            yield from _tool(question, server, holders)
        if question.method in _WITH_ARGUMENTS:
            yield from _arguments(question, file, settings)
        yield from _content(question, file, settings)
    yield from _rates(question, settings)
    yield from _quotas(question, file, settings)


def _credential(question: Question, token: TokenConfig | None) -> Step:
    if token is not None:
        return Step("principal", PASSES, "the token of this name", ("tokens", token.name))
    if scopes := scopes_in(question.principal):
        text = f"an access token with {'these scopes' if len(scopes) > 1 else 'this scope'}"
        return Step("principal", PASSES, text, ("access_tokens",))
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


def _right_of_scopes(question: Question, holders: list[_Holder]) -> Step:
    for holder in holders:
        if holder.grant.covers(question.server):
            text = f"the scope {holder.path[-1]!r} permits the server"
            return Step("server", PASSES, text, (*holder.path, "servers"))
    text = f"no scope of the token has a right to {question.server!r} (insufficient_scope)"
    return Step("server", REFUSES, text, ("access_tokens", "scopes"), Refusal(403, INVALID_REQUEST))


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


def _method(method: str, holders: list[_Holder]) -> Iterator[Step]:
    """Yield whether the grants of a principal permit a method: the first of them that does, or the first refusal."""
    if not holders:
        return
    if method in ALWAYS or method.startswith("notifications/"):
        yield Step("method", PASSES, "the method is always permitted")
        return
    steps = [_method_of(method, holder) for holder in holders]
    yield next((step for step in steps if step.result == PASSES), steps[0])


def _method_of(method: str, holder: _Holder) -> Step:
    path, methods = (*holder.path, "methods"), holder.grant.methods
    refusal = Refusal(404, METHOD_NOT_FOUND)
    number = next((at for at, pattern in enumerate(methods) if fnmatchcase(method, pattern)), None)
    if number is None:
        text = "the method is not permitted for this credential (no pattern permits it)"
        return Step("method", REFUSES, text, path, refusal)
    if holder.grant.read_only and method not in READING:
        text = "the method is not permitted for this credential (it does not only read)"
        return Step("method", REFUSES, text, (*holder.path, "read_only"), refusal)
    if methods == (ALL,):
        return Step("method", PASSES, "every method is permitted")
    return Step("method", PASSES, f"the pattern {methods[number]!r} permits it", (*path, number))


def _tool(question: Question, server: Server, holders: list[_Holder]) -> Iterator[Step]:
    yield from _patterns(
        question.tool,
        ("servers", question.server),
        server.tools.get("allow", (ALL,)),
        server.tools.get("deny", ()),
    )
    trials = [
        [*_tools_of(question.tool, holder)] for holder in holders if _method_of(CALL, holder).result == PASSES
    ]
    # What one of the grants permits is permitted.
    yield from next((steps for steps in trials if not _refuses(steps)), trials[0] if trials else [])


def _refuses(steps: list[Step]) -> bool:
    return any(step.result == REFUSES for step in steps)


def _tools_of(tool: str, holder: _Holder) -> Iterator[Step]:
    """Yield what a grant permits of a tool, up to a refusal."""
    for step in _patterns(tool, holder.path, holder.grant.allow, holder.grant.deny):
        yield step
        if step.result == REFUSES:
            return
    if holder.grant.read_only:
        text = "only a tool that the last list of the server has annotated with readOnlyHint: true"
        yield Step("read-only tools", LIMITS, text, (*holder.path, "read_only"))


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


def _quotas(question: Question, file: File, settings: Settings) -> Iterator[Step]:
    """Yield how much of each kind the principal may have at once."""
    limits = next(one.limits for one in settings.servers if one.name == question.server)
    principal = question.principal
    own = ("tokens", principal, "limits")
    most = settings.connections_of.get(principal)
    path: KeyPath = (*own, "connections")
    if most is None:
        most, path = settings.limits.connections_per_principal, ("limits", "connections_per_principal")
    yield Step("connections", LIMITS, f"at most {most} at once over TCP ({path[-1]})", path)
    most, path = settings.sessions_of.get(principal), (*own, "sessions")
    if most is None:
        most = limits.sessions_per_principal
        path = _limit_path(question.server, "sessions_per_principal", file)
    yield Step("sessions", LIMITS, f"at most {most} at once at the server", path)
    text = f"at most {limits.in_flight} at once in a session, or of a stateless principal (limits.in_flight)"
    yield Step("requests", LIMITS, text, _limit_path(question.server, "in_flight", file))


def _limit_path(server: str, key: str, file: File) -> KeyPath:
    """Return the path of a limit in the table of the server or in that of all; empty for a default."""
    own = file.servers.get(server)
    if own is not None and key in own.limits:
        return ("servers", server, "limits", key)
    return ("limits", key) if key in file.limits else ()
