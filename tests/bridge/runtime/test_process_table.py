"""The running processes of a server, and who waits for their exits."""

import pytest
import trio
import trio.testing

from mcpbridged.bridge.core.start_errors import Output
from mcpbridged.bridge.runtime.process_table import ProcessTable, ServerProcess

pytestmark = pytest.mark.anyio


class Child:
    unfinished = b""
    transferred = (3, 4)

    def __init__(self, pid):
        self.pid = pid


class Startup:
    sent = (b"first",)

    def __init__(self, *, over=False, refused=False):
        self.over = over
        self.refused = refused


class Owner:
    """A session that is served by one child."""

    def __init__(self, child=None):
        self.child = child

    def is_served_by(self, child):
        return child is self.child


class Silence:
    silent = True


class ServerLog:
    stdout = ""
    transferred = (0, 0)

    def output(self, _pid, _unfinished):
        return Output(self.stdout, "")

    def messages(self, lines):
        return b" ".join(lines).decode()


class World:
    def __init__(self):
        self.log = ServerLog()
        self.table = ProcessTable(self.log)

    def add(self, pid, owner=None, **startup):
        process = ServerProcess(Child(pid), Startup(**startup), 0.0, owner)
        self.table.add(process)
        return process

    def owned(self, pid, **startup):
        """Add a process that serves an owner of its own."""
        process = self.add(pid, Owner(), **startup)
        process.owner.child = process.child
        return process


def test_a_process_is_listed_until_it_is_removed():
    world = World()
    one, two = world.owned(1), world.add(2)
    assert (world.table.pids, list(world.table), world.table.owners) == ((1, 2), [one, two], [one.owner])
    assert world.table.of(one.child) is one
    world.table.remove(one)
    assert world.table.pids == (2,)
    assert one not in world.table


def test_only_the_current_process_of_an_owner_serves_it():
    world = World()
    old, new = world.owned(1), world.add(2, refused=True)
    new.owner = old.owner
    assert world.table.current(old.owner) is old
    assert not world.table.has_refused(old.owner)
    old.owner.child = new.child
    assert (old.current_owner, world.table.current(new.owner)) == (None, new)
    assert world.table.has_refused(new.owner)
    assert not world.table.has_refused(Owner())


def test_another_process_serves_only_with_an_open_session():
    world = World()
    one = world.owned(1, over=True)
    world.owned(2, over=True, refused=True)
    world.owned(3)
    assert not world.table.another_serves(one.child)
    assert world.table.another_serves(Child(4))


def test_processes_that_left_their_ping_unanswered_are_silent():
    world = World()
    world.owned(1)
    world.owned(2).liveness = Silence()
    assert world.table.silent == (2,)


def test_the_first_messages_stand_for_an_output_that_is_empty():
    world = World()
    process = world.owned(1)
    assert world.table.output(process).stdout == "first"
    world.log.stdout = "a banner"
    assert world.table.output(process).stdout == "a banner"


async def test_each_exit_is_awaited_by_those_that_need_it():
    world = World()
    one, two = world.owned(1), world.owned(2)
    gone = []

    async def wait(name, call, *arguments):
        await call(*arguments)
        gone.append(name)

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(wait, "one", world.table.wait_until_gone, one.owner)
        nursery.start_soon(wait, "all", world.table.wait_until_empty)
        await trio.testing.wait_all_tasks_blocked()
        world.table.remove(two)
        await trio.testing.wait_all_tasks_blocked()
        assert gone == []
        third = world.add(3)
        world.table.remove(one)
        await trio.testing.wait_all_tasks_blocked()
        assert gone == ["one", "one"]
        world.table.remove(third)
    assert gone == ["one", "one", "all"]


def test_connections_to_a_remote_server_are_counted_and_are_no_processes():
    world = World()
    world.add(-1)
    process = world.add(-2)
    assert (world.table.pids, world.table.connections) == ((), 2)
    # What it has sent is no output that could explain a failure.
    assert world.table.output(process) == Output("", "")
    world.table.remove(process)
    assert world.table.connections == 1


def test_the_bytes_of_processes_that_have_exited_are_counted_too():
    world = World()
    first, _ = world.add(1), world.add(2)
    assert world.table.transferred == (6, 8)
    world.table.remove(first)
    assert world.table.transferred == (6, 8)
    assert world.log.transferred == (3, 4)
