"""The command line: every option understood, checked and turned into `Settings`.

Wrong usage ends with 64 before anything is started. The daemon is imported only when there is something to serve, so
that `--version` and `--help` are instant.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from ..config.addresses import BadAddress, NotLoopback, check_loopback
from ..core.exit_codes import EX_CONFIG, EX_INTERRUPTED
from .parser import COMMANDS, Parser, form_of
from .wrapper_options import OUTPUTS, options_parser

if TYPE_CHECKING:
    from ...validators.limits import Limits
    from ..config.settings import Settings

_STDERR: Final = 2


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the program and leave with its exit code."""
    _open_standard_streams()
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        if form_of(arguments) == "json":
            from ..log import LineLog  # noqa: PLC0415 - the others need no log so early

            LineLog(form="json").take_over()
        if arguments and arguments[0] in COMMANDS:
            from .dispatch import run as run_command  # noqa: PLC0415 - see the module's docstring

            sys.exit(run_command(arguments, dict(os.environ)))
        settings = read_arguments(arguments, dict(os.environ))
        from ..daemon.app import run  # noqa: PLC0415 - see the module's docstring

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
        parser.error(f"unknown command {arguments[0]!r}; commands: {', '.join(COMMANDS)}")
    if "--" in arguments:
        at = arguments.index("--")
        given, command = _parsed(parser, arguments[:at]), arguments[at + 1 :]
        if given.stdio:
            parser.error("--stdio takes the command either as one string or after --, not both")
    else:
        given = _parsed(parser, arguments)
        command = _split(parser, given.stdio or "")
    if given.stdio is None:
        parser.error("no server given; use --stdio 'CMD ARG...' or `mcp-bridge serve`")
    if not command:
        parser.error("--stdio needs a command")
    return _settings(parser, given, tuple(command), environment)


def _parsed(parser: Parser, arguments: list[str]) -> argparse.Namespace:
    given, rest = parser.parse_known_args(arguments)
    if rest:
        hint = "; quote the server command as one argument, or put it last, after --" if given.stdio else ""
        parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    return given


def _settings(
    parser: Parser, given: argparse.Namespace, command: tuple[str, ...], environment: dict[str, str]
) -> "Settings":
    from ...transports.options import Launch, Paths, is_discovery, spellings  # noqa: PLC0415 - see the module's docstring
    from ..config.child_environment import BadEnvironment, child_environment, withheld  # noqa: PLC0415
    from ..config.settings import READY, WRAPPED, ServerConfig, Settings  # noqa: PLC0415

    _check_host(parser, given.host)
    if bool(given.tls_cert) != bool(given.tls_key):
        parser.error("--tls-cert and --tls-key must be given together")
    if given.no_auth and given.token_file:
        parser.error("--no-auth and --token-file cannot be combined")
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
            name: path if name in OUTPUTS[given.output_transport] else "" for name, path in paths.items()
        }
    health = tuple(given.health) or ("/healthz",)
    used = [path for path in [*paths.values(), *health, READY] if path]
    for path in used:
        if is_discovery(path) and path not in health:
            parser.error(f"the path is reserved for OAuth discovery: {path}")
        # With and without a slash at its end a path is the same.
        if sum(path in spellings(other) for other in used) > 1:
            parser.error(f"the path is used twice: {path}")
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


def _split(parser: Parser, command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as fault:
        parser.error(f"--stdio has invalid quoting: {fault}")


def _check_host(parser: Parser, host: str) -> None:
    try:
        check_loopback(host)
    except NotLoopback as fault:
        parser.give_up(EX_CONFIG, f"--host {fault}")
    except BadAddress as fault:
        parser.error(f"--host {fault}")


def _limits(parser: Parser, changes: list[str], session_timeout: int | None) -> "Limits":
    from ...validators.limits import Limits  # noqa: PLC0415 - see the module's docstring
    from ..config.settings import BadLimit, changed_limits  # noqa: PLC0415

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
