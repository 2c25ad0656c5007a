"""Read what a process writes until its first response: messages, and text that is no message.

Text before the first response, such as a banner, is stored for the error of a failed start.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from ...transports.ports import ServerConnection
from ...transports.server_io import OnLine, Overlong, Rest
from ...validators import jsonrpc
from ...validators.jsonrpc import Response
from ...validators.limits import Limits
from ...validators.rejection import Rejection

# How many lines of text on stdout are stored of one process.
_LINES: Final = 20
# How many messages that are no response are stored of one process, and how much of each (bytes).
_MESSAGES: Final = 5
_MESSAGE_BYTES: Final = 2048


class Startup:
    """The lines of one process until its first response.

    `printed` receives each line of text, and `answered` the first response. Later lines go to the owner directly.
    """

    def __init__(
        self,
        child: ServerConnection,
        limits: Limits,
        printed: Callable[[bytes], None],
        answered: Callable[[Response | None], None],
    ) -> None:
        self._child = child
        self._limits = limits
        self._printed = printed
        self._answered = answered
        self._on_line: OnLine | None = None
        self._left = _LINES
        # Whether the process has sent a response, and whether that was an error.
        self.over = False
        self.refused = False
        # The beginnings of the last messages up to the first response.
        self.sent: deque[bytes] = deque(maxlen=_MESSAGES)
        child.set_line_handler(self._on_early_line)

    def attach(self, on_line: OnLine) -> None:
        """Pass every line from now on to this function."""
        self._on_line = on_line
        self._child.set_line_handler(on_line if self.over else self._on_early_line)

    def _on_early_line(self, line: bytes | Overlong) -> Rest:
        if isinstance(line, bytes):
            self._read(line)
        return self._on_line(line) if self._on_line is not None else None

    def _read(self, line: bytes) -> None:
        if jsonrpc.is_batch(line):
            self._end(None)
            return
        try:
            message = jsonrpc.decode(line, self._limits, deep=True)
        except Rejection:
            if self._left:
                self._left -= 1
                self._printed(line)
            return
        self.sent.append(line[:_MESSAGE_BYTES])
        if isinstance(message, Response):
            self._end(message)

    def _end(self, message: Response | None) -> None:
        self.over = True
        if self._on_line is not None:
            self._child.set_line_handler(self._on_line)
        self._answered(message)
