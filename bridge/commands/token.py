"""`mcp-bridge token`: create, list, revoke or rotate tokens."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from ..config import checks, edit, schema, tables
from ..config.credentials import BOOT, new_token, rotate_token
from ..config.settings import ALL, CONTROL
from ..config.tables import BadConfig
from ..config.xdg import state_directory
from ..core.exit_codes import EX_OK
from ..core.suggestion import suggestion
from ..daemon.use_times import FILE, read_uses
from .control_client import ErrorResponse, Unreachable, request
from .invocation import BadUsage, Invocation
from .output import notice, print_json, print_line, stdout_terminal
from .reload import reload_if_running, report_change
from .table import Column, table

# For how long the former token of a name is valid after a rotation (seconds).
_OVERLAP_SECONDS: Final = 3600.0
_COLUMNS: Final = (
    "tools",
    Column("methods", leave=2),
    Column("expires", leave=1),
    Column("last used", leave=3),
)


def token(invocation: Invocation) -> int:
    """Carry out one of the actions of `token`. Raises BadUsage, BadConfig and BadCredential."""
    action, name = invocation.options.action, invocation.options.name
    _check_options(invocation)
    if action == "rotate":
        if name is None:
            _rotate(invocation)
        else:
            _rotate_named(invocation, name)
    elif action == "list":
        if name is not None:
            raise BadUsage("token list takes no NAME")
        _list(invocation)
    elif name is None:
        raise BadUsage(f"token {action} needs a NAME")
    elif invocation.options.json:
        raise BadUsage("--json is for token list")
    elif action == "revoke":
        _revoke(invocation, name)
    else:
        _new(invocation, name)
    return EX_OK


def _check_options(invocation: Invocation) -> None:
    options = invocation.options
    for key, action in (("expires", "new"), ("read_only", "new"), ("overlap", "rotate")):
        if getattr(options, key) not in (None, False) and options.action != action:
            raise BadUsage(f"--{key.replace('_', '-')} is for token {action}")
    if options.overlap is not None and options.name is None:
        raise BadUsage("--overlap is for token rotate NAME: the former default token is refused at once")


def hash_of(secret: str) -> str:
    """Return the form in which the configuration keeps a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _list(invocation: Invocation) -> None:
    file = tables.read(invocation.file)
    tokens, uses = file.tokens, _uses(invocation)
    if invocation.options.json:
        print_json([_as_json(name, one, uses.get(name)) for name, one in tokens.items()])
        return
    if not tokens:
        notice(f"{invocation.file} has no named tokens; `mcp-bridge token new NAME` creates one")
        return
    heads = ("token", "servers", *(("aggregates",) if file.aggregates else ()), *_COLUMNS)
    rows = [
        (
            *_reach(name, one, with_aggregates=bool(file.aggregates)),
            *_rights(one),
            _expiry(one),
            _time(uses.get(name)),
        )
        for name, one in tokens.items()
    ]
    print_line(table(heads, rows, stdout_terminal(invocation.environment)))


def _reach(name: str, one: schema.Token, *, with_aggregates: bool) -> tuple[str, ...]:
    servers, aggregates = (
        ", ".join(names) or "none" for names in (one.permitted_servers, one.permitted_aggregates)
    )
    return (name, servers, *((aggregates,) if with_aggregates else ()))


def _uses(invocation: Invocation) -> Mapping[str, float]:
    """Return when each token was last used (seconds since the epoch), by the daemon, or else by its file."""
    try:
        found: Mapping[str, float] = request(invocation.socket(), "GET", f"{CONTROL}/tokens")
    except (Unreachable, ErrorResponse, BadConfig):
        return read_uses(state_directory(invocation.environment) / FILE)
    return found


def _expiry(one: schema.Token) -> str:
    if one.expires is None:
        return "never"
    text = _time(one.expires.timestamp())
    return f"expired {text}" if one.expires <= datetime.now(UTC) else text


def _time(at: float | None) -> str:
    """Return a local time; `never` for none."""
    return "never" if at is None else datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _as_json(name: str, one: schema.Token, used: float | None) -> dict[str, object]:
    return {
        "token": name,
        "servers": list(one.permitted_servers),
        "aggregates": list(one.permitted_aggregates),
        "tools": {"allow": list(one.tools.get("allow", (ALL,))), "deny": list(one.tools.get("deny", ()))},
        "features": {"deny": list(one.features.get("deny", ()))},
        "metrics": one.metrics,
        "methods": list(one.methods),
        "read_only": one.read_only,
        "expires": None if one.expires is None else one.expires.isoformat(),
        "former_expires": None if one.former_expires is None else one.former_expires.isoformat(),
        "last_used": None
        if used is None
        else datetime.fromtimestamp(used, UTC).isoformat(timespec="seconds"),
    }


def _rights(of: schema.Token) -> tuple[str, str]:
    """Return the tools, and the methods and features, that a token may use."""
    tools = ", ".join(of.tools.get("allow", (ALL,))) or "none"
    denied, without = of.tools.get("deny", ()), of.features.get("deny", ())
    if denied:
        tools += f", not {', '.join(denied)}"
    methods = ", ".join(of.methods) or "none"
    if without:
        methods += f", not {', '.join(without)}"
    return tools, f"{methods}, read only" if of.read_only else methods


def _unknown(invocation: Invocation, name: str, known: Iterable[str]) -> BadConfig:
    names = [*known]
    return BadConfig(
        f"{invocation.file}: there is no token {name!r}; there are {', '.join(names) or 'none'}{suggestion(name, names)}"
    )


def _revoke(invocation: Invocation, name: str) -> None:
    file = invocation.file
    known = tables.read(file).tokens
    text = file.read_bytes().decode()
    if name not in known:
        raise _unknown(invocation, name, known)
    edit.rewrite(file, edit.without_token(text, name))
    _apply(invocation)


def _new(invocation: Invocation, name: str) -> None:
    file, options = invocation.file, invocation.options
    aggregates: list[str] = options.aggregates or []
    servers: list[str] = options.servers or ([] if aggregates else [ALL])
    known = tables.read(file)
    text = file.read_bytes().decode()
    tables.check_name("tokens", name)
    checks.check_token_servers(name, servers, known)
    checks.check_token_aggregates(name, aggregates, known)
    if name in known.tokens:
        raise BadConfig(f"{file}: token {name!r} already exists; revoke it first")
    secret = new_token()
    others: dict[str, object] = {}
    if options.expires is not None:
        others["expires"] = options.expires
    if options.read_only:
        others["read_only"] = True
    edit.rewrite(file, edit.with_token(text, name, hash_of(secret), servers, aggregates, others))
    print_line(secret)
    notice("save this token now; it will not be shown again")
    report_change(invocation.source)


def _rotate_named(invocation: Invocation, name: str) -> None:
    """Replace a token of the configuration. The former token stays valid for a while."""
    file = invocation.file
    known = tables.read(file).tokens
    if name not in known:
        raise _unknown(invocation, name, known)
    if not known[name].sha256:
        raise BadConfig(f"{file}: tokens.{name} keeps its token in another place; replace it there")
    overlap = _OVERLAP_SECONDS if invocation.options.overlap is None else invocation.options.overlap
    secret = new_token()
    until = (datetime.now(UTC) + timedelta(seconds=overlap)).replace(microsecond=0)
    text = file.read_bytes().decode()
    edit.rewrite(file, edit.with_rotated_token(text, name, hash_of(secret), known[name].sha256, until))
    print_line(secret)
    notice(
        f"save this token now; it will not be shown again; the former token is valid until {until.isoformat()}"
    )
    _apply(invocation)


def _apply(invocation: Invocation) -> None:
    """Let the daemon of this configuration use it at once, if it runs."""
    if invocation.source.other is None:
        notice(f"{invocation.file} was changed")
        reload_if_running(invocation)
    else:
        report_change(invocation.source)


def _rotate(invocation: Invocation) -> None:
    """Replace the default token, and let a running daemon read it."""
    file, environment = invocation.file, invocation.environment
    listen = tables.read(file).listen if file.exists() else schema.Listen()
    if listen.token not in ("", BOOT):
        raise BadConfig(
            f"{file}: listen: token names the place of the token; replace it there, then run `mcp-bridge reload`"
        )
    notice(
        f"{rotate_token(listen.token, environment)} has a new token; the former token is no longer accepted"
    )
    reload_if_running(invocation)
