"""What to paste into a client, so that it finds one of our servers: each client has a form and a place of its own."""

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from .importing import toml_string

# Codex takes no token in its file, only the name of a variable that holds it.
TOKEN_VARIABLE: Final = "MCP_BRIDGE_TOKEN"  # noqa: S105 - a name, not a token


@attrs.frozen
class Pasted:
    """One line that says where the text goes, and the text. Either may hold the token."""

    where: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)


def client_config(client: str, name: str, url: str, token_hint: str) -> Pasted:
    """The configuration of one of `CLIENTS` for the server `name` at `url`, over Streamable HTTP.

    `token_hint` is the token or what stands for it. It is put in as it is: between double quotes for Claude Code, whose
    configuration is a command of the shell, so that `$(cat FILE)` works there. Raises ValueError for another client.
    """
    if client not in _FORMS:
        raise ValueError(f"there is no client {client!r}; there are {', '.join(CLIENTS)}")
    return _FORMS[client](name, url, token_hint)


def _claude(name: str, _url: str, _token: str) -> Pasted:
    """Its file knows no HTTP; it starts a command that connects, and finds the token itself."""
    return Pasted(
        "Claude Desktop: Settings, Developer, Edit Config (claude_desktop_config.json); then restart it",
        _json({"mcpServers": {name: {"command": "mcp-bridge", "args": ["connect", name]}}}),
    )


def _claude_code(name: str, url: str, token: str) -> Pasted:
    # The header comes last: the option takes every word that follows.
    command = shlex.join(["claude", "mcp", "add", "--transport", "http", name, url])
    return Pasted(
        "Claude Code: run in a shell", f'{command} \\\n  --header "Authorization: Bearer {token}"\n'
    )


def _cursor(name: str, url: str, token: str) -> Pasted:
    entry = {"url": url, "headers": _headers(token)}
    return Pasted("Cursor: ~/.cursor/mcp.json", _json({"mcpServers": {name: entry}}))


def _vscode(name: str, url: str, token: str) -> Pasted:
    """It asks for the token once and keeps it, since its file is often committed."""
    asked = {"type": "promptString", "id": "token", "description": "mcp-bridge token", "password": True}
    entry = {"type": "http", "url": url, "headers": _headers("${input:token}")}
    return Pasted(
        f"VS Code: .vscode/mcp.json; it asks for the token: {token}",
        _json({"inputs": [asked], "servers": {name: entry}}),
    )


def _windsurf(name: str, url: str, token: str) -> Pasted:
    entry = {"serverUrl": url, "headers": _headers(token)}
    return Pasted("Windsurf: ~/.codeium/windsurf/mcp_config.json", _json({"mcpServers": {name: entry}}))


def _zed(name: str, url: str, token: str) -> Pasted:
    entry = {"url": url, "headers": _headers(token)}
    return Pasted("Zed: ~/.config/zed/settings.json", _json({"context_servers": {name: entry}}))


def _codex(name: str, url: str, token: str) -> Pasted:
    return Pasted(
        f"Codex: ~/.codex/config.toml; it reads the token from ${TOKEN_VARIABLE}: {token}",
        f"[mcp_servers.{name}]\nurl = {toml_string(url)}\nbearer_token_env_var = {toml_string(TOKEN_VARIABLE)}\n",
    )


def _gemini(name: str, url: str, token: str) -> Pasted:
    entry = {"httpUrl": url, "headers": _headers(token)}
    return Pasted("Gemini CLI: ~/.gemini/settings.json", _json({"mcpServers": {name: entry}}))


_FORMS: Final[Mapping[str, Callable[[str, str, str], Pasted]]] = {
    "claude": _claude,
    "claude-code": _claude_code,
    "cursor": _cursor,
    "vscode": _vscode,
    "windsurf": _windsurf,
    "zed": _zed,
    "codex": _codex,
    "gemini": _gemini,
}
CLIENTS: Final = tuple(_FORMS)


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
