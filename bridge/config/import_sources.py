"""The clients whose configurations can be read and written: their names, files, and forms of variables. Pure.

The places are those of Linux.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Final, Literal

import attrs

from .xdg import directory_in, home_in

Unit = Literal["ms", "s", ""]


@attrs.frozen
class Client:
    """A client. `places` are its files for all projects, below the home directory or, with `config/`, XDG_CONFIG_HOME.

    `timeout` is the unit of its key of that name, empty if it limits the start. `form` is that of its variables.
    `in_projects` are the places below the directory of a project.
    """

    name: str
    title: str
    places: tuple[str, ...] = ()
    timeout: Unit = "ms"
    form: str = ""
    in_projects: tuple[str, ...] = ()


_CODE: Final = (
    "config/Code/User",
    "config/Code - Insiders/User",
    "config/VSCodium/User",
    "config/Cursor/User",
)
_CLIENTS: Final = (
    Client("claude-desktop", "Claude Desktop", ("config/Claude/claude_desktop_config.json",)),
    Client("claude-code", "Claude Code", (".claude.json",), in_projects=(".mcp.json",)),
    Client("cursor", "Cursor", (".cursor/mcp.json",), in_projects=(".cursor/mcp.json",)),
    Client(
        "vscode",
        "VS Code",
        (*(f"{place}/mcp.json" for place in _CODE[:3]), ".copilot/mcp-config.json"),
        in_projects=(".vscode/mcp.json",),
    ),
    Client("windsurf", "Windsurf", (".codeium/windsurf/mcp_config.json", ".codeium/mcp_config.json")),
    Client("zed", "Zed", ("config/zed/settings.json",), "s", in_projects=(".zed/settings.json",)),
    Client("codex", "Codex", (".codex/config.toml",), "s", in_projects=(".codex/config.toml",)),
    Client(
        "continue",
        "Continue",
        (".continue/config.yaml", ".continue/config.json"),
        in_projects=(".continue/config.yaml",),
    ),
    Client(
        "cline",
        "Cline",
        (
            *(
                f"{place}/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"
                for place in _CODE
            ),
            *(
                f"{place}/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json"
                for place in _CODE
            ),
            ".cline/data/settings/cline_mcp_settings.json",
        ),
        "s",
        in_projects=(".roo/mcp.json",),
    ),
    Client(
        "opencode",
        "opencode",
        ("config/opencode/opencode.json", "config/opencode/opencode.jsonc"),
        "",
        "opencode",
        (".opencode/opencode.json", ".opencode/opencode.jsonc", "opencode.json", "opencode.jsonc"),
    ),
    Client(
        "gemini",
        "Gemini CLI",
        (".gemini/settings.json",),
        "ms",
        "dollar",
        in_projects=(".gemini/settings.json",),
    ),
    Client("goose", "Goose", ("config/goose/config.yaml",), "s", "dollar"),
    Client(
        "jetbrains",
        "JetBrains AI Assistant and Junie",
        (".junie/mcp/mcp.json", "config/github-copilot/intellij/mcp.json"),
        in_projects=(".junie/mcp/mcp.json",),
    ),
    Client("lmstudio", "LM Studio", (".lmstudio/mcp.json", ".cache/lm-studio/mcp.json")),
    Client("mcp-proxy", "mcp-proxy", (), "s"),
)
CLIENTS: Final[Mapping[str, Client]] = {client.name: client for client in _CLIENTS}
# Other names of clients.
ALIASES: Final[Mapping[str, str]] = {"claude": "claude-desktop", "roo": "cline"}


def places_of(client: Client, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files of a client that are not those of a project. They need not exist."""
    home = home_in(environment)
    config = directory_in(environment, "XDG_CONFIG_HOME") or home / ".config"
    for place in client.places:
        first, _, rest = place.partition("/")
        yield config / rest if first == "config" else home / place


def client_of(file: PurePath, environment: Mapping[str, str]) -> Client | None:
    """Return the client that has a file with this path, or None."""
    for client in _CLIENTS:
        if any(file == place for place in places_of(client, environment)):
            return client
    return next(
        (client for client in _CLIENTS if any(_ends_with(file, one) for one in client.in_projects)), None
    )


def project_of(file: PurePath, environment: Mapping[str, str]) -> str:
    """Return the directory of the project that a file belongs to; empty for a file of all projects."""
    home = str(home_in(environment))
    for client in _CLIENTS:
        if any(file == place for place in places_of(client, environment)):
            return ""
        for place in client.in_projects:
            if _ends_with(file, place):
                directory = str(file.parents[place.count("/")])
                return "" if directory == home else directory
    return ""


def _ends_with(file: PurePath, place: str) -> bool:
    return file.parts[-len(PurePath(place).parts) :] == PurePath(place).parts
