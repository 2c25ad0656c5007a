"""Store the eras of servers across restarts of the daemon, in one file of the state directory.

A fact is stored under an HMAC of the arguments, working directory and environment of a command and of the identity and times
of the files that it names. A changed program has therefore no facts, and the file contains no secret.
"""

import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from ...transports.options import Launch
from ..config.command_files import find_command_files, runs_unknown
from ..core.era_cache import FACT_SECONDS

# How long a fact is valid (seconds). Facts of a command that fetches or looks up its program are valid for `FACT_SECONDS`.
VALID: Final = 7 * 24 * 60 * 60.0
# How far the clock may have been set back since a fact was stored (seconds).
_SKEW: Final = 60.0
# How many facts are stored, the newest; and the size of the largest file that is read (bytes).
_MOST: Final = 512
_LARGEST: Final = 256 * 1024


class Fact(msgspec.Struct, frozen=True):
    """Which eras a server speaks, None where that is not known. `since` is in seconds since the epoch."""

    modern: bool | None
    legacy: bool | None
    since: float


# Files of the first version have facts that were only presumed.
_VERSION: Final = 2


class _File(msgspec.Struct):
    key: str
    facts: dict[str, Fact]
    version: int = _VERSION


class EraStore:
    """The facts in one file. Its methods may block, and may be called on any thread. A file that cannot be used is ignored."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        # The key of the file as it was read last; empty when it must be read again.
        self._key = ""
        # Why the file was not written; empty if it was.
        self.fault = ""

    def find_name(self, launch: Launch, identity: tuple[str, ...] = ()) -> str:
        """Return the name of the fact of this command, as `recall`, without the file; empty where that must be read."""
        key = self._key
        if not key:
            return ""
        return _hmac(key, identity) if identity else _name(key, launch)

    def recall(self, launch: Launch, identity: tuple[str, ...] = ()) -> tuple[str, float, Fact | None]:
        """Return the name of the fact of this command, for how long one is valid (seconds), and the fact if it is valid.

        A remote server has an `identity` in place of a command. Its updates cannot be seen, so its facts are valid for
        `FACT_SECONDS`.
        """
        valid = FACT_SECONDS if identity else valid_seconds(launch)
        with self._lock:
            file = self._read() or self._write(_File(secrets.token_hex(32), {}))
            self._key = file.key
            name = _hmac(file.key, identity) if identity else _name(file.key, launch)
            fact = file.facts.get(name)
            age = time.time() - fact.since if fact is not None else 0.0
            return name, valid, fact if -_SKEW <= age <= valid else None

    def keep(self, name: str, modern: bool | None, legacy: bool | None) -> None:  # noqa: FBT001 - facts
        """Store a fact."""
        with self._lock:
            file = self._read()
            if file is None or (self._key and file.key != self._key):
                # The next `recall` finds the name of the fact in another file.
                self._key = ""
                return
            file.facts.pop(name, None)
            file.facts[name] = Fact(modern, legacy, time.time())
            while len(file.facts) > _MOST:
                del file.facts[next(iter(file.facts))]
            self._write(file)

    def forget(self, name: str) -> None:
        """Remove a fact."""
        with self._lock:
            file = self._read()
            if file is not None and file.facts.pop(name, None) is not None:
                self._write(file)

    def _read(self) -> _File | None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            found = os.fstat(descriptor)
            if not _is_own(found) or not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
                return None
            file = msgspec.json.decode(os.read(descriptor, _LARGEST), type=_File)
            return file if file.version == _VERSION and len(bytes.fromhex(file.key)) >= 16 else None
        except (OSError, ValueError):
            return None
        finally:
            os.close(descriptor)

    def _write(self, file: _File) -> _File:
        directory = self._path.parent
        draft = directory / f".{self._path.name}.{secrets.token_hex(8)}"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_own(directory.lstat(), 0o022):
                self.fault = f"the directory {directory} must be yours and writable by no other user"
                return file
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as out:  # noqa: PTH123 - a descriptor
                out.write(msgspec.json.encode(file))
            draft.replace(self._path)
            self.fault = ""
        except OSError as fault:
            self.fault = f"{self._path} cannot be written: {fault.strerror}"
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        return file


def valid_seconds(launch: Launch) -> float:
    """Return how long a fact of this command is valid (seconds)."""
    return FACT_SECONDS if runs_unknown(launch) else VALID


def _is_own(found: os.stat_result, others: int = 0o077) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & others


def _name(key: str, launch: Launch) -> str:
    identities: list[object] = []
    for path in find_command_files(launch).files:
        try:
            found = os.stat(path)  # noqa: PTH116 - a text
        except OSError:
            identities.append([path])
            continue
        times = [found.st_mtime_ns, found.st_ctime_ns]
        identities.append([path, found.st_dev, found.st_ino, found.st_size, *times])
    cwd = launch.cwd or os.getcwd()  # noqa: PTH109 - a text
    parts = [launch.argv, cwd, sorted(launch.env.items()), identities]
    return _hmac(key, parts)


def _hmac(key: str, parts: Sequence[object]) -> str:
    return hmac.new(bytes.fromhex(key), json.dumps(parts).encode(), hashlib.sha256).hexdigest()
