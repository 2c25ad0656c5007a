"""What other users could replace of what a server executes or reads, and of where the daemon listens."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .command_files import files_of
from .credentials import BadCredential, check_directory, check_executed, check_trusted
from .settings import ServerConfig, Settings


def replaceable_of(server: ServerConfig) -> list[str]:
    """Return what others could replace of the files of a server, each with the reason. Reads files, so it may take its time.

    A file outside of the configuration that does not exist is left out: its name may be a secret that was written in its place,
    and the fault is reported where the file is read.
    """
    outside = filter(os.path.lexists, server.outside)
    return [*replaceable_files(files_of(server.launch).files), *_faults(check_trusted, outside)]


def replaceable_files(files: Iterable[str]) -> Iterator[str]:
    """Yield the reason for each file that is executed and that others could replace."""
    return _faults(check_executed, map(Path, files))


def replaceable_places(settings: Settings) -> Iterator[str]:
    """Yield the reason where others could put another socket in the place of that of the daemon."""
    return _faults(check_directory, [settings.unix.parent] if settings.unix is not None else [])


def _faults(check: Callable[[Path], None], paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            check(path)
        except BadCredential as fault:
            yield str(fault)
