"""The pipe connections of one server, and how they are moved and closed."""

import pytest
import trio
import trio.testing

from mcpbridged.transports.open_pipes import OpenPipes
from mcpbridged.validators.rejection import Rejection

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked


class Pipe:
    def __init__(self):
        self.exit_code = 0
        self.events = []

    def drain(self):
        self.events.append("drain")

    def set_exit_code(self, code):
        self.exit_code = code

    def close(self, reason):
        self.events.append((reason, self.exit_code))


def opened(count=2):
    pipes, connections = OpenPipes(), [Pipe() for _ in range(count)]
    for one in connections:
        pipes.add(one)
    return pipes, connections


async def test_a_drain_waits_until_all_clients_have_closed_their_sending_sides(autojump_clock):
    pipes, (one, other) = opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipes.drain)
        await settle()
        assert (one.events, other.events, pipes.finishing) == (["drain"], ["drain"], False)
        pipes.end_input(one)
        assert pipes.finishing
        await settle()
        assert trio.current_time() == 0
        pipes.remove(other)
    assert trio.current_time() == 0
    pipes.remove(one)
    assert (len(pipes), pipes.finishing) == (0, False)


async def test_a_client_that_ignores_a_drain_is_not_waited_for_long(autojump_clock):
    pipes, _ = opened()
    await pipes.drain()
    assert trio.current_time() == 2
    assert not pipes.finishing


async def test_a_drain_without_a_client_that_sends_returns_at_once():
    pipes, [one] = opened(1)
    pipes.end_input(one)
    await pipes.drain()
    assert one.events == []
    await OpenPipes().drain()


async def test_a_second_drain_waits_again(autojump_clock):
    pipes, [one] = opened(1)
    pipes.end_input(one)
    other = Pipe()
    pipes.add(other)
    await pipes.drain()
    assert (other.events, trio.current_time()) == (["drain"], 2)


def test_the_exit_status_is_set_before_the_connections_close():
    pipes, connections = opened()
    pipes.set_exit_code(69)
    pipes.close("removed")
    assert [one.events for one in connections] == [[("removed", 69)]] * 2


def test_no_connection_is_accepted_after_the_begin_of_a_drain():
    pipes = OpenPipes()
    pipes.check_open()
    pipes.refusal = "the bridge is stopping"
    with pytest.raises(Rejection, match="the bridge is stopping") as caught:
        pipes.check_open()
    assert (caught.value.status, caught.value.headers) == (503, ((b"Retry-After", b"1"),))
