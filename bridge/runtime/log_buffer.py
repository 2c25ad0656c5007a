"""Keep the last lines of one server in memory, and send new lines to the clients that follow them.

The size is bounded. The text of an entry is escaped and redacted before it is stored.
"""

from collections import deque
from itertools import islice
from typing import Final, Protocol

import attrs
import msgspec

# How much text is stored for each server (characters), and how many entries, because each takes 110 bytes beside its text.
_KEPT: Final = 64 * 1024
_MOST: Final = 4096
# How many lines of a process an error contains, and how long each (characters).
TAIL: Final = 5
TAIL_CHARACTERS: Final = 400
# For how many processes the position of their first line is stored.
_PIDS: Final = 1024


@attrs.frozen
class Entry:
    """One line: `at` in seconds since the epoch, `kind` is "stderr", "stdout" or the level of an event."""

    at: float
    kind: str
    pid: int
    text: str
    server: str = ""


class Follower(Protocol):
    """Gets the entries of a log as JSON: first an array, then one entry at a time. A send queue is one."""

    def enqueue(self, message: bytes, /) -> object:
        """Take one JSON value without waiting."""
        ...


class LogBuffer:
    """The last entries of the log of one server, and its followers."""

    __slots__ = ("_before", "_count", "_entries", "_followers", "_held")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        # The size of all entries (characters).
        self._held = 0
        # How many entries were ever added.
        self._count = 0
        # The value of `_count` at the start of a process by pid, because a pid may be used again. Added by `begin`, the
        # oldest is removed at the limit.
        self._before: dict[int, int] = {}
        # Those that get each new entry; added by `follow`, removed by `unfollow`.
        self._followers: set[Follower] = set()

    @property
    def is_followed(self) -> bool:
        """Whether a client follows the log."""
        return bool(self._followers)

    def entries(self) -> tuple[Entry, ...]:
        """Return the stored entries, oldest first."""
        return tuple(self._entries)

    def begin(self, pid: int) -> None:
        """Record that earlier entries with this pid are of another process."""
        self._before.pop(pid, None)
        self._before[pid] = self._count
        if len(self._before) > _PIDS:
            del self._before[next(iter(self._before))]

    def add(self, entry: Entry) -> None:
        """Store an entry, and send it to the followers."""
        self._entries.append(entry)
        self._count += 1
        self._held += len(entry.text)
        while self._held > _KEPT or len(self._entries) > _MOST:
            self._held -= len(self._entries.popleft().text)
        if self._followers:
            text = msgspec.json.encode(entry)
            for follower in tuple(self._followers):
                follower.enqueue(text)

    def tail(self, pid: int, kind: str = "stderr") -> list[str]:
        """Return the last lines of one kind of this process, and none of an earlier process with its pid."""
        skipped = self._before.get(pid, self._count) - (self._count - len(self._entries))
        entries = islice(self._entries, max(0, skipped), None)
        lines = [entry.text for entry in entries if entry.pid == pid and entry.kind == kind]
        return [line[:TAIL_CHARACTERS] for line in lines[-TAIL:]]

    def follow(self, follower: Follower, most: int | None = None) -> None:
        """Send the stored entries as an array, at most the newest `most`, and then each new entry."""
        first = 0 if most is None else max(0, len(self._entries) - most)
        follower.enqueue(msgspec.json.encode(tuple(islice(self._entries, first, None))))
        self.follow_new(follower)

    def follow_new(self, follower: Follower) -> None:
        """Send each new entry to this follower."""
        self._followers.add(follower)

    def unfollow(self, follower: Follower) -> None:
        """Send no further entries to this follower."""
        self._followers.discard(follower)
