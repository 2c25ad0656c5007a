"""Write the entry of a client for a server of the daemon: each client has its own format and file. Pure."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from ..config.import_texts import toml_key, toml_string

Language = Literal["json", "toml", "yaml"]
# The keys of a connection, which `client-config` replaces. The others of an entry stay, such as approvals and switches.
CONNECTION_KEYS: Final = frozenset(
    {"command", "args", "env", "environment", "envs", "env_keys", "env_vars", "envFile", "cwd", "cmd", "type"}
    | {
        "url",
        "httpUrl",
        "serverUrl",
        "uri",
        "headers",
        "http_headers",
        "env_http_headers",
        "bearer_token_env_var",
    }
    | {
        "transport",
        "transportType",
        "requestOptions",
        "oauth",
        "auth",
        "source",
        "headersHelper",
        "workingDirectory",
    }
)


@attrs.frozen
class Snippet:
    """An entry of a client. `where` names the file for it, and may contain the token.

    `path` is the place of the entry in the file; in a list of entries it is that of the list. `language` is that of the file.
    """

    where: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    path: tuple[str, ...] = ()
    entry: Mapping[str, Any] = attrs.field(factory=dict[str, Any], repr=False)
    language: Language = "json"


@attrs.frozen
class _Form:
    """The format of a client.

    `where` names the client and its file. `tables` are the keys above the servers. `url` is the key of a URL, empty without
    HTTP. `local` and `remote` are further members of the entry of a command and of a URL.
    """

    where: str
    tables: tuple[str, ...] = ("mcpServers",)
    url: str = ""
    local: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    remote: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    language: Language = "json"
    headers: str = "headers"


_DESKTOP: Final = _Form(
    "Claude Desktop: Settings, Developer, Edit Config (claude_desktop_config.json); then restart it"
)
_FORMS: Final[Mapping[str, _Form]] = {
    "claude": _DESKTOP,
    "claude-desktop": _DESKTOP,
    "claude-code": _Form(
        "Claude Code: ~/.claude.json", url="url", local={"type": "stdio"}, remote={"type": "http"}
    ),
    "cursor": _Form("Cursor: ~/.cursor/mcp.json", url="url"),
    "vscode": _Form("VS Code: .vscode/mcp.json", ("servers",), "url", {"type": "stdio"}, {"type": "http"}),
    "copilot": _Form(
        "GitHub Copilot CLI: ~/.copilot/mcp-config.json",
        url="url",
        local={"type": "local", "tools": ["*"]},
        remote={"type": "http", "tools": ["*"]},
    ),
    "windsurf": _Form("Windsurf: ~/.codeium/windsurf/mcp_config.json", url="serverUrl"),
    "zed": _Form("Zed: ~/.config/zed/settings.json", ("context_servers",), "url"),
    "codex": _Form(
        "Codex: ~/.codex/config.toml", ("mcp_servers",), "url", language="toml", headers="http_headers"
    ),
    "continue": _Form(
        "Continue: ~/.continue/config.yaml",
        url="url",
        local={"type": "stdio"},
        remote={"type": "streamable-http"},
        language="yaml",
    ),
    "cline": _Form(
        "Cline: MCP Servers, Configure (cline_mcp_settings.json)",
        url="url",
        local={"type": "stdio"},
        remote={"type": "streamableHttp"},
    ),
    "roo": _Form(
        "Roo Code: MCP Servers, Edit Global MCP (mcp_settings.json)",
        url="url",
        local={"type": "stdio"},
        remote={"type": "streamable-http"},
    ),
    "opencode": _Form(
        "opencode: ~/.config/opencode/opencode.json",
        ("mcp",),
        "url",
        {"type": "local", "enabled": True},
        {"type": "remote", "oauth": False, "enabled": True},
    ),
    "gemini": _Form("Gemini CLI: ~/.gemini/settings.json", url="httpUrl"),
    "qwen": _Form("Qwen Code: ~/.qwen/settings.json", url="httpUrl"),
    "crush": _Form("Crush: ~/.config/crush/crush.json", ("mcp",), "url", {"type": "stdio"}, {"type": "http"}),
    "kiro": _Form("Kiro: ~/.kiro/settings/mcp.json", url="url"),
    "goose": _Form(
        "Goose: ~/.config/goose/config.yaml",
        ("extensions",),
        "uri",
        {"enabled": True, "type": "stdio", "description": "", "timeout": 300},
        {"enabled": True, "type": "streamable_http", "description": "", "timeout": 300},
        "yaml",
    ),
    "jetbrains": _Form(
        "JetBrains: ~/.junie/mcp/mcp.json, or Settings, Tools, AI Assistant, Model Context Protocol",
        url="url",
    ),
    "lmstudio": _Form("LM Studio: ~/.lmstudio/mcp.json", url="url"),
    "mcp-proxy": _Form("mcp-proxy: the file of --named-server-config"),
}
CLIENTS: Final = tuple(_FORMS)


def command_snippet(client: str, name: str, command: Sequence[str]) -> Snippet:
    """Return the entry with which one of `CLIENTS` runs `command`, which is `connect` for the server `name`.

    It has no token, because the Unix socket is authenticated by uid. Raises ValueError for an unknown client.
    """
    form = _form(client)
    program, *arguments = command
    if client == "opencode":
        entry: dict[str, Any] = {**form.local, "command": [*command]}
    elif client == "goose":
        entry = {"name": name, **form.local, "cmd": program, "args": arguments}
    else:
        entry = {**form.local, "command": program, "args": arguments}
    if client == "claude-code":
        text = shlex.join(["claude", "mcp", "add", name, "--", *command]) + "\n"
        return Snippet("Claude Code: run in a shell", text, (*form.tables, name), entry)
    return _snippet(client, form, name, entry)


def http_snippet(client: str, name: str, url: str, token: str, *, private: bool = False) -> Snippet:
    """Return the entry with which one of `CLIENTS` connects to the server `name` at `url` over Streamable HTTP.

    Without a token there is no header. `private` is whether the file is that of the user, and not of a project, which is
    often committed. Raises ValueError for an unknown client, and for a client without HTTP.
    """
    form = _form(client)
    if not form.url:
        raise ValueError(f"{form.where.partition(':')[0]} cannot use HTTP servers; run this without --http")
    if client == "vscode" and token and not private:
        return _vscode(form.where, name, url, token)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    entry: dict[str, Any] = {**form.remote, form.url: url}
    if client == "goose":
        entry = {"name": name, **entry}
    if headers:
        entry |= {"requestOptions": {"headers": headers}} if client == "continue" else {form.headers: headers}
    return _snippet(client, form, name, entry)


def file_of(client: str) -> str:
    """Return the name of the client whose files these are, as in `config import`."""
    return "claude-desktop" if client == "claude" else client


def _snippet(client: str, form: _Form, name: str, entry: Mapping[str, Any]) -> Snippet:
    path = (*form.tables, name)
    if client == "continue":
        entry = {"name": name, **entry}
        text = f"mcpServers:\n  - {json.dumps(entry, ensure_ascii=False)}\n"
        return Snippet(form.where, text, form.tables, entry, "yaml")
    if form.language == "toml":
        lines = "".join(f"{key} = {_toml(value)}\n" for key, value in entry.items())
        return Snippet(form.where, f"[mcp_servers.{toml_key(name)}]\n{lines}", path, entry, "toml")
    if form.language == "yaml":
        lines = "".join(
            f"    {key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in entry.items()
        )
        return Snippet(form.where, f"{form.tables[0]}:\n  {json.dumps(name)}:\n{lines}", path, entry, "yaml")
    whole: Any = entry
    for key in reversed(path):
        whole = {key: whole}
    return Snippet(form.where, _json(whole), path, entry)


def _toml(value: object) -> str:
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, Mapping):
        members: Mapping[str, str] = value  # pyright: ignore[reportUnknownVariableType]  # headers
        return f"{{ {', '.join(f'{toml_key(key)} = {toml_string(one)}' for key, one in members.items())} }}"
    words: Sequence[str] = value  # type: ignore[assignment]  # the arguments
    return f"[{', '.join(map(toml_string, words))}]"


def _vscode(where: str, name: str, url: str, token: str) -> Snippet:
    """Return the snippet for VS Code, which prompts for the token, because its file is often committed."""
    entry = {"type": "http", "url": url, "headers": {"Authorization": "Bearer ${input:token}"}}
    prompt = {"type": "promptString", "id": "token", "description": "mcp-bridge token", "password": True}
    text = _json({"inputs": [prompt], "servers": {name: entry}})
    return Snippet(f"{where}; it prompts for the token: {token}", text, ("servers", name), entry)


def _form(client: str) -> _Form:
    if client not in _FORMS:
        raise ValueError(f"there is no client {client!r}; there are {', '.join(CLIENTS)}")
    return _FORMS[client]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
