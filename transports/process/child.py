"""One server process from its first line to the end of everything it has started.

Writing never blocks: what does not fit into the pipe is queued within a limit. Raw pipes are tried first and waited for
only when they would block. Its stdout is read at once, except while its client is behind (`pause`): then its pipe fills up
and the server waits, as it would for a slow client without a bridge, and no clock of ours counts against it.
"""

import contextlib
import fcntl
import os
import signal
import socket
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import attrs
import trio

from ...validators.limits import Limits
from ..poller import Poller, WakeUpSlot
from ..ticker import TICK, PausableClock
from .lines import LineSplitter, Overlong

# As much as is read at once; in the middle of a large line, as much as a pipe holds.
_READ: Final = 64 * 1024
_READ_LARGE: Final = 256 * 1024
# How long, in seconds, what one server writes may keep everybody else waiting, and reads of its stderr in a row.
_TURN_SECONDS: Final = 0.002
_FAIR: Final = 16
# A line of which so much has come is a large one, in bytes.
_LARGE: Final = 1024 * 1024
# After the exit of the server, how long nothing may come of what is still in its pipe, in seconds: callers must hear
# of a death within 200 ms.
_DRAIN_SECONDS: Final = 0.1
# And altogether, where there is more and more of it, in seconds.
_LAST_SECONDS: Final = 2.0
# After the server has closed its stdout or stdin, how long it may live on, in seconds (attacks C06).
_SILENT_SECONDS: Final = 2.0
# How long the queue for its stdin may take to be written when the server is to leave, in seconds.
_FLUSH_SECONDS: Final = 1.0
# How long a keeper may take to end everything, in seconds.
_KILL_SECONDS: Final = 12.0
# Time between two ticks of the filter of stderr while it holds something back, in seconds.
_TICK_SECONDS: Final = 0.05
_STDERR_LINE: Final = 4096
# So much of a line that has not ended is shown, in bytes.
_UNFINISHED: Final = 256
# A line of stderr counts as so many bytes at least: to tell it takes more than it says.
_SHORT_LINE: Final = 64


class ChildGone(Exception):
    """There is nobody to write to any more."""


class ChildBusy(Exception):
    """The server does not read its stdin and too much is queued for it."""


@attrs.frozen
class Exit:
    """How a server ended. `reason` is ours where it was we who gave it up."""

    code: int | None = None
    signal: int | None = None
    reason: str = ""

    def describe(self) -> str:
        """What to say after "the server"."""
        if self.reason:
            return self.reason
        if self.signal is not None:
            try:
                name = f" ({signal.Signals(self.signal).name})"
            except ValueError:
                name = ""
            return f"was killed by signal {self.signal}{name}"
        return f"exited with code {self.code}"


class Filter(Protocol):
    """What stderr passes before it is cut into lines, for example to redact it."""

    @property
    def holds(self) -> bool: ...
    def feed(self, data: bytes) -> bytes: ...
    def tick(self) -> tuple[bytes, bool]: ...
    def gap(self) -> bytes: ...
    def peek(self) -> bytes: ...
    def end(self) -> bytes: ...


class _Plain:
    """Passes everything (Filter)."""

    holds = False

    def feed(self, data: bytes) -> bytes:
        return data

    def tick(self) -> tuple[bytes, bool]:
        return b"", False

    def gap(self) -> bytes:
        return b""

    def peek(self) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""


# What is left to do with a line in the next turn of the event loop, before any further line.
Rest = Callable[[], None] | None
OnLine = Callable[[bytes | Overlong], Rest]


def _ignore(_line: bytes | Overlong) -> None:
    """Nobody listens yet."""


def _drop(_line: bytes) -> None:
    """No process runs yet."""


class _Meter:
    """Hands on at most `rate` bytes of stderr in a second, as lines, and says how much it held back.

    A line counts as `_SHORT_LINE` bytes at least. What is counted passes the filter, then it is cut into lines.
    """

    def __init__(self, rate: int, on_stderr: Callable[[bytes], None], passing: Filter) -> None:
        self._filter = passing
        self._rate = self._left = rate
        self._lines = rate // _SHORT_LINE
        self._on_stderr = on_stderr
        self._splitter = LineSplitter(_STDERR_LINE)
        self._second = 0.0
        self._suppressed = 0

    def take(self, data: bytes, now: float) -> None:
        """The next bytes, at a time in seconds."""
        if now - self._second >= 1:
            self.settle()
            self._second, self._left, self._lines = now, self._rate, self._rate // _SHORT_LINE
        taken = data[: self._left]
        self._left -= len(taken)
        self._suppressed += len(data) - len(taken)
        shown = self._filter.feed(taken)
        if len(taken) < len(data):
            shown += self._filter.gap()
        self._split(shown)

    @property
    def holds(self) -> bool:
        """Whether the filter holds something back."""
        return self._filter.holds

    @property
    def unfinished(self) -> bytes:
        """The beginning of the line that has not ended, filtered."""
        return (self._splitter.unfinished + self._filter.peek()).rpartition(b"\n")[2][:_UNFINISHED]

    def tick(self) -> bool:
        """Hand on what the filter does not hold back any longer; return whether it may let go of more after a while."""
        shown, more = self._filter.tick()
        self._split(shown)
        return more

    def end(self) -> None:
        """Last words need no line end."""
        self._split(self._filter.end() + b"\n")

    def _split(self, data: bytes) -> None:
        for line in self._splitter.feed(data):
            self._tell(line)

    def _tell(self, found: bytes | Overlong) -> None:
        line = found.prefix + b"..." if isinstance(found, Overlong) else found
        if self._lines:
            self._lines -= 1
            self._on_stderr(line)
        else:
            self._suppressed += len(line)

    def settle(self) -> None:
        """Say what was held back since the last time."""
        if self._suppressed:
            self._on_stderr(b"... suppressed %d bytes" % self._suppressed)
            self._suppressed = 0


class Keeper(Protocol):
    """The process that keeps a child, as far as it can be signalled: a server can stop or kill its keeper."""

    def resume(self) -> None: ...
    def kill(self) -> None: ...
    async def ended(self) -> None: ...
    def let_go(self) -> None: ...


class _Unwritten:
    """What a pipe has not taken yet: small pieces are gathered, and a large one is kept without a copy of it."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: deque[bytearray | memoryview] = deque()

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, data: memoryview) -> None:
        """Put something at the end. It must not change later."""
        self.size += len(data)
        if len(data) > _LARGE:
            self._pieces.append(data)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += data
        else:
            self._pieces.append(bytearray(data))

    def write_to(self, descriptor: int) -> None:
        """Write until nothing is left. Raises OSError, BlockingIOError where the pipe is full."""
        while self._pieces:
            first = self._pieces[0]
            sent = os.write(descriptor, first)
            self.size -= sent
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


class Child:
    """A server process. `run` must be running for anything but `send` to have an effect."""

    def __init__(
        self,
        pid: int,
        control: socket.socket,
        pipes: tuple[int, int, int],
        limits: Limits,
        poller: Poller,
        keeper: Keeper,
    ) -> None:
        self.pid = pid
        self._keeper = keeper
        self._control = control
        self._stdin, self._stdout, self._stderr = pipes
        self._limits = limits
        self._poller = poller
        self._splitter = LineSplitter(limits.line)
        self._unheard: deque[bytes | Overlong | Callable[[], None]] = deque()
        self._on_line: OnLine = _ignore
        self._meter = _Meter(limits.stderr_rate, _drop, _Plain())
        self._nursery: trio.Nursery | None = None
        self._changed = WakeUpSlot()
        # One buffer, since an object for every short line would cost ten times the limit.
        self._queue = _Unwritten()
        self._writing = False
        self._ticking = False
        self._flushed = trio.Event()
        # What has happened so far; `_changed` is woken for each.
        self._stopping = self._killed = self._exited = self._drained = self._keeper_gone = False
        self._deaf = False
        self._stdout_ends = False
        self._turns = 0  # in which something of its stdout was read
        self._filling = False
        self._gone = False
        self._paused = False
        self._clock = PausableClock()
        self._reason = ""
        # Who is shown every message, by its direction; a list that may be shared, and grow and shrink at any time.
        self.watchers: Sequence[Callable[[str, bytes], None]] = ()
        self._exit: Exit | None = None
        self._fault: Exception | None = None

    # ---- what others do with it, at once

    def send(self, line: bytes) -> None:
        """Write one line. Raises ChildGone, or ChildBusy over `limits.stdin_bytes`."""
        if self._gone or self._stopping:
            raise ChildGone
        for watcher in self.watchers:
            watcher("to server", line)
        # The end of a large line is written on its own, which saves a copy of the line.
        data = line + b"\n" if len(line) <= _LARGE else line
        sent = 0
        if not self._queue.size:
            try:
                sent = os.write(self._stdin, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._hears_no_more()
                raise ChildGone from None
            if sent == len(line) + 1:
                return
        # Where the beginning is in the pipe already, the rest must follow.
        if not sent and self._queue.size + len(data) > self._limits.stdin_bytes:
            raise ChildBusy(
                f"the server does not read: {self._queue.size} bytes wait for it and the limit is {self._limits.stdin_bytes}"
            )
        self._enqueue(memoryview(data)[sent:])
        if data is line:
            self._queue.add(memoryview(b"\n"))

    @property
    def has_unread_input(self) -> bool:
        """Whether something that was sent has not been read yet."""
        if self._queue:
            return True
        try:
            waiting = fcntl.ioctl(self._stdin, termios.FIONREAD, bytes(4))
        except (OSError, ValueError):  # it is closed
            return False
        return any(waiting)

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._gone

    @property
    def unfinished(self) -> tuple[bytes, bytes]:
        """The beginnings of the lines on its stdout and stderr that have not ended, for example of a prompt."""
        return self._splitter.unfinished, self._meter.unfinished

    def pause(self) -> None:
        """Read no further message of its stdout until `resume`, unless it is to leave."""
        if not (self._paused or self._stopping or self._killed or self._gone):
            self._paused = True
            self._clock.pause(trio.current_time())

    def resume(self) -> None:
        """Read its stdout on."""
        if self._paused:
            self._paused = False
            self._clock.resume(trio.current_time())
            self._poller.call_again(self._stdout)
            self._changed.wake()  # whoever waits for its last words

    def active_time(self, now: float) -> float:
        """Return the time `now` without that for which it was not read (seconds): for the limits that it must keep."""
        return self._clock.time(now)

    def stop(self) -> None:
        """Let it leave: end of its stdin, later SIGTERM to its group, later SIGKILL to all that is left."""
        self.resume()
        self._stopping = True
        self._on_line = _ignore
        self._changed.wake()

    def kill(self) -> None:
        """End it, and everything it has started, now."""
        self.resume()
        self._killed = True
        self._on_line = _ignore
        self._changed.wake()

    def _hears_no_more(self) -> None:
        # Either it is gone, and its exit is on its way, or it has closed its stdin and is of no use any more.
        if not self._stopping:
            self._deaf = True
            self._changed.wake()

    def _enqueue(self, data: memoryview) -> None:
        self._queue.add(data)
        if not self._writing and self._nursery is not None:
            self._writing = True
            self._flushed = trio.Event()
            self._nursery.start_soon(self._write_stdin)

    # ---- its life

    def set_line_handler(self, on_line: OnLine) -> None:
        """Hand every line from now on to this, until it is to leave. Lines from before the first call are dropped.

        It may return a part of its work to be done in the next turn of the event loop.
        """
        self._on_line = on_line

    async def run(
        self,
        on_stderr: Callable[[bytes], None],
        on_exit: Callable[[Exit], None],
        passing: Filter | None = None,
    ) -> None:
        """Read and write until the process and all its descendants are gone. Cancelling ends them at once.

        `on_exit` is called once, when it is known that no further line will come. What whoever hears raises ends the
        child and is raised here. stderr passes the filter before it is cut into lines.
        """
        self._meter = _Meter(self._limits.stderr_rate, on_stderr, passing or _Plain())
        self._poller.register(self._stdout, self._read_stdout)
        self._poller.register(self._stderr, self._read_stderr)
        self._poller.register(self._control.fileno(), self._hear_keeper)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if self._queue:
                    self._writing = True
                    nursery.start_soon(self._write_stdin)
                await self._live(nursery)
                self._gone = True
                self._on_line = _ignore
                self._meter.end()
                on_exit(self._exit or Exit(reason=self._reason or "is gone"))
                self._tell(b"kill")
                await self._end_keeper()
                nursery.cancel_scope.cancel()
            if self._fault is not None:
                raise self._fault
        finally:
            self._let_go()

    async def _end_keeper(self) -> None:
        self._keeper.resume()
        with trio.move_on_after(_KILL_SECONDS):
            while not self._keeper_gone:
                await self._changed.wait()
        if not self._keeper_gone:
            self._keeper.kill()
        await self._keeper.ended()

    def _let_go(self) -> None:
        self._gone = True
        self._meter.end()
        self._meter.settle()
        for descriptor in (self._stdout, self._stderr, self._control.fileno()):
            self._poller.unregister(descriptor)
        self._control.close()  # the keeper's sign to end whatever is left
        if not self._keeper_gone:
            self._keeper.resume()
        self._keeper.let_go()
        for descriptor in (self._stdin, self._stdout, self._stderr):
            if descriptor >= 0:
                os.close(descriptor)
        self._stdin = self._stdout = self._stderr = -1

    async def _live(self, nursery: trio.Nursery) -> None:
        leaving = False
        while not (self._exited or self._killed or self._drained or self._deaf):
            if self._stopping and not leaving:
                leaving = True
                nursery.start_soon(self._leave)
            await self._changed.wait()
        if not (self._exited or self._killed):
            await self._until(lambda: self._exited or self._killed, _SILENT_SECONDS)
            if not self._exited:
                closed = "stdin" if self._deaf else "stdout"
                self._reason = self._reason or f"closed its {closed} without leaving"
        if self._exited:
            await self._drain()

    async def _drain(self) -> None:
        # As long as something comes it is read: a busy machine must not cost the last words of a server, nor a slow client.
        end = self.active_time(trio.current_time()) + _LAST_SECONDS
        before = -1
        while not self._drained and before != self._turns and self.active_time(trio.current_time()) < end:
            before = self._turns
            await self._until(lambda: self._drained, _DRAIN_SECONDS)

    async def _until(self, over: Callable[[], bool], seconds: float) -> None:
        """Wait until it is over, or so many seconds have passed in which stdout was read."""
        end = self.active_time(trio.current_time()) + seconds
        while not over() and (left := end - self.active_time(trio.current_time())) > 0:
            with trio.move_on_after(max(left, TICK) if self._paused else left):
                await self._changed.wait()

    async def _leave(self) -> None:
        if self._queue:
            with trio.move_on_after(_FLUSH_SECONDS):
                await self._flushed.wait()
        self._queue.clear()
        trio.lowlevel.notify_closing(self._stdin)
        os.close(self._stdin)
        self._stdin = -1
        await trio.sleep(self._limits.stop_seconds)
        self._tell(b"term")
        await trio.sleep(self._limits.stop_seconds)
        self.kill()

    # ---- its pipes

    def _read_stdout(self, left: bool) -> None:  # noqa: FBT001 - readiness.Ready
        self._stdout_ends = self._stdout_ends or left
        if self._paused:
            return  # `resume` asks for another turn
        if self._splitter.held > _LARGE and not self._filling:
            # In the middle of a large line: let the pipe fill up, or it would be read in many small pieces.
            self._filling = True
            self._poller.call_again(self._stdout)
            return
        self._filling = False
        self._turns += 1
        size = _READ_LARGE if self._splitter.held > _READ else _READ
        # After its exit there is not much left to read, and not much time.
        end = time.perf_counter() + (_DRAIN_SECONDS if self._exited else _TURN_SECONDS)
        goes_on = self._hear(end) if self._unheard else self._fault is None
        while goes_on:
            try:
                data = os.read(self._stdout, size)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drained = True
                self._changed.wake()
                return
            self._unheard.extend(self._splitter.feed(data))
            goes_on = self._hear(end)
            if len(data) < size and not self._stdout_ends and not self._unheard:
                return  # the pipe is empty; what comes from now on is another edge, but for the end
        if self._fault is None and not self._paused:
            self._poller.call_again(self._stdout)

    def _hear(self, end: float) -> bool:
        """Hand on the lines that were read; answer whether there is time for more."""
        unheard = self._unheard
        try:
            while unheard:
                line = unheard.popleft()
                if not isinstance(line, (bytes, Overlong)):
                    if self._on_line is not _ignore:
                        line()
                    continue
                for watcher in self.watchers:
                    watcher("to client", line.prefix if isinstance(line, Overlong) else line)
                rest = self._on_line(line)
                if rest is not None:
                    unheard.appendleft(rest)
                    return False
                if self._paused or (unheard and time.perf_counter() > end):
                    return False
        except Exception as fault:  # noqa: BLE001 - it is of whoever runs us, and is raised there
            self._fault = fault
            self.kill()
        return self._fault is None and not self._paused and time.perf_counter() <= end

    def _read_stderr(self, _left: bool) -> None:  # noqa: FBT001 - readiness.Ready
        for _ in range(_FAIR):
            try:
                data = os.read(self._stderr, _READ)
            except BlockingIOError:
                return
            except OSError:
                return
            if not data:
                return
            self._meter.take(data, trio.current_time())
            if self._meter.holds and not self._ticking and self._nursery is not None:
                self._ticking = True
                self._nursery.start_soon(self._tick)
        self._poller.call_again(self._stderr)

    async def _tick(self) -> None:
        more = True
        while more and not self._gone:
            await trio.sleep(_TICK_SECONDS)
            more = self._meter.tick()
        self._ticking = False

    async def _write_stdin(self) -> None:
        while self._queue:
            try:
                stalled = not await self._until_writable()
            except trio.ClosedResourceError:
                return  # the server is to leave
            if stalled:
                self._reason = f"has not read its stdin for {self._limits.stdin_stall_seconds:g} s"
                self.kill()
                return
            try:
                self._write_some()
            except OSError:
                self._hears_no_more()
                return
        self._writing = False
        self._flushed.set()

    async def _until_writable(self) -> bool:
        """Wait until its stdin takes more. Returns False after `stdin_stall_seconds` in which it was read."""
        end = self.active_time(trio.current_time()) + self._limits.stdin_stall_seconds
        while (left := end - self.active_time(trio.current_time())) > 0:
            with trio.move_on_after(max(left, TICK) if self._paused else left):
                await trio.lowlevel.wait_writable(self._stdin)
                return True
        return False

    def _write_some(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._queue.write_to(self._stdin)

    # ---- its keeper

    def _hear_keeper(self, _left: bool) -> None:  # noqa: FBT001 - readiness.Ready
        while True:
            try:
                report = self._control.recv(64)
            except BlockingIOError:
                return
            except OSError:
                report = b""
            word, _, number = report.partition(b" ")
            if word == b"exited":
                self._exit = Exit(code=int(number), reason=self._reason)
            elif word == b"signalled":
                self._exit = Exit(signal=int(number), reason=self._reason)
            self._exited = True
            self._changed.wake()
            if not report:
                self._keeper_gone = True
                return

    def _tell(self, command: bytes) -> None:
        try:
            self._control.send(command)
        except OSError:
            return
