"""Run helper programs: commands of the configuration (`exec:CMD`) that print a secret on their standard output.

A helper is limited in time and output, and killed with its descendants when it exceeds a limit or is cancelled.
`run` blocks, so the daemon calls it in a thread. `end` may be called from another thread. No event loop is imported here.
"""

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Final

from ...transports.process import orphans
from ...validators.limits import Limits

# A helper that has printed more is killed (bytes).
_MOST_READ: Final = 64 * 1024
# A process that has closed its standard output must exit within this time (seconds).
_EXIT_SECONDS: Final = 5.0


class HelperFailed(Exception):
    """Raised for a helper without a usable secret. The text has neither its arguments nor its output."""


class Helpers:
    """The helper programs of one task. Each may run for `seconds`."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = Limits().helper_seconds if seconds is None else seconds
        self._running: set[subprocess.Popen[bytes]] = set()
        # Reentrant, because a signal handler may call `end` while the same thread starts a helper.
        self._lock = threading.RLock()
        self._ended = False

    def end(self) -> None:
        """Kill the running helpers, and start no others."""
        with self._lock:
            self._ended = True
            for process in self._running:
                if process.poll() is None:
                    _kill(process.pid)

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], longest: int, sent: bytes = b""
    ) -> bytes:
        """Return the output of a helper, at most `longest` bytes. Blocks. Raises HelperFailed.

        `sent` is the content of its standard input, which is empty otherwise.
        """
        name = repr(words[0])
        with _input(sent) as source:
            process = self._started(name, words, environment, source)
        try:
            output = self._output(process, name, time.monotonic() + self.seconds)
            code = process.returncode
        finally:
            with self._lock:
                self._running.discard(process)
            if process.poll() is None:
                _kill(process.pid)
                process.wait()
            orphans.untrack(process)
            if process.stdout is not None:
                process.stdout.close()
        if code:
            raise HelperFailed(f"the helper {name} exited with {code}")
        if len(output) > longest:
            raise HelperFailed(f"the helper {name} printed {len(output)} bytes; the limit is {longest}")
        return output

    def _started(
        self, name: str, words: Sequence[str], environment: Mapping[str, str], source: int
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ended:
                raise HelperFailed(f"the helper {name} was cancelled")
            try:
                process = orphans.start_tracked(
                    lambda: subprocess.Popen(  # noqa: S603 - the configuration names the program, and no shell is involved
                        words,
                        stdin=source,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        env=environment,
                        start_new_session=True,
                    )
                )
            except OSError as fault:
                raise HelperFailed(
                    f"the helper {name} cannot be executed: {os.strerror(fault.errno or 0)}"
                ) from None
            self._running.add(process)
            if self._ended:
                _kill(process.pid)
            return process

    def _output(self, process: subprocess.Popen[bytes], name: str, deadline: float) -> bytes:
        """Read until the process has exited. A descendant may keep the pipe open after that."""
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        reading = process.stdout.fileno()
        os.set_blocking(reading, False)
        exited = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(reading, select.POLLIN)
            poll.register(exited, select.POLLIN)
            output = bytearray()
            over = False
            while not over:
                ready = {descriptor for descriptor, _ in self._wait(poll, name, deadline)}
                # The output from before the exit is in the pipe by now.
                over = exited in ready
                if not _take(reading, output):
                    poll.unregister(reading)
                    reading = -1
                    deadline = min(deadline, time.monotonic() + _EXIT_SECONDS)
                if len(output) > _MOST_READ:
                    raise HelperFailed(f"the helper {name} printed more than {_MOST_READ} bytes")
            process.wait()
            return bytes(output)
        finally:
            os.close(exited)

    def _wait(self, poll: select.poll, name: str, deadline: float) -> list[tuple[int, int]]:
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            raise HelperFailed(
                f"the helper {name} did not finish within {self.seconds:g} s (limits.helper_seconds)"
            )
        return ready


@contextlib.contextmanager
def _input(content: bytes) -> Generator[int]:
    """Yield what is the standard input of a helper: a file in memory, so that a helper that does not read blocks no writer."""
    if not content:
        yield subprocess.DEVNULL
        return
    descriptor = os.memfd_create("helper-input", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, output: bytearray) -> bool:
    """Append what can be read without waiting. Return whether more output may follow."""
    while descriptor >= 0 and len(output) <= _MOST_READ:
        try:
            data = os.read(descriptor, _MOST_READ)
        except BlockingIOError:
            return True
        if not data:
            return False
        output += data
    return True


def _kill(pid: int) -> None:
    """Kill a process that leads a session, with its group and all its descendants."""
    below = _descendants(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for one in below:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(one, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Return the descendants of a process, which may have left its process group."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - only names are needed
        if entry.isdecimal():
            try:
                parent = int(Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
