"""Lines on their way to the line handler."""

import pytest
import trio
import trio.testing

from mcpbridged.transports.client.deliveries import Deliveries
from mcpbridged.transports.server_io import Overlong

pytestmark = pytest.mark.anyio


@pytest.fixture
async def nursery():
    async with trio.open_nursery() as found:
        yield found
        found.cancel_scope.cancel()


class Setting:
    def __init__(self):
        self.seen = []
        self.faults = []
        self.it = Deliveries(self.faults.append)
        self.it.on_line = self.on_line
        self.rest = None

    def on_line(self, line):
        self.seen.append((line, self.it.related))
        return self.rest


async def test_a_line_is_passed_on_at_once():
    setting = Setting()
    watched = []
    setting.it.watchers = [lambda *event: watched.append(event)]
    setting.it.put(b"a", b"7")
    setting.it.put(Overlong(5, b"begin"))
    assert setting.seen == [(b"a", b"7"), (Overlong(5, b"begin"), b"")]
    assert watched == [("to client", b"a"), ("to client", b"begin")]
    assert setting.it.related == b""


async def test_the_rest_of_a_line_comes_before_the_next_line(nursery):
    setting = Setting()
    nursery.start_soon(setting.it.run)
    setting.rest = lambda: setting.seen.append(("rest", setting.it.related))
    setting.it.put(b"a", b"7")
    setting.rest = None
    setting.it.put(b"b", b"8")
    assert setting.seen == [(b"a", b"7")]
    await setting.it.room()
    assert setting.seen == [(b"a", b"7"), ("rest", b"7"), (b"b", b"8")]


async def test_nothing_is_passed_on_while_paused(nursery):
    setting = Setting()
    nursery.start_soon(setting.it.run)
    setting.it.pause()
    setting.it.put(b"a")
    waited = trio.Event()

    async def wait():
        await setting.it.room()
        waited.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert (setting.seen, waited.is_set()) == ([], False)
    setting.it.resume()
    await waited.wait()
    assert setting.seen == [(b"a", b"")]
    setting.it.pause()
    waited = trio.Event()
    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    # Without a line that waits.
    assert not waited.is_set()
    setting.it.resume()
    await waited.wait()


async def test_a_handler_may_pause_and_drop(nursery):
    setting = Setting()
    nursery.start_soon(setting.it.run)
    setting.it.pause()
    for line in (b"a", b"b", b"c"):
        setting.it.put(line)
    setting.it.on_line = lambda line: (setting.on_line(line), setting.it.pause())[0]
    setting.it.resume()
    await trio.testing.wait_all_tasks_blocked()
    assert setting.seen == [(b"a", b"")]
    setting.it.drop()
    await setting.it.room()
    setting.it.put(b"d")
    assert setting.seen == [(b"a", b"")]


async def test_the_last_lines_are_passed_on_at_once():
    setting = Setting()
    setting.it.pause()
    setting.it.put(b"a")
    setting.it.put(b"b")
    setting.it.flush()
    assert [line for line, _ in setting.seen] == [b"a", b"b"]


async def test_an_exception_of_the_handler_is_reported():
    setting = Setting()
    fault = RuntimeError("x")

    def on_line(_line):
        raise fault

    setting.it.on_line = on_line
    setting.it.put(b"a", b"7")
    assert (setting.faults, setting.it.related) == ([fault], b"")
