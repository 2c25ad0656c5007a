"""Keep credentials in one file of mode 0600, and lock them against other processes.

The file is `oauth.json` in the state directory. It is replaced as a whole, so that a reader finds either the former or the
new content. A file or directory that others can read or change is refused. Locks are those of flock(2): the kernel releases
them when their holder exits, for whatever reason.
"""

import errno
import fcntl
import hashlib
import math
import os
import secrets
import stat
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec
import trio

_FILE: Final = "oauth.json"
_VERSION: Final = 1
# The largest file (bytes), and the most entries.
_LARGEST: Final = 4 * 1024 * 1024
_MOST_ENTRIES: Final = 1024
# Time between two attempts to get a lock that another process holds (seconds): flock(2) has no event for it.
_FIRST_WAIT: Final = 0.02
_LONGEST_WAIT: Final = 0.25

T = TypeVar("T", bound=msgspec.Struct)


class StoreFault(Exception):
    """Raised for a store that cannot be used. The text names the path or program and the reason, never the content."""


class StoreBusy(StoreFault):
    """Raised for a lock that another process holds for too long."""


class Backend(Protocol):
    """Where entries are kept, as JSON text by key. The methods block. They raise StoreFault."""

    def read(self, key: str) -> bytes | None:
        """Return an entry, None if there is none."""
        ...

    def write(self, key: str, entry: bytes | None) -> None:
        """Replace an entry, or remove it with None."""
        ...

    def mark(self) -> object:
        """Return a value that differs after a change by any process; None if that cannot be known."""
        ...


class _File(msgspec.Struct):
    entries: dict[str, msgspec.Raw]
    version: int = _VERSION


class FileBackend:
    """Keeps the entries in one file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / _FILE
        self._directory = directory

    def read(self, key: str) -> bytes | None:
        """Return an entry, None if there is none. Raises StoreFault."""
        entry = self._read().entries.get(key)
        return None if entry is None else bytes(entry)

    def write(self, key: str, entry: bytes | None) -> None:
        """Replace or remove an entry. Raises StoreFault."""
        prepare(self._directory)
        with _locked_file(self._directory / f"{_FILE}.lock"):
            file = self._read()
            # The newest entry is the last.
            file.entries.pop(key, None)
            if entry is not None:
                file.entries[key] = msgspec.Raw(entry)
                if len(file.entries) > _MOST_ENTRIES:
                    raise StoreFault(
                        f"{self.path} has {_MOST_ENTRIES} entries, which is the limit; run `mcp-bridge logout` for some servers"
                    )
            self._replace(msgspec.json.encode(file))

    def mark(self) -> object:
        """Return what stat(2) has about the file. A replaced file has another inode or time."""
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size

    def _read(self) -> _File:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return _File({})
        except OSError as fault:
            reason = (
                "is a symbolic link" if fault.errno == errno.ELOOP else f"cannot be read: {fault.strerror}"
            )
            raise StoreFault(f"{self.path} {reason}") from None
        # Checked and read by descriptor, so that both are the same file.
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise StoreFault(f"{self.path} must be a regular file that belongs to you")
            if found.st_mode & 0o077:
                raise StoreFault(
                    f"{self.path} has mode {found.st_mode & 0o777:04o}; others must have no access: chmod 600 {self.path}"
                )
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(_LARGEST + 1)
        finally:
            os.close(descriptor)
        if len(data) > _LARGEST:
            raise StoreFault(f"{self.path} has more than {_LARGEST} bytes")
        try:
            content = msgspec.json.decode(data, type=_File)
        except (ValueError, RecursionError):
            raise StoreFault(
                f"{self.path} is not readable as credentials; remove it and run `mcp-bridge login` again"
            ) from None
        if content.version != _VERSION:
            raise StoreFault(
                f"{self.path} has version {content.version}; this mcp-bridge reads version {_VERSION}"
            )
        return content

    def _replace(self, data: bytes) -> None:
        draft = self.path.with_name(f".{_FILE}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(
                draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            with open(descriptor, "wb") as out:  # noqa: PTH123 - a descriptor
                out.write(data)
                out.flush()
                os.fsync(descriptor)
            draft.replace(self.path)
        except OSError as fault:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise StoreFault(f"{self.path} cannot be written: {fault.strerror}") from None


class CredentialStore:
    """Entries of some types in a backend, and the locks of the state directory."""

    def __init__(self, backend: Backend, directory: Path) -> None:
        self._backend = backend
        self._directory = directory

    def mark(self) -> object:
        """Return a value that differs after a change by any process; None if that cannot be known."""
        return self._backend.mark()

    async def read(self, key: str, kind: type[T]) -> T | None:
        """Return an entry, None if there is none or if it has another form. Raises StoreFault."""
        entry = await trio.to_thread.run_sync(self._backend.read, key)
        if entry is None:
            return None
        try:
            return msgspec.json.decode(entry, type=kind)
        except (ValueError, RecursionError):
            return None

    async def write(self, key: str, entry: msgspec.Struct) -> None:
        """Replace an entry. Raises StoreFault."""
        await trio.to_thread.run_sync(self._backend.write, key, msgspec.json.encode(entry))

    async def erase(self, key: str) -> None:
        """Remove an entry. Raises StoreFault."""
        await trio.to_thread.run_sync(self._backend.write, key, None)

    @asynccontextmanager
    async def locked(self, key: str, seconds: float = math.inf) -> AsyncGenerator[bool]:
        """Hold the lock of a key, for which other tasks and processes wait. Yields whether it had to wait.

        Raises StoreFault, and StoreBusy if another process still holds the lock after this time (seconds).
        """
        prepare(self._directory)
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        descriptor = _open_lock(self._directory / f"oauth-{name}.lock")
        try:
            waited = False
            deadline, pause = trio.current_time() + seconds, _FIRST_WAIT
            while not _try_lock(descriptor, self._directory):
                waited = True
                left = deadline - trio.current_time()
                if left <= 0:
                    raise StoreBusy("a login for the server is in progress in another process")
                await trio.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_WAIT)
            yield waited
        finally:
            os.close(descriptor)


def prepare(directory: Path) -> None:
    """Make the state directory, or check its owner and mode. Raises StoreFault."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as fault:
        raise StoreFault(f"the directory {directory} cannot be used: {fault.strerror}") from None
    if found.st_uid != os.geteuid() or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
        raise StoreFault(f"the directory {directory} must belong to you and be writable by you only")


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise StoreFault(f"the lock {path} cannot be opened: {fault.strerror}") from None


def _try_lock(descriptor: int, directory: Path) -> bool:
    """Return whether this process has the lock now. Raises StoreFault."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as fault:
        raise _no_locks(directory, fault) from None
    return True


def _no_locks(directory: Path, fault: OSError) -> StoreFault:
    """Return the fault of a file system without locks, such as some network file systems."""
    return StoreFault(f"no file in the directory {directory} can be locked: {fault.strerror}")


@contextmanager
def _locked_file(path: Path) -> Generator[None]:
    """Hold a lock that is never held for longer than a change of the file takes. Blocks."""
    descriptor = _open_lock(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as fault:
            raise _no_locks(path.parent, fault) from None
        yield
    finally:
        os.close(descriptor)
