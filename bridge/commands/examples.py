"""Examples of each command, for its `--help`."""

from typing import Final

EXAMPLES: Final = {
    "serve": ("mcp-bridge serve", "mcp-bridge serve --config ./config.toml"),
    "init": ("mcp-bridge init",),
    "add": (
        "mcp-bridge add time -- uvx mcp-server-time",
        "mcp-bridge add linear --url https://mcp.example.com/mcp",
    ),
    "remove": ("mcp-bridge remove github",),
    "enable": ("mcp-bridge enable github",),
    "disable": ("mcp-bridge disable github",),
    "edit": ("mcp-bridge edit",),
    "service": ("mcp-bridge service install", "mcp-bridge service status", "mcp-bridge service uninstall"),
    "status": ("mcp-bridge status", "mcp-bridge status --watch", "mcp-bridge status --json"),
    "ps": ("mcp-bridge ps",),
    "sessions": ("mcp-bridge sessions", "mcp-bridge sessions --json"),
    "logs": ("mcp-bridge logs --since 10m", "mcp-bridge logs github -n 20 --follow"),
    "tap": ("mcp-bridge tap --short", "mcp-bridge tap github --client claude-code --method 'tools/*'"),
    "tools": ("mcp-bridge tools github",),
    "call": (
        "mcp-bridge call github search_issues q=is:open per_page=5",
        """mcp-bridge call github search_issues '{"q": "is:open"}'""",
        "mcp-bridge call charts draw kind=bar --output chart.png",
    ),
    "prompts": ("mcp-bridge prompts github",),
    "prompt": ("mcp-bridge prompt github review branch=main",),
    "resources": ("mcp-bridge resources github", "mcp-bridge resources github --json"),
    "read": ("mcp-bridge read github repo://owner/name/contents/README.md",),
    "connect": (
        "mcp-bridge connect github",
        "mcp-bridge connect https://mcp.example.com/mcp --token-file ~/.config/example-token",
    ),
    "restart": ("mcp-bridge restart github", "mcp-bridge restart --all"),
    "reload": ("mcp-bridge reload",),
    "env": ("mcp-bridge env github",),
    "config": (
        "mcp-bridge config check",
        "mcp-bridge config show",
        "mcp-bridge config import ~/.cursor/mcp.json",
        "mcp-bridge config schema",
    ),
    "rules": (
        "mcp-bridge rules",
        "mcp-bridge rules --explain editor github tools/call delete_repository",
    ),
    "approve": ("mcp-bridge approve github", "mcp-bridge approve --definitions github"),
    "token": (
        "mcp-bridge token new editor --servers github files",
        "mcp-bridge token list",
        "mcp-bridge token revoke editor",
        "mcp-bridge token rotate",
    ),
    "login": ("mcp-bridge login linear", "mcp-bridge login https://mcp.example.com/mcp"),
    "logout": ("mcp-bridge logout linear",),
    "client-config": (
        "mcp-bridge client-config claude-code github",
        "mcp-bridge client-config cursor github --http",
    ),
    "admin": ("mcp-bridge admin", "mcp-bridge admin --open"),
    "check": ("mcp-bridge check github", "mcp-bridge check --all --json"),
    "doctor": ("mcp-bridge doctor",),
    "completion": ("mcp-bridge completion bash",),
    "help": ("mcp-bridge help", "mcp-bridge help status"),
    "version": ("mcp-bridge version", "mcp-bridge version --json"),
}
_HEAD: Final = "examples:\n"


def epilog_of(command: str) -> str:
    """Return the examples of a command as a text for its help."""
    return _HEAD + "\n".join(f"  {line}" for line in EXAMPLES.get(command, ()))


def is_epilog(text: str) -> bool:
    """Return whether a text has lines of its own, which the formatter must not join."""
    return text.startswith(_HEAD)
