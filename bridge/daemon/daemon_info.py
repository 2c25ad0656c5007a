"""Describe the environment of the daemon: its configuration file, working directory, umask and variables.

A command that runs in a shell has other variables than a daemon that a service manager has started, most often another PATH.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from ..config.child_environment import secret_names

# Sent in place of the value of a variable that may hold a secret.
HIDDEN: Final = "[secret]"


class DaemonInfo(msgspec.Struct, frozen=True):
    """The environment of one daemon. `umask` is that of its servers, octal.

    `config` is empty where the command line names the server.
    """

    version: str
    pid: int
    config: str
    cwd: str
    umask: str
    variables: dict[str, str]


def daemon_info(version: str, config: Path | None, umask: int, environment: Mapping[str, str]) -> DaemonInfo:
    """Return the environment of this process, without the values of secrets."""
    hidden = secret_names(environment)
    return DaemonInfo(
        version,
        os.getpid(),
        _readable(str(config or "")),
        _readable(_cwd()),
        f"{umask:04o}",
        {_readable(key): HIDDEN if key in hidden else _readable(value) for key, value in environment.items()},
    )


def _cwd() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        # The directory was removed.
        return ""


def _readable(text: str) -> str:
    # JSON has no form for bytes that are not UTF-8.
    return text.encode(errors="surrogateescape").decode(errors="replace")
