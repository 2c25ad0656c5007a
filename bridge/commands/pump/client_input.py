"""Read the lines of the client. A line that is too large to be stored is passed on before its end has arrived. Pure but for `read`."""

import posix

from .conversation import Conversation
from .lines import PIECE, Line, Splitter
from .streams import STDIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .lines import Piece

# What is stored of the input (bytes): beyond that stdin is not read, and a longer line is passed on in pieces.
HELD = 16 * 1024 * 1024


class ClientInput:
    """The stdin of the program, whose lines go to a conversation."""

    def __init__(self, conversation: Conversation, held: int = HELD) -> None:
        self._conversation = conversation
        self._held = held
        self._splitter = Splitter()
        # The line of which a part was passed on already.
        self._begun: Line | None = None
        self.closed = False

    @property
    def is_full(self) -> bool:
        """Return whether no more input is to be read until some is sent."""
        return self._conversation.outgoing.size > self._held

    @property
    def is_between_lines(self) -> bool:
        """Return whether all that was read are whole lines."""
        return self._begun is None and not self._splitter.unfinished

    def read(self) -> None:
        """Read once; the caller has found that stdin is readable."""
        try:
            data = posix.read(STDIN, PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # A terminal that was closed.
            data = b""
        if data:
            self.feed(data)
        else:
            self.end()

    def feed(self, data: bytes) -> None:
        """Add the next bytes."""
        if self._begun is not None:
            end = data.find(b"\n") + 1
            self._extend(data[:end] if end else data, finished=bool(end))
            data = data[end:] if end else b""
        if data:
            self._take(self._splitter.feed(data))
        if self._splitter.unfinished > self._held:
            line = Line(self._splitter.take_pieces(), finished=False)
            self._begun = line
            self._conversation.on_client_part(line)

    def end(self) -> None:
        """Handle the end of the input: its last line may have no end."""
        self.closed = True
        if self._begun is not None:
            self._extend(b"\n", finished=True)
        self._take(self._splitter.end())

    def _take(self, lines: "list[Line]") -> None:
        for line in lines:
            self._conversation.on_client_line(line)

    def _extend(self, data: bytes, *, finished: bool) -> None:
        line = self._begun
        if line is None:
            return
        pieces: list[Piece] = [data]
        if line.is_lost:
            line.extend(pieces, finished=finished)
            line.pieces.clear()
            line.size = 0
        else:
            self._conversation.outgoing.grow(line, pieces, finished=finished)
        if finished:
            self._begun = None
            if line.is_lost:
                self._conversation.on_cut_line(line)
