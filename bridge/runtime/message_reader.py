"""Read what a server writes, line by line: messages, batches of earlier revisions, and lines that are no part of the protocol.

A line that cannot be read costs the call that it answers (`jsonrpc.call_of_invalid_line`). All others are noise, as a banner or a line
of a log is: they are shown three times and counted, and change nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from ...transports.ports import Log
from ...transports.process.child import Rest
from ...transports.process.lines import Overlong
from ...validators import jsonrpc
from ...validators.json_object import LARGE, decoded_once
from ...validators.jsonrpc import Message, Response, call_of_invalid_line, wire_id
from ...validators.limits import Limits
from ...validators.rejection import Rejection

# Lines of a child that are not MCP are shown this often, then only counted (attacks C03).
_SHOWN: Final = 3
_SHOWN_BYTES: Final = 200
# The data of the error for a call whose answer cannot be read.
INVALID_RESPONSE: Final = {"reason": "invalid response"}


class MessageReader:
    """Passes each message to `message`, and to `spoiled` the id of each call whose answer is no message, with the reason.

    Ids of responses are those of the bridge, whether the server has made strings or fractions of them.
    """

    __slots__ = ("_limits", "_log", "_message", "_on_invalid_line", "_strange")

    def __init__(
        self,
        limits: Limits,
        log: Log,
        message: Callable[[Message], None],
        spoiled: Callable[[bytes, str], None],
    ) -> None:
        self._limits = limits
        self._log = log
        self._message = message
        self._on_invalid_line = spoiled
        self._strange = 0

    def on_line(self, line: bytes | Overlong) -> Rest:
        """The child wrote a line. A large one is decoded at once, and handed on by the function that is returned."""
        if isinstance(line, Overlong):
            self._take_strange(
                line.prefix + line.suffix,
                f"the server wrote a line of more than {self._limits.line} bytes, the limit",
            )
            return None
        try:
            message = jsonrpc.decode(line, self._limits, deep=True)
        except Rejection as rejection:
            if len(line) > LARGE:
                return partial(self._take_unread, line, rejection)
            self._take_unread(line, rejection)
            return None
        if type(message) is Response and not message.id.isdigit():
            message = _with_wire_id(message)
        if len(line) > LARGE:
            return partial(self._hand_on, message)
        self._message(message)
        return None

    def _hand_on(self, message: Message) -> None:
        with decoded_once():
            self._message(message)

    def _take_unread(self, line: bytes, rejection: Rejection) -> None:
        texts = self._batch(line)
        if not texts:
            self._take_strange(line, f"the server's answer is not valid: {rejection.text}", rejection.text)
        for text in texts:
            self._heard_member(text)

    def _batch(self, line: bytes) -> list[bytes]:
        try:
            return jsonrpc.split_batch(line, self._limits, deep=True) if jsonrpc.is_batch(line) else []
        except Rejection:
            return []

    def _heard_member(self, text: bytes) -> None:
        # A batch in a batch is no message, and read as one it would cost its length for each level.
        try:
            message = jsonrpc.decode(text, self._limits, deep=True)
        except Rejection as rejection:
            self._take_strange(text, f"the server's answer is not valid: {rejection.text}", rejection.text)
        else:
            self._message(_with_wire_id(message) if type(message) is Response else message)

    def _take_strange(self, line: bytes, text: str, reason: str = "") -> None:
        self._strange += 1
        if self._strange <= _SHOWN:
            self._log.warning(
                "the server wrote what is not MCP", reason=reason or text, line=line[:_SHOWN_BYTES]
            )
        raw_id = call_of_invalid_line(line)
        if raw_id:
            self._on_invalid_line(raw_id, text)


def _with_wire_id(answer: Response) -> Response:
    return Response(wire_id(answer.id), answer.result, answer.error)
