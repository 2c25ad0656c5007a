"""Find files that other users could replace: those that a server executes or reads, and the socket of the daemon."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .command_files import find_command_files
from .credentials import BadCredential, check_directory, check_executed, check_trusted
from .settings import ServerConfig, Settings


def replaceable_server_files(server: ServerConfig) -> list[str]:
    """Return the reason for each file of a server that others could replace. Blocks.

    A missing file of secrets is left out, because its name may be a secret that was written in its place. The error is
    reported where the file is read.
    """
    outside = filter(os.path.lexists, server.outside)
    return [*replaceable_files(find_command_files(server.launch).files), *_faults(check_trusted, outside)]


def replaceable_files(files: Iterable[str]) -> Iterator[str]:
    """Yield the reason for each executed file that others could replace."""
    return _faults(check_executed, map(Path, files))


def replaceable_socket_places(settings: Settings) -> Iterator[str]:
    """Yield the reason why others could replace the Unix socket of the daemon."""
    return _faults(check_directory, [settings.unix.parent] if settings.unix is not None else [])


def _faults(check: Callable[[Path], None], paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            check(path)
        except BadCredential as fault:
            yield str(fault)
