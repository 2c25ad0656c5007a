"""The event stream of one open page: the state every two seconds, and on request the messages and the log of servers.

A page that reads too slowly loses events, and so do all pages while too many messages pass. It is sent their number before the next event, so that it can show the gap. Servers
and their other clients never wait for a page.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from ...transports.send_queue import SendQueue
from ..config.settings import ALL
from ..runtime.server import LocalServer
from .page_taps import PageTaps

if TYPE_CHECKING:
    from ..runtime.log_buffer import LogBuffer
    from ..runtime.server_log import ServerLog

# Above this much unsent text (bytes) further events are dropped.
MOST_UNSENT: Final = 256 * 1024
# How many stored log entries a page gets at first: of the selected server, and of each if all are selected.
_STORED: Final = 200
_STORED_OF_EACH: Final = 20


class Feed:
    """The events of one page. `tapped` and `logged` are a server name, ALL, or empty for none."""

    def __init__(
        self, queue: SendQueue, is_admitted: Callable[[], bool], taps: PageTaps, tapped: str, logged: str
    ) -> None:
        self._queue = queue
        # Whether the session of the page is still open.
        self._is_admitted = is_admitted
        self._taps = taps
        self._tapped = tapped
        self._logged = logged
        self._dropped = 0
        # The servers whose messages are sent, and by log buffer what follows it. Added and removed by `follow`.
        self._sending: set[ServerLog] = set()
        self._followers: dict[LogBuffer, _LogFollower] = {}

    def send(self, kind: str, data: bytes) -> None:
        """Send one event, JSON with its kind, or count it as dropped while too much is unsent."""
        if self.is_full:
            self.drop()
            return
        if self._dropped:
            self._queue.enqueue(b'{"kind":"dropped","data":%d}' % self._dropped)
            self._dropped = 0
        self._queue.enqueue(b'{"kind":"%b","data":%b}' % (kind.encode("ascii"), data))

    def drop(self) -> None:
        """Count an event that is not sent."""
        self._dropped += 1

    def send_state(self, data: bytes) -> None:
        """Send the state, unless too much is unsent: the next state replaces it, so none is missed."""
        if not self._is_admitted():
            self._queue.close("the session of the page has ended")
        elif not self.is_full:
            self.send("state", data)

    @property
    def is_full(self) -> bool:
        """Whether too much is unsent."""
        return self._queue.unsent > MOST_UNSENT

    def follow(self, servers: Iterable[LocalServer]) -> None:
        """Watch the selected ones of these servers, and no others. Servers may come and go with a reload."""
        logs = [server.server_log for server in servers]
        tapped = {log for log in logs if self._tapped in (ALL, log.name)}
        for log in self._sending - tapped:
            self._taps.remove(log, self)
        for log in tapped - self._sending:
            self._taps.add(log, self)
        self._sending = tapped
        logged = {log.buffer: log for log in logs if self._logged in (ALL, log.name)}
        for buffer in set(self._followers).difference(logged):
            buffer.unfollow(self._followers.pop(buffer))
        for buffer, log in logged.items():
            if buffer not in self._followers:
                self._followers[buffer] = follower = _LogFollower(self, log.name)
                buffer.follow(follower, _STORED_OF_EACH if self._logged == ALL else _STORED)


@attrs.frozen(eq=False)
class _LogFollower:
    """Sends the log entries of one server to a feed (runtime.log_buffer.Follower)."""

    _feed: Feed
    _server: str

    def enqueue(self, message: bytes, /) -> None:
        """Send an array of stored entries, or one new entry."""
        self._feed.send("log", b'{"server":%b,"entries":%b}' % (msgspec.json.encode(self._server), message))
