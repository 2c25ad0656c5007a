"""The options and arguments of all commands."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ...validators.stateless_request import LOG_LEVELS
from ..config.import_sources import CLIENTS as SOURCES
from ..config.schema import NAME
from .client_snippets import CLIENTS
from .completion_scripts import SHELLS
from .examples import epilog_of, is_epilog
from .moments import moment
from .parser import COMMANDS, Parser

# `connect --wait`: a day (seconds).
_LONGEST_WAIT: Final = 86400
# Of a count.
_MOST_DIGITS: Final = 10
_SERVER: Final = "name of a server of the daemon"


def command_parsers(form: str = "text") -> dict[str, Parser]:
    """Return the grammar of each command, by its name."""
    return _grammar(form)[1]


def commands_parser(form: str = "text") -> Parser:
    """Return the grammar of all commands. `form` is the format of its errors: text or json."""
    return _grammar(form)[0]


def _grammar(form: str) -> tuple[Parser, dict[str, Parser]]:
    top = Parser(prog="mcp-bridge", allow_abbrev=False)
    parsers: dict[str, Parser] = {}
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser)

    def command(name: str) -> argparse.ArgumentParser:
        text = COMMANDS[name]
        found = parsers[name] = commands.add_parser(
            name,
            help=text,
            description=f"{text[:1].upper()}{text[1:]}.",
            epilog=epilog_of(name),
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        found.form = form
        found.add_argument(
            "--config", type=Path, metavar="FILE", help="configuration file (default: see mcp-bridge.toml(5))"
        )
        return found

    _add_serve(command("serve"))
    _add_setup(command)
    status = command("status")
    _add_json(status)
    status.add_argument("--watch", action="store_true", help="refresh every second")
    _add_json(command("ps"))
    _add_json(command("sessions"))
    _add_logs(command("logs"))
    _add_tap(command("tap"))
    _add_requests(command)
    _add_connect(command("connect"))
    restarted = command("restart")
    restarted.add_argument("servers", metavar="NAME", nargs="*", help=_SERVER)
    restarted.add_argument("--all", action="store_true", help="restart every server")
    _add_json(restarted)
    _add_json(command("reload"))
    shown = command("env")
    shown.add_argument("server", metavar="NAME", help=_SERVER)
    _add_json(shown)
    _add_config(command("config"))
    command("approve").add_argument("servers", nargs="+", metavar="NAME", help=_SERVER)
    _add_token(command("token"))
    for name in ("login", "logout"):
        logged = command(name)
        logged.add_argument(
            "server", metavar="NAME|URL", help="name of a remote server in the configuration, or its URL"
        )
        add_oauth_options(logged)
    clients = command("client-config")
    _add_client_config(clients)
    command("admin").add_argument(
        "--open", action="store_true", help="open the link in the browser of the desktop (xdg-open)"
    )
    command("doctor").add_argument("--json", action="store_true", help="print JSON")
    command("completion").add_argument("shell", choices=SHELLS)
    command("help").add_argument("topic", nargs="?", metavar="COMMAND", help="name of a command")
    _add_json(command("version"))
    return top, parsers


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--allow-root", action="store_true", help="do not warn when running as root")
    serve.add_argument("--log-format", choices=["text", "json"], help="log format (default: see log.format)")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


class _Formatter(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if is_epilog(text) else super()._fill_text(text, width, indent)


def _add_logs(logs: argparse.ArgumentParser) -> None:
    logs.add_argument("server", metavar="NAME", nargs="?", default="", help=f"{_SERVER} (default: all)")
    logs.add_argument("-f", "--follow", action="store_true", help="follow: print new entries as they arrive")
    logs.add_argument(
        "-n",
        "--lines",
        type=_count,
        metavar="COUNT",
        help="print at most this many of the last stored entries",
    )
    logs.add_argument(
        "--since",
        type=moment,
        metavar="TIME",
        help="print entries that are not older: an age such as 10m or 2h, or a time such as 2026-07-28T10:00",
    )
    logs.add_argument("--json", action="store_true", help="print one JSON object for each entry")


def _add_tap(tap: argparse.ArgumentParser) -> None:
    tap.add_argument("server", metavar="NAME", nargs="?", default="", help=f"{_SERVER} (default: all)")
    tap.add_argument(
        "--client", metavar="CLIENT", help="only messages of this client: its name, its token or its session"
    )
    tap.add_argument(
        "--method",
        action="append",
        metavar="METHOD",
        help="only messages of this method, such as tools/call or 'tools/*'; may be repeated",
    )
    tap.add_argument("--short", action="store_true", help="print one short line for each message")
    tap.add_argument("--probes", action="store_true", help="also print requests of the bridge itself")
    tap.add_argument("--json", action="store_true", help="print one JSON object for each message")


def _add_requests(command: Callable[[str], argparse.ArgumentParser]) -> None:
    """Add the commands that send requests to one server."""
    for name in ("tools", "call", "prompts", "prompt", "resources", "read"):
        parser = command(name)
        parser.add_argument("server", metavar="NAME", help=_SERVER)
        if name in ("call", "prompt"):
            named = {"call": "tool", "prompt": "prompt"}[name]
            parser.add_argument(named, metavar=named.upper(), help=f"name of the {named}")
            parser.add_argument(
                "arguments",
                metavar="ARGUMENT",
                nargs="*",
                # Without a default, argparse names it in the error about missing arguments.
                default=[],
                help="KEY=VALUE, KEY:=JSON, KEY=@FILE, a JSON object, or - for a JSON object on stdin",
            )
        if name == "read":
            parser.add_argument("uri", metavar="URI", help="URI of the resource")
        parser.add_argument("--json", action="store_true", help="print JSON")
        if name in ("call", "read"):
            parser.add_argument(
                "--output",
                default="",
                metavar="FILE",
                help="write binary content, or else the text, to this file; - is stdout",
            )
        if name in ("call", "prompt", "read"):
            parser.add_argument(
                "--log-level",
                type=_log_level,
                metavar="LEVEL",
                help="log messages of the server to show (default: info on a terminal, otherwise none)",
            )


def _add_setup(command: Callable[[str], argparse.ArgumentParser]) -> None:
    """Add the commands that write the configuration or install the service."""
    command("init")
    _add_add(command("add"))
    for name in ("remove", "enable", "disable"):
        command(name).add_argument(
            "servers", nargs="+", metavar="NAME", help="name of a server of the configuration"
        )
    command("edit")
    _add_service(command("service"))


def _add_add(added: argparse.ArgumentParser) -> None:
    added.usage = (
        "mcp-bridge add NAME [OPTIONS] -- COMMAND [ARG...] | mcp-bridge add NAME --url URL [OPTIONS]"
    )
    added.add_argument("name", metavar="NAME", help="name of the new server")
    added.add_argument(
        "words",
        metavar="COMMAND",
        nargs="*",
        default=[],
        help="command of the server and its arguments, after --",
    )
    added.add_argument("--url", metavar="URL", help="URL of a remote server, in place of a command")
    added.add_argument(
        "--env", action="append", metavar="KEY=VALUE", help="environment variable; may be repeated"
    )
    added.add_argument(
        "--env-file", metavar="FILE", help="file of mode 0600 with environment variables, KEY=VALUE lines"
    )
    added.add_argument(
        "--pass-env",
        action="append",
        metavar="KEY",
        help="variable of the daemon that the server gets; may be repeated",
    )
    added.add_argument(
        "--secret",
        action="append",
        metavar="KEY=PLACE",
        help="variable whose value is kept elsewhere: FILE, exec:COMMAND or credential:NAME; may be repeated",
    )
    added.add_argument("--cwd", metavar="DIRECTORY", help="working directory of the server")
    added.add_argument(
        "--share", choices=["session", "client", "principal", "server"], help="who shares a server process"
    )
    added.add_argument(
        "--transport",
        choices=["auto", "http", "sse", "websocket"],
        help="MCP transport of a URL (default auto)",
    )
    added.add_argument(
        "--header", action="append", metavar="NAME:VALUE", help="header for a URL; may be repeated"
    )
    added.add_argument(
        "--secret-header",
        action="append",
        metavar="NAME=PLACE",
        help="header for a URL whose value is kept elsewhere, as for --secret; may be repeated",
    )


def _add_service(service: argparse.ArgumentParser) -> None:
    service.add_argument("action", choices=["install", "uninstall", "status"])
    service.add_argument("--json", action="store_true", help="print JSON, for status")


def add_oauth_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe the OAuth client at a URL; a configured server has the table oauth."""
    parser.add_argument(
        "--client-id", default="", metavar="ID", help="ID of a registered OAuth client, for a URL"
    )
    parser.add_argument(
        "--client-secret-file",
        type=Path,
        metavar="FILE",
        help="file of mode 0600 with the secret of that client",
    )
    parser.add_argument(
        "--private-key-file",
        type=Path,
        metavar="FILE",
        help="file of mode 0600 with the private key (PEM) of that client",
    )
    parser.add_argument(
        "--client-metadata-url",
        default="",
        metavar="DOCUMENT",
        help="https URL of the metadata document of the client, for a URL",
    )
    parser.add_argument(
        "--assertion-file",
        type=Path,
        metavar="FILE",
        help="file of mode 0600 with an assertion (JWT) that is exchanged for tokens, without a user",
    )
    parser.add_argument(
        "--client-credentials",
        action="store_true",
        help="obtain tokens for that client itself, without a user",
    )


def _add_config(configured: argparse.ArgumentParser) -> None:
    configured.add_argument("action", choices=["check", "show", "fmt", "import", "schema"])
    configured.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="for import: the configuration of a client, - for standard input, or the name of a client: "
        + ", ".join(SOURCES),
    )
    configured.add_argument("--json", action="store_true", help="for check: print JSON")
    configured.add_argument("--effective", action="store_true", help="for show: with the default of each key")
    configured.add_argument(
        "--check", action="store_true", help="for fmt: change nothing; exit with 1 if it would"
    )
    configured.add_argument("--all", action="store_true", help="for import: read every client found here")
    configured.add_argument(
        "--write", action="store_true", help="for import: change the configuration; without it print a diff"
    )
    configured.add_argument(
        "--client", choices=SOURCES, help="for import: the client that FILE belongs to (default: detected)"
    )
    configured.add_argument(
        "--project",
        type=Path,
        metavar="DIR",
        help="for import: the directory that ${workspaceFolder} and relative paths stand for",
    )


def _add_client_config(clients: argparse.ArgumentParser) -> None:
    clients.add_argument("client", choices=CLIENTS)
    clients.add_argument("server", metavar="NAME", help=_SERVER)
    clients.add_argument(
        "--http", action="store_true", help="connect over HTTP with a token, instead of with a command"
    )
    clients.add_argument(
        "--write", action="store_true", help="write it into the file of the client, with a backup"
    )
    clients.add_argument(
        "--file", type=Path, metavar="FILE", help="for --write: the file (default: that of the client)"
    )
    clients.add_argument(
        "--token",
        type=_token_name,
        metavar="TOKENNAME",
        help="name of the token for this client, which is created if necessary (default: CLIENT-NAME, and none for a command)",
    )


def _add_connect(connected: argparse.ArgumentParser) -> None:
    connected.add_argument(
        "server", metavar="NAME|URL", help="server of the daemon, or URL of a remote server"
    )
    connected.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file of mode 0600 with the bearer token for a URL"
    )
    connected.add_argument(
        "--as",
        dest="token_name",
        type=_token_name,
        metavar="TOKENNAME",
        help="be treated as the principal of this token of the daemon, with its rights only",
    )
    connected.add_argument(
        "--header",
        action="append",
        metavar="NAME:VALUE",
        help="header for a URL, or for env_from_header of a server; may be repeated",
    )
    connected.add_argument(
        "--header-file",
        type=Path,
        metavar="FILE",
        help="file of mode 0600 with such headers, one NAME: VALUE per line",
    )
    connected.add_argument(
        "--transport",
        choices=["auto", "http", "sse", "websocket"],
        help="MCP transport of a URL (default auto)",
    )
    connected.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="certificates (PEM) to trust for a URL"
    )
    connected.add_argument("--cert", type=Path, metavar="FILE", help="client certificate (PEM) for a URL")
    connected.add_argument("--key", type=Path, metavar="FILE", help="private key (PEM) of --cert")
    connected.add_argument(
        "--proxy",
        metavar="URL",
        help="HTTP or SOCKS 5 proxy for a URL; empty for none (default: the environment)",
    )
    add_oauth_options(connected)
    connected.add_argument(
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        help="how long to wait for the daemon (default 30; 0: do not wait), or for a URL (default 10)",
    )


def _add_token(tokens: argparse.ArgumentParser) -> None:
    tokens.add_argument("action", choices=["new", "list", "revoke", "rotate"])
    tokens.add_argument("name", nargs="?", metavar="NAME", help="name of the token, for new and revoke")
    tokens.add_argument(
        "--servers",
        nargs="+",
        default=["*"],
        metavar="SERVER",
        help="servers that a new token may use (default: all)",
    )
    tokens.add_argument("--json", action="store_true", help="print JSON, for list")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < _MOST_DIGITS):
        raise argparse.ArgumentTypeError(f"must be a number of entries, not {text}")
    return int(text)


def _log_level(text: str) -> str:
    if text not in ("none", *LOG_LEVELS):
        raise argparse.ArgumentTypeError(f"must be none or one of {', '.join(LOG_LEVELS)}")
    return text


def _token_name(text: str) -> str:
    if not re.match(NAME, text):
        raise argparse.ArgumentTypeError("must be the name of a token: lower-case letters, digits and dashes")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= _LONGEST_WAIT:
        raise argparse.ArgumentTypeError(f"must be from 0 to {_LONGEST_WAIT} seconds, not {text}")
    return seconds
