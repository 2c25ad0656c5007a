"""Starting servers without ever forking the daemon (why: DESIGN section 8, attacks finding 1; how: keeper.py).

A child that a thread of the daemon forked would be killed when that thread ends, and a child that nobody outlives us
for would stay when we are killed. So one small fork server does it, and only descriptors pass between us and it.
"""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Final

import trio

from ..validators.limits import Limits
from .child import Child
from .options import Launch, SpawnFailed
from .readiness import Readiness

# More room in a pipe means fewer turns for a large message; unprivileged users get up to 64 MiB in all.
_PIPE_BYTES: Final = 256 * 1024
_F_SETPIPE_SZ: Final = 1031
_KEEPER: Final = Path(__file__).with_name("keeper.py")
# Until a keeper says whether the program could be executed, in seconds.
_REPORT_SECONDS: Final = 10.0


class Spawner:
    """The daemon's end of the fork server, which is started again should it ever die."""

    def __init__(self, cgroup: Path | None = None) -> None:
        self.cgroup = cgroup
        self._process: subprocess.Popen[bytes]
        self._socket: socket.socket

    @classmethod
    def start(cls, cgroup: Path | None = None) -> "Spawner":
        """Start the fork server. Call it on the main thread. Below `cgroup`, which is ours, each server gets its own."""
        spawner = cls(cgroup)
        spawner._launch()
        return spawner

    def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        cgroup = [] if self.cgroup is None else [os.fspath(self.cgroup)]
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
                    [sys.executable, "-I", "-S", os.fspath(_KEEPER), str(theirs.fileno()), *cgroup],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._socket = ours

    def close(self) -> None:
        """Let the fork server end. Children live until their own control sockets close."""
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)

    async def spawn(self, launch: Launch, *, limits: Limits, readiness: Readiness) -> Child:
        """Start a server. Raises SpawnFailed."""
        try:
            if self._process.poll() is not None:
                self._socket.close()
                self._launch()
            return await self._spawn(launch, limits, readiness)
        except OSError as fault:
            text = f"cannot start {launch.argv[0]!r}: {os.strerror(fault.errno or 0)}"
            raise SpawnFailed(text) from None

    async def _spawn(self, launch: Launch, limits: Limits, readiness: Readiness) -> Child:
        ours: list[int] = []
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
                theirs.append(_described(launch))
                with _patience(launch):
                    await _send(self._socket, [*theirs[:3], keepers.fileno(), theirs[3]])
            finally:  # whoever has them now is all that keeps them open, so that its death is known
                keepers.close()
                for descriptor in theirs:
                    os.close(descriptor)
            with _patience(launch):
                await trio.lowlevel.wait_readable(control)
            pid = _pid_in(control.recv(4096), launch)
        except BaseException:
            control.close()
            for descriptor in ours:
                os.close(descriptor)
            raise
        return Child(pid, control, (ours[0], ours[1], ours[2]), limits, readiness)


@contextlib.contextmanager
def _patience(launch: Launch) -> Generator[None]:
    try:
        with trio.fail_after(_REPORT_SECONDS):
            yield
    except trio.TooSlowError:
        text = f"cannot start {launch.argv[0]!r}: no report within {_REPORT_SECONDS:g} s"
        raise SpawnFailed(text) from None


def _pid_in(report: bytes, launch: Launch) -> int:
    word, _, rest = report.partition(b" ")
    if word == b"spawned":
        return int(rest)
    reason = rest.partition(b" ")[2].decode(errors="replace") or "the fork server died"
    raise SpawnFailed(f"cannot start {launch.argv[0]!r}: {reason}")


async def _send(sock: socket.socket, descriptors: list[int]) -> None:
    while True:
        try:
            socket.send_fds(sock, [b"spawn"], descriptors)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
        else:
            return


def _pipe() -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # over the user's share of pipe pages: the default size does as well
        fcntl.fcntl(write, _F_SETPIPE_SZ, _PIPE_BYTES)
    return read, write


def _described(launch: Launch) -> int:
    # A file, because an environment can be larger than a packet.
    file = os.memfd_create("launch", os.MFD_CLOEXEC)
    text = json.dumps(
        {
            "argv": launch.argv,
            "env": dict(launch.env),
            "cwd": launch.cwd,
            "umask": launch.umask,
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
