"""Lines to the client of `connect`, also those that are cut off."""

import pytest
import trio
import trio.testing

from mcpbridged.bridge.commands.connect.client_output import ClientOutput
from mcpbridged.bridge.commands.connect.effects import ToClient

pytestmark = pytest.mark.anyio


class Stdout:
    """A stream that takes the first `room` bytes and then blocks. `broken` is whether the client has closed its end."""

    def __init__(self, room=1000):
        self.data = b""
        self.room = room
        self.broken = False

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise trio.BrokenResourceError
        taken = data[: self.room]
        self.data += taken
        self.room -= len(taken)
        if len(taken) < len(data):
            await trio.sleep_forever()


async def test_a_line_that_is_written_settles_its_responses():
    stdout = Stdout()
    output = ClientOutput(stdout)
    output.expect([b"1", b"2"])
    assert await output.write(ToClient(b"{}", responses=(b"1",)))
    assert (stdout.data, output.settled) == (b"{}\n", False)
    assert output.take_unwritten() == [b"2"]
    assert output.settled


async def test_a_line_that_is_cut_off_is_ended_and_its_responses_are_unwritten():
    stdout = Stdout(room=3)
    output = ClientOutput(stdout)
    output.expect([b"1"])
    with trio.move_on_after(0.01):
        await output.write(ToClient(b"12345", responses=(b"1",)))
    stdout.room = 1000
    await output.end_line()
    assert stdout.data == b"123\n"
    assert output.take_unwritten() == [b"1"]


async def test_a_whole_line_needs_no_other_end():
    stdout = Stdout()
    output = ClientOutput(stdout)
    await output.write(ToClient(b"{}"))
    await output.end_line()
    assert stdout.data == b"{}\n"


async def test_a_client_that_has_closed_its_end_gets_nothing_more():
    stdout = Stdout()
    output = ClientOutput(stdout)
    stdout.broken = True
    output.expect([b"1"])
    assert not await output.write(ToClient(b"1", responses=(b"1",)))
    stdout.broken = False
    assert not await output.write(ToClient(b"2"))
    assert (stdout.data, output.closed, output.settled) == (b"", True, True)


async def test_lines_of_two_tasks_are_not_mixed():
    stdout = Stdout(room=1)
    output = ClientOutput(stdout)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.write, ToClient(b"aa"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(output.write, ToClient(b"bb"))
        stdout.room = 1000
        await trio.testing.wait_all_tasks_blocked()
        assert stdout.data == b"a"
        nursery.cancel_scope.cancel()
