"""Start servers through a fork server, so that the daemon itself never forks (see keeper.py).

A child forked by a thread of the daemon would be killed when the thread ends. A child without a process that outlives the
daemon would stay when the daemon is killed. The fork server is small, and only descriptors pass between it and the daemon.

A server can stop or kill the fork server, because both have the same uid. A fork server that does not respond is continued,
and then replaced. The daemon adopts the keepers of a killed fork server, and kills what it adopts from killed keepers.
"""

import contextlib
import fcntl
import marshal
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from ...validators.limits import Limits
from ..options import Launch, Sandbox, SpawnFailed
from ..poller import Poller
from . import confinement, keeper, orphans
from .child import Child
from .open_files import give_inherited_limit

# Size of a pipe (bytes). Larger pipes need fewer turns for a large message; a user gets up to 64 MiB in all (pipe(7)).
_PIPE_BYTES: Final = 256 * 1024
_F_SETPIPE_SZ: Final = 1031
# The umask of a login on most systems (login.defs(5), systemd.exec(5)).
USUAL_UMASK: Final = 0o022
# A format of marshal that all versions of Python read and that has no references to earlier objects.
_MARSHAL: Final = 2
# The port of DNS (RFC 1035).
_DNS_PORT: Final = 53
_KEEPER: Final = Path(__file__).with_name("keeper.py")
# Time for a keeper to report whether the program was executed (seconds).
_REPORT_SECONDS: Final = 10.0
# Time for the fork server to fork a keeper (seconds): before it gets SIGCONT, and then before it is replaced.
_ANSWER_SECONDS: Final = 2.0
_SECOND_ANSWER_SECONDS: Final = 3.0
# Time for which the daemon looks for adopted processes of a killed keeper, and the interval (seconds).
_SWEEP_SECONDS: Final = 10.0
_SWEEP_ROUND: Final = 0.002
# Time for a fork server to exit (seconds).
_CLOSE_SECONDS: Final = 1.0


class _NoAnswer(Exception):
    """The fork server did not respond in time."""


class Spawner:
    """The daemon's side of the fork server, which is replaced when it has exited or does not respond."""

    def __init__(
        self, cgroup: Path | None = None, umask: int = USUAL_UMASK, log_format: str = "text"
    ) -> None:
        self.cgroup = cgroup
        # Format of errors that the fork server and keepers write to stderr.
        self._log_format = log_format
        # The umask of servers without one of their own.
        self.umask = umask
        self._process: subprocess.Popen[bytes]
        self._socket: socket.socket
        # Pids of the keepers whose servers have not ended. Removed by `release`.
        self._keepers: set[int] = set()
        # Whether a fork server has exited, after which the daemon may have adopted processes.
        self._has_adopted = False

    @classmethod
    def start(
        cls, cgroup: Path | None = None, umask: int = USUAL_UMASK, log_format: str = "text"
    ) -> "Spawner":
        """Start the fork server. Call this on the main thread. Each server gets a cgroup below `cgroup`.

        `umask` is for servers without a umask of their own.
        """
        keeper.adopt_orphans()
        spawner = cls(cgroup, umask, log_format)
        spawner._launch()
        return spawner

    def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        cgroup = "" if self.cgroup is None else os.fspath(self.cgroup)
        words = [os.fspath(_KEEPER), str(theirs.fileno()), cgroup, self._log_format]
        with theirs:
            try:
                self._process = orphans.start_tracked(
                    lambda: subprocess.Popen(  # noqa: S603 - this interpreter and a file of this package
                        [sys.executable, "-I", "-S", *words],
                        pass_fds=(theirs.fileno(),),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                )
            except BaseException:
                ours.close()
                raise
        give_inherited_limit(self._process.pid)
        ours.setblocking(False)
        self._socket = ours

    def close(self) -> None:
        """Let the fork server exit, which happens after its keepers: servers run until their control sockets close."""
        self._socket.close()
        self.resume()
        try:
            self._process.wait(timeout=_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        orphans.untrack(self._process)
        self._sweep()

    async def spawn(self, launch: Launch, *, limits: Limits, poller: Poller) -> Child:
        """Start a server. Raises SpawnFailed."""
        try:
            process = self._running()
            try:
                return await self._spawn(launch, limits, poller)
            except _NoAnswer:
                if self._process is process:
                    process.kill()
                    process.wait()
                self._running()
                return await self._spawn(launch, limits, poller)
        except _NoAnswer:
            raise SpawnFailed(f"cannot start {launch.argv[0]!r}: the fork server does not respond") from None
        # A word or variable without an encoding, such as half a surrogate pair.
        except UnicodeEncodeError as fault:
            raise SpawnFailed(f"cannot start {launch.argv[0]!r}: {fault}") from None
        except OSError as fault:
            text = f"cannot start {launch.argv[0]!r}: {os.strerror(fault.errno or 0)}"
            raise SpawnFailed(text) from None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._lost():
            orphans.untrack(self._process)
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._launch()
        return self._process

    def _lost(self) -> bool:
        dead = self._process.poll() is not None
        self._has_adopted = self._has_adopted or dead
        return dead

    async def _spawn(self, launch: Launch, limits: Limits, poller: Poller) -> Child:
        ours: list[int] = []
        kept_by = 0
        scratch = _scratch(launch)
        control, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs: list[int] = []
        try:
            control.setblocking(False)
            try:
                # In the order stdin, stdout, stderr.
                for writes in (True, False, False):
                    read, write = _pipe()
                    ours.append(write if writes else read)
                    theirs.append(read if writes else write)
                    os.set_blocking(ours[-1], False)
                theirs.append(_file(_described(launch, self.umask, scratch)))
                request = _verb(launch) + b" " + os.fsencode(scratch)
                passed = [*theirs[:3], keepers.fileno(), theirs[3]]
                await self._answer(partial(_send, self._socket, request, passed))
            # Close the copies, so that the exit of the processes that hold the descriptors is noticed.
            finally:
                keepers.close()
                for descriptor in theirs:
                    os.close(descriptor)
            await self._answer(partial(trio.lowlevel.wait_readable, control))
            kept_by = _number_in(control.recv(4096), b"keeping", launch)
            self._keepers.add(kept_by)
            with _report_limit(launch):
                await trio.lowlevel.wait_readable(control)
            pid = _number_in(control.recv(4096), b"spawned", launch)
        except BaseException:
            self.release(kept_by)
            control.close()
            for descriptor in ours:
                os.close(descriptor)
            raise
        return Child(pid, control, (ours[0], ours[1], ours[2]), limits, poller, _Keeper(self, kept_by))

    async def _answer(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for the fork server, continuing it if that takes long. Raises _NoAnswer."""
        for seconds in (_ANSWER_SECONDS, _SECOND_ANSWER_SECONDS):
            with trio.move_on_after(seconds):
                await wait()
                return
            self.resume()
        raise _NoAnswer

    # ---- against signals of servers to the fork server and to keepers

    def resume(self) -> None:
        """Send SIGCONT to the fork server, in case that it was stopped."""
        self._process.send_signal(signal.SIGCONT)

    def release(self, pid: int) -> None:
        """Allow a keeper to be swept with all its descendants, where it is a child of the daemon."""
        self._keepers.discard(pid)

    async def ended(self, pid: int) -> None:
        """End the descendants of a keeper whose control socket is closed, where the fork server cannot."""
        self.release(pid)
        self.resume()
        if not (self._lost() or self._has_adopted):
            return
        with trio.move_on_after(_SWEEP_SECONDS):
            while self._sweep():  # noqa: ASYNC110 - no event reports adopted processes
                await trio.sleep(_SWEEP_ROUND)

    def _sweep(self) -> bool:
        return self._has_adopted and orphans.sweep(self._keepers)


@attrs.frozen
class _Keeper:
    """The keeper of one server (child.Keeper)."""

    _spawner: Spawner
    _pid: int

    def resume(self) -> None:
        """Send SIGCONT, in case that it was stopped."""
        self._spawner.resume()
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it. The fork server or the daemon adopts its descendants."""
        self._signal(signal.SIGKILL)

    async def ended(self) -> None:
        """End its descendants, after its control socket was closed (Spawner.ended)."""
        await self._spawner.ended(self._pid)

    def release(self) -> None:
        """Release it, because its server has ended (Spawner.release)."""
        self._spawner.release(self._pid)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)


@contextlib.contextmanager
def _report_limit(launch: Launch) -> Generator[None]:
    try:
        with trio.fail_after(_REPORT_SECONDS):
            yield
    except trio.TooSlowError:
        text = f"cannot start {launch.argv[0]!r}: no report within {_REPORT_SECONDS:g} s"
        raise SpawnFailed(text) from None


def _number_in(report: bytes, event: bytes, launch: Launch) -> int:
    word, _, rest = report.partition(b" ")
    if word == event:
        return int(rest)
    reason = rest.partition(b" ")[2].decode(errors="replace") or "the fork server exited"
    raise SpawnFailed(f"cannot start {launch.argv[0]!r}: {reason}")


async def _send(sock: socket.socket, request: bytes, descriptors: list[int]) -> None:
    while True:
        try:
            socket.send_fds(sock, [request], descriptors)
        except BlockingIOError:
            try:
                await trio.lowlevel.wait_writable(sock)
            # The fork server was replaced meanwhile.
            except trio.ClosedResourceError:
                raise _NoAnswer from None
        else:
            return


def _pipe() -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    # Over the user's limit of pipe pages the default size is used.
    with contextlib.suppress(OSError):
        fcntl.fcntl(write, _F_SETPIPE_SZ, _PIPE_BYTES)
    return read, write


def _verb(launch: Launch) -> bytes:
    """Return the first word of the request for a launch (keeper.py)."""
    return b"wrap" if launch.sandbox.level == confinement.BWRAP else b"spawn"


def _scratch(launch: Launch) -> str:
    """Return a new path of a directory for temporary files, empty for a launch without one."""
    if not launch.has_scratch:
        return ""
    base = launch.env.get("TMPDIR") or "/tmp"  # noqa: S108 - a directory with a random name
    return f"{base.rstrip('/')}/mcp-bridge-{os.urandom(12).hex()}"


def _described(launch: Launch, umask: int, scratch: str) -> bytes:
    """Return the launch for the keeper (keeper.Launch). Raises UnicodeEncodeError."""
    sandbox = launch.sandbox
    environment = {**launch.env, "TMPDIR": _temporary(sandbox, scratch)} if scratch else {**launch.env}
    if _DNS_PORT in sandbox.connect:
        # The C library then resolves names over TCP (resolv.conf(5)).
        environment.setdefault("RES_OPTIONS", "use-vc")
    directory = launch.directory
    path = launch.cwd if directory is None else directory.path
    words: keeper.Launch = (
        [os.fsencode(word) for word in launch.argv],
        {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
        None if path is None else os.fsencode(path),
        () if directory is None else (directory.device, directory.inode),
        umask if launch.umask is None else launch.umask,
        [(getattr(resource, f"RLIMIT_{name.upper()}"), value) for name, value in launch.rlimits.items()],
        None if sandbox.is_default else _rules(sandbox, scratch),
    )
    return marshal.dumps(words, _MARSHAL)


def _temporary(sandbox: Sandbox, scratch: str) -> str:
    """Return the path that the directory for temporary files has for the process."""
    return "/tmp" if sandbox.level == confinement.BWRAP else scratch  # noqa: S108 - a directory of the process alone


def _rules(sandbox: Sandbox, scratch: str) -> "confinement.Rules":
    base_read, base_write, read, write, hidden = (
        [os.fsencode(path) for path in paths]
        for paths in (sandbox.base_read, sandbox.base_write, sandbox.read, sandbox.write, sandbox.hidden)
    )
    if sandbox.level == confinement.LANDLOCK:
        write.append(os.fsencode(scratch))
    ports = [*sandbox.connect] if sandbox.connect and sandbox.network else None
    return (
        sandbox.level,
        base_read,
        base_write,
        read,
        write,
        hidden,
        ports,
        sandbox.network,
        os.fsencode(sandbox.bwrap),
        os.fsencode(scratch),
    )


def _file(content: bytes) -> int:
    """Return a descriptor of a file with this content, because an environment can be larger than a packet."""
    file = os.memfd_create("launch", os.MFD_CLOEXEC)
    try:
        with open(os.dup(file), "wb") as writer:  # noqa: PTH123 - a descriptor
            writer.write(content)
        os.lseek(file, 0, os.SEEK_SET)
    except BaseException:
        os.close(file)
        raise
    return file
