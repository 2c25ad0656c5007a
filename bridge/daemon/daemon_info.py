"""Describe where the daemon runs: its configuration, directory, umask and variables, as the commands ask for them.

A command that is run from a shell has other variables than a daemon that a service manager has started, mostly another PATH.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from ..config.child_environment import secrets_of

# The value of a variable that seems to hold a secret.
HIDDEN: Final = "[secret]"


class Surroundings(msgspec.Struct, frozen=True):
    """Those of one daemon. `config` is empty where the command line named the server; `umask` is that of its servers, octal."""

    version: str
    pid: int
    config: str
    cwd: str
    umask: str
    variables: dict[str, str]


def surroundings(
    version: str, config: Path | None, umask: int, environment: Mapping[str, str]
) -> Surroundings:
    """Return those of this process, without the values of secrets."""
    hidden = secrets_of(environment)
    return Surroundings(
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
        # It was removed.
        return ""


def _readable(text: str) -> str:
    # Bytes that are no UTF-8 cannot be written in JSON.
    return text.encode(errors="surrogateescape").decode(errors="replace")
