"""Read the stderr of a server: redacted, in lines, and at a limited rate."""

import os
from typing import Final

import trio

from ..poller import Poller
from ..server_io import Filter, OnStderr, Overlong
from .lines import LineSplitter

_READ: Final = 64 * 1024
# Reads in a row, after which other descriptors get a turn.
_FAIR: Final = 16
# Time between two ticks of the filter while it holds bytes back (seconds).
_TICK_SECONDS: Final = 0.05
# Longest line (bytes).
_LINE: Final = 4096
# Bytes of an unfinished line that are shown.
_UNFINISHED: Final = 256
# Least number of bytes that a line counts for, because handling a line costs more than its bytes.
_SHORT_LINE: Final = 64


class _NoFilter:
    """A filter that passes everything (Filter)."""

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


class StderrMeter:
    """Pass on at most `rate` bytes of stderr per second, as lines, and report the number of suppressed bytes.

    A line counts for `_SHORT_LINE` bytes at least. Bytes are counted first, then filtered, then split into lines.
    """

    def __init__(self, rate: int, on_stderr: OnStderr, filter_: Filter | None = None) -> None:
        self._filter: Filter = filter_ or _NoFilter()
        self._rate = self._left = rate
        self._lines = rate // _SHORT_LINE
        self._on_stderr = on_stderr
        self._splitter = LineSplitter(_LINE)
        self._second = 0.0
        self._suppressed = 0

    def feed(self, data: bytes, now: float) -> None:
        """Add the next bytes, received at `now` (seconds)."""
        if now - self._second >= 1:
            self.report_suppressed()
            self._second, self._left, self._lines = now, self._rate, self._rate // _SHORT_LINE
        passed = data[: self._left]
        self._left -= len(passed)
        self._suppressed += len(data) - len(passed)
        shown = self._filter.feed(passed)
        if len(passed) < len(data):
            shown += self._filter.gap()
        self._split(shown)

    @property
    def holds(self) -> bool:
        """Whether the filter holds bytes back."""
        return self._filter.holds

    @property
    def unfinished(self) -> bytes:
        """The beginning of the unfinished line, filtered."""
        return (self._splitter.unfinished + self._filter.peek()).rpartition(b"\n")[2][:_UNFINISHED]

    def tick(self) -> bool:
        """Pass on what the filter holds back no longer. Returns whether it holds more."""
        shown, more = self._filter.tick()
        self._split(shown)
        return more

    def end(self) -> None:
        """Pass on the rest. The last line needs no line end."""
        self._split(self._filter.end() + b"\n")

    def report_suppressed(self) -> None:
        """Pass on a line with the number of bytes suppressed since the last report."""
        if self._suppressed:
            self._on_stderr(b"... suppressed %d bytes" % self._suppressed)
            self._suppressed = 0

    def _split(self, data: bytes) -> None:
        for line in self._splitter.feed(data):
            self._pass_on(line)

    def _pass_on(self, found: bytes | Overlong) -> None:
        line = found.prefix + b"..." if isinstance(found, Overlong) else found
        if self._lines:
            self._lines -= 1
            self._on_stderr(line)
        else:
            self._suppressed += len(line)


class StderrReader:
    """Read a pipe into a meter. `meter` is replaced when the process is used."""

    def __init__(self, descriptor: int, poller: Poller, meter: StderrMeter) -> None:
        self.descriptor = descriptor
        self.meter = meter
        self._poller = poller
        self._nursery: trio.Nursery | None = None
        self._ticking = False
        self._ended = False

    def start(self, nursery: trio.Nursery) -> None:
        """Start tasks in this nursery while the filter holds bytes back."""
        self._nursery = nursery

    def end(self) -> None:
        """Pass on the rest, because the process has ended."""
        self._ended = True
        self.meter.end()

    def read(self, _left: bool) -> None:  # noqa: FBT001 - signature of poller.Ready
        """Read what the pipe holds (poller.Ready)."""
        for _ in range(_FAIR):
            try:
                data = os.read(self.descriptor, _READ)
            except OSError:
                return
            if not data:
                return
            self.meter.feed(data, trio.current_time())
            if self.meter.holds and not self._ticking and self._nursery is not None:
                self._ticking = True
                self._nursery.start_soon(self._tick)
        self._poller.call_again(self.descriptor)

    async def _tick(self) -> None:
        more = True
        while more and not self._ended:
            await trio.sleep(_TICK_SECONDS)
            more = self.meter.tick()
        self._ticking = False
