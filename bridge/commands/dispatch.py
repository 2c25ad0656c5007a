"""Run one of the commands beside `mcp-bridge --stdio`, and return its exit code.

Only the module of that command is imported, and only its options are built. Commands other than `serve`, `connect`, `login`,
`logout`, `doctor` and `config check` load no event loop.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..config import xdg
from ..core.exit_codes import EX_FAILED, EX_INTERRUPTED, EX_OK, EX_UNAVAILABLE, ReportedError
from .command_options import parser_of
from .invocation import Invocation
from .output import notice, notice_of_faults
from .parser import form_of

if TYPE_CHECKING:
    from .running_daemon import ConfigSource

# The module and the function of each command. The function takes an `Invocation` and returns the exit code.
_COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "serve": ("serve", "serve"),
    "init": ("init", "init"),
    "add": ("add", "add"),
    "remove": ("change_servers", "remove"),
    "enable": ("change_servers", "enable"),
    "disable": ("change_servers", "disable"),
    "edit": ("edit_file", "edit_file"),
    "service": ("systemd_service.command", "service"),
    "status": ("status", "status"),
    "ps": ("status", "ps"),
    "sessions": ("sessions", "sessions"),
    "logs": ("logs", "logs"),
    "tap": ("tap", "tap"),
    "tools": ("tools", "tools"),
    "call": ("call", "call"),
    "prompts": ("prompts", "prompts"),
    "prompt": ("prompts", "prompt"),
    "resources": ("resources", "resources"),
    "read": ("resources", "read"),
    "connect": ("connect.command", "connect"),
    "restart": ("reload", "restart"),
    "reload": ("reload", "reload"),
    "env": ("env", "env"),
    "config": ("config", "config"),
    "rules": ("rules", "rules_"),
    "approve": ("approve", "approve"),
    "token": ("token", "token"),
    "login": ("login", "login"),
    "logout": ("login", "logout"),
    "client-config": ("client_config", "client_config"),
    "admin": ("admin", "admin"),
    "check": ("check", "check"),
    "doctor": ("doctor.command", "doctor"),
    "completion": ("completion", "completion"),
    "help": ("help", "help_"),
    "version": ("help", "version"),
}
# The commands that work with the file of the running daemon. The others read a file only for the path of the socket.
_WITH_DAEMON_FILE: Final = frozenset(
    {
        "add",
        "remove",
        "enable",
        "disable",
        "edit",
        "service",
        "reload",
        "env",
        "config",
        "rules",
        "approve",
        "token",
        "login",
        "logout",
        "client-config",
        "doctor",
    }
)


def run(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Run one command, and return its exit code. Exits with 64 for wrong usage."""
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # not of a replaced stream
    options = _parsed(arguments)
    try:
        source = _source(options, environment)
        return function_of(options.command)(Invocation(options, source, environment))
    except ReportedError as fault:
        notice_of_faults(fault)
        return fault.exit_code
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except BrokenPipeError:
        # A pager or `head` has read enough.
        return EX_OK
    except _connection_errors() as fault:
        return _failed(EX_UNAVAILABLE, f"the connection to the daemon was lost: {fault}")
    except OSError as fault:
        # Most likely the disk is full to which stdout is redirected.
        return _failed(EX_FAILED, fault)


def function_of(command: str) -> Callable[[Invocation], int]:
    """Return the function of a command, whose module is imported now."""
    module, name = _COMMANDS[command]
    found: Callable[[Invocation], int] = getattr(import_module(f".{module}", __package__), name)
    return found


def _connection_errors() -> tuple[type[Exception], ...]:
    from http.client import HTTPException  # noqa: PLC0415 - only after an error

    return ConnectionError, TimeoutError, HTTPException


def _parsed(arguments: list[str]) -> argparse.Namespace:
    name, *arguments = arguments
    # Only the errors of `serve` are read by programs.
    parser = parser_of(name, form_of(arguments) if name == "serve" else "text")
    words: list[str] = []
    if name == "add" and "--" in arguments:
        # The command of the server has options of its own.
        at = arguments.index("--")
        arguments, words = arguments[:at], arguments[at + 1 :]
    options, rest = parser.parse_known_args(arguments)
    # argparse assigns no value to an optional argument that follows an option, as in `config import --write FILE`.
    if name == "config" and options.file is None and len(rest) == 1 and _is_file(rest[0]):
        options.file, rest = Path(rest[0]), []
    if name == "add":
        options.words += words
    if rest:
        if name == "add":
            parser.error(
                f"unrecognized arguments: {' '.join(rest)}; put the command of the server last, after --"
            )
        parser.unrecognized(rest)
    return options


def _is_file(word: str) -> bool:
    return word == "-" or not word.startswith("-")


def _source(options: argparse.Namespace, environment: Mapping[str, str]) -> "ConfigSource":
    """Return the file and the variables for a command; a file that the user has not named is written to stderr."""
    from .running_daemon import ConfigSource, locate  # noqa: PLC0415 - after the check of the options

    usual = xdg.default_path(environment)
    if options.command not in _WITH_DAEMON_FILE or vars(options).get("action") == "schema":
        return ConfigSource(options.config or usual, environment)
    source = locate(options.config, environment)
    if options.config is None and source.file != usual:
        notice(f"using {source.file}, the configuration of the running daemon")
    return source


def _failed(code: int, fault: object) -> int:
    for line in str(fault).splitlines():
        notice(line)
    return code
