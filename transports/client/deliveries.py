"""Pass the lines of a remote server on, in the order in which they were read, and only while they are wanted."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from ..server_io import OnLine, Overlong, Rest, Watchers, do_nothing, ignore

# Time that the lines of one server may occupy the event loop (seconds).
_TURN_SECONDS: Final = 0.002

# A line, or the rest of the work on a line, and the id of the request that it belongs to.
_Pending = tuple[bytes | Overlong | Callable[[], None], bytes]


class Deliveries:
    """The way of the lines to the line handler. `on_fault` is called with an exception of the handler, once."""

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self.on_line: OnLine = ignore
        self.watchers: Watchers = ()
        # The id of the request that the line in delivery belongs to (raw), or empty.
        self.related = b""
        self.paused = False
        self._on_fault = on_fault
        # Lines that were not passed on, and at the front the rest of the work on a line. A stream adds one piece at most, because
        # it waits for `room` before it is read further.
        self._pending: deque[_Pending] = deque()
        self._idle = trio.lowlevel.ParkingLot()
        self._turn_ends = 0.0
        self._wake = trio.Event()

    def put(self, line: bytes | Overlong, related: bytes = b"") -> None:
        """Pass a line on, at once if nothing is before it."""
        if self.paused or self._pending:
            self._pending.append((line, related))
            self._wake.set()
        else:
            self._pass(line, related)

    async def room(self) -> None:
        """Wait until everything was passed on, and yield to other tasks after a turn."""
        while self.paused or self._pending:
            await self._idle.park()
        if time.perf_counter() > self._turn_ends:
            await trio.lowlevel.checkpoint()
            self._turn_ends = time.perf_counter() + _TURN_SECONDS

    def pause(self) -> None:
        """Pass nothing on until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Continue."""
        self.paused = False
        self._wake.set()
        if not self._pending:
            self._idle.unpark_all()

    def flush(self) -> None:
        """Pass on everything now, because no further line is read."""
        self.paused = False
        while self._pending:
            self._pass(*self._pending.popleft())

    def drop(self) -> None:
        """Drop all lines from now on."""
        self.on_line = ignore
        self._pending.clear()
        self.resume()

    def detach(self) -> None:
        """Drop `on_fault`, which refers to the owner."""
        self._on_fault = do_nothing

    async def run(self) -> None:
        """Pass on what could not be passed on at once, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._pending and not self.paused:
                await trio.lowlevel.checkpoint()
                self._next()
            if not self.paused:
                self._idle.unpark_all()

    def _next(self) -> None:
        # The checkpoint before may have let others pause or drop.
        if self.paused or not self._pending:
            return
        self._pass(*self._pending.popleft())

    def _pass(self, line: bytes | Overlong | Callable[[], None], related: bytes) -> None:
        self.related = related
        try:
            rest = self._pass_line(line) if isinstance(line, (bytes, Overlong)) else line()
        except Exception as fault:  # noqa: BLE001 - raised again in the task that runs the connection
            self._on_fault(fault)
            return
        finally:
            self.related = b""
        if rest is not None:
            self._pending.appendleft((rest, related))
            self._wake.set()

    def _pass_line(self, line: bytes | Overlong) -> Rest:
        for watcher in self.watchers:
            watcher("to client", line.prefix if isinstance(line, Overlong) else line)
        return self.on_line(line)
