"""`mcp-bridge rules`: show the rules of the configuration, or explain what would happen to a request and why."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

import attrs

from ...validators.jsonrpc import KNOWN_METHODS
from ...validators.stateless_request import LISTEN
from ..config import load, rules, tables
from ..config.access_token_settings import Scope
from ..config.locate import Locator
from ..config.rules import KeyPath, Question, Step
from ..config.schema import Content, File, Token
from ..config.settings import ALL, Settings
from ..core.exit_codes import EX_FAILED, EX_OK
from ..core.suggestion import suggestion
from ..log import escaped
from .invocation import BadUsage, Invocation
from .output import notice, print_json, print_line

# Methods that a client may send, of all revisions, without those of extensions.
_METHODS: Final = frozenset({*KNOWN_METHODS, LISTEN, "server/discover", "tasks/get", "tasks/cancel"})
_WORDS: Final = "--explain needs PRINCIPAL SERVER METHOD and, for tools/call, TOOL"


def rules_(invocation: Invocation) -> int:
    """Print the rules, or the steps of one request. Returns 1 for a request that is refused. Raises BadUsage and BadConfig."""
    file = tables.read(invocation.file)
    settings = load.plan(invocation.file, invocation.source.environment)
    places = _Places(invocation)
    words: list[str] | None = invocation.options.explain
    if words is None:
        _list(file, places, as_json=invocation.options.json)
        return EX_OK
    question = _question(words, file, settings)
    steps = rules.explain(question, file, settings)
    if invocation.options.json:
        print_json(_report(question, steps, places))
    else:
        for line in _lines(question, steps, places):
            print_line(escaped(line))
    return EX_FAILED if steps[-1].result == rules.REFUSES else EX_OK


class _Places:
    """The places of keys in the file."""

    def __init__(self, invocation: Invocation) -> None:
        self.file = str(invocation.file)
        self._locator = Locator(invocation.file.read_text(encoding="utf-8-sig"))

    def line(self, path: KeyPath) -> int:
        """Return the line of a value, 0 for a default."""
        spot = self._locator.spot(path, is_key=False) if path else None
        return 0 if spot is None else spot.line

    def shown(self, path: KeyPath) -> str:
        """Return file and line of a value."""
        line = self.line(path)
        return f"{self.file}:{line}" if line else "default"


def key_of(path: KeyPath) -> str:
    """Return a path as a key of TOML, without the positions in lists."""
    names = [part for part in path if isinstance(part, str)]
    return ".".join(
        name if name.replace("-", "").replace("_", "").isalnum() else f'"{name}"' for name in names
    )


def _question(words: list[str], file: File, settings: Settings) -> Question:
    if len(words) not in (3, 4):
        raise BadUsage(_WORDS)
    question = Question(*words)
    for principal in _named(question.principal):
        _check_known("principal", principal, rules.principals(settings))
    _check_known("server", question.server, rules.servers(file))
    if question.method not in _METHODS:
        instead = suggestion(question.method, sorted(_METHODS))
        notice(f"the specification has no method {question.method!r}{instead}")
    if question.tool and question.method != rules.CALL:
        raise BadUsage(f"only tools/call takes a TOOL, not {question.method}; {_WORDS}")
    return question


def _named(principal: str) -> list[str]:
    """Return the principals that a word names: several for an access token with several scopes."""
    return [rules.SCOPES + scope for scope in rules.scopes_in(principal)] or [principal]


def _check_known(noun: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        instead = suggestion(name, names) or f"; there are {', '.join(names) or 'none'}"
        raise BadUsage(f"there is no {noun} {name!r}{instead}")


def _report(question: Question, steps: tuple[Step, ...], places: _Places) -> dict[str, Any]:
    refusal = steps[-1].refusal
    return {
        "principal": question.principal,
        "server": question.server,
        "method": question.method,
        "tool": question.tool or None,
        "allowed": refusal is None,
        "error": None if refusal is None else {**refusal._asdict(), "message": steps[-1].text},
        "steps": [
            {
                "step": step.name,
                "result": step.result,
                "text": step.text,
                "key": key_of(step.path) or None,
                "file": places.file if places.line(step.path) else None,
                "line": places.line(step.path) or None,
            }
            for step in steps
        ],
    }


def _lines(question: Question, steps: tuple[Step, ...], places: _Places) -> Iterator[str]:
    width = max(len(step.name) for step in steps)
    for step in steps:
        place = (
            f"  [{places.shown(step.path)} {key_of(step.path)}]" if places.line(step.path) else "  [default]"
        )
        yield f"{step.name:{width}}  {step.result:7}  {step.text}{place}"
    refusal = steps[-1].refusal
    what = f"{question.method} {question.tool}".rstrip()
    if refusal is None:
        yield f"allowed: {what} reaches {question.server}"
    else:
        yield f"refused: {what} gets {refusal.code}, over HTTP with the status {refusal.status}"


def _list(file: File, places: _Places, *, as_json: bool) -> None:
    found = [(path, value) for path, value in _rules_of(file) if value not in ({}, ())]
    if as_json:
        print_json(
            [{"key": key_of(path), "value": value, "line": places.line(path)} for path, value in found]
        )
        return
    for path, value in found:
        shown = ", ".join(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else value
        print_line(escaped(f"{places.shown(path)}: {key_of(path)} = {shown}"))
    if not found:
        notice("the configuration has no rules: every principal may use everything")


def _rules_of(file: File) -> Iterator[tuple[KeyPath, Any]]:
    yield from _members(("features",), file.features)
    yield from _members(("rates",), file.rates)
    yield from _members(("tool_rates",), file.tool_rates)
    yield from _content(("content",), file.content)
    for name, server in file.servers.items():
        yield from _content(("servers", name, "content"), server.content)
        for key in ("tools", "features", "argument_bytes", "rates", "tool_rates"):
            yield from _members(("servers", name, key), getattr(server, key))
    for name, token in file.tokens.items():
        for key in ("servers", "aggregates"):
            if getattr(token, key) is not None:
                yield ("tokens", name, key), getattr(token, key)
        for key in ("tools", "features", "rates", "limits"):
            yield from _members(("tokens", name, key), getattr(token, key))
        yield from _restrictions(("tokens", name), token)
    if file.access_tokens is not None:
        for name, scope in file.access_tokens.scopes.items():
            at = ("access_tokens", "scopes", name)
            if scope.servers != (ALL,):
                yield (*at, "servers"), scope.servers
            yield from _members((*at, "tools"), scope.tools)
            yield from _restrictions(at, scope)


def _restrictions(path: KeyPath, grant: Token | Scope) -> Iterator[tuple[KeyPath, Any]]:
    if grant.methods != (ALL,):
        yield (*path, "methods"), grant.methods
    if grant.read_only:
        yield (*path, "read_only"), True


def _content(path: KeyPath, table: Content) -> Iterator[tuple[KeyPath, Any]]:
    for key, value in attrs.asdict(table).items():
        if value:
            yield (*path, key), value


def _members(path: KeyPath, table: Mapping[Any, Any]) -> Iterator[tuple[KeyPath, Any]]:
    for key, value in table.items():
        yield (*path, key), value
