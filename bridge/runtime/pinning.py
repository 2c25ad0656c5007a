"""Compare what a server starts with the pin that its operator has approved.

`mcp-bridge approve` writes a pin into the configuration: the SHA-256 of the command, of the names of its variables and of the
content of the files that it executes. The pin is compared before each start. A pin is no signature, because a user who can
write the configuration can approve as well; it finds a command or a program that was changed without that.
"""

import hashlib
import json
import os
import stat
import time
from typing import Final

import attrs

from ...transports.options import SpawnFailed
from ..config.command_files import find_command_files
from ..config.settings import ServerConfig
from ..core.exit_codes import ReportedError

# The version of the pinned data.
_FORMAT: Final = "mcp-bridge pin 1"
# A larger file is not read (bytes).
LARGEST_PINNED: Final = 2**30
# A file that was changed within this time could change again with the same times (seconds).
_FRESH: Final = 2.0

_Identity = tuple[int, int, int, int, int]


class PinMismatch(SpawnFailed, ReportedError):
    """A command without a pin, with another one, or with a file that cannot be read; the text has the reason."""


@attrs.frozen
class Subject:
    """The pinned data. `files` are those that the command executes (command_files.py), with the SHA-256 of their content.

    `data` are named files that are not pinned, `unknown` is what else may be executed.
    """

    program: str
    argv: tuple[str, ...]
    cwd: str
    variables: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    data: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def pin(self) -> str:
        """The value of the key `pin`."""
        parts = [_FORMAT, self.program, self.argv, self.cwd, sorted(self.variables), self.files]
        return f"sha256:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


class PinChecker:
    """Check commands, and store the digests of files that have not changed since."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[_Identity, str]] = {}

    def check(self, config: ServerConfig) -> None:
        """Check the command of a server. May block. Raises PinMismatch."""
        if not config.pin:
            raise PinMismatch(f"not approved: the server {config.name} has no pin; {_fix(config.name)}")
        if self.subject(config).pin != config.pin:
            raise PinMismatch(
                f"not approved: what the server {config.name} starts is not what was approved; {_fix(config.name)}"
            )

    def subject(self, config: ServerConfig) -> Subject:
        """Return the pinned data of a server as it is now. Raises PinMismatch."""
        launch = config.launch
        found = find_command_files(launch)
        if not found.files:
            raise PinMismatch(f"not approved: there is no program {launch.argv[0]!r}")
        return Subject(
            found.files[0],
            launch.argv,
            launch.cwd or "",
            config.variables,
            tuple((path, self._digest(path)) for path in found.files),
            found.data,
            found.unknown,
        )

    def _digest(self, path: str) -> str:
        try:
            with open(path, "rb", opener=_unblocked) as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise PinMismatch(f"not approved: {path} is no regular file")
                if found.st_size > LARGEST_PINNED:
                    raise PinMismatch(
                        f"not approved: {path} has {found.st_size} bytes and the limit is {LARGEST_PINNED}"
                    )
                identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                known, digest = self._known.get(path, (None, ""))
                if known != identity:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    if time.time() - found.st_ctime > _FRESH:
                        self._known[path] = identity, digest
                return digest
        except OSError as fault:
            raise PinMismatch(f"not approved: {path} cannot be read: {fault.strerror}") from None


def _fix(name: str) -> str:
    return f"look at its command, then run mcp-bridge approve {name}"


def _unblocked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
