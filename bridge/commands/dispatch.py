"""Run one of the commands beside `mcp-bridge --stdio`, and return its exit code.

Commands other than `serve`, `connect`, `login`, `logout`, `doctor` and `config check` load no event loop.
"""

import argparse
import contextlib
import http.client
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

from ..config import xdg
from ..config.addresses import BadAddress, NotOurs
from ..config.credentials import BadCredential
from ..config.import_texts import BadImport
from ..config.tables import BadConfig
from ..core.exit_codes import EX_CONFIG, EX_FAILED, EX_INTERRUPTED, EX_OK, EX_UNAVAILABLE, EX_USAGE
from ..runtime.pinning import PinMismatch
from .add import add
from .admin import admin
from .approve import approve
from .change_servers import disable, enable, remove
from .client_config import client_config
from .command_options import command_parsers, commands_parser
from .completion import completion
from .config import config
from .connect.command import connect
from .control_client import ErrorResponse, Unreachable
from .doctor.command import doctor
from .env import env
from .help import help_, version
from .init import init
from .invocation import BadUsage, Invocation
from .login import login, logout
from .output import notice, notice_of_faults
from .parser import form_of
from .reload import reload, restart
from .running_daemon import ConfigSource, locate
from .serve import serve
from .sessions import sessions
from .status import ps, status
from .token import token


class _Lazy:
    """A command whose module is imported when it runs, so that other commands start faster."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __call__(self, invocation: Invocation) -> int:
        run: Callable[[Invocation], int] = getattr(import_module(f".{self._module}", __package__), self._name)
        return run(invocation)


def _edit(invocation: Invocation) -> int:
    from .edit_file import edit_file  # noqa: PLC0415 - tempfile would delay the other commands

    return edit_file(invocation)


def _service(invocation: Invocation) -> int:
    from .systemd_service.command import service  # noqa: PLC0415 - likewise importlib.metadata

    return service(invocation)


_COMMANDS: Final[Mapping[str, Callable[[Invocation], int]]] = {
    "serve": serve,
    "init": init,
    "add": add,
    "remove": remove,
    "enable": enable,
    "disable": disable,
    "edit": _edit,
    "service": _service,
    "status": status,
    "ps": ps,
    "sessions": sessions,
    "logs": _Lazy("logs", "logs"),
    "tap": _Lazy("tap", "tap"),
    "tools": _Lazy("tools", "tools"),
    "call": _Lazy("call", "call"),
    "prompts": _Lazy("prompts", "prompts"),
    "prompt": _Lazy("prompts", "prompt"),
    "resources": _Lazy("resources", "resources"),
    "read": _Lazy("resources", "read"),
    "connect": connect,
    "restart": restart,
    "reload": reload,
    "env": env,
    "config": config,
    "approve": approve,
    "token": token,
    "login": login,
    "logout": logout,
    "client-config": client_config,
    "admin": admin,
    "doctor": doctor,
    "completion": completion,
    "help": help_,
    "version": version,
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
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    options = _parsed(arguments)
    try:
        source = _source(options, environment)
        return _COMMANDS[options.command](Invocation(options, source, environment))
    except BadConfig as fault:
        notice_of_faults(fault)
        return EX_CONFIG
    except (BadCredential, BadImport) as fault:
        return _failed(EX_CONFIG, fault)
    except (Unreachable, NotOurs) as fault:
        return _failed(EX_UNAVAILABLE, fault)
    except (BadAddress, BadUsage) as fault:
        return _failed(EX_USAGE, fault)
    except (ErrorResponse, PinMismatch) as fault:
        return _failed(EX_FAILED, fault)
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except BrokenPipeError:
        # A pager or `head` has read enough.
        return EX_OK
    except (ConnectionError, TimeoutError, http.client.HTTPException) as fault:
        return _failed(EX_UNAVAILABLE, f"the connection to the daemon was lost: {fault}")
    except OSError as fault:
        # Most likely the disk is full to which stdout is redirected.
        return _failed(EX_FAILED, fault)


def _parsed(arguments: list[str]) -> argparse.Namespace:
    # Only the errors of `serve` are read by programs.
    form = form_of(arguments) if arguments[0] == "serve" else "text"
    words: list[str] = []
    if arguments[0] == "add" and "--" in arguments:
        # The command of the server has options of its own.
        at = arguments.index("--")
        arguments, words = arguments[:at], arguments[at + 1 :]
    options, rest = commands_parser(form).parse_known_args(arguments)
    # argparse assigns no value to an optional argument that follows an option, as in `config import --write FILE`.
    if options.command == "config" and options.file is None and len(rest) == 1 and _is_file(rest[0]):
        options.file, rest = Path(rest[0]), []
    if options.command == "add":
        options.words += words
    if rest:
        parser = command_parsers(form)[options.command]
        if options.command == "add":
            parser.error(
                f"unrecognized arguments: {' '.join(rest)}; put the command of the server last, after --"
            )
        parser.unrecognized(rest)
    return options


def _is_file(word: str) -> bool:
    return word == "-" or not word.startswith("-")


def _source(options: argparse.Namespace, environment: Mapping[str, str]) -> ConfigSource:
    """Return the file and the variables for a command; a file that the user has not named is written to stderr."""
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
