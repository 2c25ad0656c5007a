"""The endpoints of the page, without a daemon."""

import json
from types import SimpleNamespace

import pytest
import trio

from mcpbridged.bridge.admin.access import BROWSER, Access, cookie_name
from mcpbridged.bridge.admin.api import STATE_SECONDS, AdminApi
from mcpbridged.bridge.config.settings import AdminConfig
from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.runtime.server_log import ServerLog
from mcpbridged.transports.http.gate import WrongCredentials
from mcpbridged.transports.options import LOCAL
from mcpbridged.transports.ticker import Ticker
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import FakeExchange, head

pytestmark = pytest.mark.anyio


class Servers(list):
    def find(self, name):
        return next((server for server in self if server.name == name), None)


class World:
    """An API whose state, address and results a test may change."""

    def __init__(self, **config):
        self.config = AdminConfig(**{"enabled": True, "actions": True, **config})
        self.access = Access(
            lambda: self.config, lambda: b"owner", cookie_name(1, secure=False), False, WrongCredentials(9)
        )
        self.address = "http://127.0.0.1:1"
        self.states = 0
        self.fault = None
        self.done = []
        self.logged = []
        self.ticker = Ticker()
        log = SimpleNamespace(
            **dict.fromkeys(("info", "error"), lambda event, **_: self.logged.append(event))
        )
        self.api = AdminApi(
            self.access,
            Servers([SimpleNamespace(name="git", server_log=ServerLog("git", LineLog()))]),
            self.state,
            lambda: self.act("reload"),
            lambda name: self.act(f"restart {name}"),
            lambda: self.address,
            self.ticker,
            log,
        )

    def state(self):
        self.states += 1
        if self.fault:
            raise self.fault
        return b"%d" % self.states

    async def act(self, what):
        await trio.lowlevel.checkpoint()
        if self.fault:
            raise self.fault
        self.done.append(what)

    async def send(self, path, method="GET", principal=LOCAL, **headers):
        endpoint = self.api.answer_link if path == "link" else self.api.table()[path.partition("?")[0]]
        exchange = FakeExchange(head(method, path if path[0] == "/" else "/x", headers), principal=principal)
        await endpoint(exchange)
        return exchange.answers[-1]


async def test_the_page_has_no_path_while_it_is_off():
    assert World().api.table()
    assert World(enabled=False).api.table() == {}


async def test_a_link_needs_the_page_and_a_tcp_address():
    world = World()
    status, _, body = await world.send("link", "POST")
    url = json.loads(body)["url"]
    assert (status, url.partition("#")[0]) == (200, "http://127.0.0.1:1/admin/open")
    world.address = ""
    with pytest.raises(Rejection, match="no loopback TCP address"):
        await world.send("link", "POST")
    with pytest.raises(Rejection, match="enabled = true"):
        await World(enabled=False).send("link", "POST")


@pytest.mark.parametrize("path", ["/admin/api/reload", "/admin/api/restart?server=git"])
async def test_an_action_that_is_refused_is_a_conflict(path):
    world = World()
    assert (await world.send(path, "POST"))[0] == 200
    world.fault = ValueError("the daemon is stopping")
    with pytest.raises(Rejection, match="stopping") as caught:
        await world.send(path, "POST")
    assert caught.value.status == 409
    assert len(world.done) == 1


async def test_the_page_itself_needs_a_session_that_is_open():
    world = World()
    _, ((_, cookie),) = world.access.open(world.access.link())
    cookie = cookie.decode().partition(";")[0]
    for headers, status in (({"Cookie": cookie}, 200), ({}, 401)):
        assert (await world.send("/admin", principal=BROWSER, **headers))[0] == status
    world.access.sessions.clear()
    assert (await world.send("/admin", principal=BROWSER, Cookie=cookie))[0] == 401


async def test_one_state_is_computed_for_all_pages_and_none_without_a_page(autojump_clock):
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.ticker.run)
        await trio.sleep(10 * STATE_SECONDS)
        assert world.states == 0
        exchanges = [FakeExchange(head("GET", "/admin/api/events"), principal=LOCAL) for _ in range(3)]
        for exchange in exchanges:
            nursery.start_soon(world.api.table()["/admin/api/events"], exchange)
        await trio.testing.wait_all_tasks_blocked()
        assert world.states == 3
        await trio.sleep(STATE_SECONDS * 3.5)
        assert 6 <= world.states <= 7
        for exchange in exchanges:
            exchange.disconnect()
        await trio.testing.wait_all_tasks_blocked()
        before = world.states
        await trio.sleep(10 * STATE_SECONDS)
        assert world.states == before
        nursery.cancel_scope.cancel()


async def test_a_fault_of_the_state_ends_neither_the_ticker_nor_the_streams(autojump_clock):
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.ticker.run)
        exchange = FakeExchange(head("GET", "/admin/api/events"), principal=LOCAL)
        nursery.start_soon(world.api.table()["/admin/api/events"], exchange)
        await trio.testing.wait_all_tasks_blocked()
        world.fault = RuntimeError("planted")
        await trio.sleep(2 * STATE_SECONDS)
        assert "internal_error" in world.logged
        world.fault, before = None, exchange.stream
        await trio.sleep(2 * STATE_SECONDS)
        assert exchange.stream != before
        nursery.cancel_scope.cancel()
