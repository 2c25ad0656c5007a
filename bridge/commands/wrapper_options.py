"""The options of `mcp-bridge --stdio`."""

import argparse
import sys
from pathlib import Path
from typing import Final

from ...validators.version import VERSION
from ..config.addresses import DEFAULT_PORT
from ..core.era_cache import CHOICES
from ..log_levels import LEVELS
from . import option_types
from .parser import COMMANDS, Parser
from .peer_server_options import OUTPUTS, add_origins, add_peer_options
from .wrapper_sandbox import add_sandbox_options

_EPILOG: Final = """\
The server is started without a shell, one process for each session. The default token is in
$XDG_STATE_HOME/mcp-bridge/token. It is created at the first start and valid until `mcp-bridge token rotate`. See
mcp-bridge(1) for limits and exit codes."""
_EXAMPLES: Final = """\
Examples:
  mcp-bridge --stdio 'npx -y @modelcontextprotocol/server-everything'
  mcp-bridge --port 9000 --env API_KEY --stdio -- python3 server.py
  mcp-bridge serve --config config.toml
"""


def options_parser() -> Parser:
    """Return the grammar of the wrapper, `mcp-bridge --stdio`."""
    parser = Parser(
        prog="mcp-bridge",
        description="Expose a local stdio MCP server over HTTP and WebSocket, for clients of every protocol revision.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action=_Version, nargs=0, help="print the version and exit")
    add(
        "--stdio",
        metavar="CMD",
        nargs="?",
        const="",
        help="server command: one string, parsed with shell quoting rules (no shell is involved); or --stdio -- CMD ARG...",
    )
    add(
        "--host",
        default="127.0.0.1",
        help="loopback address to listen on (default %(default)s)",
    )
    add(
        "--port",
        type=option_types.port,
        default=DEFAULT_PORT,
        help="TCP port, 0 for a free one (default %(default)s)",
    )
    add(
        "--unix",
        type=option_types.file,
        metavar="PATH",
        help="listen on this Unix socket as well; connections from your own user ID need no token",
    )
    add(
        "--token-file",
        type=option_types.file,
        metavar="FILE",
        help="file of mode 0600 with the bearer token (default: the token that is created at the first start)",
    )
    add("--no-auth", action="store_true", help="disable authentication (loopback only)")
    add(
        "--tls-cert",
        type=option_types.file,
        metavar="FILE",
        help="TLS certificate chain (PEM); enables TLS 1.2+ and HTTP/2",
    )
    add("--tls-key", type=option_types.file, metavar="FILE", help="TLS private key (PEM)")
    add(
        "--env",
        action="append",
        default=[],
        metavar="KEY[=VALUE]|@GROUP",
        help="pass environment variable KEY through to the server, or set it to VALUE (visible in ps), or pass a group such as @desktop",
    )
    add(
        "--env-file",
        action="append",
        default=[],
        type=option_types.file,
        metavar="FILE",
        help="file of mode 0600 with KEY=VALUE lines: more environment variables, such as secrets",
    )
    add("--cwd", type=Path, metavar="DIR", help="working directory of the server (default: this one)")
    add(
        "--allowed-host",
        action="extend",
        nargs="+",
        default=[],
        type=option_types.host,
        metavar="HOST[:PORT]",
        help="additional allowed Host header (SSH tunnel, reverse proxy)",
    )
    add(
        "--cors",
        action=option_types.CallingAction,
        on_option=add_origins,
        nargs="*",
        default=[],
        metavar="ORIGIN",
        help="allow cross-origin requests from this origin (exact match), such as http://localhost:6274",
    )
    add_sandbox_options(add)
    add(
        "--share",
        choices=["session", "client", "principal", "server"],
        default="",
        help="which clients share a server process (default: one process for each session; for stateless clients one for each client, or for each principal if the server is stateless too)",
    )
    add(
        "--era",
        choices=CHOICES,
        default="auto",
        help="MCP revisions that the server supports: legacy (2024-11-05 to 2025-11-25), modern (2026-07-28), or both (default: detect them)",
    )
    add("--limit", action="append", default=[], metavar="NAME=NUMBER", help="set a limit; see mcp-bridge(1)")
    add(
        "--log-level",
        "--logLevel",
        type=str.lower,
        choices=LEVELS,
        default="info",
        help="log level (default %(default)s)",
    )
    add("--log-format", choices=["text", "json"], default="text", help="log format (default %(default)s)")
    add("--allow-root", action="store_true", help="do not warn when running as root")
    paths = parser.add_argument_group("paths and other options, also under the names that other bridges use")
    path = paths.add_argument
    path(
        "--mcp-path",
        "--streamableHttpPath",
        type=option_types.path,
        metavar="PATH",
        help="Streamable HTTP (default /mcp)",
    )
    path(
        "--sse-path",
        "--ssePath",
        type=option_types.path,
        metavar="PATH",
        help="HTTP+SSE (default /sse)",
    )
    path(
        "--messages-path",
        "--messagePath",
        type=option_types.path,
        metavar="PATH",
        help="POST endpoint of HTTP+SSE (default /messages)",
    )
    path("--ws-path", type=option_types.path, metavar="PATH", help="WebSocket (default /ws)")
    path(
        "--pipe-path",
        type=option_types.path,
        metavar="PATH",
        help="lines over an upgraded local connection, for `mcp-bridge connect` (default /pipe)",
    )
    path(
        "--health",
        "--healthEndpoint",
        action="append",
        default=[],
        type=option_types.path,
        metavar="PATH",
        help="health check endpoint, without authentication (default /healthz)",
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
        type=option_types.milliseconds,
        metavar="MS",
        help="close a session that is idle for this long (milliseconds)",
    )
    path(
        "--stateful",
        action="store_true",
        help="accepted for compatibility and ignored: sessions are always stateful",
    )
    add_peer_options(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


class _Formatter(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text != _EPILOG:
            return super()._fill_text(text, width, indent)
        commands = "".join(f"  {name:<15}{help_}\n" for name, help_ in COMMANDS.items())
        head = "Commands (run `mcp-bridge COMMAND --help` for details):"
        return f"{head}\n{commands}\n{super()._fill_text(text, width, indent)}\n\n{_EXAMPLES}"


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        sys.stdout.write(f"mcp-bridge {VERSION}\n")
        parser.exit()
