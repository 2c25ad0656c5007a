"""What has arrived so far, for tests that wait for something to arrive."""

from collections.abc import Callable
from typing import Any

import trio


class Mailbox(list[Any]):
    """A list that can be waited on. `put` is shaped like the SDK's callbacks."""

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
        """The first item of that type, as soon as there is one."""
        await self.until(lambda items: any(isinstance(item, kind) for item in items))
        return next(item for item in self if isinstance(item, kind))
