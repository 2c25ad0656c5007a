"""Start servers through a fork server, so that the daemon itself is never forked (keeper.py says how).

A child that a thread of the daemon forked would be killed when that thread ends, and a child without a process that outlives
the daemon would stay when the daemon is killed. One small fork server forks; only descriptors pass between it and the daemon.

A server can stop or kill the fork server, because both have the same uid. One that does not answer is continued, and then
replaced. The daemon adopts the keepers of a fork server that was killed, and kills what it adopts from dead keepers.
"""

import contextlib
import fcntl
import json
import os
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
from ..options import Launch, SpawnFailed
from ..poller import Poller
from . import keeper, orphans
from .child import Child
from .open_files import give_inherited_limit

# More room in a pipe means fewer turns for a large message; unprivileged users get up to 64 MiB in all.
_PIPE_BYTES: Final = 256 * 1024
_F_SETPIPE_SZ: Final = 1031
# What a login has on most systems (login.defs(5), systemd.exec(5)).
USUAL_UMASK: Final = 0o022
_KEEPER: Final = Path(__file__).with_name("keeper.py")
# Until a keeper reports whether the program could be executed, in seconds.
_REPORT_SECONDS: Final = 10.0
# Until the fork server has forked a keeper, in seconds: before it is sent SIGCONT, and after that before it is replaced.
_ANSWER_SECONDS: Final = 2.0
_SECOND_ANSWER_SECONDS: Final = 3.0
# How long to look for processes of a killed keeper that the daemon has adopted, in seconds, and how often.
_SWEEP_SECONDS: Final = 10.0
_SWEEP_ROUND: Final = 0.002
# How long a fork server may take to end, in seconds.
_CLOSE_SECONDS: Final = 1.0


class _NoAnswer(Exception):
    """The fork server has not forked in time."""


class Spawner:
    """The daemon's end of the fork server, which is replaced when it has died or does not answer."""

    def __init__(
        self, cgroup: Path | None = None, umask: int = USUAL_UMASK, log_format: str = "text"
    ) -> None:
        self.cgroup = cgroup
        # In which form the fork server and keepers write a fault of theirs on our stderr.
        self._log_format = log_format
        # Of servers that have none of their own.
        self.umask = umask
        self._process: subprocess.Popen[bytes]
        self._socket: socket.socket
        # The pids of the keepers whose children have not ended.
        self._keepers: set[int] = set()
        # Whether a fork server has died, so that the daemon may be the parent of what it and its keepers have left.
        self._bereaved = False

    @classmethod
    def start(
        cls, cgroup: Path | None = None, umask: int = USUAL_UMASK, log_format: str = "text"
    ) -> "Spawner":
        """Start the fork server. Call it on the main thread. Below `cgroup`, which is ours, each server gets its own.

        Servers that have no umask of their own get this one.
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
                    lambda: subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
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
        """Let the fork server end, which it does when its keepers have: children live until their control sockets close."""
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
            process = self._living()
            try:
                return await self._spawn(launch, limits, poller)
            except _NoAnswer:
                if self._process is process:
                    process.kill()
                    process.wait()
                self._living()
                return await self._spawn(launch, limits, poller)
        except _NoAnswer:
            raise SpawnFailed(f"cannot start {launch.argv[0]!r}: the fork server does not answer") from None
        except OSError as fault:
            text = f"cannot start {launch.argv[0]!r}: {os.strerror(fault.errno or 0)}"
            raise SpawnFailed(text) from None

    def _living(self) -> subprocess.Popen[bytes]:
        if self._lost():
            orphans.untrack(self._process)
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._launch()
        return self._process

    def _lost(self) -> bool:
        dead = self._process.poll() is not None
        self._bereaved = self._bereaved or dead
        return dead

    async def _spawn(self, launch: Launch, limits: Limits, poller: Poller) -> Child:
        ours: list[int] = []
        kept_by = 0
        control, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs: list[int] = []
        try:
            control.setblocking(False)
            try:
                for writes in (True, False, False):  # stdin, stdout, stderr
                    read, write = _pipe()
                    ours.append(write if writes else read)
                    theirs.append(read if writes else write)
                    os.set_blocking(ours[-1], False)
                theirs.append(_described(launch, self.umask))
                await self._answer(partial(_send, self._socket, [*theirs[:3], keepers.fileno(), theirs[3]]))
            finally:  # whoever has them now is all that keeps them open, so that its death is known
                keepers.close()
                for descriptor in theirs:
                    os.close(descriptor)
            await self._answer(partial(trio.lowlevel.wait_readable, control))
            kept_by = _number_in(control.recv(4096), b"keeping", launch)
            self._keepers.add(kept_by)
            with _patience(launch):
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
        """Wait for the fork server, which is continued if that takes long. Raises _NoAnswer."""
        for seconds in (_ANSWER_SECONDS, _SECOND_ANSWER_SECONDS):
            with trio.move_on_after(seconds):
                await wait()
                return
            self.resume()
        raise _NoAnswer

    # ---- what servers do to the fork server and to keepers

    def resume(self) -> None:
        """Continue the fork server, in case that it was stopped."""
        self._process.send_signal(signal.SIGCONT)

    def release(self, pid: int) -> None:
        """Let a keeper be ended, with all that is below it, where it is our child."""
        self._keepers.discard(pid)

    async def ended(self, pid: int) -> None:
        """End what a keeper has left, whose control socket is closed, where the fork server cannot."""
        self.release(pid)
        self.resume()
        if not (self._lost() or self._bereaved):
            return
        with trio.move_on_after(_SWEEP_SECONDS):
            while self._sweep():  # noqa: ASYNC110 - adopted processes come without an event
                await trio.sleep(_SWEEP_ROUND)

    def _sweep(self) -> bool:
        return self._bereaved and orphans.sweep(self._keepers)


@attrs.frozen
class _Keeper:
    """The keeper of one child (child.Keeper)."""

    _spawner: Spawner
    _pid: int

    def resume(self) -> None:
        """Continue it, in case that it was stopped."""
        self._spawner.resume()
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it. What it has left goes to the fork server, or to us."""
        self._signal(signal.SIGKILL)

    async def ended(self) -> None:
        """Its control socket is closed (Spawner.ended)."""
        await self._spawner.ended(self._pid)

    def let_go(self) -> None:
        """There is no child any more (Spawner.forget)."""
        self._spawner.release(self._pid)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)


@contextlib.contextmanager
def _patience(launch: Launch) -> Generator[None]:
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
    reason = rest.partition(b" ")[2].decode(errors="replace") or "the fork server died"
    raise SpawnFailed(f"cannot start {launch.argv[0]!r}: {reason}")


async def _send(sock: socket.socket, descriptors: list[int]) -> None:
    while True:
        try:
            socket.send_fds(sock, [b"spawn"], descriptors)
        except BlockingIOError:
            try:
                await trio.lowlevel.wait_writable(sock)
            except trio.ClosedResourceError:  # the fork server was replaced meanwhile
                raise _NoAnswer from None
        else:
            return


def _pipe() -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # over the user's share of pipe pages: the default size does as well
        fcntl.fcntl(write, _F_SETPIPE_SZ, _PIPE_BYTES)
    return read, write


def _described(launch: Launch, umask: int) -> int:
    # A file, because an environment can be larger than a packet.
    file = os.memfd_create("launch", os.MFD_CLOEXEC)
    text = json.dumps(
        {
            "argv": launch.argv,
            "env": dict(launch.env),
            "cwd": launch.cwd,
            "umask": umask if launch.umask is None else launch.umask,
            "rlimits": dict(launch.rlimits),
            "private_tmp": launch.private_tmp,
        }
    )
    try:
        with open(os.dup(file), "wb") as writer:  # noqa: PTH123 - a descriptor
            writer.write(text.encode())
        os.lseek(file, 0, os.SEEK_SET)
    except BaseException:
        os.close(file)
        raise
    return file
