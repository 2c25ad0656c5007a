"""The options and arguments of all commands."""

import argparse
from pathlib import Path
from typing import Final

from .client_snippets import CLIENTS
from .completion_scripts import SHELLS
from .parser import COMMANDS, Parser

# `connect --wait`: a day (seconds).
_LONGEST_WAIT: Final = 86400


def commands_parser(form: str = "text") -> argparse.ArgumentParser:
    """Return the grammar of all commands. `form` is the format of its errors: text or json."""
    top = Parser(prog="mcp-bridge", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser)

    def command(name: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=COMMANDS[name], description=COMMANDS[name], allow_abbrev=False)
        found.form = form
        found.add_argument(
            "--config", type=Path, metavar="FILE", help="the configuration (default: see mcp-bridge.toml(5))"
        )
        return found

    serve = command("serve")
    serve.add_argument("--allow-root", action="store_true", help="do not warn when running as root")
    serve.add_argument(
        "--log-format", choices=["text", "json"], help="for people or for machines (default: see log.format)"
    )
    status = command("status")
    status.add_argument("--json", action="store_true", help="for machines")
    status.add_argument("--watch", action="store_true", help="again every second")
    command("ps").add_argument("--json", action="store_true", help="for machines")
    logs = command("logs")
    logs.add_argument("server", metavar="NAME")
    logs.add_argument("-f", "--follow", action="store_true", help="and what comes from now on")
    command("tap").add_argument("server", metavar="NAME")
    command("tools").add_argument("server", metavar="NAME")
    called = command("call")
    called.add_argument("server", metavar="NAME")
    called.add_argument("tool", metavar="TOOL")
    called.add_argument(
        "arguments", metavar="ARGUMENTS", nargs="?", default="{}", help="a JSON object (default {})"
    )
    connected = command("connect")
    connected.add_argument("server", metavar="NAME|URL")
    connected.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the bearer token for a URL, in a file of mode 0600"
    )
    connected.add_argument(
        "--wait",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for a daemon that does not answer, or has ended (default 30; 0: not at all)",
    )
    command("restart").add_argument("server", metavar="NAME")
    command("reload")
    command("env").add_argument("server", metavar="NAME")
    configured = command("config")
    configured.add_argument("action", choices=["check", "show", "import", "schema"])
    configured.add_argument("file", nargs="?", type=Path, metavar="FILE", help="what to import")
    command("approve").add_argument("servers", nargs="+", metavar="NAME")
    tokens = command("token")
    tokens.add_argument("action", choices=["new", "list", "revoke", "rotate"])
    tokens.add_argument("name", nargs="?", metavar="NAME")
    tokens.add_argument(
        "--servers",
        nargs="+",
        default=["*"],
        metavar="SERVER",
        help="what a new token may use (default: all)",
    )
    clients = command("client-config")
    clients.add_argument("client", choices=CLIENTS)
    clients.add_argument("server", metavar="NAME")
    clients.add_argument(
        "--http", action="store_true", help="over HTTP, with the token, instead of by a command"
    )
    command("doctor")
    command("completion").add_argument("shell", choices=SHELLS)
    return top


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= _LONGEST_WAIT:
        raise argparse.ArgumentTypeError(f"a number of seconds from 0 to {_LONGEST_WAIT}, unlike {text}")
    return seconds
