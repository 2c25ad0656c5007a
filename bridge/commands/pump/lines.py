"""Split a stream into lines, and keep each line as a list of pieces, because large buffers cost memory after their use. Pure."""

from .heads import TAIL, Head, parse, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    Piece = bytes | bytearray

# The most bytes that are joined to one piece: below the size from which malloc(3) maps memory for each piece.
PIECE = 64 * 1024


class Line:
    """A line with its end, in pieces.

    `finished` is False while its end has not arrived yet, and `is_whole` is True while all its pieces are kept.
    The queue and the conversation set `is_ahead` for a line that is for the present connection only, `is_lost` for a line
    that was cut by the end of its connection, and `rejection`, the error response of a daemon that has not begun the request.
    """

    __slots__ = (
        "_heads",
        "finished",
        "first",
        "is_ahead",
        "is_lost",
        "is_whole",
        "pieces",
        "rejection",
        "size",
        "tail",
    )

    def __init__(self, pieces: "list[Piece]", *, finished: bool = True) -> None:
        self.pieces = pieces
        self.size = sum(map(len, pieces))
        self.first = bytes(pieces[0])
        self.tail = b""
        self.finished = finished
        self.is_whole = True
        self.is_ahead = False
        self.is_lost = False
        self.rejection = b""
        self._heads: list[Head] | None = None

    @property
    def heads(self) -> "list[Head]":
        """Return the heads of its messages; none if it is not JSON-RPC, or not finished and its id has not arrived yet."""
        if self._heads is not None:
            return self._heads
        whole = self.finished and len(self.pieces) == 1 and not self.tail
        last = self.first if whole else self.tail or _end_of(self.pieces)
        found = scan(self.first, last) if self.finished else scan(self.first, b"x")
        if found is not None:
            heads = [found]
        elif self.finished and not self.tail:
            heads = parse(self.text())
        else:
            heads = []
        if heads or self.finished:
            self._heads = heads
        return heads

    def text(self) -> bytes:
        """Return the text without the end of the line."""
        return b"".join(self.pieces).rstrip(b"\r\n")

    def extend(self, pieces: "list[Piece]", *, finished: bool) -> None:
        """Add pieces to a line that is sent before its end has arrived."""
        self.size += sum(map(len, pieces))
        self.pieces += pieces
        self.tail = (self.tail + _end_of(pieces))[-TAIL:]
        self.finished = finished


def line_of(text: bytes) -> Line:
    """Return a line with this text."""
    return Line([text + b"\n"])


def _end_of(pieces: "list[Piece]") -> bytes:
    end = b""
    for piece in reversed(pieces):
        end = bytes(piece[-TAIL:]) + end
        if len(end) >= TAIL:
            break
    return end


class Splitter:
    """Splits pieces of a stream into lines. Blank lines are omitted."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        # The size of the unfinished line (bytes).
        self.unfinished = 0

    def feed(self, data: bytes) -> "list[Line]":
        """Add the next bytes, and return the lines that they finish."""
        end = data.find(b"\n") + 1
        if end == len(data) and end and not self._pieces:
            # One whole line, as most programs write it.
            return [] if data.isspace() else [Line([data])]
        lines: list[Line] = []
        start = 0
        while end:
            self._add(data[start:end])
            lines += self._take()
            start, end = end, data.find(b"\n", end) + 1
        if start < len(data):
            self._add(data[start:])
        return lines

    def end(self) -> "list[Line]":
        """Return the last line, if it has no end."""
        if self._pieces:
            self._add(b"\n")
        return self._take()

    def take_pieces(self) -> "list[Piece]":
        """Remove and return what has arrived of the unfinished line."""
        pieces, self._pieces, self.unfinished = self._pieces, [], 0
        return pieces

    def _add(self, data: bytes) -> None:
        self.unfinished += len(data)
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, bytearray) and len(last) + len(data) <= PIECE:
            last += data
        else:
            self._pieces.append(data if len(data) > PIECE // 2 else bytearray(data))

    def _take(self) -> "list[Line]":
        pieces = self.take_pieces()
        return [] if not pieces or all(piece.isspace() for piece in pieces) else [Line(pieces)]
