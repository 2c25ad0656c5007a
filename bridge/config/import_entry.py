"""The common form of a server in the configurations of other clients. Pure.

The clients spell the same keys in different ways; this module names all spellings. Nothing is checked here.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import attrs

from .import_sources import Unit
from .import_texts import listed, shown_name, texts_in

# The field of an `Entry` for each spelling of its key.
_FIELDS: Final[Mapping[str, str]] = {
    "command": "command",
    "cmd": "command",
    "args": "args",
    "env": "env",
    "envs": "env",
    "environment": "env",
    "cwd": "cwd",
    "workingDirectory": "cwd",
    "envFile": "env_file",
    "env_vars": "passed",
    "env_keys": "keyring",
    "type": "kind",
    "transport": "kind",
    "transportType": "kind",
    "url": "url",
    "serverUrl": "url",
    "httpUrl": "url",
    "uri": "url",
    "headers": "headers",
    "http_headers": "headers",
    "env_http_headers": "variable_headers",
    "bearer_token_env_var": "bearer_variable",
    "includeTools": "allow",
    "allowedTools": "allow",
    "enabledTools": "allow",
    "enabled_tools": "allow",
    "available_tools": "allow",
    "excludeTools": "deny",
    "excludedTools": "deny",
    "disabledTools": "deny",
    "disabled_tools": "deny",
    "oauth": "oauth",
    "auth": "oauth",
    "scopes": "scopes",
    "oauthScopes": "scopes",
    "requestOptions": "request_options",
}
# Approvals of tool calls without a question. They stay with the client, because the bridge asks no questions.
_APPROVALS: Final = frozenset(
    {"alwaysAllow", "autoApprove", "trust", "default_tools_approval_mode", "autoApproveTools"}
)
_DISABLED: Final = ("disabled", "isDisabled")
_ENABLED: Final = ("enabled", "isActive")
_TIMEOUTS: Final = frozenset({"timeout", "tool_timeout_sec", "connectionTimeout", "initTimeout"})
# Claude Code ignores a shorter time limit (milliseconds), which was meant in seconds.
_SHORTEST_TIMEOUT: Final = 1000
# The name of a key, an option or a variable that may restrict a server.
RESTRICTS: Final = re.compile(
    r"allow|deny|denied|block|exclu|forbid|restrict|sandbox|read[-_]?only|permission|filter|white[-_]?list|black[-_]?list"
    r"|disabl|scope|toolset",
    re.IGNORECASE,
)


@attrs.define
class Entry:
    """A server as a client describes it. The values have any type that JSON has.

    `problems` are the reasons why the import of the server is incomplete, and `notes` other differences.
    """

    command: object = attrs.field(default=None, repr=False)
    args: object = attrs.field(default=None, repr=False)
    env: object = attrs.field(default=None, repr=False)
    cwd: object = None
    env_file: object = None
    # Names of variables that are passed, and of those whose values the client keeps in a keyring.
    passed: object = None
    keyring: object = None
    kind: object = None
    url: object = attrs.field(default=None, repr=False)
    headers: object = attrs.field(default=None, repr=False)
    # Names of variables by header.
    variable_headers: object = None
    bearer_variable: object = None
    allow: object = None
    deny: object = None
    # Tools that a table of tools switches off.
    switched_off: list[str] = attrs.field(factory=list[str])
    # Patterns of denied tools.
    patterns: list[str] = attrs.field(factory=list[str])
    oauth: object = attrs.field(default=None, repr=False)
    scopes: object = None
    request_options: object = attrs.field(default=None, repr=False)
    enabled: bool = True
    # Time limits (seconds).
    call_seconds: float | None = None
    connect_seconds: float | None = None
    # The directory of the project that the entry belongs to; empty for all projects.
    project: str = ""
    notes: list[str] = attrs.field(factory=list[str])
    problems: list[str] = attrs.field(factory=list[str])


def entry_of(given: Mapping[str, Any], timeout: Unit = "", project: str = "") -> Entry:
    """Return the common form of an entry. `timeout` is the unit of its time limit of calls; empty for a limit of the start."""
    entry = Entry(project=project)
    known: dict[str, Any] = {}
    other: list[str] = []
    for key, value in given.items():
        field = _FIELDS.get(key)
        if field is None:
            other.append(key)
        elif field in known:
            if value != known[field]:
                entry.problems.append(f"{key} and another key for the same purpose have different values")
        elif value is not None:
            known[field] = value
    for field, value in known.items():
        setattr(entry, field, value)
    _read_switches(given, entry)
    _read_timeouts(given, timeout, entry)
    _read_tools(given, entry)
    _name_others(given, other, entry)
    return entry


def _read_switches(given: Mapping[str, Any], entry: Entry) -> None:
    # A text such as "true" is a mistake; the server then stays off.
    if _is_off(given):
        entry.enabled = False


def _is_off(given: Mapping[str, Any]) -> bool:
    return any(given.get(key) for key in _DISABLED) or any(
        given.get(key) not in (None, True, "true") for key in _ENABLED
    )


def _read_timeouts(given: Mapping[str, Any], unit: Unit, entry: Entry) -> None:
    per_call = _seconds(given.get("tool_timeout_sec"))
    if per_call is None and (found := _seconds(given.get("timeout"))) is not None:
        if not unit:
            entry.notes.append("timeout is ignored: it limits the start of the server in this client")
        elif unit == "ms" and found < _SHORTEST_TIMEOUT:
            entry.notes.append(f"timeout is ignored: it is less than {_SHORTEST_TIMEOUT} ms")
        else:
            per_call = found / 1000 if unit == "ms" else found
    entry.call_seconds = per_call
    start = _seconds(given.get("connectionTimeout"))
    entry.connect_seconds = None if start is None else start / 1000


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 < value < 2**40 else None


def _read_tools(given: Mapping[str, Any], entry: Entry) -> None:
    # A list in Copilot, a table of approvals in Codex.
    tools = given.get("tools")
    if (names := texts_in(tools)) is not None:
        if entry.allow is None:
            entry.allow = names
        elif entry.allow != names:
            entry.problems.append("tools and another key for the same purpose have different values")
    elif isinstance(tools, dict):
        members = cast("dict[str, Any]", tools)
        entry.switched_off = [
            name
            for name, one in members.items()
            if one is False or (isinstance(one, dict) and _is_off(cast("dict[str, Any]", one)))
        ]
        if len(entry.switched_off) < len(members):
            entry.notes.append("the approvals of its tools stay with the client")
    elif tools is not None:
        entry.problems.append("its tools are neither a list of names nor a table")


def _name_others(given: Mapping[str, Any], other: list[str], entry: Entry) -> None:
    read = {*_DISABLED, *_ENABLED, *(_TIMEOUTS & given.keys()), "tools"}
    approvals = sorted(_APPROVALS & {*other})
    if approvals:
        entry.notes.append(
            f"{listed(approvals)}: approvals without a question stay with the client; they hide no tool"
        )
    rest = [key for key in other if key not in read and key not in _APPROVALS]
    for key in sorted(key for key in rest if RESTRICTS.search(key) and given[key]):
        entry.problems.append(f"the restriction {shown_name(key)} is not supported")
    unknown = sorted(key for key in rest if not (RESTRICTS.search(key) and given[key]))
    if unknown:
        entry.notes.append(f"ignored keys without a counterpart: {listed(map(shown_name, unknown))}")


def flattened(given: Mapping[str, Any], inner: str) -> dict[str, Any]:
    """Return an entry with the members of one of its objects beside its own, as in older files of Goose and Continue."""
    members = given.get(inner)
    if not isinstance(members, dict):
        return dict(given)
    return {key: value for key, value in given.items() if key != inner} | cast("dict[str, Any]", members)
