"""The upgrade to lines in both directions, with the server replaced."""

import pytest
import trio.testing

from mcpbridged.transports.endpoints.pipe import Pipe
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import FakeBackend, FakeExchange, head
from ...support.serving import RecordingLog
from ...support.upgraded import FakeUpgrade

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked
UPGRADE = {"Connection": "Upgrade", "Upgrade": "mcp-pipe"}
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}\n'


def world(method="GET", headers=UPGRADE, **backend):
    client = FakeUpgrade()
    exchange = FakeExchange(head(method, "/pipe", headers), upgraded=client)
    return client, exchange, FakeBackend(**backend)


async def test_the_connection_is_upgraded_and_its_first_line_opens_a_session():
    client, exchange, backend = world()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Pipe(backend, Limits(), RecordingLog()), exchange)
        await client.from_client(INITIALIZE)
        await settle()
        assert client.sent == (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: mcp-pipe\r\n\r\n"
        )
        assert [message.method for message in backend.conversation.received] == ["initialize"]
        assert (exchange.is_local, exchange.attached) == (True, backend.queue)
        await client.leave()


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [("POST", UPGRADE, 405), ("GET", {}, 426), ("GET", {"Connection": "Upgrade", "Upgrade": "h2c"}, 426)],
)
async def test_another_request_is_refused_before_the_upgrade(method, headers, status):
    client, exchange, backend = world(method, headers)
    with pytest.raises(Rejection) as caught:
        await Pipe(backend, Limits(), RecordingLog())(exchange)
    assert (caught.value.status, client.sent) == (status, b"")


async def test_a_client_that_has_left_is_not_served():
    client, exchange, backend = world()
    client.broken = True
    await Pipe(backend, Limits(), RecordingLog())(exchange)
    assert backend.opened == 0


async def test_a_server_that_ends_accepts_no_connection():
    client, exchange, backend = world()
    backend.pipes.refusal = "the bridge is stopping"
    with pytest.raises(Rejection) as caught:
        await Pipe(backend, Limits(), RecordingLog())(exchange)
    assert (caught.value.status, client.sent) == (503, b"")
