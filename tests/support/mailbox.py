"""A list of received items that a test can wait on."""

from collections.abc import Callable
from typing import Any

import trio


class Mailbox(list[Any]):
    """A list that a task can wait on. `put` has the signature of the SDK's callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self._more = trio.Event()

    async def put(self, item: Any) -> None:
        self.append(item)
        self._more.set()
        self._more = trio.Event()
        await trio.lowlevel.checkpoint()

    async def until(self, enough: Callable[[list[Any]], bool]) -> None:
        while not enough(self):
            await self._more.wait()

    async def wait_for_one(self, kind: type) -> Any:
        """Wait for an item of this type, and return the first."""
        await self.until(lambda items: any(isinstance(item, kind) for item in items))
        return next(item for item in self if isinstance(item, kind))
