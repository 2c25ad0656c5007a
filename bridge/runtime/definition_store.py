"""Store the definitions of servers that were seen and approved, one file for each server in the state directory.

The file belongs to one command: it has an HMAC of the arguments and the directory, or of the URL, so that it contains no
secret. Another command begins a new record.
"""

import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from ..config.settings import ServerConfig
from ..core.definition_guard import KindRecord, Record

# The size of the largest file that is read (bytes).
_LARGEST: Final = 16 * 1024 * 1024


class _File(msgspec.Struct):
    key: str
    identity: str
    kinds: dict[str, KindRecord]
    version: int = 1


class DefinitionStore:
    """The records in one directory. A file that cannot be used is ignored. Its methods block, and may be called on any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        # The last number that was stored by server; added by `keep`.
        self._numbers: dict[str, int] = {}

    def load(self, config: ServerConfig) -> Record:
        """Return the record of a server, empty if there is none of its command."""
        with self._lock:
            file = self._read(self._path(config.name))
        if file is None or not hmac.compare_digest(file.identity, _identity(file.key, config)):
            return {}
        return file.kinds

    def keep(self, config: ServerConfig, kinds: bytes, number: int) -> str:
        """Store a record, as JSON, unless one with a higher number is stored. Return why it was not written, or nothing."""
        with self._lock:
            if number < self._numbers.get(config.name, 0):
                return ""
            self._numbers[config.name] = number
            key = secrets.token_hex(32)
            file = _File(key, _identity(key, config), msgspec.json.decode(kinds, type=Record))
            return self._write(self._path(config.name), msgspec.json.encode(file))

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _read(self, path: Path) -> _File | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with open(descriptor, "rb") as source:  # noqa: PTH123 - a descriptor
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or not _is_own(found) or found.st_size > _LARGEST:
                return None
            try:
                file = msgspec.json.decode(source.read(_LARGEST), type=_File)
                bytes.fromhex(file.key)
            except (OSError, ValueError):
                return None
            return file if file.version == 1 else None

    def _write(self, path: Path, content: bytes) -> str:
        draft = self._directory / f".{path.name}.{secrets.token_hex(8)}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_own(self._directory.lstat(), 0o022):
                return f"the directory {self._directory} must be yours and writable by no other user"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as out:  # noqa: PTH123 - a descriptor
                out.write(content)
            draft.replace(path)
        except OSError as fault:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            return f"{path} cannot be written: {fault.strerror}"
        return ""


def _is_own(found: os.stat_result, others: int = 0o077) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & others


def _identity(key: str, config: ServerConfig) -> str:
    launch = config.launch
    parts: list[object] = (
        [launch.argv, launch.cwd or ""] if config.remote is None else [*config.remote.identity]
    )
    return hmac.new(bytes.fromhex(key), json.dumps(parts).encode(), hashlib.sha256).hexdigest()
