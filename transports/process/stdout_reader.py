"""Read the stdout of a server in lines, and pass them on in the callback that reads them."""

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ..memory import LARGE, large_messages
from ..poller import Poller
from ..server_io import OnLine, Overlong, Watchers, do_nothing, ignore
from ..turns import activity, server_turns
from .lines import LARGE_LINE, LineSplitter

# Bytes that are read at once. In the middle of a large line: as many as a pipe holds.
_READ: Final = 64 * 1024
_READ_LARGE: Final = 256 * 1024
# Time that the output of a server may occupy the event loop after its exit (seconds). Not much is left to read, and callers must get errors within 200 ms.
DRAIN_SECONDS: Final = 0.1


class StdoutReader:
    """Read a pipe, except while it is `paused`: then the pipe fills up, and the server waits as for a slow client.

    `on_end` is called at the end of the stream. `on_fault` is called for an exception of `on_line`, which is kept in `fault`.
    """

    def __init__(
        self,
        descriptor: int,
        limit: int,
        poller: Poller,
        *,
        on_end: Callable[[], None],
        on_fault: Callable[[], None],
    ) -> None:
        self.descriptor = descriptor
        self.on_line: OnLine = ignore
        self.paused = False
        # Whether the process has exited, so that the rest of its output is read in longer turns.
        self.draining = False
        self.fault: Exception | None = None
        self.watchers: Watchers = ()
        # Number of turns in which something was read, and the bytes of all.
        self.turns = 0
        self.bytes_read = 0
        self._on_end = on_end
        self._on_fault = on_fault
        self._poller = poller
        self._splitter = LineSplitter(limit)
        # Lines that were not passed on, and at the front the rest of the work on a line.
        self._pending: deque[bytes | Overlong | Callable[[], None]] = deque()
        # Whether the process has closed the pipe, after which there are no further edges.
        self._hung_up = False
        # Whether a turn was skipped, so that the pipe fills up.
        self._filling = False

    @property
    def unfinished(self) -> bytes:
        """The beginning of the unfinished line."""
        return self._splitter.unfinished

    def detach(self) -> None:
        """Drop the functions. They refer to the owner, which the garbage collector would free much later."""
        self._on_end = self._on_fault = do_nothing

    def resume(self) -> None:
        """Read on after a pause."""
        self.paused = False
        self._poller.call_again(self.descriptor)

    def read(self, left: bool) -> None:  # noqa: FBT001 - signature of poller.Ready
        """Read what the pipe holds, within the time of one turn (poller.Ready)."""
        self._hung_up = self._hung_up or left
        # `resume` requires another turn.
        if self.paused:
            return
        # In the middle of a large line the pipe is left to fill up, because many small reads are slow.
        if self._splitter.held > LARGE_LINE and not self._filling:
            self._filling = True
            self._poller.call_again(self.descriptor)
            return
        self._filling = False
        self.turns += 1
        end = time.perf_counter() + (DRAIN_SECONDS if self.draining else server_turns.take())
        goes_on = self._pass_on(end) and time.perf_counter() <= end if self._pending else self.fault is None
        while goes_on:
            held = self._splitter.held
            size = _READ_LARGE if held > _READ else _READ
            try:
                data = os.read(self.descriptor, size)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._on_end()
                return
            self.bytes_read += len(data)
            if held + len(data) > LARGE:
                large_messages.count += 1
            self._pending.extend(self._splitter.feed(data))
            if held > LARGE and self._pending and activity.several:
                # Its pieces were joined, and to decode it takes as long again.
                break
            goes_on = self._pass_on(end)
            # The pipe is empty. Further output is another edge, but the end may have been reported already.
            if len(data) < size and not self._hung_up and not self._pending:
                return
            goes_on = goes_on and time.perf_counter() <= end
        if self.fault is None and not self.paused:
            self._poller.call_again(self.descriptor)

    def _pass_on(self, end: float) -> bool:
        """Pass on the lines that were read. Returns whether there is time for more."""
        pending = self._pending
        try:
            while pending:
                line = pending.popleft()
                if not isinstance(line, (bytes, Overlong)):
                    if self.on_line is not ignore:
                        line()
                    continue
                for watcher in self.watchers:
                    watcher("to client", line.prefix if isinstance(line, Overlong) else line)
                rest = self.on_line(line)
                if rest is not None:
                    pending.appendleft(rest)
                    return False
                if self.paused or (pending and time.perf_counter() > end):
                    return False
        except Exception as fault:  # noqa: BLE001 - raised again in the task that runs the process
            self.fault = fault
            self._on_fault()
        return self.fault is None and not self.paused
