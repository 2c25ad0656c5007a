"""Write the configuration snippet of a client for a server: each client has its own format and file. Pure."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from ..config.import_texts import toml_string

# Codex reads the token from an environment variable, whose name is in its file.
TOKEN_VARIABLE: Final = "MCP_BRIDGE_TOKEN"  # noqa: S105 - a name, not a token


@attrs.frozen
class Snippet:
    """The text, and one line that names the file or the command for it. Either may contain the token."""

    where: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)


def command_snippet(client: str, name: str, command: Sequence[str]) -> Snippet:
    """Return the snippet with which one of `CLIENTS` runs `command`, which is `connect` for the server `name`.

    It has no token, because the Unix socket is authenticated by uid. Raises ValueError for an unknown client.
    """
    form = _form(client)
    program, *arguments = command
    entry: dict[str, object] = {**form.kind, "command": program, "args": arguments}
    if client == "codex":
        lines = f"command = {toml_string(program)}\nargs = [{', '.join(map(toml_string, arguments))}]\n"
        return Snippet(form.where, f"[mcp_servers.{name}]\n{lines}")
    if client == "claude-code":
        return Snippet(form.where, shlex.join(["claude", "mcp", "add", name, "--", *command]) + "\n")
    return Snippet(form.where, _json({form.table: {name: entry}}))


def http_snippet(client: str, name: str, url: str, token: str) -> Snippet:
    """Return the snippet with which one of `CLIENTS` connects to the server `name` at `url` over Streamable HTTP.

    Without a token there is no header. The snippet of Claude Code is a shell command with the token between double quotes, in
    which `$(cat FILE)` works. Raises ValueError for an unknown client, and for a client without HTTP.
    """
    form = _form(client)
    if client == "claude-code":
        # The header is last, because its option takes all words that follow.
        command = shlex.join(["claude", "mcp", "add", "--transport", "http", name, url])
        header = f' \\\n  --header "Authorization: Bearer {token}"' if token else ""
        return Snippet(form.where, f"{command}{header}\n")
    if client == "codex":
        variable = f"bearer_token_env_var = {toml_string(TOKEN_VARIABLE)}\n" if token else ""
        where = f"{form.where}; it reads the token from ${TOKEN_VARIABLE}: {token}" if token else form.where
        return Snippet(where, f"[mcp_servers.{name}]\nurl = {toml_string(url)}\n{variable}")
    if client == "vscode":
        return _vscode(form.where, name, url, token)
    if not form.url:
        raise ValueError(f"{form.where.partition(':')[0]} cannot use HTTP servers; run this without --http")
    return Snippet(form.where, _json({form.table: {name: {form.url: url, **_headers(token)}}}))


def _vscode(where: str, name: str, url: str, token: str) -> Snippet:
    """Return the snippet for VS Code, which prompts for the token, because its file is often committed."""
    entry = {"type": "http", "url": url, **_headers("${input:token}" if token else "")}
    if not token:
        return Snippet(where, _json({"servers": {name: entry}}))
    prompt = {"type": "promptString", "id": "token", "description": "mcp-bridge token", "password": True}
    return Snippet(
        f"{where}; it prompts for the token: {token}", _json({"inputs": [prompt], "servers": {name: entry}})
    )


@attrs.frozen
class _Form:
    """The format of a client: its file, the table of servers, the key of a URL (empty without HTTP), and the kind of an entry."""

    where: str
    table: str = "mcpServers"
    url: str = ""
    kind: Mapping[str, str] = attrs.field(factory=dict[str, str])


_FORMS: Final[Mapping[str, _Form]] = {
    "claude": _Form(
        "Claude Desktop: Settings, Developer, Edit Config (claude_desktop_config.json); then restart it"
    ),
    "claude-code": _Form("Claude Code: run in a shell"),
    "cursor": _Form("Cursor: ~/.cursor/mcp.json", url="url"),
    "vscode": _Form("VS Code: .vscode/mcp.json", "servers", "url", {"type": "stdio"}),
    "windsurf": _Form("Windsurf: ~/.codeium/windsurf/mcp_config.json", url="serverUrl"),
    "zed": _Form("Zed: ~/.config/zed/settings.json", "context_servers", "url"),
    "codex": _Form("Codex: ~/.codex/config.toml"),
    "gemini": _Form("Gemini CLI: ~/.gemini/settings.json", url="httpUrl"),
}
CLIENTS: Final = tuple(_FORMS)


def _form(client: str) -> _Form:
    if client not in _FORMS:
        raise ValueError(f"there is no client {client!r}; there are {', '.join(CLIENTS)}")
    return _FORMS[client]


def _headers(token: str) -> dict[str, object]:
    return {"headers": {"Authorization": f"Bearer {token}"}} if token else {}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
