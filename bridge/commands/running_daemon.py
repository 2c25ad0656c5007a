"""Find the running daemon, and with it the configuration and the variables for a command.

The rule for all commands: `--config` names the file. Without it the file is that of the daemon that responds on the default
socket. Without a daemon it is the default file. If the daemon uses that file, the variables are those of the daemon.
"""

import http.client
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs
import msgspec

from ..config import checks, schema, tables, xdg
from ..config.settings import CONTROL
from ..config.tables import BadConfig
from ..daemon.daemon_info import HIDDEN, DaemonInfo
from .control_client import ErrorResponse, Unreachable, request

# For the description of the daemon (seconds); after that the command continues without it.
_TIMEOUT: Final = 3.0


@attrs.frozen
class ConfigSource:
    """The configuration file of a command, and the variables with which the daemon reads it.

    `daemon` describes the running daemon if it uses this file, `unix` is its socket, and `other` is the file that the running
    daemon uses instead.
    """

    file: Path
    environment: Mapping[str, str]
    daemon: DaemonInfo | None = None
    unix: Path | None = None
    other: Path | None = None


def locate(given: Path | None, environment: Mapping[str, str]) -> ConfigSource:
    """Return the source for a command with this `--config`, if any. Sends a request to the daemon, if it runs."""
    usual = given or xdg.default_path(environment)
    # The usual file may name another socket than the file that the daemon was started with.
    sockets = [_socket(usual, environment), *([] if given else [xdg.default_socket(environment)])]
    unix, daemon = _responding(sockets)
    if daemon is None or not daemon.config:
        return ConfigSource(usual, environment)
    file = Path(daemon.config)
    if given is not None and not _is_same(given, file):
        return ConfigSource(given, environment, other=file)
    return ConfigSource(given or file, _merged(daemon.variables, environment), daemon, unix)


def _socket(file: Path, environment: Mapping[str, str]) -> Path | None:
    try:
        listen = tables.read(file).listen if file.exists() else schema.Listen()
        return checks.socket_path(listen.unix, environment)
    except (BadConfig, OSError):
        return xdg.default_socket(environment)


def _responding(sockets: Iterable[Path | None]) -> tuple[Path | None, DaemonInfo | None]:
    for unix in dict.fromkeys(sockets):
        if unix is not None and (daemon := _described(unix)) is not None:
            return unix, daemon
    return None, None


def _described(unix: Path) -> DaemonInfo | None:
    try:
        return msgspec.convert(request(unix, "GET", f"{CONTROL}/daemon", _TIMEOUT), DaemonInfo)
    except (Unreachable, ErrorResponse, OSError, http.client.HTTPException, msgspec.ValidationError):
        # No daemon runs, or it has another version.
        return None


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _merged(theirs: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    # Values that the daemon does not send are needed by helpers; this shell may have them.
    return {name: ours.get(name, value) if value == HIDDEN else value for name, value in theirs.items()}


def not_in_path(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Return the directories of our PATH that are not in another PATH, in order."""
    known = theirs.get("PATH", os.defpath).split(os.pathsep)
    found = ours.get("PATH", os.defpath).split(os.pathsep)
    return [directory for directory in dict.fromkeys(found) if directory and directory not in known]
