"""Blocking work in a thread, and its helper programs."""

import pytest
import trio

from mcpbridged.bridge.config.helper_programs import HelperFailed
from mcpbridged.bridge.runtime.threads import off_loop

pytestmark = pytest.mark.anyio


async def test_the_result_is_returned_and_the_helpers_have_their_time():
    assert await off_loop(lambda helpers: helpers.seconds, 7) == 7


async def test_a_cancelled_task_does_not_wait_for_its_helper():
    ended = []

    def work(helpers):
        try:
            helpers.run(("sleep", "60"), {"PATH": "/usr/bin:/bin"}, 10)
        except HelperFailed as fault:
            ended.append(str(fault))

    with trio.fail_after(10):
        with trio.move_on_after(0.2):
            await off_loop(work, 60)
        while not ended:
            await trio.sleep(0.01)


async def test_no_helper_starts_after_the_end():
    found = []
    await off_loop(found.append, 5)
    with pytest.raises(HelperFailed, match="cancelled"):
        found[0].run(("true",), {"PATH": "/usr/bin:/bin"}, 10)
