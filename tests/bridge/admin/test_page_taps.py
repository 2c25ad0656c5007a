"""The messages of servers on their way to pages."""

from mcpbridged.bridge.admin.page_taps import MOST_SPENT, PERIOD, PageTaps
from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.runtime.server_log import ServerLog


class Page:
    def __init__(self):
        self.is_full = False
        self.sent = []
        self.dropped = 0

    def send(self, kind, data):
        self.sent.append((kind, data))

    def drop(self):
        self.dropped += 1


class World:
    """One server, and a clock that moves by `cost` while a message is escaped and redacted."""

    def __init__(self, monkeypatch, cost=0.0):
        self.now = 0.0
        self.shown = 0
        self.cost = cost
        self.log = ServerLog("git", LineLog())
        self.taps = PageTaps(lambda: self.now)
        monkeypatch.setattr(self.log, "shown", self.show)

    def show(self, line, _longest):
        self.shown += 1
        self.now += self.cost
        return line.decode()

    def page(self):
        page = Page()
        self.taps.add(self.log, page)
        return page

    def pass_message(self, line=b"{}"):
        for watch in self.log.taps.watch(object()):
            watch("to server", line)


def test_a_message_is_redacted_once_for_all_pages(monkeypatch):
    world = World(monkeypatch)
    pages = [world.page() for _ in range(16)]
    world.pass_message()
    assert world.shown == 1
    assert [page.sent for page in pages] == [pages[0].sent] * 16
    assert pages[0].sent == [("message", b'{"server":"git","direction":"to server","size":2,"line":"{}"}')]


def test_a_message_that_no_page_can_take_is_not_redacted(monkeypatch):
    world = World(monkeypatch)
    page, full = world.page(), world.page()
    full.is_full = True
    world.pass_message()
    assert (len(page.sent), full.sent, full.dropped) == (1, [], 1)
    page.is_full = True
    world.pass_message()
    assert (world.shown, page.dropped, full.dropped) == (1, 1, 2)


def test_pages_get_a_share_of_the_time_and_then_lose_messages(monkeypatch):
    cost = MOST_SPENT / 5
    world = World(monkeypatch, cost)
    page = world.page()
    for _ in range(1000):
        world.pass_message()
    assert len(page.sent) == 5
    assert page.dropped == 995
    assert world.now <= MOST_SPENT + cost
    world.now += PERIOD
    world.pass_message()
    assert len(page.sent) == 6


def test_a_server_without_a_page_is_not_watched(monkeypatch):
    world = World(monkeypatch)
    first, second = world.page(), world.page()
    assert len(world.log.taps.watch(object())) == 1
    world.taps.remove(world.log, first)
    world.pass_message()
    assert (first.sent, len(second.sent)) == ([], 1)
    world.taps.remove(world.log, second)
    assert not world.log.watched
