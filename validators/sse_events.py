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


class SseEvent(NamedTuple):
    """An event with at least one data field. `id` is that of the last event so far that has set one; empty is none.

    An id that cannot be sent as Last-Event-ID is empty too: it is too long, or has control characters or spaces around it.
    """

    type: bytes
    data: bytes
    id: bytes


class SseOverflow(Exception):
    """An event or a line exceeds the limit. The text is a predicate, to be written after the name of the server."""


class SseParser:
    """Parses one event stream. An event of more than `limit` bytes, finished or not, raises SseOverflow."""

    def __init__(self, limit: int) -> None:
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
        if self._after_cr and data:
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
        self._check(len(self._unfinished) - _FIELD)

    def _check(self, more: int) -> None:
        size = more + (0 if self._data is None else len(self._data))
        if size > self._limit:
            raise SseOverflow(f"sent an event of more than {self._limit} bytes")

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._check(len(value) + (self._data is not None))
            if self._data is None:
                self._data = value
            else:
                if isinstance(self._data, bytes):
                    self._data = bytearray(self._data)
                self._data += b"\n"
                self._data += value
        elif name == b"event":
            self._type = value
        elif name == b"id" and b"\0" not in value:
            self._id = value if len(value) <= _LONGEST_ID and FIELD_VALUE.match(value) else b""
        elif name == b"retry" and value.isdigit():
            self.retry = int(value[:_RETRY_DIGITS]) / 1000

    def _finish(self) -> SseEvent | None:
        """Return the event that an empty line completes, None without data."""
        self.last_event_id = self._id
        data, kind = self._data, self._type
        self._data, self._type = None, b""
        if data is None:
            return None
        return SseEvent(kind or b"message", bytes(data), self._id)
