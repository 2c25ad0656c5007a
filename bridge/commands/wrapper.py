"""The entry point `mcp-bridge`: run a command, or check the options of the wrapper and turn them into `Settings`.

Wrong usage exits with 64 before any process is started. The daemon is imported only to serve, so that `--version` and `--help`
are fast.
"""

import argparse
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from ..core.exit_codes import EX_CONFIG, EX_INTERRUPTED
from ..core.suggestion import suggestion
from .output import notice
from .parser import COMMANDS, Parser, command_first, form_of, unknown_command

if TYPE_CHECKING:
    from ...validators.limits import Limits
    from ..config.settings import ServerConfig, Settings

_STDERR: Final = 2


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit with its code."""
    _open_standard_streams()
    arguments = command_first(sys.argv[1:] if argv is None else list(argv))
    try:
        if form_of(arguments) == "json":
            from ..log import LineLog  # noqa: PLC0415 - the text format needs no log so early

            LineLog(form="json").take_over()
        if arguments and arguments[0] == "__complete":
            from .complete_names import print_names  # noqa: PLC0415 - only for completion

            sys.exit(print_names(arguments[1:], dict(os.environ)))
        if arguments and arguments[0] not in COMMANDS:
            from .peer_client_options import connect_arguments, is_client_line  # noqa: PLC0415 - commands need none of it
            from .peer_lines import end_of_options, usual_spelling  # noqa: PLC0415 - likewise

            arguments = usual_spelling(arguments)
            if is_client_line(arguments, end_of_options(arguments)):
                arguments = ["connect", *connect_arguments(arguments)]
        if arguments and arguments[0] in COMMANDS and not _is_env_program(arguments):
            from .dispatch import run as run_command  # noqa: PLC0415 - see the module's docstring

            sys.exit(run_command(arguments, dict(os.environ)))
        settings = read_arguments(arguments, dict(os.environ))
        from ..daemon.app import run  # noqa: PLC0415 - see the module's docstring

        sys.exit(run(settings, dict(os.environ)))
    except KeyboardInterrupt:
        # No daemon runs yet.
        sys.exit(EX_INTERRUPTED)
    finally:
        _flush_standard_streams()


def _open_standard_streams() -> None:
    # Otherwise a socket could get the descriptor of a closed standard stream.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - until we exit


def _flush_standard_streams() -> None:
    # The interpreter flushes again at exit, where an error would print a traceback and change the exit code.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def read_arguments(arguments: list[str], environment: dict[str, str]) -> "Settings":
    """Return the settings for these arguments. Exits with 64 for wrong usage and 78 for unsafe values."""
    from .peer_lines import misplaced_option  # noqa: PLC0415 - commands need none of it
    from .wrapper_options import options_parser  # noqa: PLC0415 - likewise

    parser = options_parser()
    parser.form = form_of(arguments)
    if arguments and not arguments[0].startswith("-") and not _is_server_command(arguments):
        name = arguments[0]
        hint = f"; to start this program as a server: --stdio {name}" if shutil.which(name) else ""
        parser.error(f"{unknown_command(name)}{hint}")
    if "--" in arguments:
        at = arguments.index("--")
        options, command = _parsed(parser, arguments[:at]), arguments[at + 1 :]
        if options.stdio:
            parser.error("--stdio takes the command either as one string or after --, not both")
    else:
        options = _parsed(parser, arguments)
        command = _split(parser, options.stdio or "")
    if options.command and command:
        # mcp-proxy (PyPI) has --env KEY VALUE.
        pairs = f"; or write --env KEY={options.command[0]}" if "--env" in arguments else ""
        parser.error(
            f"unrecognized arguments: {' '.join(options.command)}; "
            f"quote the server command as one argument, or put it last, after --{pairs}"
        )
    if option := misplaced_option(options.command):
        notice(
            f"{option} goes to the server, because it follows the command; if it is meant for the bridge, write it before "
            "the command, and if not, write -- before the command"
        )
    command = command or options.command
    if options.command and command[0] in COMMANDS and shutil.which(command[0]) is None:
        parser.error(
            f"{command[0]} is a command of mcp-bridge, and comes before its options: mcp-bridge {command[0]}"
        )
    if not command and not options.named_servers:
        if options.stdio is None:
            parser.error(
                "no server given; use --stdio 'CMD ARG...' for one server, or for several "
                "`mcp-bridge init`, `mcp-bridge add NAME -- CMD ARG...` and `mcp-bridge serve`"
            )
        parser.error("--stdio needs a command")
    return _settings(parser, options, tuple(command), environment)


def _parsed(parser: Parser, arguments: list[str]) -> argparse.Namespace:
    options, rest = parser.parse_known_args(arguments)
    if rest:
        hint = "; quote the server command as one argument, or put it last, after --" if options.stdio else ""
        parser.unrecognized([*rest, *options.command], hint)
    return options


def _is_server_command(arguments: list[str]) -> bool:
    """Return whether these are a program and its arguments, as mcp-proxy has them. One word may be a mistyped command."""
    program = arguments[0]
    if "/" in program:
        return True
    return shutil.which(program) is not None and (len(arguments) > 1 or not suggestion(program, COMMANDS))


def _is_env_program(arguments: list[str]) -> bool:
    """Return whether these start a server with env(1), and not our command: the name of a server has no equals sign."""
    return arguments[0] == "env" and any("=" in word for word in arguments[1:2] if not word.startswith("-"))


def _settings(
    parser: Parser, options: argparse.Namespace, command: tuple[str, ...], environment: dict[str, str]
) -> "Settings":
    from ...transports.options import Paths, is_discovery, spellings  # noqa: PLC0415 - see the module's docstring
    from ..config.settings import READY, WRAPPED, Settings  # noqa: PLC0415 - likewise
    from .peer_server_options import paths_of  # noqa: PLC0415 - likewise

    _check_host(parser, options.host)
    if bool(options.tls_cert) != bool(options.tls_key):
        parser.error("--tls-cert and --tls-key must be given together")
    if options.no_auth and options.token_file:
        parser.error("--no-auth and --token-file cannot be combined")
    paths = paths_of(options)
    health = tuple(options.health) or ("/healthz",)
    used = [path for path in [*paths.values(), *health, READY] if path]
    for path in used:
        if is_discovery(path) and path not in health:
            parser.error(f"the path is reserved for OAuth discovery: {path}")
        # A path is the same with and without a slash at its end.
        if sum(path in spellings(other) for other in used) > 1:
            parser.error(f"the path is used twice: {path}")
    limits = _limits(parser, options.limit, options.session_timeout)
    servers = _servers(parser, options, command, environment, limits)
    return Settings(
        servers=servers,
        root=WRAPPED if command else "",
        host=options.host,
        port=options.port,
        unix=options.unix,
        authenticate=not options.no_auth,
        token_file=options.token_file,
        tls_certificate=options.tls_cert,
        tls_key=options.tls_key,
        hosts=frozenset(options.allowed_host),
        origins=frozenset(options.cors),
        paths=Paths(**paths),
        health=health,
        limits=limits,
        log_level=options.log_level,
        log_format=options.log_format,
        as_root=options.allow_root,
    )


def _servers(
    parser: Parser,
    options: argparse.Namespace,
    command: tuple[str, ...],
    environment: dict[str, str],
    limits: "Limits",
) -> "tuple[ServerConfig, ...]":
    """Return the server at the paths of the options, and those of `--named-server` below /servers."""
    from ...transports.options import Launch  # noqa: PLC0415 - see the module's docstring
    from ..config import child_environment as variables_of  # noqa: PLC0415 - likewise
    from ..config.credentials import BadCredential, read_private  # noqa: PLC0415 - likewise
    from ..config.schema import NAME  # noqa: PLC0415 - likewise
    from ..config.settings import WRAPPED, ServerConfig  # noqa: PLC0415 - likewise
    from .wrapper_sandbox import confined  # noqa: PLC0415 - likewise

    secret: dict[str, str] = {}
    try:
        for file in options.env_file:
            secret |= variables_of.read_variables(
                read_private(file, "environment file").decode(errors="replace")
            )
        variables, hidden = variables_of.child_environment(environment, options.env, secret)
    except (variables_of.BadEnvironment, BadCredential) as fault:
        parser.fail(EX_CONFIG, str(fault))
    visible = variables_of.secret_names(dict(entry.split("=", 1) for entry in options.env if "=" in entry))
    if visible:
        notice(
            f"--env: the value of {', '.join(sorted(visible))} is visible to every user of the machine (ps); use --env-file"
        )
    if options.cwd is not None and not options.cwd.is_dir():
        parser.fail(EX_CONFIG, f"--cwd: {options.cwd} is not a directory")
    cwd = None if options.cwd is None else str(options.cwd.absolute())
    commands = {WRAPPED: command} if command else {}
    for name, text in options.named_servers:
        commands[name] = tuple(_split(parser, text, "--named-server"))
        if not re.match(NAME, name) or not commands[name]:
            parser.error(
                f"--named-server needs a name of letters, digits and dashes, and a command: {name!r}"
            )
    private = (options.token_file, options.tls_key, options.unix, *options.env_file)
    return tuple(
        ServerConfig(
            name,
            confined(parser, options, Launch(words, variables, cwd), environment, private),
            options.era,
            options.share,
            limits=limits,
            hidden=hidden,
            withheld=variables_of.withheld(environment, variables),
        )
        for name, words in commands.items()
    )


def _split(parser: Parser, command: str, option: str = "--stdio") -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as fault:
        parser.error(f"{option} has invalid quoting: {fault}")


def _check_host(parser: Parser, host: str) -> None:
    from ..config.addresses import BadAddress, NotLoopback, check_loopback  # noqa: PLC0415 - see the module's docstring

    try:
        check_loopback(host)
    except NotLoopback as fault:
        parser.fail(EX_CONFIG, f"--host {fault}")
    except BadAddress as fault:
        parser.error(f"--host {fault}")


def _limits(parser: Parser, changes: list[str], session_timeout: int | None) -> "Limits":
    from ...validators.limits import Limits  # noqa: PLC0415 - see the module's docstring
    from ..config.settings import BadLimit, changed_limits  # noqa: PLC0415 - likewise

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
