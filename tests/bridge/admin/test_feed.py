"""The event stream of one page."""

import json
from types import SimpleNamespace

import pytest

from mcpbridged.bridge.admin.feed import MOST_UNSENT, Feed
from mcpbridged.bridge.admin.page_taps import SHOWN, PageTaps
from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.runtime.log_buffer import Entry
from mcpbridged.bridge.runtime.server_log import ServerLog
from mcpbridged.transports.send_queue import CLOSED, OPEN, SendQueue
from mcpbridged.validators.limits import Limits

pytestmark = pytest.mark.anyio


class World:
    def __init__(self, tapped="", logged=""):
        self.queue = SendQueue(Limits())
        self.is_admitted = True
        self.feed = Feed(self.queue, lambda: self.is_admitted, PageTaps(lambda: 0.0), tapped, logged)
        self.log = LineLog()

    def server(self, name):
        return SimpleNamespace(server_log=ServerLog(name, self.log))

    async def events(self):
        """Return the events that were not read yet."""
        found = []
        while len(self.queue):
            _, text = await self.queue.dequeue()
            found.append(json.loads(text))
        self.queue.on_sent()
        return found


def pass_message(server, line, direction="to server"):
    for watch in server.server_log.taps.watch(object()):
        watch(direction, line)


async def test_the_messages_of_the_selected_server_are_sent():
    world = World(tapped="a")
    one, other = world.server("a"), world.server("b")
    world.feed.follow([one, other])
    world.feed.follow([one, other])
    pass_message(one, b'{"id":1}')
    assert not other.server_log.watched
    (event,) = await world.events()
    assert event == {
        "kind": "message",
        "data": {"server": "a", "direction": "to server", "size": 8, "line": '{"id":1}'},
    }


async def test_all_servers_can_be_followed_also_those_that_come_later():
    world = World(tapped="*", logged="*")
    one, other = world.server("a"), world.server("b")
    world.feed.follow([one])
    world.feed.follow([one, other])
    assert one.server_log.watched
    assert other.server_log.watched
    world.feed.follow([other])
    assert not one.server_log.watched
    world.feed.follow(())
    assert not other.server_log.watched


async def test_the_stored_log_and_new_entries_are_sent():
    world = World(logged="a")
    server = world.server("a")
    for number in range(300):
        server.server_log.buffer.add(Entry(1.0, "stderr", 7, str(number)))
    world.feed.follow([server])
    server.server_log.buffer.add(Entry(2.0, "info", 0, "new"))
    stored, new = await world.events()
    assert [entry["text"] for entry in stored["data"]["entries"]] == [
        str(number) for number in range(100, 300)
    ]
    assert new == {
        "kind": "log",
        "data": {
            "server": "a",
            "entries": {"at": 2.0, "kind": "info", "pid": 0, "text": "new", "server": ""},
        },
    }


async def test_secrets_are_redacted_and_long_messages_cut():
    world = World(tapped="a")
    server = world.server("a")
    server.server_log.hide(["correct-horse-battery"])
    world.feed.follow([server])
    pass_message(server, b'{"key":"correct-horse-battery"}')
    pass_message(server, b"x" * 100_000)
    first, second = await world.events()
    assert "correct-horse" not in first["data"]["line"]
    assert len(second["data"]["line"]) <= SHOWN + 3
    assert second["data"]["size"] == 100_000


async def test_a_slow_page_loses_events_and_is_sent_their_number():
    world = World(tapped="a")
    server = world.server("a")
    world.feed.follow([server])
    for _ in range(1000):
        pass_message(server, b"x" * 4000)
    world.feed.send_state(b'"not sent"')
    assert world.queue.unsent <= MOST_UNSENT + 8192
    kept = await world.events()
    assert {event["kind"] for event in kept} == {"message"}
    world.feed.send_state(b'"now"')
    assert await world.events() == [
        {"kind": "dropped", "data": 1000 - len(kept)},
        {"kind": "state", "data": "now"},
    ]
    world.feed.send_state(b"1")
    assert await world.events() == [{"kind": "state", "data": 1}]


async def test_log_entries_that_a_slow_page_loses_are_counted_as_well():
    world = World(logged="a")
    server = world.server("a")
    world.feed.follow([server])
    while not world.feed.is_full:
        server.server_log.buffer.add(Entry(1.0, "info", 0, "x" * 4000))
    for _ in range(3):
        server.server_log.buffer.add(Entry(1.0, "info", 0, "lost"))
    await world.events()
    world.feed.send_state(b"1")
    assert await world.events() == [{"kind": "dropped", "data": 3}, {"kind": "state", "data": 1}]


async def test_the_stream_ends_with_the_session():
    world = World()
    world.feed.send_state(b"1")
    assert world.queue.state == OPEN
    world.is_admitted = False
    world.feed.send_state(b"2")
    assert world.queue.state == CLOSED
    assert await world.events() == [{"kind": "state", "data": 1}]
