"""The options and arguments of all commands."""

import argparse
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from .examples import epilog_of, is_epilog
from .moments import later, moment
from .parser import COMMANDS, Parser

# `connect --wait`: a day (seconds).
_LONGEST_WAIT: Final = 86400
# Of a count.
_MOST_DIGITS: Final = 10
_SERVER: Final = "name of a server of the daemon"


def parser_of(name: str, form: str = "text") -> Parser:
    """Return the grammar of one command. `form` is the format of its errors: text or json."""
    parser = Parser(prog=f"mcp-bridge {name}", **_texts(name))
    parser.set_defaults(command=name)
    return _filled(parser, name, form)


def commands_parser() -> Parser:
    """Return the grammar of all commands."""
    top = Parser(prog="mcp-bridge", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name, text in COMMANDS.items():
        _filled(commands.add_parser(name, help=text, **_texts(name)), name, "text")
    return top


def _texts(name: str) -> dict[str, Any]:
    text = COMMANDS[name]
    return {
        "description": f"{text[:1].upper()}{text[1:]}.",
        "epilog": epilog_of(name),
        "formatter_class": _Formatter,
        "allow_abbrev": False,
    }


def _filled(parser: Parser, name: str, form: str) -> Parser:
    parser.form = form
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration file (default: see mcp-bridge.toml(5))"
    )
    for add in _OPTIONS.get(name, ()):
        add(parser)
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--allow-root", action="store_true", help="run also as root, and every server too")
    serve.add_argument("--log-format", choices=["text", "json"], help="log format (default: see log.format)")


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--explain",
        nargs="+",
        metavar="WORD",
        help="PRINCIPAL SERVER METHOD [TOOL] of a request; prints each step and the key that decides",
    )


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


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="NAME", help=_SERVER)


def _add_named(named: str, parser: argparse.ArgumentParser) -> None:
    """Add the name of a tool or a prompt, and its arguments."""
    parser.add_argument(named, metavar=named.upper(), help=f"name of the {named}")
    parser.add_argument(
        "arguments",
        metavar="ARGUMENT",
        nargs="*",
        # Without a default, argparse names it in the error about missing arguments.
        default=[],
        help="KEY=VALUE, KEY:=JSON, KEY=@FILE, a JSON object, or - for a JSON object on stdin",
    )


def _add_uri(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("uri", metavar="URI", help="URI of the resource")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        default="",
        metavar="FILE",
        help="write binary content, or else the text, to this file; - is stdout",
    )


def _add_log_level(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-level",
        type=_log_level,
        metavar="LEVEL",
        help="log messages of the server to show (default: info on a terminal, otherwise none)",
    )


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="refresh every second")


def _add_restart(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="NAME", nargs="*", help=_SERVER)
    parser.add_argument("--all", action="store_true", help="restart every server")


def _add_approve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--definitions",
        action="store_true",
        help="approve changed tools, prompts and resource templates instead of the command",
    )
    parser.add_argument("--yes", action="store_true", help="with --definitions: approve without a question")


def _add_checklist(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checklist",
        action="store_true",
        help="print the deployment checklist, with the lines that do what is not done",
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="NAME", nargs="*", help=_SERVER)
    parser.add_argument("--all", action="store_true", help="check every server")


def _add_servers(text: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", nargs="+", metavar="NAME", help=text)


def _add_login(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "server", metavar="NAME|URL", help="name of a remote server in the configuration, or its URL"
    )
    add_oauth_options(parser)


def _add_open(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--open", action="store_true", help="open the link in the browser of the desktop (xdg-open)"
    )


def _add_shell(parser: argparse.ArgumentParser) -> None:
    from .completion_scripts import SHELLS  # noqa: PLC0415 - the other commands do not need it

    parser.add_argument("shell", choices=SHELLS)


def _add_topic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", nargs="?", metavar="COMMAND", help="name of a command")


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
        "--sandbox",
        choices=["basic", "landlock", "bwrap"],
        help="how far the server is confined (default basic)",
    )
    added.add_argument(
        "--read", action="append", metavar="PATH", help="path that it may read in a sandbox; may be repeated"
    )
    added.add_argument(
        "--write", action="append", metavar="PATH", help="path that it may read and change; may be repeated"
    )
    added.add_argument(
        "--connect",
        action="append",
        type=int,
        metavar="PORT",
        help="TCP port of its connections; may be repeated",
    )
    added.add_argument("--no-network", action="store_true", help="without network")
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
    service.add_argument(
        "--check-timer",
        action="store_true",
        help="for install: check the servers once a day too (mcp-bridge check --all)",
    )
    service.add_argument(
        "--allow-root",
        action="store_true",
        help="for install: run the service of root, and every server, as root",
    )
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
    from ..config.import_sources import CLIENTS as SOURCES  # noqa: PLC0415 - the other commands do not need it

    configured.add_argument("action", choices=["check", "show", "fmt", "import", "schema"])
    configured.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="for import: the configuration of a client, - for standard input, or the name of a client: "
        + ", ".join(SOURCES),
    )
    configured.add_argument("--json", action="store_true", help="for check, show and import: print JSON")
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
    from .client_snippets import CLIENTS  # noqa: PLC0415 - the other commands do not need it

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
    tokens.add_argument(
        "name", nargs="?", metavar="NAME", help="name of the token, for new, revoke and rotate"
    )
    tokens.add_argument(
        "--servers",
        nargs="+",
        metavar="SERVER",
        help="servers that a new token may use (default: all, or none with --aggregates)",
    )
    tokens.add_argument(
        "--aggregates",
        nargs="+",
        metavar="NAME",
        help="named aggregates that a new token may use (default: all with all servers, otherwise none)",
    )
    tokens.add_argument(
        "--expires", type=later, metavar="TIME", help="for new: when it expires, as 90d or 2027-01-31"
    )
    tokens.add_argument(
        "--read-only", action="store_true", help="for new: permit requests and tools that only read"
    )
    tokens.add_argument(
        "--overlap",
        type=_seconds,
        metavar="SECONDS",
        help="for rotate NAME: how long the former token stays valid (default 3600)",
    )
    tokens.add_argument("--json", action="store_true", help="print JSON, for list")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < _MOST_DIGITS):
        raise argparse.ArgumentTypeError(f"must be a number of entries, not {text}")
    return int(text)


def _log_level(text: str) -> str:
    from ...validators.stateless_request import LOG_LEVELS  # noqa: PLC0415 - only for this option

    if text not in ("none", *LOG_LEVELS):
        raise argparse.ArgumentTypeError(f"must be none or one of {', '.join(LOG_LEVELS)}")
    return text


def _token_name(text: str) -> str:
    from ..config.schema import NAME  # noqa: PLC0415 - only for this option

    if not re.match(NAME, text):
        raise argparse.ArgumentTypeError("must be the name of a token: lower-case letters, digits and dashes")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= _LONGEST_WAIT:
        raise argparse.ArgumentTypeError(f"must be from 0 to {_LONGEST_WAIT} seconds, not {text}")
    return seconds


_CONFIGURED: Final = partial(_add_servers, "name of a server of the configuration")
# The functions that add the options and arguments of each command, in the order of its help.
_OPTIONS: Final[Mapping[str, tuple[Callable[[argparse.ArgumentParser], None], ...]]] = {
    "serve": (_add_serve,),
    "add": (_add_add,),
    "remove": (_CONFIGURED,),
    "enable": (_CONFIGURED,),
    "disable": (_CONFIGURED,),
    "service": (_add_service,),
    "status": (_add_json, _add_watch),
    "ps": (_add_json,),
    "sessions": (_add_json,),
    "logs": (_add_logs,),
    "tap": (_add_tap,),
    "tools": (_add_server, _add_json),
    "call": (_add_server, partial(_add_named, "tool"), _add_json, _add_output, _add_log_level),
    "prompts": (_add_server, _add_json),
    "prompt": (_add_server, partial(_add_named, "prompt"), _add_json, _add_log_level),
    "resources": (_add_server, _add_json),
    "read": (_add_server, _add_uri, _add_json, _add_output, _add_log_level),
    "connect": (_add_connect,),
    "restart": (_add_restart, _add_json),
    "reload": (_add_json,),
    "env": (_add_server, _add_json),
    "config": (_add_config,),
    "rules": (_add_explain, _add_json),
    "approve": (partial(_add_servers, _SERVER), _add_approve, _add_json),
    "token": (_add_token,),
    "login": (_add_login,),
    "logout": (_add_login,),
    "client-config": (_add_client_config, _add_json),
    "admin": (_add_open,),
    "check": (_add_check, _add_json),
    "doctor": (_add_checklist, _add_json),
    "completion": (_add_shell,),
    "help": (_add_topic,),
    "version": (_add_json,),
}
