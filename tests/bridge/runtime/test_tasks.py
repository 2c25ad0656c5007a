"""Background tasks of a server, and the boundary around each owner of a process."""

import pytest
import trio

from mcpbridged.bridge.runtime.tasks import ServerTasks
from mcpbridged.validators.rejection import Rejection

from ...support.serving import RecordingLog

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("autojump_clock")]


class World:
    def __init__(self):
        self.log = RecordingLog()
        self.ended = []
        self.tasks = ServerTasks(self.log, lambda owner, reason: self.ended.append((owner, reason)))


async def fail():
    raise RuntimeError("a fault")


async def test_a_server_accepts_requests_only_while_it_runs():
    tasks = World().tasks
    with pytest.raises(Rejection, match="the bridge is stopping") as caught:
        tasks.check_open()
    assert (caught.value.status, caught.value.close) == (503, True)
    async with trio.open_nursery() as nursery:
        tasks.nursery = nursery
        tasks.check_open()
        tasks.closed = "the server was removed"
        with pytest.raises(Rejection, match="the server was removed"):
            tasks.check_open()


async def test_a_server_that_does_not_run_starts_no_task():
    world = World()
    world.tasks.start_guarded("owner", fail)
    await trio.sleep(1)
    assert world.log.events == []


async def test_a_fault_in_the_work_for_one_owner_ends_that_owner_only():
    world = World()
    finished = []

    async def work(name):
        await trio.sleep(1)
        finished.append(name)

    async with trio.open_nursery() as nursery:
        world.tasks.nursery = nursery
        world.tasks.start_guarded("a", fail)
        world.tasks.start_guarded("b", work, "b")
    assert (world.ended, finished) == ([("a", "an internal error")], ["b"])
    assert [event for _, event, _ in world.log.events] == ["internal_error"]


async def test_a_cancellation_is_no_fault():
    world = World()
    async with trio.open_nursery() as nursery:
        world.tasks.nursery = nursery
        world.tasks.start_guarded("a", trio.sleep_forever)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert world.ended == []


async def test_a_call_is_made_after_its_time_and_its_fault_is_guarded():
    world = World()
    called = []

    def call():
        called.append(trio.current_time())
        raise RuntimeError("a fault")

    async with trio.open_nursery() as nursery:
        world.tasks.nursery = nursery
        world.tasks.call_later("a", 5, call)
    assert (called, world.ended) == ([5], [("a", "an internal error")])
