"""`mcp-bridge token`: create, list, revoke or rotate tokens."""

import hashlib

from ..config import checks, edit, schema, tables
from ..config.credentials import BOOT, new_token, rotate_token
from ..config.settings import ALL
from ..config.tables import BadConfig
from ..core.exit_codes import EX_OK
from ..core.suggestion import suggestion
from .invocation import BadUsage, Invocation
from .output import notice, print_json, print_line, stdout_terminal
from .reload import reload_if_running, report_change
from .table import table


def token(invocation: Invocation) -> int:
    """Carry out one of the actions of `token`. Raises BadUsage, BadConfig and BadCredential."""
    action, name = invocation.options.action, invocation.options.name
    if action == "rotate":
        if name is not None:
            raise BadUsage("token rotate takes no NAME; use `token revoke` and `token new` for a named token")
        _rotate(invocation)
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


def hash_of(secret: str) -> str:
    """Return the form in which the configuration keeps a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _list(invocation: Invocation) -> None:
    file = tables.read(invocation.file)
    tokens = file.tokens
    if invocation.options.json:
        print_json([_as_json(name, one) for name, one in tokens.items()])
        return
    if not tokens:
        notice(f"{invocation.file} has no named tokens; `mcp-bridge token new NAME` creates one")
        return
    heads = ("token", "servers", *(("aggregates",) if file.aggregates else ()), "tools", "features")
    rows = [_row(name, one, with_aggregates=bool(file.aggregates)) for name, one in tokens.items()]
    print_line(table(heads, rows, stdout_terminal(invocation.environment)))


def _row(name: str, one: schema.Token, *, with_aggregates: bool) -> tuple[str, ...]:
    servers, aggregates = (
        ", ".join(names) or "none" for names in (one.permitted_servers, one.permitted_aggregates)
    )
    return (name, servers, *((aggregates,) if with_aggregates else ()), *_rights(one))


def _as_json(name: str, one: schema.Token) -> dict[str, object]:
    return {
        "token": name,
        "servers": list(one.permitted_servers),
        "aggregates": list(one.permitted_aggregates),
        "tools": {"allow": list(one.tools.get("allow", (ALL,))), "deny": list(one.tools.get("deny", ()))},
        "features": {"deny": list(one.features.get("deny", ()))},
        "metrics": one.metrics,
    }


def _rights(of: schema.Token) -> tuple[str, str]:
    """Return the tools and the features that a token may use."""
    tools = ", ".join(of.tools.get("allow", (ALL,))) or "none"
    denied, without = of.tools.get("deny", ()), of.features.get("deny", ())
    if denied:
        tools += f", not {', '.join(denied)}"
    return tools, f"{ALL}, not {', '.join(without)}" if without else ALL


def _revoke(invocation: Invocation, name: str) -> None:
    file = invocation.file
    known = tables.read(file).tokens
    text = file.read_bytes().decode()
    if name not in known:
        raise BadConfig(
            f"{file}: there is no token {name!r}; there are {', '.join(known) or 'none'}{suggestion(name, known)}"
        )
    edit.rewrite(file, edit.without_token(text, name))
    report_change(invocation.source)


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
    edit.rewrite(file, edit.with_token(text, name, hash_of(secret), servers, aggregates))
    print_line(secret)
    notice("save this token now; it will not be shown again")
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
