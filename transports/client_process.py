"""Determine which client program sends the requests of a connection (ports.Exchange.caller).

HTTP requests come from the same client if they come from the same process: SO_PEERCRED of a Unix socket (unix(7)), or the
process that owns the other end of a loopback TCP connection (sock_diag(7), proc(5)). A stream that carries one client only,
such as a WebSocket, is a client itself.

A lookup happens on demand, once for each connection. A client that cannot be determined is unknown; this is never an error.
"""

import errno
import itertools
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import trio

from ..validators.client_directory import DIRECTORY_HEADER
from .socket_owner import owner_of_far_end

# The common name of all clients that cannot be determined.
UNKNOWN: Final = "unknown"
# Request header of the aggregate: the `Caller.name` of the client that a connection works for.
CLIENT_HEADER: Final = "mcp-bridge-client"
# The header in which the aggregate names the principal of a request.
PRINCIPAL_HEADER: Final = "mcp-bridge-principal"
# Request header of the command-line client. Its processes exit at once, so they must not count as clients of their own: on a
# Unix socket, whose peers have the uid of the daemon, the commands are one client with this name. Elsewhere they are unknown.
COMMAND_HEADER: Final = "mcp-bridge-command"
COMMAND: Final = "command"
# Headers that a proxy adds (RFC 9110, RFC 7239 and common practice). The process of a proxy is not the client.
_PROXIED: Final = frozenset({"forwarded", "via", "x-real-ip", COMMAND_HEADER})
_PROXIED_PREFIX: Final = "x-forwarded-"

# SO_PEERPIDFD in asm-generic/socket.h, since Linux 6.5. PA-RISC and SPARC have other numbers, and use the pid instead.
_SO_PEERPIDFD: Final = 77
# The uid_map of the first user namespace (user_namespaces(7)).
_ALL_IDS: Final = ["0", "0", "4294967295"]
_UCRED: Final = struct.Struct("3i")
_INT: Final = struct.Struct("i")

# Links under /proc/PID/fd that one lookup may read. Above that the client is unknown.
_MOST_LINKS: Final = 100_000
# Number of recently found processes that are searched first: one that connects again is found with few links.
_MOST_RECENT: Final = 16
# One lookup at a time, because lookups hold the interpreter lock and more would not be faster.
_lookups = trio.CapacityLimiter(1)


class Process:
    """A process, identified by its pid and start time (clock ticks after boot). Its connections share one object."""

    __slots__ = ("__weakref__", "_pidfd", "name", "pid")

    def __init__(self, pid: int, started: int, pidfd: int) -> None:
        self.pid = pid
        self.name = f"process-{pid}.{started}"
        # -1 where there is no pidfd.
        self._pidfd = pidfd

    def __del__(self) -> None:
        _close(self._pidfd)

    @property
    def exited(self) -> bool:
        """Whether the process has exited, even if its parent has not waited for it yet."""
        if self._pidfd >= 0:
            return _has_exited(self._pidfd)
        started = _status(self.pid)
        return started is None or self.name != f"process-{self.pid}.{started[1]}"


# Key: `Process.name`. Entries are kept as long as a connection or a server process refers to them.
_processes: WeakValueDictionary[str, Process] = WeakValueDictionary()


class Caller:
    """The client of one connection. `name` is empty before `look_up`.

    `known` is set where all requests under this name come from one client program.
    """

    __slots__ = (
        "__weakref__",
        "_ends",
        "_headers",
        "_looking",
        "_sock",
        "_trusted",
        "directory",
        "ended",
        "known",
        "name",
        "process",
    )

    def __init__(self, sock: socket.socket | None = None, *, trusted: bool = False, name: str = "") -> None:
        """Create a client. A `trusted` peer may name another client as the one that it works for."""
        self.name = name
        self.known = name not in ("", UNKNOWN)
        self.process: Process | None = None
        # The header Mcp-Cwd of the last request, or of the request that opened the stream or session; empty without it.
        self.directory = ""
        self.ended = False
        self._sock = sock
        self._trusted = trusted
        # Headers of the last request; the same object while a client repeats them.
        self._headers: Mapping[str, str] | None = None
        self._looking: trio.Event | None = None
        # Key: the object that added the callback. Value: a function called when the stream or session ends.
        self._ends: dict[object, Callable[[Caller], None]] = {}

    def note_headers(self, headers: Mapping[str, str]) -> None:
        """Check for headers of a proxy. After the first of them the client of the connection is unknown."""
        if headers is self._headers:
            return
        self._headers = headers
        self.note_directory(headers)
        if self._sock is not None and _is_proxied(headers):
            is_command = self._sock.family == socket.AF_UNIX and _is_command(headers)
            self._sock = None
            self._resolve(None)
            if is_command:
                self.name, self.known = COMMAND, True

    def note_directory(self, headers: Mapping[str, str]) -> None:
        """Store the directory of the client, for the aggregate."""
        self.directory = headers.get(DIRECTORY_HEADER, "")

    async def look_up(self) -> None:
        """Determine `name`, `known` and `process`. Later calls return at once."""
        while self._looking is not None:
            await self._looking.wait()
        sock = self._sock
        if self.name or sock is None:
            self.name = self.name or UNKNOWN
            return
        if sock.family == socket.AF_UNIX:
            self._resolve(_of_unix_socket(sock))
            return
        inode = _inode_of_far_end(sock)
        if inode is None:
            self._resolve(None)
            return
        self._looking = trio.Event()
        try:
            recent = [process.pid for process in _processes.values()][-_MOST_RECENT:]
            found = await trio.to_thread.run_sync(_find_owner, inode, recent, limiter=_lookups)
            self._resolve(None if found is None else _process(*found))
        finally:
            self._looking.set()
            self._looking = None

    def _resolve(self, process: Process | None) -> None:
        # A header of a proxy was received meanwhile.
        if self._sock is None:
            process = None
        self.process = process
        self.name = UNKNOWN if process is None else process.name
        self.known = process is not None

    def for_stream(self, headers: Mapping[str, str]) -> "tuple[Caller, bool]":
        """Return the client of a stream on this connection, and whether the client ends with the stream.

        The client is the stream itself, or the client that a trusted peer names.
        """
        named = headers.get(CLIENT_HEADER, "") if self._trusted else ""
        if not named:
            caller = stream()
            caller.note_directory(headers)
            return caller, True
        known = _callers.get(named)
        if known is not None:
            return known, False
        caller = _named(named)
        return caller, caller.process is None

    def forwards(self, headers: Mapping[str, str]) -> bool:
        """Return whether the peer is the aggregate, which sends the requests of other clients on this connection."""
        return self._trusted and PRINCIPAL_HEADER in headers

    def add_end_callback(self, owner: object, call: Callable[["Caller"], None]) -> None:
        """Call `call` when the stream or session ends, once for each owner."""
        self._ends[owner] = call

    def end(self) -> None:
        """Call the callbacks, because the stream or session has ended."""
        self.ended = True
        ends, self._ends = self._ends, {}
        for call in ends.values():
            call(self)


# Key: `Caller.name`. Entries are kept as long as their stream or session.
_callers: WeakValueDictionary[str, Caller] = WeakValueDictionary()
_numbers = itertools.count(1)


def stream() -> Caller:
    """Return a new client that stands for one connection or session, until `end`."""
    caller = Caller(name=f"stream-{next(_numbers)}")
    _callers[caller.name] = caller
    return caller


def _named(name: str) -> Caller:
    """Return the client with the name of a process, or a client that ends with its stream."""
    caller = Caller(name=name)
    process = _processes.get(name)
    if process is None and name.startswith("process-"):
        pid = name.removeprefix("process-").partition(".")[0]
        found = _process(int(pid), _open(int(pid))) if pid.isdecimal() else None
        process = found if found is not None and found.name == name else None
    caller.process = process
    return caller


def pid_of_peer(sock: socket.socket) -> int:
    """Return the pid of the process that connected to a Unix socket, 0 where it is not known."""
    if sock.family != socket.AF_UNIX:
        return 0
    try:
        return int(_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[0])
    except OSError:
        return 0


def _is_proxied(headers: Mapping[str, str]) -> bool:
    return not _PROXIED.isdisjoint(headers) or any(name.startswith(_PROXIED_PREFIX) for name in headers)


def _is_command(headers: Mapping[str, str]) -> bool:
    """Return whether a request comes from a command, and from no proxy in front of it."""
    others = {name: value for name, value in headers.items() if name != COMMAND_HEADER}
    return COMMAND_HEADER in headers and not _is_proxied(others)


# ---- Unix sockets


def _of_unix_socket(sock: socket.socket) -> Process | None:
    try:
        pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    except OSError:
        return None
    if pid <= 0 or uid != os.geteuid():
        return None
    try:
        option = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, _INT.size)
    except OSError as fault:
        # Older kernels have only the pid, which another process can have by now.
        return _process(pid, _open(pid)) if fault.errno == errno.ENOPROTOOPT else None
    return _process(pid, _INT.unpack(option)[0])


# ---- loopback TCP


def _inode_of_far_end(sock: socket.socket) -> int | None:
    """Return the inode of the socket at the other end, if it is on this machine and of the same uid."""
    try:
        owner = owner_of_far_end(sock)
    except (OSError, ValueError):
        return None
    return owner[1] if owner is not None and owner[0] == os.geteuid() and owner[1] else None


class _Links:
    """Search links under /proc/PID/fd, up to a limit."""

    def __init__(self) -> None:
        self.left = _MOST_LINKS

    def find(self, pid: int, wanted: str) -> str:
        """Return the path under /proc/PID/fd of this socket, or an empty text."""
        directory = f"/proc/{pid}/fd"
        try:
            names = os.listdir(directory)  # noqa: PTH208 - path objects take three times as long
        # The process has exited, or is not readable.
        except OSError:
            return ""
        self.left -= len(names)
        for name in names:
            path = f"{directory}/{name}"
            if _link(path) == wanted:
                return path
        return ""


def _find_owner(inode: int, recent: list[int]) -> tuple[int, int] | None:
    """Return pid and pidfd of the only process that has this socket open. Runs in a worker thread.

    Returns None for no process or several, because any of them may be the client.
    """
    wanted, links = f"socket:[{inode}]", _Links()
    for pid in recent:
        path = links.find(pid, wanted)
        if path:
            # Other processes can have the socket by inheritance, or from a message with descriptors (unix(7)).
            if any(links.find(other, wanted) for other in _relatives(pid)):
                return None
            return _confirmed(pid, path, wanted)
    found: tuple[int, str] | None = None
    for pid in _own_pids():
        path = links.find(pid, wanted)
        if links.left < 0 or (path and found is not None):
            return None
        if path:
            found = pid, path
    return None if found is None else _confirmed(*found, wanted)


def _confirmed(pid: int, path: str, wanted: str) -> tuple[int, int] | None:
    # Check again: with the pidfd open, the pid cannot pass to another process unnoticed.
    pidfd = _open(pid)
    if _link(path) == wanted:
        return pid, pidfd
    _close(pidfd)
    return None


def _own_pids() -> Iterator[int]:
    uid = os.geteuid()
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - path objects take three times as long
    except OSError:
        return
    for name in names:
        if name.isdecimal():
            try:
                owner = os.stat(f"/proc/{name}").st_uid  # noqa: PTH116 - path objects take three times as long
            except OSError:
                continue
            if owner == uid:
                yield int(name)


def _relatives(pid: int) -> Iterator[int]:
    """Yield the parent and the children of a process."""
    status = _status(pid)
    if status is not None:
        yield status[0]
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - path objects take three times as long
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123 - proc(5)
                yield from map(int, file.read(64 * 1024).split())
    except OSError:
        return


# ---- processes


def finds_processes() -> bool:
    """Return whether this process can read which sockets other processes of its user have (proc(5), ptrace(2)).

    It cannot in a user namespace of its own, as with PrivateUsers= of systemd or in a container: then clients over TCP are
    unknown, and those on a Unix socket are not.
    """
    try:
        return Path("/proc/self/uid_map").read_text().split() == _ALL_IDS
    except OSError:
        return False


def _process(pid: int, pidfd: int) -> Process | None:
    """Return the process, None where it has exited. Takes ownership of the pidfd, unless it is -1."""
    status = _status(pid)
    # This order matters: while the pidfd has not ended, /proc/PID is that of the same process.
    if _has_exited(pidfd) if pidfd >= 0 else status is None:
        _close(pidfd)
        return None
    process = _hidden(pid, pidfd) if status is None else Process(pid, status[1], pidfd)
    return _processes.setdefault(process.name, process)


def _hidden(pid: int, pidfd: int) -> Process:
    """Return a running process that /proc does not show (hidepid= of proc(5), ProtectProc= of systemd.exec(5))."""
    for process in _processes.values():
        # Until it has exited, no other process has its pid.
        if process.pid == pid and not process.exited:
            _close(pidfd)
            return process
    # In place of the start time, which is positive.
    return Process(pid, -next(_numbers), pidfd)


def _status(pid: int) -> tuple[int, int] | None:
    """Return the parent and the start time of a process (proc_pid_stat(5)), None where it has exited."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - proc(5)
            fields = file.read(4096).rpartition(b")")[2].split()
        return None if fields[0] in b"ZX" else (int(fields[1]), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def _open(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    # An old kernel, or no free descriptor.
    except (OSError, ValueError, OverflowError):
        return -1


def _has_exited(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - path objects take three times as long
    except OSError:
        return ""
