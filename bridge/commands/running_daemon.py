"""Find the daemon that runs, and with it the configuration and the variables that a command should work with.

The rule for all commands: `--config` names the file; without it the file is that of the daemon which answers on the usual
socket; without a daemon it is the usual file. Variables are those of the daemon where it reads that file.
"""

import http.client
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs
import msgspec

from ..config import schema
from ..config.schema import BadConfig
from ..config.settings import CONTROL
from ..daemon.surroundings import HIDDEN, Surroundings
from .control_client import NoDaemon, Refused, ask

# How long a daemon may take to describe itself, in seconds; a command goes on without it.
_PATIENCE: Final = 3.0


@attrs.frozen
class Place:
    """The configuration that a command works with, and the variables with which the daemon reads it.

    `daemon` is that which reads this file, `unix` where it answers, and `other` the file that a running daemon reads instead.
    """

    file: Path
    environment: Mapping[str, str]
    daemon: Surroundings | None = None
    unix: Path | None = None
    other: Path | None = None


def locate(given: Path | None, environment: Mapping[str, str]) -> Place:
    """Return the place for a command with this `--config`, if any. Asks the daemon, if one runs."""
    usual = given or schema.default_path(environment)
    # The usual file may name another socket than the file that the daemon was started with.
    sockets = [_socket(usual, environment), *([] if given else [schema.default_socket(environment)])]
    unix, daemon = _answering(sockets)
    if daemon is None or not daemon.config:
        return Place(usual, environment)
    file = Path(daemon.config)
    if given is not None and not _is_same(given, file):
        return Place(given, environment, other=file)
    return Place(given or file, _merged(daemon.variables, environment), daemon, unix)


def _socket(file: Path, environment: Mapping[str, str]) -> Path | None:
    try:
        listen = schema.read(file).listen if file.exists() else schema.Listen()
        return schema.socket_of(listen.unix, environment)
    except (BadConfig, OSError):
        return schema.default_socket(environment)


def _answering(sockets: Iterable[Path | None]) -> tuple[Path | None, Surroundings | None]:
    for unix in dict.fromkeys(sockets):
        if unix is not None and (daemon := _described(unix)) is not None:
            return unix, daemon
    return None, None


def _described(unix: Path) -> Surroundings | None:
    try:
        return msgspec.convert(ask(unix, "GET", f"{CONTROL}/daemon", _PATIENCE), Surroundings)
    except (NoDaemon, Refused, OSError, http.client.HTTPException, msgspec.ValidationError):
        # There is none, or it is of another version.
        return None


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _merged(theirs: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    # What it keeps to itself is needed by helpers, which find it in this shell if anywhere.
    return {name: ours.get(name, value) if value == HIDDEN else value for name, value in theirs.items()}


def not_in_path(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Return the directories of our PATH that another one lacks, in order."""
    known = theirs.get("PATH", os.defpath).split(os.pathsep)
    found = ours.get("PATH", os.defpath).split(os.pathsep)
    return [directory for directory in dict.fromkeys(found) if directory and directory not in known]
