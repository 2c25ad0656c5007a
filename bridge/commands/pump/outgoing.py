"""The lines for the daemon, in order, and how much of the first line the kernel has taken. Pure."""

from .heads import key_of
from .lines import Line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterable, Iterator

    from .heads import Head
    from .lines import Piece
else:
    from _collections import deque

# The most pieces of one system call, and the most bytes.
_PIECES = 64
_BYTES = 256 * 1024


class Outgoing:
    """Lines that wait for a connection or for the kernel."""

    def __init__(self) -> None:
        # Lines for the present connection only, which are sent before all others.
        self._ahead: deque[Line] = deque()
        self._waiting: deque[Line] = deque()
        # The line of which the kernel has taken a part, and the size of that part (bytes).
        self._current: Line | None = None
        self._taken = 0
        # The size of all lines (bytes).
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._current or self._ahead or self._waiting)

    @property
    def is_cut(self) -> bool:
        """Return whether the kernel has taken a part of a line."""
        return self._current is not None

    @property
    def has_requests(self) -> bool:
        """Return whether a request of the client waits."""
        return any(head.is_request for line in self._of_client() for head in line.heads)

    def _of_client(self) -> "Iterator[Line]":
        if self._current is not None and not self._current.is_ahead:
            yield self._current
        yield from self._waiting

    def append(self, line: Line) -> None:
        """Let a line wait after all others."""
        self._waiting.append(line)
        self.size += line.size

    def add_ahead(self, lines: "Iterable[Line]") -> None:
        """Let lines for the present connection wait before all others."""
        for line in lines:
            line.is_ahead = True
            self._ahead.append(line)
            self.size += line.size

    def insert_first(self, lines: "list[Line]") -> None:
        """Let lines for any connection wait before all others."""
        for line in reversed(lines):
            self._waiting.appendleft(line)
            self.size += line.size

    def grow(self, line: Line, pieces: "list[Piece]", *, finished: bool) -> None:
        """Add pieces to a line whose end had not arrived."""
        before = line.size
        line.extend(pieces, finished=finished)
        self.size += line.size - before

    def remove_request(self, key: bytes) -> bool:
        """Remove the requests with this key, of which nothing was sent; return whether there were any."""
        return bool(self._remove(lambda head: head.is_request and key_of(head.raw_id) == key))

    def take_waiting(self) -> "list[bytes]":
        """Remove the requests of the client, of which nothing was sent, and return their raw ids."""
        return [line.heads[0].raw_id for line in self._remove(lambda head: head.is_request)]

    def take_responses(self) -> "list[bytes]":
        """Remove the responses of the client, of which nothing was sent, and return their keys."""
        return [key_of(line.heads[0].raw_id) for line in self._remove(lambda head: head.is_response)]

    def remove_notifications(self, method: bytes) -> None:
        """Remove the notifications with this method, of which nothing was sent."""
        self._remove(lambda head: not head.raw_id and head.method == method)

    def _remove(self, is_wanted: "Callable[[Head], bool]") -> "list[Line]":
        removed = [line for line in self._waiting if len(line.heads) == 1 and is_wanted(line.heads[0])]
        for line in removed:
            self._waiting.remove(line)
            self.size -= line.size
        return removed

    def take_requests(self) -> "list[bytes]":
        """Remove all lines but the rest of one for the present connection. Return the raw ids of the requests of the client.

        A line whose end has not arrived is lost: its requests fail after that.
        """
        found: list[bytes] = []
        for line in self._of_client():
            line.is_lost = not line.finished
            if line.finished:
                found += [head.raw_id for head in line.heads if head.is_request]
        self._ahead.clear()
        self._waiting.clear()
        if self._current is None or not self._current.is_ahead:
            self._current, self._taken = None, 0
        self.size = 0 if self._current is None else self._current.size
        return found

    def pieces(self, *, ahead: bool, waiting: bool) -> "list[Piece | memoryview]":
        """Return what the kernel can take next: the rest of a line that is cut, and the lines of these kinds."""
        found: list[Piece | memoryview] = []
        size = 0
        skip = self._taken
        for line in self._next(ahead=ahead, waiting=waiting):
            for piece in line.pieces:
                if skip >= len(piece):
                    skip -= len(piece)
                    continue
                found.append(memoryview(piece)[skip:] if skip else piece)
                size += len(piece) - skip
                skip = 0
                if len(found) >= _PIECES or size >= _BYTES:
                    return found
            if not line.finished:
                break
        return found

    def _next(self, *, ahead: bool, waiting: bool) -> "Iterator[Line]":
        if self._current is not None:
            yield self._current
        if ahead:
            yield from self._ahead
        if waiting:
            yield from self._waiting

    def advance(self, count: int) -> "list[Line]":
        """Note that the kernel has taken so many bytes of `pieces`. Return the lines that it has taken as a whole."""
        sent: list[Line] = []
        count += self._taken
        self._taken = 0
        while count or self._current is not None:
            line = self._current or (self._ahead or self._waiting).popleft()
            self._current = None
            if count < line.size or not line.finished:
                self._current, self._taken = line, count
                self._drop_sent_pieces(line)
                break
            count -= line.size
            self.size -= line.size
            sent.append(line)
        return sent

    def _drop_sent_pieces(self, line: Line) -> None:
        # A line that is sent before its end has arrived is too large to be kept.
        while not line.finished and line.pieces and self._taken >= len(line.pieces[0]):
            size = len(line.pieces.pop(0))
            self._taken -= size
            line.size -= size
            self.size -= size
            line.is_whole = False

    def rewind(self) -> "Line | None":
        """Prepare for another connection. Return the line that cannot be sent again, because its begin is not kept."""
        current, self._current, self._taken = self._current, None, 0
        dropped = list(self._ahead)
        self._ahead.clear()
        lost = None
        if current is not None and (current.is_ahead or not current.is_whole):
            dropped.append(current)
            lost = None if current.is_ahead else current
        elif current is not None:
            self._waiting.appendleft(current)
        self.size -= sum(line.size for line in dropped)
        return lost
