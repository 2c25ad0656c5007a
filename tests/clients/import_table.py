"""Write docs/CLIENTS.md: what `config import` makes of the configuration of each client, from files of their real shapes.

The files are in tests/bridge/config/fixtures. Their contents have the shapes that the clients write; names, paths and secrets
are invented.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests/bridge/config/fixtures"
DOCUMENT = ROOT / "docs/CLIENTS.md"
PROGRAM = Path(sys.executable).with_name("mcp-bridge")
# The file of each client, its place below the home directory, and the options of the command.
ROWS = (
    (
        "Claude Desktop",
        "claude_desktop_config.json",
        ".config/Claude/claude_desktop_config.json",
        ("claude-desktop",),
    ),
    ("Claude Code", "claude.json", ".claude.json", ("claude-code",)),
    ("Plugin of Claude Code", "plugin.mcp.json", "plugins/tracker/.mcp.json", ("plugins/tracker/.mcp.json",)),
    ("Cursor, in a project", "cursor.mcp.json", "src/shop/.cursor/mcp.json", ("src/shop/.cursor/mcp.json",)),
    ("VS Code", "vscode.mcp.json", ".config/Code/User/mcp.json", ("vscode",)),
    ("Windsurf", "windsurf.mcp_config.json", ".codeium/windsurf/mcp_config.json", ("windsurf",)),
    ("Zed", "zed.settings.json", ".config/zed/settings.json", ("zed",)),
    ("Codex", "codex.config.toml", ".codex/config.toml", ("codex",)),
    ("Continue", "continue.config.yaml", ".continue/config.yaml", ("continue",)),
    (
        "Cline",
        "cline_mcp_settings.json",
        ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        ("cline",),
    ),
    (
        "Cline CLI",
        "cline-cli.cline_mcp_settings.json",
        ".cline/data/settings/cline_mcp_settings.json",
        ("cline",),
    ),
    (
        "Roo Code",
        "roo.mcp_settings.json",
        ".config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
        ("roo",),
    ),
    ("opencode", "opencode.jsonc", ".config/opencode/opencode.jsonc", ("opencode",)),
    ("Gemini CLI", "gemini.settings.json", ".gemini/settings.json", ("gemini", "--project", "src/shop")),
    ("Qwen Code", "qwen.settings.json", ".qwen/settings.json", ("qwen",)),
    ("GitHub Copilot CLI", "copilot.mcp-config.json", ".copilot/mcp-config.json", ("copilot",)),
    ("Crush", "crush.json", ".config/crush/crush.json", ("crush",)),
    ("Kiro", "kiro.mcp.json", ".kiro/settings/mcp.json", ("kiro",)),
    ("Goose", "goose.config.yaml", ".config/goose/config.yaml", ("goose",)),
    ("JetBrains (Junie)", "junie.mcp.json", ".junie/mcp/mcp.json", ("jetbrains",)),
    ("LM Studio", "lmstudio.mcp.json", ".lmstudio/mcp.json", ("lmstudio",)),
    (
        "mcp-proxy, named servers",
        "mcp-proxy.servers.json",
        "servers.json",
        ("servers.json", "--client", "mcp-proxy"),
    ),
    ("MCP registry, npm", "npm.server.json", "server.json", ("server.json",)),
    ("MCP registry, PyPI", "pypi.server.json", "server.json", ("server.json",)),
    ("MCP registry, OCI", "oci.server.json", "server.json", ("server.json",)),
    ("MCP registry, remote server", "remote.server.json", "server.json", ("server.json",)),
)
VARIABLES = {
    "DB_HOST": "db.example.com",
    "GITHUB_TOKEN": "ghp_abcdefghijklmnop",
    "TAVILY_API_KEY": "tvly-0123456789",
    "MCP_DEBUG": "1",
    "DB_CONNECTION_STRING": "postgres://me:pa55@localhost/db",
}
HOME = "/home/user"
INTRODUCTION = """\
# Configurations of other clients

`make import-table` has made this page from files of the shapes that the clients write (tests/bridge/config/fixtures).

`mcp-bridge config import` reads them; `mcp-bridge client-config CLIENT NAME --write` writes the entry for a server of the
bridge into them. See mcp-bridge(1) for both.

- **Tools**: `includeTools`, `enabledTools`, `available_tools` and similar lists become `tools.allow`; `excludeTools`,
  `disabledTools` and similar lists become `tools.deny`. `alwaysAllow`, `autoApprove` and `trust` are approvals without a
  question. They hide no tool in the client, and hide none in the bridge: Cline writes an empty list for each server, which
  as `tools.allow` would hide everything.
- **Secrets** go into files of mode 0600 beside the configuration. `${NAME}` as the value of the variable NAME becomes
  `pass_env`, `{file:PATH}` becomes the place of the secret. A shell inserts a secret among the arguments, since the
  configuration holds none.
- **Restrictions** that have no counterpart are named, the server is written with `enabled = false`, and the exit status
  is 65.
- **The same server** is recognized by its package or program, its arguments and its comment about its origin, also under
  another name, and is not added again.

"""


def imported(home: Path, words: tuple[str, ...]) -> tuple[str, str, int]:
    """Return the new configuration, the notes, and the exit status of `config import --write`."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], **VARIABLES}
    environment["XDG_RUNTIME_DIR"] = str(home / "run")
    done = subprocess.run(
        [PROGRAM, "config", "import", *words, "--write"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=home,
        check=False,
    )
    written = home / ".config/mcp-bridge/config.toml"
    toml = written.read_text() if written.exists() else ""
    return toml.replace(str(home), HOME), done.stderr.replace(str(home), HOME), done.returncode


def section(title: str, fixture: str, place: str, words: tuple[str, ...]) -> str:
    """Return the part of the page about one file."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory).resolve()
        target = home / place
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (FIXTURES / fixture).read_text()
        target.write_text(text.replace(HOME, str(home)))
        toml, notes, code = imported(home, words)
    lines = [
        line.removeprefix("mcp-bridge: ") for line in notes.splitlines() if "was changed; run" not in line
    ]
    kind = "toml" if fixture.endswith("toml") else "yaml" if fixture.endswith("yaml") else "jsonc"
    return (
        f"## {title}\n\n`~/{place}`:\n\n```{kind}\n{text.rstrip()}\n```\n\n"
        f"`mcp-bridge config import {' '.join(words)} --write` (exit status {code}):\n\n"
        f"```toml\n{toml.removeprefix('config_version = 1').strip()}\n```\n\n"
        f"```text\n{chr(10).join(lines)}\n```\n"
    )


def document() -> str:
    """Return the page."""
    return INTRODUCTION + "\n".join(section(*row) for row in ROWS)


def main() -> None:
    DOCUMENT.write_text(document())
    print(json.dumps({"rows": len(ROWS), "written": str(DOCUMENT.relative_to(ROOT))}))


if __name__ == "__main__":
    main()
