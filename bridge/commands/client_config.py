"""`mcp-bridge client-config`: print the configuration snippet for a client."""

import os
import shutil
import sys

from ..config import edit, load, tables, xdg
from ..config.addresses import shown_address
from ..config.credentials import BOOT, new_token, read_secret
from ..config.settings import CONTROL, Settings
from ..config.tables import BadConfig
from ..core.exit_codes import EX_OK
from .client_snippets import Snippet, command_snippet, http_snippet
from .control_client import ErrorResponse, Unreachable, request
from .invocation import BadUsage, Invocation
from .output import notice, print_line
from .reload import reload_if_running
from .status import addresses_of
from .token import hash_of


def client_config(invocation: Invocation) -> int:
    """Print the snippet to stdout, and where it belongs to stderr. Raises BadUsage, BadConfig and BadCredential."""
    options, file = invocation.options, invocation.file
    settings = load.plan(file, invocation.environment)
    known = [server.name for server in settings.servers]
    if options.server not in known:
        raise BadConfig(f"{file}: {load.why_not_served(options.server, tables.read(file), known)}")
    snippet = _over_http(invocation, settings) if options.http else _by_command(invocation)
    notice(snippet.where)
    print_line(snippet.text.rstrip("\n"))
    return EX_OK


def _by_command(invocation: Invocation) -> Snippet:
    options, file = invocation.options, invocation.file
    # A client of the desktop has another PATH than a shell, and another directory.
    words = [os.path.abspath(shutil.which(sys.argv[0]) or sys.argv[0]), "connect", options.server]  # noqa: PTH100 - a link stays
    if options.config or file != xdg.default_path(invocation.environment):
        words += ["--config", os.path.abspath(file)]  # noqa: PTH100 - likewise
    return command_snippet(options.client, options.server, words)


def _over_http(invocation: Invocation, settings: Settings) -> Snippet:
    options = invocation.options
    base = _passed_url(invocation)
    if not (base or settings.port):
        raise BadConfig(f"{invocation.file}: listen: http is off or uses port 0 (random); set a fixed port")
    base = base or shown_address(settings.scheme, (settings.host, settings.port))
    url = f"{base}/servers/{options.server}/mcp"
    try:
        # No token is created for a client that cannot use it.
        http_snippet(options.client, options.server, url, "")
    except ValueError as fault:
        raise BadUsage(str(fault)) from None
    return http_snippet(options.client, options.server, url, _token(invocation, settings))


def _passed_url(invocation: Invocation) -> str:
    """Return the first TCP address that was passed to the running daemon; empty if there is none, or no daemon."""
    try:
        state = request(invocation.socket(), "GET", f"{CONTROL}/status")
    except (BadConfig, Unreachable, ErrorResponse, ConnectionError):
        return ""
    found = [one for one in addresses_of(state) if not one.startswith("unix:")]
    return found[0] if state.get("passed") and found else ""


def _token(invocation: Invocation, settings: Settings) -> str:
    """Return the token for the snippet: a new one for this client, or the owner's where the configuration names where it is."""
    if not settings.authenticate:
        return ""
    file, environment, options = invocation.file, invocation.environment, invocation.options
    if settings.token_source not in ("", BOOT) and settings.file:
        return read_secret(settings.token_source, environment, settings.file.parent)
    name = edit.token_name(options.client, options.server)
    token = new_token()
    text = file.read_bytes().decode()
    if name in tables.read(file).tokens:
        text = edit.with_key(text, "tokens", name, "sha256", hash_of(token))
        notice(f"replaced the token {name}; the former token is no longer accepted")
    else:
        text = edit.with_token(text, name, hash_of(token), [options.server])
    edit.rewrite(file, text)
    notice(f"added the token {name} to {file}; remove it with `mcp-bridge token revoke {name}`")
    reload_if_running(invocation)
    return token
