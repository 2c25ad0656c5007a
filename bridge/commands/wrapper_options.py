"""The options of `mcp-bridge --stdio`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..config.addresses import BadAddress, check_host, check_origin, check_path
from ..core.era_cache import CHOICES
from .parser import COMMANDS, Parser

_LEVELS: Final = ("debug", "info", "warning", "error", "none")
# What supergateway calls the transports, and which of our paths each leaves switched on.
OUTPUTS: Final = {"streamableHttp": ("mcp",), "sse": ("sse", "messages"), "ws": ("ws",)}

_EPILOG: Final = """\
The server is started without a shell, one process for each session. Without --token-file the token is the
one in $XDG_STATE_HOME/mcp-bridge/token, which is minted at the first start and kept until `mcp-bridge token rotate`. See
mcp-bridge(1) for limits and exit codes."""


def options_parser() -> Parser:
    """The grammar of the wrapper, `mcp-bridge --stdio`."""
    parser = Parser(
        prog="mcp-bridge",
        description="Put a local stdio MCP server on a socket, for clients of every protocol revision.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action=_Version, nargs=0, help="show program's version number and exit")
    add(
        "--stdio",
        metavar="CMD",
        nargs="?",
        const="",
        help="the server: one string, split like a shell would and not run by one; or --stdio -- CMD ARG...",
    )
    add("--host", default="127.0.0.1", help="the loopback address to listen on (default %(default)s)")
    add("--port", type=_port, default=8808, help="the TCP port, 0 for any free one (default %(default)s)")
    add(
        "--unix",
        type=_file,
        metavar="PATH",
        help="listen on this Unix socket as well; its peers need no token but your uid",
    )
    add("--token-file", type=_file, metavar="FILE", help="the bearer token, in a file of mode 0600")
    add("--token", action=_NoTokenHere, help=argparse.SUPPRESS)
    add("--no-auth", action="store_true", help="ask for no credential (loopback only)")
    add(
        "--tls-cert",
        type=_file,
        metavar="FILE",
        help="serve TLS 1.2+ and HTTP/2 with this certificate chain (PEM)",
    )
    add("--tls-key", type=_file, metavar="FILE", help="and this key (PEM)")
    add(
        "--env",
        action="append",
        default=[],
        metavar="KEY[=FILE]|@GROUP",
        help="give the server this variable of ours, one with the content of a file, or a group such as @desktop",
    )
    add(
        "--allowed-host",
        action="extend",
        nargs="+",
        default=[],
        type=_host,
        metavar="HOST[:PORT]",
        help="be called by this name too, as through a tunnel or a proxy on this machine",
    )
    add(
        "--cors",
        action="extend",
        nargs="+",
        default=[],
        type=_origin,
        metavar="ORIGIN",
        help="let pages of exactly this origin in, such as http://localhost:6274",
    )
    add(
        "--share",
        choices=["session", "client", "principal", "server"],
        default="",
        help="who shares a server process (default: a session has its own, stateless clients theirs by client, or by principal where the server is stateless too)",
    )
    add(
        "--era",
        choices=CHOICES,
        default="auto",
        help="which protocol eras the server speaks: those of the handshake, 2026-07-28, or both (default: ask it)",
    )
    add(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="change a limit; mcp-bridge(1) lists them",
    )
    add(
        "--log-level",
        "--logLevel",
        choices=_LEVELS,
        default="info",
        help="how much to say on stderr (default %(default)s)",
    )
    add(
        "--log-format",
        choices=["text", "json"],
        default="text",
        help="for people or for machines (default %(default)s)",
    )
    add("--allow-root", action="store_true", help="do not warn when running as root")
    paths = parser.add_argument_group("paths, with supergateway's names for them")
    path = paths.add_argument
    path(
        "--mcp-path",
        "--streamableHttpPath",
        type=_path,
        default="/mcp",
        metavar="PATH",
        help="Streamable HTTP (default %(default)s)",
    )
    path(
        "--sse-path",
        "--ssePath",
        type=_path,
        default="/sse",
        metavar="PATH",
        help="HTTP+SSE (default %(default)s)",
    )
    path(
        "--messages-path",
        "--messagePath",
        type=_path,
        default="/messages",
        metavar="PATH",
        help="where HTTP+SSE posts (default %(default)s)",
    )
    path("--ws-path", type=_path, default="/ws", metavar="PATH", help="WebSocket (default %(default)s)")
    path(
        "--health",
        "--healthEndpoint",
        action="append",
        default=[],
        type=_path,
        metavar="PATH",
        help="answers 'ok' without a credential (default /healthz)",
    )
    path(
        "--output-transport",
        "--outputTransport",
        choices=list(OUTPUTS),
        help="serve this transport only (default: all)",
    )
    path(
        "--session-timeout",
        "--sessionTimeout",
        type=_milliseconds,
        metavar="MS",
        help="end a session that is idle for so long",
    )
    path("--stateful", action="store_true", help="accepted: sessions are always kept")
    return parser


class _Formatter(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text != _EPILOG:
            return super()._fill_text(text, width, indent)
        commands = "".join(f"  {name:<15}{does}\n" for name, does in COMMANDS.items())
        return f"commands, of which each has a --help:\n{commands}\n{super()._fill_text(text, width, indent)}"


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - which takes longer than many a command

        sys.stdout.write(f"mcp-bridge {version('mcpbridged')}\n")
        parser.exit()


class _NoTokenHere(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error(
            "a token on the command line can be read by every user of the machine; use --token-file FILE"
        )


def _whole(name: str, low: int, high: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"a {name} is a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return convert


_port = _whole("port", 0, 65535)
_milliseconds = _whole("time in milliseconds", 1, 10**9)


def _told(check: Callable[[str], str]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        try:
            return check(text)
        except BadAddress as fault:
            raise argparse.ArgumentTypeError(str(fault)) from None

    return convert


def _file(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("an empty word names no file")
    return Path(text)


_path = _told(check_path)
_origin = _told(check_origin)
_host = _told(check_host)
