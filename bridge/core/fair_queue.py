"""A queue in which clients take turns, so that many requests of one client do not delay one request of another. Pure."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items of several clients, by id. The items of one client stay in order."""

    __slots__ = ("_by_client", "_clients")

    def __init__(self) -> None:
        # The items of each client by id, oldest first. The client whose turn is next is first.
        self._by_client: dict[Hashable, dict[bytes, Item]] = {}
        # The client of each id.
        self._clients: dict[bytes, Hashable] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, item_id: bytes) -> bool:
        return item_id in self._clients

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._clients)

    def values(self) -> Iterator[Item]:
        """Return all items."""
        return (item for items in self._by_client.values() for item in items.values())

    def add(self, client: Hashable, item_id: bytes, item: Item) -> None:
        """Add the last item of a client."""
        self._clients[item_id] = client
        self._by_client.setdefault(client, {})[item_id] = item

    def pop(self, item_id: bytes) -> Item | None:
        """Remove and return an item, None if there is none with this id."""
        if item_id not in self._clients:
            return None
        client = self._clients.pop(item_id)
        items = self._by_client[client]
        item = items.pop(item_id)
        if not items:
            del self._by_client[client]
        return item

    def pop_next(self) -> tuple[bytes, Item]:
        """Remove and return the first item of the client whose turn it is. The queue must not be empty."""
        client = next(iter(self._by_client))
        items = self._by_client.pop(client)
        item_id = next(iter(items))
        item = items.pop(item_id)
        del self._clients[item_id]
        if items:
            self._by_client[client] = items
        return item_id, item

    def clear(self) -> None:
        """Remove all items."""
        self._by_client.clear()
        self._clients.clear()
