"""The common part of a session and of the stateless clients of one key: the process that they own."""

from typing import ClassVar, Generic, TypeVar

from ...transports.ports import ServerConnection
from ...validators.jsonrpc import Message, Request, Response
from ...validators.limits import Limits
from ..core.errors import fault_text
from .message_reader import INVALID_RESPONSE, MessageReader
from .pace import PacedProcess
from .process_owner import send_line
from .server_log import ServerLog

P = TypeVar("P", bound=PacedProcess)


class LinkOwner(Generic[P]):
    """The owner of a process behind a link (ProcessOwner)."""

    # The code of an error that the bridge makes for a request.
    error_code: ClassVar[int]
    _process: P

    def is_served_by(self, child: ServerConnection) -> bool:
        """Return whether this is the current process (ProcessOwner)."""
        return self._process.child is child

    def read_on(self) -> None:
        """Read the process however much is unsent, because it is stopped after its responses (ProcessOwner)."""
        self._process.read_on()

    def _from_server(self, message: Message) -> None:
        raise NotImplementedError

    def _message_dropped(self, reason: str) -> None:
        raise NotImplementedError

    def _not_sent(self, message: Message, reason: str) -> None:
        # No Rejection, because the request is in flight already and the message may be of another client.
        if isinstance(message, Request):
            self._from_server(Response(message.id, b"", fault_text(self.error_code, reason)))
        else:
            self._message_dropped(reason)

    def _reader(self, limits: Limits, server_log: ServerLog) -> MessageReader:
        """Return the reader of the lines of the process."""
        gate = server_log.gate
        return MessageReader(
            limits,
            server_log,
            self._from_server,
            self._on_invalid_line,
            None if gate is None else gate.for_server(self._on_invalid_line, self._send_line),
        )

    def _send_line(self, line: bytes) -> None:
        send_line(self._process.child, line)

    def _on_invalid_line(self, wire_id: bytes, text: str) -> None:
        self._from_server(Response(wire_id, b"", fault_text(self.error_code, text, INVALID_RESPONSE)))
