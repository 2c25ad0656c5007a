"""The command line: every option understood, checked and turned into `Settings`.

Wrong usage ends with 64 before anything is started. The daemon is imported only when there is something to serve, so
that `--version` and `--help` are instant.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from .addresses import BadAddress, NotLoopback, check_host, check_loopback, check_origin, check_path
from .eras import CHOICES

if TYPE_CHECKING:
    from ..validators.limits import Limits
    from .settings import Settings

EX_USAGE: Final = 64
EX_SOFTWARE: Final = 70
EX_CONFIG: Final = 78
EX_INTERRUPTED: Final = 130
_STDERR: Final = 2

_LEVELS: Final = ("debug", "info", "warning", "error", "none")
# What supergateway calls the transports, and which of our paths each leaves switched on.
_OUTPUTS: Final = {"streamableHttp": ("mcp",), "sse": ("sse", "messages"), "ws": ("ws",)}

# What the first word may be, and what it does.
COMMANDS: Final = {
    "serve": "run the servers of a configuration file",
    "status": "how the daemon and its servers are",
    "ps": "the processes that run",
    "logs": "what a server has said on stderr, and what happened to it",
    "tap": "watch the messages of a server pass",
    "tools": "list the tools of a server",
    "call": "call a tool of a server",
    "connect": "be a server behind a bridge on our own standard streams, for clients that only start commands",
    "restart": "end the processes of a server; the next call starts them again",
    "reload": "let the daemon read its configuration again",
    "env": "show the environment that a server gets",
    "config": "check, show or import a configuration, or print its JSON Schema",
    "approve": "pin what servers start, so that nothing else is started in its place",
    "token": "make, list, revoke or rotate tokens",
    "client-config": "print what a client must be told, ready to paste",
    "doctor": "say what is wrong with this machine and this configuration",
    "completion": "print the completion for a shell",
}

_EPILOG: Final = """\
The server is started without a shell, one process for each session. Without --token-file the token is the
one in $XDG_STATE_HOME/mcp-bridge/token, which is minted at the first start and kept until `mcp-bridge token rotate`. See
mcp-bridge(1) for limits and exit codes."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are 64, and are written in the form that the log has."""

    form = "text"

    def error(self, message: str) -> NoReturn:
        """Leave for wrong usage."""
        self.give_up(EX_USAGE, message, f"Try '{self.prog} --help'.\n")

    def give_up(self, code: int, reason: str, hint: str = "") -> NoReturn:
        """Leave with this code, and say why."""
        if self.form == "json":
            from .log import LineLog  # noqa: PLC0415 - only where something is wrong

            LineLog(form=self.form).always("error", "cannot_start", reason, reason=reason, code=code)
            self.exit(code)
        self.exit(code, f"mcp-bridge: {reason}\n{hint}")


def form_of(arguments: Sequence[str]) -> str:
    """Return the form of the log that these arguments choose, also where others of them are wrong."""
    given = arguments[: arguments.index("--")] if "--" in arguments else arguments
    form = "text"
    for word, following in pairwise([*given, ""]):
        option, equals, value = word.partition("=")
        if option == "--log-format":
            form = value if equals else following
    return form


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the program and leave with its exit code."""
    _open_standard_streams()
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        if form_of(arguments) == "json":
            from .log import LineLog  # noqa: PLC0415 - the others need no log so early

            LineLog(form="json").take_over()
        if arguments and arguments[0] in COMMANDS:
            from .door import command  # noqa: PLC0415 - see the module's docstring

            sys.exit(command(arguments, dict(os.environ)))
        settings = read_arguments(arguments, dict(os.environ))
        from .daemon import run  # noqa: PLC0415 - see the module's docstring

        sys.exit(run(settings, dict(os.environ)))
    except KeyboardInterrupt:  # so early that nothing has begun
        sys.exit(EX_INTERRUPTED)
    finally:
        _let_go_of_standard_streams()


def _open_standard_streams() -> None:
    # A socket must not become what we are told on, or what we say things to.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - until we exit


def _let_go_of_standard_streams() -> None:
    # What cannot be written now is tried once more at our exit, where a fault would be a traceback and another exit code.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def read_arguments(arguments: list[str], environment: dict[str, str]) -> "Settings":
    """The settings that these arguments mean. Leaves with 64 for wrong usage and 78 for unsafe values."""
    parser = options_parser()
    parser.form = form_of(arguments)
    if arguments and not arguments[0].startswith("-"):
        parser.error(f"there is no command {arguments[0]!r}; there are {', '.join(COMMANDS)}")
    if "--" in arguments:
        at = arguments.index("--")
        given, command = _parsed(parser, arguments[:at]), arguments[at + 1 :]
        if given.stdio:
            parser.error("--stdio takes the command either as one string or after --, not both")
    else:
        given = _parsed(parser, arguments)
        command = _split(parser, given.stdio or "")
    if given.stdio is None:
        parser.error("there is no server: say --stdio 'CMD ARG...'")
    if not command:
        parser.error("--stdio needs a command")
    return _settings(parser, given, tuple(command), environment)


def _parsed(parser: Parser, arguments: list[str]) -> argparse.Namespace:
    given, rest = parser.parse_known_args(arguments)
    if rest:
        hint = (
            "; a server with arguments is one word in quotes, or comes last, after --" if given.stdio else ""
        )
        parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    return given


def _settings(
    parser: Parser, given: argparse.Namespace, command: tuple[str, ...], environment: dict[str, str]
) -> "Settings":
    from ..transports.options import Launch, Paths, is_discovery, spellings  # noqa: PLC0415 - see the module's docstring
    from .environment import BadEnvironment, child_environment, withheld  # noqa: PLC0415
    from .settings import READY, WRAPPED, ServerConfig, Settings  # noqa: PLC0415

    _check_host(parser, given.host)
    if bool(given.tls_cert) != bool(given.tls_key):
        parser.error("--tls-cert and --tls-key go together")
    if given.no_auth and given.token_file:
        parser.error("--no-auth and --token-file contradict each other")
    try:
        variables, hidden = child_environment(environment, given.env)
    except BadEnvironment as fault:
        parser.give_up(EX_CONFIG, str(fault))
    paths = {
        "mcp": given.mcp_path,
        "sse": given.sse_path,
        "messages": given.messages_path,
        "ws": given.ws_path,
    }
    if given.output_transport:
        paths = {
            name: path if name in _OUTPUTS[given.output_transport] else "" for name, path in paths.items()
        }
    health = tuple(given.health) or ("/healthz",)
    used = [path for path in [*paths.values(), *health, READY] if path]
    for path in used:
        if is_discovery(path) and path not in health:
            parser.error(f"a path of OAuth discovery leads to no server: {path}")
        # With and without a slash at its end a path is the same.
        if sum(path in spellings(other) for other in used) > 1:
            parser.error(f"two of the paths are the same: {path}")
    limits = _limits(parser, given.limit, given.session_timeout)
    server = ServerConfig(
        WRAPPED,
        Launch(command, variables),
        given.era,
        given.share,
        limits=limits,
        hidden=hidden,
        withheld=withheld(environment, variables),
    )
    return Settings(
        servers=(server,),
        root=WRAPPED,
        host=given.host,
        port=given.port,
        unix=given.unix,
        authenticate=not given.no_auth,
        token_file=given.token_file,
        tls_certificate=given.tls_cert,
        tls_key=given.tls_key,
        hosts=frozenset(given.allowed_host),
        origins=frozenset(given.cors),
        paths=Paths(**paths),
        health=health,
        limits=limits,
        log_level=given.log_level,
        log_format=given.log_format,
        as_root=given.allow_root,
    )


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
        choices=list(_OUTPUTS),
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


def _split(parser: Parser, command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as fault:
        parser.error(f"--stdio cannot be split into words: {fault}")


def _check_host(parser: Parser, host: str) -> None:
    try:
        check_loopback(host)
    except NotLoopback as fault:
        parser.give_up(EX_CONFIG, f"--host {fault}")
    except BadAddress as fault:
        parser.error(f"--host {fault}")


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


def _limits(parser: Parser, changes: list[str], session_timeout: int | None) -> "Limits":
    from ..validators.limits import Limits  # noqa: PLC0415 - see the module's docstring
    from .settings import BadLimit, changed_limits  # noqa: PLC0415

    values = dict(_change(change) for change in changes)
    if session_timeout is not None:
        values["session_idle_seconds"] = session_timeout / 1000
    try:
        return changed_limits(Limits(), values)
    except BadLimit as fault:
        parser.error(f"--limit: {fault}")


def _change(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, float(value) if "." in value else int(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    main()
