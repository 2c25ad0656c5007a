"""A descriptor that a peer lends over a pair of Unix sockets, and the poller that watches it."""

import array
import os
import socket
import tempfile

import pytest
import trio
import trio.testing

from mcpbridged.transports.lent_descriptors import LentDescriptors
from mcpbridged.transports.poller import Poller

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked


def open_files():
    return len(os.listdir("/proc/self/fd"))


class World:
    """A peer, its lent pipes, and the events of the watched descriptor."""

    def __init__(self):
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.poller = Poller()
        self.lent = LentDescriptors(self.ours, self.poller)
        self.faults, self.calls = [], []
        self.reading, self.writing = os.pipe()
        self.opened = open_files()

    def send(self, *descriptors, data=b"#sleep\n"):
        rights = array.array("i", descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        self.peer.sendmsg([data], ancillary)

    def watch(self):
        return self.lent.watch(self.calls.append, self.faults.append)

    @property
    def held(self):
        return open_files() - self.opened

    async def polled(self):
        """Run the poller for a moment."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.poller.run)
            with trio.move_on_after(0.1):
                while not self.calls:
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        return self.calls

    def close(self):
        self.lent.close()
        self.poller.close()
        self.ours.close()
        self.peer.close()
        for descriptor in (self.reading, self.writing):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
async def world():
    # In the event loop, which has descriptors of its own.
    found = World()
    yield found
    found.close()


async def test_bytes_without_a_descriptor_are_received(world):
    world.send(data=b"a")
    assert world.lent.receive(10) == b"a"
    assert not world.watch()
    with pytest.raises(BlockingIOError):
        world.lent.receive(10)
    world.peer.shutdown(socket.SHUT_WR)
    assert world.lent.receive(10) == b""


async def test_a_lent_descriptor_is_watched_and_never_read(world):
    world.send(world.reading)
    assert world.lent.receive(100) == b"#sleep\n"
    assert world.held == 1
    assert world.watch()
    assert await world.polled() == []
    os.write(world.writing, b"x")
    assert (await world.polled())[0] is False
    assert os.read(world.reading, 10) == b"x"
    world.lent.unwatch()
    assert world.held == 0


async def test_what_is_readable_already_is_reported(world):
    os.write(world.writing, b"x")
    world.send(world.reading)
    world.lent.receive(100)
    assert world.watch()
    assert await world.polled() != []


async def test_the_end_of_a_lent_descriptor_is_reported(world):
    world.send(world.reading)
    world.lent.receive(100)
    assert world.watch()
    os.close(world.writing)
    world.writing = -1
    assert (await world.polled())[0] is True


async def test_a_descriptor_that_is_given_back_is_not_watched(world):
    """Its description stays open at its owner, so a registration that is left would still have events."""
    world.send(world.reading)
    world.lent.receive(100)
    assert world.watch()
    world.lent.unwatch()
    world.lent.unwatch()
    os.write(world.writing, b"x")
    assert await world.polled() == []
    assert world.poller._epoll.poll(0) == []


async def test_a_regular_file_cannot_be_watched(world):
    with tempfile.TemporaryFile() as file:
        before = world.held
        world.send(file.fileno())
        world.lent.receive(100)
        assert not world.watch()
        assert world.held == before


@pytest.mark.parametrize("count", [2, 3, 100])
async def test_surplus_descriptors_are_closed_at_once(world, count):
    world.send(*[world.reading] * count)
    world.lent.receive(100)
    assert world.held == 1


async def test_a_later_descriptor_replaces_an_earlier_one(world):
    other, end = os.pipe()
    world.send(world.reading)
    world.lent.receive(100)
    assert world.watch()
    world.send(other)
    world.lent.receive(100)
    world.send(other)
    world.lent.receive(100)
    os.close(other)
    assert world.held == 2
    os.write(world.writing, b"x")
    assert await world.polled() == []
    assert world.watch()
    os.write(end, b"x")
    assert await world.polled() != []
    os.close(end)


async def test_a_descriptor_is_not_inherited_by_servers(world):
    world.send(world.reading)
    world.lent.receive(100)
    assert not os.get_inheritable(world.lent._received)


async def test_every_descriptor_is_closed_at_the_end(world):
    world.send(world.reading)
    world.lent.receive(100)
    world.lent.close()
    assert world.held == 0
    world.send(world.reading)
    world.lent.receive(100)
    world.watch()
    world.lent.close()
    assert world.held == 0
