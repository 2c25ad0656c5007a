"""`mcp-bridge client-config`: print the configuration snippet for a client, or write it into the file of the client."""

import os
import re
from pathlib import Path
from typing import Final

from ..config import edit, load, schema, tables, xdg
from ..config.addresses import shown_address
from ..config.credentials import new_token
from ..config.server_names import why_not_served
from ..config.settings import ALL, CONTROL, Settings
from ..config.tables import BadConfig
from ..core.exit_codes import EX_OK
from .client_snippets import Snippet, command_snippet, http_snippet
from .control_client import ErrorResponse, Unreachable, request
from .invocation import BadUsage, Invocation
from .output import notice, print_json, print_line
from .own_program import own_program
from .reload import reload_if_running
from .status import addresses_of
from .token import hash_of

_TOKEN: Final = re.compile(r"mcpb_[A-Za-z0-9_-]{20,200}")


def client_config(invocation: Invocation) -> int:
    """Print the snippet to stdout, and where it belongs to stderr. Raises BadUsage, BadConfig and BadCredential."""
    options, file = invocation.options, invocation.file
    settings = load.plan(file, invocation.environment)
    known = [server.name for server in settings.servers]
    if options.server not in known:
        raise BadConfig(f"{file}: {why_not_served(options.server, tables.read(file), known)}")
    if options.file is not None and not options.write:
        raise BadUsage("--file needs --write")
    if options.write:
        _write(invocation, settings)
        return EX_OK
    snippet = _over_http(invocation, settings) if options.http else _by_command(invocation)
    if options.json:
        print_json(
            {
                "client": options.client,
                "server": options.server,
                "where": snippet.where,
                "path": list(snippet.path),
                "entry": snippet.entry,
                "text": snippet.text,
            }
        )
        return EX_OK
    notice(snippet.where)
    print_line(snippet.text.rstrip("\n"))
    return EX_OK


def _write(invocation: Invocation, settings: Settings) -> None:
    """Write the entry into the file of the client. No token is made before the file is known to be editable."""
    from .client_file import check_writable, client_file, with_snippet, write_client_file  # noqa: PLC0415 - for --write only

    options = invocation.options
    file = client_file(options.client, options.file, invocation.environment)
    if options.http and not file.private:
        raise BadUsage(
            f"{file.path} belongs to a project and is often committed; run this without --http, or without --file"
        )
    make = _over_http if options.http else _by_command
    with_snippet(file, make(invocation, settings, "", dry=True))
    check_writable(file)
    snippet = make(invocation, settings, file.text)
    text, replaced = with_snippet(file, snippet)
    kept = write_client_file(file, text, secret=options.http and settings.authenticate)
    if options.json:
        print_json(
            {
                "client": options.client,
                "server": options.server,
                "file": str(file.path),
                "replaced": replaced,
                "backup": None if kept is None else str(kept),
            }
        )
    else:
        what = "replaced the entry" if replaced else "added the entry"
        print_line(f"{what} {options.server} in {file.path}")
    if kept is not None:
        notice(f"the former file is {kept}")
    target = file.path.resolve()
    repository = next((parent for parent in target.parents if (parent / ".git").exists()), None)
    if options.http and settings.authenticate and repository is not None:
        notice(
            f"warning: {target} has a token now, and is in the Git repository {repository}; do not commit it"
        )


def _by_command(
    invocation: Invocation, settings: Settings | None = None, present: str = "", *, dry: bool = False
) -> Snippet:
    """Return the snippet of a command. With --token the client is the principal of that token, which is never shown."""
    del settings, present
    options, file = invocation.options, invocation.file
    # A client of the desktop has another PATH than a shell, and another directory.
    words = [*own_program(), "connect", options.server]
    if options.token:
        words += ["--as", options.token]
        if not dry:
            _grant(invocation, options.token)
    if options.config or file != xdg.default_path(invocation.environment):
        words += ["--config", os.path.abspath(file)]  # noqa: PTH100 - likewise
    return command_snippet(options.client, options.server, words)


def _over_http(
    invocation: Invocation, settings: Settings, present: str = "", *, dry: bool = False
) -> Snippet:
    """Return the snippet of a URL. `present` is the text of the client's file, which may have the token already."""
    options = invocation.options
    base = _passed_url(invocation)
    if not (base or settings.port):
        raise BadConfig(f"{invocation.file}: listen: http is off or uses port 0 (random); set a fixed port")
    base = base or shown_address(settings.scheme, (settings.host, settings.port))
    paths = next(server.paths for server in settings.servers if server.name == options.server)
    url = f"{base}{paths.mcp}"
    try:
        # No token is created for a client that cannot use it.
        snippet = http_snippet(options.client, options.server, url, "", private=options.write)
    except ValueError as fault:
        raise BadUsage(str(fault)) from None
    if dry or not settings.authenticate:
        return snippet
    return http_snippet(
        options.client, options.server, url, _token(invocation, present), private=options.write
    )


def _passed_url(invocation: Invocation) -> str:
    """Return the first TCP address that was passed to the running daemon; empty if there is none, or no daemon."""
    try:
        state = request(invocation.socket(), "GET", f"{CONTROL}/status")
    except (BadConfig, Unreachable, ErrorResponse, ConnectionError):
        return ""
    found = [one for one in addresses_of(state) if not one.startswith("unix:")]
    return found[0] if state.get("passed") and found else ""


def _token(invocation: Invocation, present: str) -> str:
    """Return the token for the snippet: the one that the file of the client has, or a new one."""
    options = invocation.options
    name: str = options.token or edit.token_name(options.client, options.server)
    known = tables.read(invocation.file).tokens
    if name in known:
        for found in _TOKEN.findall(present):
            if hash_of(found) == known[name].sha256:
                _grant(invocation, name)
                return str(found)
    token = new_token()
    if name in known:
        _change(invocation.file, name, "sha256", hash_of(token))
        notice(f"replaced the token {name}; the former token is no longer accepted")
    _grant(invocation, name, hash_of(token))
    return token


def _grant(invocation: Invocation, name: str, sha256: str = "") -> None:
    """Let a token use the server, and add the token if there is none of that name. The running daemon reads it."""
    file, server = invocation.file, invocation.options.server
    tables.check_name("tokens", name)
    tables_of_file = tables.read(file)
    known = tables_of_file.tokens
    key = "aggregates" if server in tables_of_file.aggregates else "servers"
    if name not in known:
        # Without a hash the secret is thrown away: the name alone selects the rights of a client on the Unix socket.
        text = edit.with_token(
            file.read_bytes().decode(),
            name,
            sha256 or hash_of(new_token()),
            [server] if key == "servers" else [],
            [server] if key == "aggregates" else [],
        )
        edit.rewrite(file, text)
        notice(f"added the token {name} to {file}; remove it with `mcp-bridge token revoke {name}`")
    elif {ALL, server}.isdisjoint(permitted := _permitted(known[name], key)):
        _change(file, name, key, [*permitted, server])
        notice(f"the token {name} may now use {server} as well")
    elif not sha256:
        return
    reload_if_running(invocation)


def _permitted(token: schema.Token, key: str) -> tuple[str, ...]:
    return token.permitted_aggregates if key == "aggregates" else token.permitted_servers


def _change(file: Path, name: str, key: str, value: object) -> None:
    config = edit.ConfigText(file.read_bytes().decode())
    config.set_key(("tokens", name, key), value)
    edit.rewrite(file, config.text)
