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
    `in_projects` are the places below the directory of a project. `variable` names the directory in place of `replaced`, the
    beginning of the places. `switches` is the name of a file in the same directory that switches servers off.
    """

    name: str
    title: str
    places: tuple[str, ...] = ()
    timeout: Unit = "ms"
    form: str = ""
    in_projects: tuple[str, ...] = ()
    variable: str = ""
    replaced: str = ""
    switches: str = ""


_CODE: Final = (
    "config/Code/User",
    "config/Code - Insiders/User",
    "config/VSCodium/User",
    "config/Cursor/User",
)
_CLIENTS: Final = (
    Client("claude-desktop", "Claude Desktop", ("config/Claude/claude_desktop_config.json",)),
    Client(
        "claude-code",
        "Claude Code",
        (".claude.json",),
        in_projects=(".mcp.json",),
        variable="CLAUDE_CONFIG_DIR",
    ),
    Client("cursor", "Cursor", (".cursor/mcp.json",), in_projects=(".cursor/mcp.json",)),
    Client(
        "vscode",
        "VS Code",
        tuple(f"{place}/mcp.json" for place in _CODE[:3]),
        in_projects=(".vscode/mcp.json",),
    ),
    Client(
        "copilot",
        "GitHub Copilot CLI",
        (".copilot/mcp-config.json",),
        in_projects=(".github/mcp.json",),
        variable="COPILOT_HOME",
        replaced=".copilot/",
        switches="settings.json",
    ),
    Client("windsurf", "Windsurf", (".codeium/windsurf/mcp_config.json", ".codeium/mcp_config.json")),
    Client("zed", "Zed", ("config/zed/settings.json",), "s", in_projects=(".zed/settings.json",)),
    Client(
        "codex",
        "Codex",
        (".codex/config.toml",),
        "s",
        in_projects=(".codex/config.toml",),
        variable="CODEX_HOME",
        replaced=".codex/",
    ),
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
            ".cline/data/settings/cline_mcp_settings.json",
        ),
        "s",
    ),
    Client(
        "roo",
        "Roo Code and Kilo Code",
        (
            *(
                f"{place}/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json"
                for place in _CODE
            ),
            *(f"{place}/globalStorage/kilocode.kilo-code/settings/mcp_settings.json" for place in _CODE),
            ".kilocode/cli/global/settings/mcp_settings.json",
        ),
        "s",
        in_projects=(".roo/mcp.json", ".kilocode/mcp.json"),
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
        variable="GEMINI_CLI_HOME",
        switches="mcp-server-enablement.json",
    ),
    Client(
        "qwen",
        "Qwen Code",
        (".qwen/settings.json",),
        "ms",
        "dollar",
        in_projects=(".qwen/settings.json",),
        variable="QWEN_HOME",
        replaced=".qwen/",
    ),
    Client(
        "crush",
        "Crush",
        ("config/crush/crush.json",),
        "",
        "shell",
        in_projects=(".crush.json", "crush.json"),
    ),
    Client(
        "kiro",
        "Kiro and Amazon Q Developer",
        (".kiro/settings/mcp.json", ".aws/amazonq/mcp.json"),
        in_projects=(".kiro/settings/mcp.json", ".amazonq/mcp.json"),
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
# The origin of a server.json, which is no file of a client.
REGISTRY: Final = Client("server.json", "the MCP registry")
# Other names of clients.
ALIASES: Final[Mapping[str, str]] = {"claude": "claude-desktop", "kilo": "roo", "amazonq": "kiro"}


def places_of(client: Client, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files of a client that are not those of a project. They need not exist."""
    home = home_in(environment)
    config = directory_in(environment, "XDG_CONFIG_HOME") or home / ".config"
    moved = directory_in(environment, client.variable) if client.variable else None
    for place in client.places:
        first, _, rest = place.partition("/")
        if moved is not None:
            yield moved / place.removeprefix(client.replaced)
        else:
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
