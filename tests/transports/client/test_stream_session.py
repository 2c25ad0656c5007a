"""Sessions over carriers that are lost with their connection."""

import gc
import weakref

import pytest
import trio
import trio.testing

from mcpbridged.transports.client.detection import RemoteMemory
from mcpbridged.transports.client.ports import CarrierBusy, LoginRequired, Unreachable

from ...support.remote_peer import RESULT, connected
from .test_remote_server import FakeCarrier

pytestmark = pytest.mark.anyio


class Carriers:
    """The carriers of one server, one after the other."""

    def __init__(self, *later):
        self.made = []
        self._later = list(later)

    def __call__(self, _transport):
        carrier = self._later.pop(0) if self._later else FakeCarrier()
        self.made.append(carrier)
        return carrier

    def lose(self):
        self.made[-1].lost.set()

    async def until(self, count):
        while len(self.made) < count or not hasattr(self.made[-1], "on_message"):
            await trio.sleep(0.01)


def websocket(carriers, **options):
    return connected("ws://127.0.0.1:1/ws", make_carrier=carriers, connect_seconds=1, **options)


async def test_a_lost_connection_is_replaced_with_the_state_of_the_session():
    carriers = Carriers()
    async with websocket(carriers) as client:
        await client.initialize()
        await client.ask(1, "logging/setLevel", level="info")
        carriers.made[0].on_message(b'{"jsonrpc":"2.0","id":"q","method":"roots/list"}', b"")
        carriers.made[0].send = carriers.made[0].sent.append
        client.call(2)
        await trio.testing.wait_all_tasks_blocked()
        carriers.lose()
        error = (await client.answer(2))["error"]
        assert error["message"] == (
            "the remote server has closed the connection: the peer has left; the request may have been carried out"
        )
        await carriers.until(2)
        await client.ask(3)
        # The answer to a request of the former session.
        client.send(id="q", result={})
        await client.ask(4)
        assert [one.get("method") for one in carriers.made[1].sent] == [
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "tools/call",
            "tools/call",
        ]
        cancelled = [
            one for one in client.received.messages if one.get("method") == "notifications/cancelled"
        ]
        assert [one["params"]["requestId"] for one in cancelled] == ["q"]


async def test_an_ended_session_is_freed_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        carriers = Carriers()
        async with websocket(carriers) as client:
            await client.initialize()
            found = weakref.ref(carriers.made[0].on_message.__self__)
            client.server.stop()
            await client.received.end()
        # These carriers refer to the session, and the session to what makes them.
        carriers.made.clear()
        assert found() is None
    finally:
        gc.enable()


async def test_stateless_requests_need_no_replay_and_no_idle_connection():
    carriers = Carriers()
    async with websocket(carriers) as client:
        await client.ask_modern(1)
        carriers.lose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(carriers.made) == 1
        await client.ask_modern(2)
        assert len(carriers.made) == 2


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Unreachable("cannot connect to ws://x"), "cannot be reached: cannot connect to ws://x"),
        (LoginRequired("run login"), "requires a login: run login"),
    ],
)
async def test_a_first_connection_that_fails_ends_it(fault, text):
    async with websocket(Carriers(FakeCarrier(fault))) as client:
        client.call(1, "initialize")
        assert await client.received.end() == text


async def test_a_server_that_is_gone_for_long_has_ended():
    gone = [FakeCarrier(Unreachable("gone")) for _ in range(20)]
    carriers = Carriers(FakeCarrier(), *gone)
    async with websocket(carriers) as client:
        await client.initialize()
        carriers.lose()
        assert await client.received.end() == "cannot be reached: gone"


async def test_a_message_that_the_carrier_refuses_is_an_error():
    carriers = Carriers()
    async with websocket(carriers) as client:
        await client.initialize()

        def refuse(_line):
            raise CarrierBusy("16 bytes wait")

        await trio.testing.wait_all_tasks_blocked()
        carriers.made[0].send = refuse
        assert "does not read: 16 bytes wait" in (await client.ask(1))["error"]["message"]
        client.send(method="notifications/roots/list_changed")
        await trio.testing.wait_all_tasks_blocked()
        assert any(b"list_changed was not sent" in note for note in client.received.notes)
        assert not client.server.has_unread_input


async def test_a_carrier_is_paused_with_the_connection():
    carriers = Carriers()
    async with websocket(carriers) as client:
        client.server.pause()
        client.call(1, "initialize")
        await carriers.until(1)
        await trio.testing.wait_all_tasks_blocked()
        assert carriers.made[0].paused
        assert client.received.lines == []
        client.server.resume()
        assert not carriers.made[0].paused
        assert (await client.answer(1))["result"] == RESULT


async def test_a_session_that_is_not_opened_again_ends_the_connection():
    class Refusing(FakeCarrier):
        def send(self, line):
            self.on_message(
                b'{"jsonrpc":"2.0","id":"mcp-bridge-session-1","error":{"code":1,"message":""}}', b""
            )

    carriers = Carriers(FakeCarrier(), Refusing())
    async with websocket(carriers, memory=RemoteMemory()) as client:
        await client.initialize()
        carriers.lose()
        assert "has not opened the session again: it refuses initialize" in await client.received.end()


async def test_no_response_of_a_cancelled_request_is_made_up():
    carriers = Carriers()
    async with websocket(carriers) as client:
        await client.initialize()
        await trio.testing.wait_all_tasks_blocked()
        carriers.made[0].send = carriers.made[0].sent.append
        client.call(1)
        client.send(method="notifications/cancelled", params={"requestId": 1})
        await trio.testing.wait_all_tasks_blocked()
        carriers.lose()
        await carriers.until(2)
        await client.ask(2)
        assert client.received.answers(1) == []


async def test_a_server_that_ends_each_connection_at_once_is_not_called_without_a_pause():
    class Fleeting(FakeCarrier):
        def send(self, line):
            super().send(line)
            self.lost.set()

    carriers = Carriers(FakeCarrier(), *(Fleeting() for _ in range(50)))
    async with websocket(carriers) as client:
        await client.initialize()
        carriers.lose()
        with trio.move_on_after(1) as patience:
            await carriers.until(10)
        assert patience.cancelled_caught
