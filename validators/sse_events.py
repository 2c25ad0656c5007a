"""Parse an event stream as a client (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).

Bytes of data are passed on as they are: text is not decoded. Pure: bytes in, events out.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from .http_head import FIELD_VALUE

_BOM: Final = b"\xef\xbb\xbf"
# Room for the name of a field and white space in a line whose value has the largest size (bytes).
_FIELD: Final = 64
# The longest id (bytes), which must fit into a header field.
_LONGEST_ID: Final = 4096
# The longest reconnection time that is read (decimal digits, milliseconds).
_RETRY_DIGITS: Final = 12
# How much of the beginning and of the end of an event over the limit is kept (bytes).
_EDGE: Final = 1024


class SseEvent(NamedTuple):
    """An event with at least one data field. `id` is that of the last event so far that has set one; empty is none.

    An id that cannot be sent as Last-Event-ID is empty too: it is too long, or has control characters or spaces around it.
    `dropped` is 0, or the number of bytes that are missing between the beginning and the end of the data.
    """

    type: bytes
    data: bytes
    id: bytes
    dropped: int = 0


class SseOverflow(Exception):
    """An event or a line exceeds the limit. The text is a predicate, to be written after the name of the server."""


class SseParser:
    """Parses one event stream. An event of more than `limit` bytes, finished or not, raises SseOverflow.

    With `cut` it is returned with its first and last bytes only.
    """

    def __init__(self, limit: int, *, cut: bool = False) -> None:
        # The id of the last complete event that has set one, to be sent as Last-Event-ID.
        self.last_event_id = b""
        # The reconnection time that the server wants (seconds), None for none.
        self.retry: float | None = None
        self._limit = limit
        # The beginning of the stream, as long as it may be a byte order mark, then None.
        self._start: bytes | None = b""
        self._unfinished = bytearray()
        # The last line ended with CR, and a LF that follows belongs to it.
        self._after_cr = False
        # Of the unfinished event. `_data` is None without a data field.
        self._type = b""
        self._id = b""
        self._data: bytes | bytearray | None = None
        self._cut = cut
        self._dropped = 0

    @property
    def held(self) -> int:
        """The size of the unfinished event (bytes)."""
        return len(self._unfinished) + (0 if self._data is None else len(self._data))

    def feed(self, data: bytes) -> Iterator[SseEvent]:
        """Yield the events that the next bytes of the stream complete. Raises SseOverflow.

        The bytes are consumed as the events are taken: do not call it again before the iterator is exhausted.
        """
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._start = data
                return
            self._start = None
            data = data.removeprefix(_BOM)
        if not data:
            return
        if self._after_cr:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        for piece in data.splitlines(keepends=True):
            line = piece.rstrip(b"\r\n")
            if len(line) == len(piece):
                self._keep(piece)
                return
            if self._unfinished:
                self._keep(line)
                line = bytes(self._unfinished)
                self._unfinished.clear()
            if line:
                self._take_field(line)
            else:
                event = self._finish()
                if event is not None:
                    yield event
        self._after_cr = data.endswith(b"\r")

    def _keep(self, piece: bytes) -> None:
        self._unfinished += piece
        if self._over(len(self._unfinished) - _FIELD):
            self._drop_middle(self._unfinished)

    def _over(self, more: int) -> bool:
        """Return whether an event with more bytes is over the limit. Raises SseOverflow."""
        size = more + (0 if self._data is None else len(self._data)) + self._dropped
        if size > self._limit and not self._cut:
            raise SseOverflow(f"sent an event of more than {self._limit} bytes")
        return size > self._limit

    def _drop_middle(self, text: bytearray) -> None:
        size = len(text)
        del text[_EDGE:-_EDGE]
        # At least one, because an event is incomplete if it is over a limit below the edges as well.
        self._dropped += max(size - len(text), 1)

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            over = self._over(len(value) + (self._data is not None))
            if self._data is None and not over:
                self._data = value
                return
            if self._data is None:
                data = bytearray()
            else:
                data = self._data if isinstance(self._data, bytearray) else bytearray(self._data)
                data += b"\n"
            data += value
            if over:
                self._drop_middle(data)
            self._data = data
        elif name == b"event":
            self._type = value
        elif name == b"id" and b"\0" not in value:
            self._id = value if len(value) <= _LONGEST_ID and FIELD_VALUE.match(value) else b""
        elif name == b"retry" and value.isdigit():
            self.retry = int(value[:_RETRY_DIGITS]) / 1000

    def _finish(self) -> SseEvent | None:
        """Return the event that an empty line completes, None without data."""
        self.last_event_id = self._id
        data, kind, dropped = self._data, self._type, self._dropped
        self._data, self._type, self._dropped = None, b"", 0
        if data is None:
            return None
        return SseEvent(kind or b"message", bytes(data), self._id, dropped)
