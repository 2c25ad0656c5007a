"""Write lines to the stdin of a server without waiting. The rest of a line that the pipe does not take is queued, within a limit.

Lines of many clients to one process are written together: in a round of the poller, the first line is written at once and the
others at the end of the round.
"""

import fcntl
import os
import termios
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from ...validators.limits import Limits
from ..memory import LARGE, large_messages
from ..poller import OnFault, Poller
from ..server_io import ChildBusy, ChildGone, Watchers, do_nothing
from ..ticker import PausableClock

# Time for the queue to be written before the pipe is closed (seconds).
_FLUSH_SECONDS: Final = 1.0
# A line of this size (bytes) is written without a copy, and its end on its own. A pipe takes no more at once by default.
_LARGE: Final = 64 * 1024
# The most bytes that are gathered in one round of the poller.
_GATHERED: Final = 16 * 1024


class _Unwritten:
    """Bytes that a pipe has not taken yet. Small pieces are joined; a large one is kept without a copy."""

    def __init__(self) -> None:
        self.size = 0
        # All bytes that `write_to` has written.
        self.written = 0
        self._pieces: deque[bytearray | memoryview] = deque()

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, data: memoryview) -> None:
        """Add bytes at the end. They must not change later."""
        self.size += len(data)
        if len(data) >= _LARGE:
            self._pieces.append(data)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += data
        else:
            self._pieces.append(bytearray(data))

    def write_to(self, descriptor: int) -> None:
        """Write until nothing is left. Raises OSError, and BlockingIOError where the pipe is full."""
        while self._pieces:
            first = self._pieces[0]
            sent = os.write(descriptor, first)
            self.size -= sent
            self.written += sent
            if sent == len(first):
                self._pieces.popleft()
            elif isinstance(first, bytearray):
                del first[:sent]
            else:
                self._pieces[0] = first[sent:]

    def clear(self) -> None:
        """Drop everything."""
        self.size = 0
        self._pieces.clear()


class StdinWriter:
    """Write lines to a pipe, directly where it takes them, else by a task.

    `on_closed` is called when the process has closed its stdin, `on_stalled` when it has not read for
    `limits.stdin_stall_seconds` on `clock`, and `on_fault` with an exception at the end of a round of the poller.
    """

    def __init__(
        self,
        descriptor: int,
        limits: Limits,
        clock: PausableClock,
        poller: Poller,
        *,
        on_closed: Callable[[], None],
        on_stalled: Callable[[], None],
        on_fault: OnFault,
    ) -> None:
        self.descriptor = descriptor
        # Whether `send` raises ChildGone.
        self.closed = False
        self.watchers: Watchers = ()
        # The bytes that were written without a wait.
        self._written = 0
        self._limits = limits
        self._clock = clock
        self._poller = poller
        # The last round of the poller in which a line was sent.
        self._round = 0
        # The further lines of that round, and their bytes with line ends. `_write_gathered` removes all.
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._most_gathered = min(_GATHERED, limits.stdin_bytes)
        self._on_closed = on_closed
        self._on_stalled = on_stalled
        self._on_fault = on_fault
        # One buffer, because an object for every short line would need ten times the limit.
        self._queue = _Unwritten()
        self._nursery: trio.Nursery | None = None
        self._writing = False
        self._flushed = trio.Event()

    def send(self, line: bytes) -> None:
        """Write one line. Raises ChildGone, or ChildBusy over `limits.stdin_bytes`."""
        if self.closed:
            raise ChildGone
        for watcher in self.watchers:
            watcher("to server", line)
        current = self._poller.round
        if current:
            if current == self._round and self._gather(line):
                return
            self._round = current
        data = line + b"\n" if len(line) < _LARGE else line
        sent = 0
        if not self._queue.size:
            try:
                sent = self._write_now(line, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._on_closed()
                raise ChildGone from None
            self._written += sent
            if sent == len(line) + 1:
                return
        # A line whose beginning is in the pipe must be completed.
        if not sent and self._queue.size + len(data) > self._limits.stdin_bytes:
            raise ChildBusy(
                f"the server does not read: {self._queue.size} bytes wait for it and the limit is {self._limits.stdin_bytes}"
            )
        self._enqueue(memoryview(data)[sent:])
        if data is line:
            self._queue.add(memoryview(b"\n"))

    def _write_now(self, line: bytes, data: bytes) -> int:
        """Write what the pipe takes of a line, whose end may be missing in the data. Return the number of bytes. Raises OSError."""
        sent = os.write(self.descriptor, data)
        if sent == len(line) and data is line:
            with suppress(BlockingIOError):
                sent += os.write(self.descriptor, b"\n")
        return sent

    def _gather(self, line: bytes) -> bool:
        """Keep a line for the end of the round. Return False after writing the gathered lines, if the line is to be written now."""
        size = self._gathered_bytes + len(line) + 1
        if self._queue.size or size > self._most_gathered:
            self._write_gathered()
            return False
        if not self._gathered:
            self._poller.call_at_end(self._write_gathered, self._on_fault)
        self._gathered.append(line)
        self._gathered_bytes = size
        return True

    def _write_gathered(self) -> None:
        if not self._gathered:
            return
        self._gathered.append(b"")
        data = b"\n".join(self._gathered)
        self._gathered.clear()
        self._gathered_bytes = 0
        try:
            sent = os.write(self.descriptor, data)
        except BlockingIOError:
            sent = 0
        # The exit of the process fails the requests among the lines, as those after ChildGone.
        except OSError:
            self._on_closed()
            return
        self._written += sent
        if sent < len(data):
            self._enqueue(memoryview(data)[sent:])

    def _enqueue(self, data: memoryview) -> None:
        self._queue.add(data)
        if not self._writing and self._nursery is not None:
            self._start_task(self._nursery)

    @property
    def written(self) -> int:
        """The bytes that the pipe has taken."""
        return self._written + self._queue.written

    @property
    def has_unread(self) -> bool:
        """Whether the process has not read everything that was sent."""
        if self._queue or self._gathered:
            return True
        try:
            waiting = fcntl.ioctl(self.descriptor, termios.FIONREAD, bytes(4))
        # The pipe is closed.
        except (OSError, ValueError):
            return False
        return any(waiting)

    def start(self, nursery: trio.Nursery) -> None:
        """Write queued bytes by tasks in this nursery."""
        self._nursery = nursery
        if self._queue:
            self._start_task(nursery)

    def detach(self) -> None:
        """Drop the functions. They refer to the owner, which the garbage collector would free much later."""
        self._on_closed = self._on_stalled = self._on_fault = do_nothing

    async def close(self) -> None:
        """Write what is queued within a short time, then close the pipe."""
        if self._queue:
            with trio.move_on_after(_FLUSH_SECONDS):
                await self._flushed.wait()
        self._queue.clear()
        trio.lowlevel.notify_closing(self.descriptor)
        os.close(self.descriptor)
        self.descriptor = -1

    def _start_task(self, nursery: trio.Nursery) -> None:
        self._writing = True
        self._flushed = trio.Event()
        nursery.start_soon(self._write)

    async def _write(self) -> None:
        while self._queue:
            large = self._queue.size > LARGE
            try:
                stalled = not await self._until_writable()
            # The pipe was closed meanwhile.
            except trio.ClosedResourceError:
                return
            large_messages.count += large
            if stalled:
                self._on_stalled()
                return
            try:
                self._queue.write_to(self.descriptor)
            except BlockingIOError:
                continue
            except OSError:
                self._on_closed()
                return
        self._writing = False
        self._flushed.set()

    async def _until_writable(self) -> bool:
        """Wait until the pipe takes more. Returns False after `stdin_stall_seconds` in which the server was read."""
        end = self._clock.time(trio.current_time()) + self._limits.stdin_stall_seconds
        while (left := self._clock.time_left(end, trio.current_time())) > 0:
            with trio.move_on_after(left):
                await trio.lowlevel.wait_writable(self.descriptor)
                return True
        return False
