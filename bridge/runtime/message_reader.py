"""Read what a server writes, line by line: messages, batches of earlier revisions, and lines that are no part of the protocol.

A line that is no valid message fails the call whose id it has (`jsonrpc.call_of_invalid_line`). Other lines, such as a banner, are
logged three times and dropped.
"""

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from ...transports.ports import Log
from ...transports.server_io import OnLine, Overlong, Rest
from ...validators import jsonrpc
from ...validators.json_object import LARGE, decoded_once
from ...validators.jsonrpc import Message, Notification, Response, call_of_invalid_line, wire_id
from ...validators.limits import Limits
from ...validators.rejection import Rejection
from ..core.notification_flow import NotificationFlow

if TYPE_CHECKING:
    from .message_gate import ServerGate

# How many lines of a process that are no messages are logged, and how much of each (bytes).
_SHOWN: Final = 3
_SHOWN_BYTES: Final = 200
# The data of the error for a call whose response is not valid.
INVALID_RESPONSE: Final = {"reason": "invalid response"}


class MessageReader:
    """Pass each message to `message`, and to `spoiled` the id of each call whose response is not valid, with the reason.

    Notifications above `limits.notifications_per_second` are dropped or held (`NotificationFlow`). `on_tick` passes on those that
    are held. Ids of responses are those of the bridge, even where the server returns them as strings or fractions. `gate` refuses
    messages that do not fit their schema.
    """

    __slots__ = ("_flow", "_invalid_lines", "_limits", "_log", "_message", "_on_invalid_line", "gate")

    def __init__(
        self,
        limits: Limits,
        log: Log,
        message: Callable[[Message], None],
        spoiled: Callable[[bytes, str], None],
        gate: "ServerGate | None" = None,
    ) -> None:
        self._limits = limits
        self._log = log
        # Without a gate no message passes through one more call.
        self._message = message if gate is None else partial(_pass_if_admitted, gate.admits, message)
        self.gate = gate
        self._on_invalid_line = spoiled
        self._invalid_lines = 0
        most = limits.notifications_per_second
        self._flow = NotificationFlow(most, monotonic()) if most else None

    def on_line(self, line: bytes | Overlong) -> Rest:
        """Read a line. Returns a function that passes on a large message, which is decoded at once; None for others."""
        if isinstance(line, Overlong):
            self._on_no_message(
                line.prefix + line.suffix,
                f"the server wrote a line of more than {self._limits.line} bytes, the limit",
            )
            return None
        try:
            message = jsonrpc.decode(line, self._limits, deep=True)
        except Rejection as rejection:
            if len(line) > LARGE:
                return partial(self._on_rejected, line, rejection)
            self._on_rejected(line, rejection)
            return None
        if type(message) is Response:
            if not message.id.isdigit():
                message = _with_wire_id(message)
        elif self._is_surplus(message):
            return None
        if len(line) > LARGE:
            return partial(self._hand_on, message)
        self._message(message)
        return None

    def _is_surplus(self, message: Message) -> bool:
        return (
            self._flow is not None
            and type(message) is Notification
            and not self._flow.admits(message, monotonic())
        )

    def on_tick(self) -> None:
        """Pass on the notifications that were held and may pass now. Log how many were dropped."""
        flow = self._flow
        if flow is None:
            return
        dropped = flow.take_dropped()
        if dropped:
            most = self._limits.notifications_per_second
            self._log.warning("notifications_dropped", count=dropped, notifications_per_second=most)
        for message in flow.due(monotonic()):
            self._message(message)

    def _hand_on(self, message: Message) -> None:
        with decoded_once():
            self._message(message)

    def _on_rejected(self, line: bytes, rejection: Rejection) -> None:
        texts = self._batch(line)
        if not texts:
            self._on_no_message(line, f"the server's answer is not valid: {rejection.text}", rejection.text)
        for text in texts:
            self._read_member(text)

    def _batch(self, line: bytes) -> list[bytes]:
        try:
            return jsonrpc.split_batch(line, self._limits, deep=True) if jsonrpc.is_batch(line) else []
        except Rejection:
            return []

    def _read_member(self, text: bytes) -> None:
        # A batch in a batch is no message, and would be read once for each level.
        try:
            message = jsonrpc.decode(text, self._limits, deep=True)
        except Rejection as rejection:
            self._on_no_message(text, f"the server's answer is not valid: {rejection.text}", rejection.text)
        else:
            if not self._is_surplus(message):
                self._message(_with_wire_id(message) if type(message) is Response else message)

    def _on_no_message(self, line: bytes, text: str, reason: str = "") -> None:
        self._invalid_lines += 1
        if self._invalid_lines <= _SHOWN:
            self._log.warning("stdout_not_mcp", reason=reason or text, line=line[:_SHOWN_BYTES])
        raw_id = call_of_invalid_line(line)
        if raw_id:
            self._on_invalid_line(raw_id, text)


def _pass_if_admitted(
    admits: Callable[[Message], bool], receive: Callable[[Message], None], message: Message
) -> None:
    if admits(message):
        receive(message)


def note_sent(on_line: OnLine, line: bytes) -> None:
    """Record a line to the process whose reader has this line handler, for the checks of its responses."""
    reader = getattr(on_line, "__self__", None)
    if isinstance(reader, MessageReader) and reader.gate is not None:
        reader.gate.on_sent(line)


def tick_reader(on_line: OnLine) -> None:
    """Call `on_tick` of the reader that has this line handler. Other handlers belong to an owner that has ended."""
    reader = getattr(on_line, "__self__", None)
    if isinstance(reader, MessageReader):
        reader.on_tick()


def _with_wire_id(answer: Response) -> Response:
    return Response(wire_id(answer.id), answer.result, answer.error)
