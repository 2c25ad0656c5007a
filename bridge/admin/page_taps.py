"""Send the messages of servers to the pages that follow them.

A message is escaped and redacted once for all pages, and not at all while no page can take it. This uses a share of the
processor time only: further messages are dropped, and each page is sent their number.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec

from ..runtime.server_log import ServerLog
from ..runtime.taps import Tap, TappedProcess

# A longer message is cut (characters).
SHOWN: Final = 4 * 1024
# In each period messages are escaped and redacted for at most this time (both in seconds).
PERIOD: Final = 0.25
MOST_SPENT: Final = 0.025


class TappedMessage(msgspec.Struct, frozen=True):
    """One message between a client and a server, as it may be shown. `size` is its length (bytes)."""

    server: str
    direction: str
    size: int
    line: str


class Page(Protocol):
    """Gets messages (feed.Feed)."""

    @property
    def is_full(self) -> bool:
        """Whether too much is unsent."""
        ...

    def send(self, kind: str, data: bytes) -> None:
        """Send one event."""
        ...

    def drop(self) -> None:
        """Count an event that is not sent."""
        ...


class PageTaps:
    """The pages that follow messages, by server. `clock` returns the time of a steady clock (seconds)."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        # By server log: its pages, and the tap that serves them. Added by `add`, removed by `remove` of the last page.
        self._pages: dict[ServerLog, list[Page]] = {}
        self._taps: dict[ServerLog, Tap] = {}
        # When the present period began, and the time used in it (seconds).
        self._began = 0.0
        self._spent = 0.0

    def add(self, log: ServerLog, page: Page) -> None:
        """Send the messages of a server to a page from now on."""
        if log not in self._pages:
            self._pages[log] = []
            self._taps[log] = tap = partial(self._pass_on, log)
            log.taps.add(tap)
        self._pages[log].append(page)

    def remove(self, log: ServerLog, page: Page) -> None:
        """Stop sending the messages of a server to a page."""
        pages = self._pages[log]
        pages.remove(page)
        if not pages:
            del self._pages[log]
            log.taps.remove(self._taps.pop(log))

    def _pass_on(self, log: ServerLog, _process: TappedProcess, direction: str, line: bytes) -> None:
        began = self._clock()
        if began - self._began >= PERIOD:
            self._began, self._spent = began, 0.0
        has_time = self._spent < MOST_SPENT
        data = b""
        for page in self._pages[log]:
            if not has_time or page.is_full:
                page.drop()
                continue
            if not data:
                shown = TappedMessage(log.name, direction, len(line), log.shown(line, SHOWN))
                data = msgspec.json.encode(shown)
            page.send("message", data)
        if data:
            self._spent += self._clock() - began
