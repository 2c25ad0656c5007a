"""One run of a command: its options, and the configuration and daemon that it works with."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ..core.exit_codes import EX_USAGE, ReportedError
from .output import notice

if TYPE_CHECKING:
    from .running_daemon import ConfigSource


class BadUsage(ReportedError):
    """Arguments that do not fit together; the text states why."""

    exit_code = EX_USAGE


@attrs.frozen
class Invocation:
    """A command with its options, and `environment`, the variables of this shell."""

    options: argparse.Namespace
    source: "ConfigSource"
    environment: Mapping[str, str]

    @property
    def file(self) -> Path:
        """Return the configuration file that the command works with."""
        return self.source.file

    def socket(self) -> Path:
        """Return the Unix socket of the daemon: that which has answered, or that which the configuration names.

        Raises BadConfig.
        """
        return self.source.unix or socket_of(self.file, self.environment)


def socket_of(file: Path, environment: Mapping[str, str]) -> Path:
    """Return the Unix socket that a configuration names; with a broken file the default one, if it exists. Raises BadConfig."""
    from ..config import checks, schema, tables, xdg  # noqa: PLC0415 - not every command needs the socket

    try:
        listen = tables.read(file).listen if file.exists() else schema.Listen()
    except tables.BadConfig as fault:
        usual = xdg.default_socket(environment)
        if not usual.exists():
            raise
        notice(f"{fault.summary}; using the daemon at {usual}")
        return usual
    unix = checks.socket_path(listen.unix, environment)
    if unix is None:
        raise tables.BadConfig(f"{file}: listen: unix is false, so commands cannot reach the daemon")
    return unix
