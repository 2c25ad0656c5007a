"""The sandbox of `mcp-bridge --stdio`: --sandbox, --read, --write, --connect and --no-network."""

import argparse
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..core.exit_codes import EX_CONFIG
from .parser import Parser

if TYPE_CHECKING:
    from ...transports.options import Launch

# Stands for the working directory of the server in --read and --write.
_WORKING_DIRECTORY: Final = "cwd"
_LARGEST_PORT: Final = 65535


def add_sandbox_options(add: Callable[..., Any]) -> None:
    """Add the options to a parser with its method `add_argument`."""
    add(
        "--sandbox",
        choices=["basic", "landlock", "bwrap"],
        default="basic",
        help="how far the server is confined; see SANDBOX in mcp-bridge.toml(5) (default %(default)s)",
    )
    for option, text in (
        ("--read", "may read in a sandbox"),
        ("--write", "may read and change in a sandbox"),
    ):
        add(
            option,
            action="append",
            default=[],
            type=_path,
            metavar="PATH",
            help=f"path that the server {text}; cwd is its working directory; may be repeated",
        )
    add(
        "--connect",
        action="append",
        default=[],
        type=_port,
        metavar="PORT",
        help="TCP port that the server may connect to (default: all); may be repeated",
    )
    add("--no-network", action="store_true", help="start the server without network")


def _path(text: str) -> str:
    return text if text == _WORKING_DIRECTORY else os.path.normpath(Path.cwd() / Path(text).expanduser())


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to {_LARGEST_PORT}, not {text!r}")
    return int(text)


def confined(
    parser: Parser,
    options: argparse.Namespace,
    launch: "Launch",
    environment: Mapping[str, str],
    others: Iterable[Path | None],
) -> "Launch":
    """Return the launch with its sandbox. `others` are files that no sandbox grants. Exits with 78 if it is not possible."""
    given = options.read, options.write, options.connect
    if options.sandbox == "basic" and not (any(given) or options.no_network):
        return launch
    import attrs  # noqa: PLC0415 - for a sandbox only

    from ..config import sandbox as rules  # noqa: PLC0415 - likewise
    from ..config.schema import Server  # noqa: PLC0415 - likewise
    from ..config.xdg import default_path  # noqa: PLC0415 - likewise

    read, write, connect = map(tuple, given)
    network = False if options.no_network else None
    server = Server(
        launch.argv, sandbox=options.sandbox, read=read, write=write, connect=connect, network=network
    )
    for key, reason in rules.check_sandbox(server):
        parser.fail(EX_CONFIG, f"{_option_of(key)}: {reason.removeprefix(f'{key}: ')}")
    hidden = rules.own_files(default_path(environment), environment, filter(None, others))
    try:
        found = rules.sandbox_of(server, launch, hidden)
    except rules.BadSandbox as fault:
        parser.fail(EX_CONFIG, f"{_option_of(fault.key)}: {str(fault).removeprefix(f'{fault.key}: ')}")
    key, reason = rules.why_path_missing(found)
    if reason:
        parser.fail(EX_CONFIG, f"{_option_of(key)}: {reason.removeprefix(f'{key}: ')}")
    return attrs.evolve(launch, sandbox=found)


def _option_of(key: str) -> str:
    return "--no-network" if key == "network" else f"--{key}"
