"""Run work that may block, such as helper programs and slow files, in a thread."""

from collections.abc import Callable
from typing import TypeVar

import trio

from ..config.helper_programs import Helpers

T = TypeVar("T")


async def off_loop(work: Callable[[Helpers], T], seconds: float) -> T:
    """Run a function in a thread and return its result. Each helper has this time (seconds); on cancellation all are killed."""
    helpers = Helpers(seconds)
    try:
        return await trio.to_thread.run_sync(work, helpers, abandon_on_cancel=True)
    finally:
        helpers.end()
