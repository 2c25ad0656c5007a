"""One request over ASGI, with Hypercorn replaced by two functions. HTTP/2 itself is tested in test_http2.py."""

import math
import socket

import pytest
import trio
import trio.testing

from mcpbridged.transports.http.asgi import AsgiApp, head_of
from mcpbridged.transports.memory import LARGE, large_messages
from mcpbridged.transports.send_queue import Signal
from mcpbridged.validators.bearer import TokenSet
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.http_service import make_service
from ...support.serving import TOKEN

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("autojump_clock")]
settle = trio.testing.wait_all_tasks_blocked
BEARER = (b"authorization", b"Bearer " + TOKEN.encode())


def scope(method="POST", path=b"/echo", *headers, query=b""):
    return {
        "type": "http",
        "method": method,
        "raw_path": path,
        "path": path.decode(),
        "query_string": query,
        "headers": [(b"host", b"localhost"), *headers],
    }


async def echo(exchange):
    await exchange.answer(200, b"text/plain", await exchange.read_body())


async def unread(exchange):
    await exchange.answer(200, b"text/plain", b"not read")


async def fail(_exchange):
    raise RuntimeError("a fault")


async def refuse(_exchange):
    raise Rejection(409, -32600, "no")


class World:
    """One connection. `progress`, `broken` and the methods are those of asgi.Line."""

    def __init__(self, limits=None, **table):
        self.service = make_service(
            {f"/{name}": endpoint for name, endpoint in table.items()} | {"/echo": echo},
            limits=limits,
            tokens=TokenSet({TOKEN: "owner"}),
        )
        self.sock, self._peer = socket.socketpair()
        self.seat = self.service.quota.admit(self.sock, "peer")
        self.progress = 0
        self.broken = False
        self.events = []
        self.signals = []
        self.sent = []
        self._more_input, self._input = trio.open_memory_channel(math.inf)
        self.blocked = False
        self._unblocked = trio.Event()
        self.app = AsgiApp(self.service, "peer", self.seat, self)

    def close(self):
        self.sock.close()
        self._peer.close()

    def abort(self):
        self.events.append("abort")

    def refuse(self):
        self.events.append("refuse")

    async def reset(self, _send):
        self.events.append("reset")

    def arrives(self, body=b"", *, more=False):
        self._more_input.send_nowait({"type": "http.request", "body": body, "more_body": more})

    def disconnects(self):
        self._more_input.send_nowait({"type": "http.disconnect"})

    async def send(self, event):
        await trio.lowlevel.checkpoint()
        if self.blocked:
            await trio.sleep_forever()
        self.sent.append(event)

    async def serve(self, request):
        await self.app(request, self._input.receive, self.send)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def body(self):
        return b"".join(event["body"] for event in self.sent[1:])

    @property
    def has_ended(self):
        return self.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.fixture
def make_world():
    worlds = []

    def make(limits=None, **table):
        worlds.append(World(limits, **table))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


async def test_a_request_is_answered_and_the_response_ends(make_world):
    world = make_world()
    world.arrives(b"one", more=True)
    world.arrives(b"two")
    await world.serve(scope("POST", b"/echo", BEARER))
    assert (world.status, world.body, world.has_ended) == (200, b"onetwo", True)
    headers = dict(world.sent[0]["headers"])
    assert headers[b"content-length"] == b"6"
    assert headers[b"x-content-type-options"] == b"nosniff"


async def test_the_grammar_is_that_of_http_1(make_world):
    limits = Limits()
    head = head_of(scope("GET", b"/a", (b"accept", b"x"), query=b"q=1"), limits)
    assert (head.path, head.query, head.headers["accept"]) == ("/a", "q=1", "x")
    for wrong in (scope("GET", b"a"), scope("GET", b"/a", (b"x", b"1\r\n2")), scope("GET", b"/a\n")):
        with pytest.raises(Rejection) as caught:
            head_of(wrong, limits)
        assert caught.value.status == 400


async def test_other_scopes_are_ignored(make_world):
    world = make_world()
    await world.serve({"type": "lifespan"})
    assert world.sent == []


async def test_a_refused_request_of_an_unauthenticated_peer_ends_its_connection(make_world):
    world = make_world()
    world.arrives()
    await world.serve(scope())
    assert (world.status, world.events, world.seat.state) == (401, ["refuse"], "refused")
    world = make_world()
    world.arrives()
    await world.serve(scope("POST", b"/echo", BEARER))
    world.arrives()
    await world.serve(scope())
    assert world.events == []


@pytest.mark.parametrize(("endpoint", "status"), [(fail, 500), (refuse, 409)])
async def test_an_endpoint_that_fails_gets_an_error(make_world, endpoint, status):
    world = make_world(x=endpoint)
    world.arrives()
    await world.serve(scope("POST", b"/x", BEARER))
    assert (world.status, world.has_ended) == (status, True)
    assert [event for _, event, _ in world.service.log.events if event == "internal_error"] == (
        ["internal_error"] if endpoint is fail else []
    )


async def test_a_fault_after_the_begin_of_a_response_just_ends_it(make_world):
    async def late(exchange):
        await exchange.begin_stream()
        raise RuntimeError("a fault")

    world = make_world(x=late)
    world.arrives()
    await world.serve(scope("POST", b"/x", BEARER))
    assert (world.status, world.body, world.has_ended) == (200, b"", True)


@pytest.mark.parametrize(("size", "status"), [(10, 200), (11, 413)])
async def test_a_body_has_a_limit(make_world, size, status):
    world = make_world(Limits(body=10))
    world.arrives(b"x" * 5, more=True)
    world.arrives(b"x" * (size - 5))
    await world.serve(scope("POST", b"/echo", BEARER))
    assert world.status == status


async def test_a_peer_that_disconnects_in_a_body_gets_no_response(make_world):
    world = make_world()
    world.arrives(b"x", more=True)
    world.disconnects()
    await world.serve(scope("POST", b"/echo", BEARER))
    assert [event["type"] for event in world.sent] == ["http.response.body"]


async def test_a_body_that_comes_too_slowly_is_refused(make_world, autojump_clock):
    world = make_world(Limits(body_rate=1, body_grace_seconds=10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.serve, scope("POST", b"/echo", BEARER))
        await trio.sleep(9)
        world.arrives(b"x" * 10, more=True)
        await trio.sleep(9)
        world.arrives(b"x" * 9, more=True)
        await trio.sleep(3)
        assert world.status == 408
        world.disconnects()


async def test_an_unread_body_is_read_within_limits_before_the_response_ends(make_world, autojump_clock):
    world = make_world(Limits(body=10), x=unread)
    for _ in range(100):
        world.arrives(b"x", more=True)
    await world.serve(scope("POST", b"/x", BEARER))
    assert world.has_ended
    assert world._input.statistics().current_buffer_used == 60
    assert trio.current_time() == 0


async def test_the_rest_of_a_body_has_a_time_limit(make_world, autojump_clock):
    for headers, seconds in (((BEARER,), 5), ((), 1)):
        world = make_world(x=unread)
        began = trio.current_time()
        await world.serve(scope("POST", b"/x", *headers))
        assert (world.has_ended, trio.current_time() - began) == (True, seconds)


async def streaming(world, nursery):
    """Start a request whose response is an event stream; return its exchange and its queue."""
    found = []

    async def stream(exchange):
        queue = exchange.queue()
        exchange.attach(queue, ends_with_client=True)
        await exchange.begin_stream()
        found.append((exchange, queue))
        while queue.state == "open":
            world.signals.append(await queue.dequeue())

    world.service.route.replace({"/stream": stream})
    world.arrives()
    nursery.start_soon(world.serve, scope("GET", b"/stream", BEARER))
    await settle()
    return found[0]


async def test_a_client_that_disconnects_discards_the_queue(make_world):
    world = make_world()
    async with trio.open_nursery() as nursery:
        _, queue = await streaming(world, nursery)
        world.disconnects()
        await settle()
        assert queue.state == "disconnected"


async def test_a_withdrawn_token_discards_the_queue(make_world):
    world = make_world()
    async with trio.open_nursery() as nursery:
        exchange, queue = await streaming(world, nursery)
        world.service.route.replace({})
        exchange.tick(0)
        assert queue.state == "open"
        world.service.gate.tokens.replace(TokenSet({}))
        exchange.tick(0)
        assert queue.state == "open"
        world.service.route.replace({})
        exchange.tick(0)
        assert queue.state == "disconnected"


async def test_a_heartbeat_is_due_after_silence(make_world):
    world = make_world(Limits(heartbeat_seconds=10))
    async with trio.open_nursery() as nursery:
        exchange, _ = await streaming(world, nursery)
        for now, count in ((9.9, 0), (10, 1), (19.9, 1)):
            exchange.tick(now)
            await settle()
            assert world.signals == [Signal.HEARTBEAT] * count
        world.disconnects()


async def test_a_peer_that_does_not_read_ends_its_request_or_its_connection(make_world, autojump_clock):
    for others_progress, event in ((False, "abort"), (True, "reset")):
        world = make_world()
        world.arrives()
        world.blocked = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.serve, scope("POST", b"/echo", BEARER))
            await settle()
            world.progress += others_progress
        assert world.events == [event]
    assert trio.current_time() == 60


async def test_nothing_is_sent_to_a_broken_connection(make_world):
    world = make_world()
    world.arrives()
    world.broken = True
    await world.serve(scope("POST", b"/echo", BEARER))
    assert world.sent == []


async def test_there_is_no_websocket(make_world):
    async def upgrade(exchange):
        exchange.upgrade()

    world = make_world(x=upgrade)
    world.arrives()
    await world.serve(scope("GET", b"/x", BEARER))
    assert world.status == 400


@pytest.mark.parametrize(("size", "large"), [(LARGE, False), (LARGE + 1, True)])
async def test_the_end_of_a_large_response_is_counted(make_world, size, large):
    async def respond(exchange):
        before.append(large_messages.count)
        await exchange.answer(200, b"text/plain", b"x" * size)

    before, world = [], make_world(respond=respond)
    world.arrives()
    await world.serve(scope("POST", b"/respond", BEARER))
    assert world.body == b"x" * size
    assert large_messages.count == before[0] + large


async def test_a_large_message_that_is_not_read_is_counted_when_it_is_given_up(make_world, autojump_clock):
    async def respond(exchange):
        await exchange.begin_stream()
        world.blocked = True
        before.append(large_messages.count)
        await exchange.write(b"x" * 2 * LARGE)

    before, world = [], make_world(respond=respond)
    world.arrives()
    await world.serve(scope("POST", b"/respond", BEARER))
    assert (large_messages.count, trio.current_time()) == (before[0] + 1, 30)
