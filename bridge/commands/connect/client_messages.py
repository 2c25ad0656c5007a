"""Store the messages of the client that wait for a connection, and its requests that have no response yet. Pure."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from .raw_messages import value_of

# Counted for each message in addition to its text (bytes).
_OVERHEAD: Final = 200


class ClientMessage(NamedTuple):
    """A message of the client. `raw_id` is the id of a request, or empty.

    `rejection` is the error response of a server that is being replaced and has not begun the request.
    """

    text: bytes
    raw_id: bytes = b""
    rejection: bytes = b""

    @property
    def size(self) -> int:
        """Return what the message counts in the limit (bytes)."""
        return len(self.text) + _OVERHEAD


class WaitingMessages:
    """Messages that wait for a connection, in order."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: list[ClientMessage] = []
        # The size of all messages, which may pass the limit by one message.
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Return whether the limit is passed."""
        return self._bytes > self._limit

    @property
    def has_requests(self) -> bool:
        """Return whether a request waits."""
        return any(message.raw_id for message in self._messages)

    @property
    def has_rejected(self) -> bool:
        """Return whether a request waits that a server has rejected."""
        return any(message.rejection for message in self._messages)

    def __contains__(self, text: bytes) -> bool:
        """Return whether this very text waits, not only an equal one."""
        return any(message.text is text for message in self._messages)

    def append(self, message: ClientMessage) -> None:
        """Let a message wait after all others."""
        self._messages.append(message)
        self._bytes += message.size

    def insert_first(self, messages: Iterable[ClientMessage]) -> None:
        """Let messages wait before all others."""
        self._replace([*messages, *self._messages])

    def remove_request(self, value: object) -> bool:
        """Remove the requests with this id, and return whether there were any."""
        kept = [one for one in self._messages if not one.raw_id or value_of(one.raw_id) != value]
        found = len(kept) < len(self._messages)
        self._replace(kept)
        return found

    def take_rejected(self) -> list[ClientMessage]:
        """Remove and return the requests that a server has rejected."""
        taken = [message for message in self._messages if message.rejection]
        self._replace([message for message in self._messages if not message.rejection])
        return taken

    def take_all(self) -> list[ClientMessage]:
        """Remove and return all messages."""
        taken = self._messages
        self._replace([])
        return taken

    def _replace(self, messages: list[ClientMessage]) -> None:
        self._messages = messages
        self._bytes = sum(message.size for message in messages)


class SentRequests:
    """Requests that were sent on the open connection and have no response yet."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # By the value of the id; a client may use an id twice. Removed at the response, or at the end of the connection.
        self._requests: dict[object, list[ClientMessage]] = {}
        # The size of the texts that are kept, at most the limit.
        self._bytes = 0
        # Ids of requests that last until they are cancelled, whether they are sent or wait.
        self._lasting: set[object] = set()

    def __contains__(self, value: object) -> bool:
        return value in self._requests

    @property
    def all_lasting(self) -> bool:
        """Return whether no response is due by itself."""
        return self._requests.keys() <= self._lasting

    def mark_lasting(self, value: object) -> None:
        """Note that a request lasts until it is cancelled."""
        self._lasting.add(value)

    def unmark_lasting(self, value: object) -> None:
        """Note that a request that was not sent will not be."""
        self._lasting.discard(value)

    def add(self, value: object, message: ClientMessage) -> None:
        """Add a request. Beyond the limit its text is not kept, and the request cannot be sent again."""
        if self._bytes + message.size > self._limit:
            message = message._replace(text=b"")
        self._bytes += message.size
        self._requests.setdefault(value, []).append(message)

    def take(self, value: object) -> ClientMessage | None:
        """Remove and return the last request with this id, which may be sent again."""
        found = self._requests.get(value)
        if found is None:
            return None
        message = found.pop()
        self._bytes -= message.size
        if not found:
            del self._requests[value]
        return message

    def take_repeatable(self, value: object) -> ClientMessage | None:
        """Remove and return the last request with this id, if its text is kept."""
        found = self._requests.get(value)
        return self.take(value) if found and found[-1].text else None

    def complete(self, value: object) -> None:
        """Remove a request, which has a response or was cancelled."""
        if self.take(value) is not None and value not in self._requests:
            self._lasting.discard(value)

    def take_ids(self) -> list[bytes]:
        """Remove all requests, and return their raw ids."""
        ids = [message.raw_id for messages in self._requests.values() for message in messages]
        self._lasting.difference_update(self._requests)
        self._requests.clear()
        self._bytes = 0
        return ids
