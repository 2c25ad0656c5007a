"""Messages of a client that wait until the server has answered `initialize`. Pure."""

from typing import Final, NamedTuple

from ...validators.jsonrpc import Message, Request
from ...validators.limits import Limits

# The size of a message without its method and payload (bytes).
_ENVELOPE: Final = len('{"jsonrpc":"2.0","id":1,"method":"","params":}')


class HeldMessage(NamedTuple):
    """One message. A request has its wire id; `token` is its raw progress token."""

    message: Message
    token: bytes
    size: int


class HeldMessages:
    """The held messages of one session in the client's order. The limit of their size is `stdin_bytes`."""

    __slots__ = ("_limits", "messages", "size")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Written by `add`; `remove`, `take` and `clear` remove messages.
        self.messages: list[HeldMessage] = []
        # The size of all messages (bytes).
        self.size = 0

    def add(self, message: Message, size: int, token: bytes = b"") -> None:
        """Append a message. `size` is that of its method and payload (bytes)."""
        size += _ENVELOPE
        self.messages.append(HeldMessage(message, token, size))
        self.size += size

    def has_room(self, size: int) -> bool:
        """Return whether a notification or a response of this size may be added."""
        limits = self._limits
        return self.size + size <= limits.stdin_bytes and len(self.messages) < limits.stream_messages

    def remove(self, wire_id: bytes) -> None:
        """Remove the request with this wire id."""
        self.messages = [
            one for one in self.messages if type(one.message) is not Request or one.message.id != wire_id
        ]
        self.size = sum(one.size for one in self.messages)

    def take(self) -> list[HeldMessage]:
        """Remove and return all messages."""
        messages, self.messages, self.size = self.messages, [], 0
        return messages

    def clear(self) -> tuple[bytes, ...]:
        """Remove all messages, and return the wire ids of the requests among them."""
        return tuple(one.message.id for one in self.take() if type(one.message) is Request)
