"""Bytes over a pair of sockets. Edges of the poller are calls of `ready`."""

import contextlib
import random
import socket
import ssl
from functools import partial

import pytest
import trio
import trio.testing

from mcpbridged.transports.http import wire
from mcpbridged.transports.http.wire import READ, PlainWire, TlsWire, unread_by_peer
from mcpbridged.transports.poller import Poller, WakeUpSlot
from mcpbridged.transports.turns import Activity, PrincipalTurns, Turns

from ...support.tls import tls_client_context

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked


class Pair:
    def __init__(self):
        ours, self.peer = socket.socketpair()
        for sock in (ours, self.peer):
            sock.setblocking(False)
        self.slot = WakeUpSlot()
        self.sock = ours
        self.wire = PlainWire(ours, self.slot)

    def close(self):
        self.sock.close()
        self.peer.close()


@pytest.fixture
def pair(monkeypatch):
    # The turns of this process are as long as the last daemon that an earlier test ran in it left them.
    monkeypatch.setattr(wire, "operation_turns", Turns(Activity()))
    monkeypatch.setattr(wire, "backlog_turns", PrincipalTurns())
    pair = Pair()
    yield pair
    pair.close()


async def test_input_before_the_registration_is_read(pair):
    pair.peer.send(b"first")
    assert await pair.wire.receive(100) == b"first"


async def test_a_receive_waits_for_an_edge(pair):
    received = []

    async def receive():
        received.append(await pair.wire.receive(100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await settle()
        pair.peer.send(b"x")
        await settle()
        assert received == []
        pair.wire.ready(left=False)
    assert received == [b"x"]


async def test_a_part_of_the_input_leaves_the_rest_readable(pair):
    pair.peer.send(b"abcdef")
    assert await pair.wire.receive(4) == b"abcd"
    assert pair.wire.readable
    assert await pair.wire.receive(4) == b"ef"
    assert not pair.wire.readable


async def test_an_end_that_was_reported_with_the_input_is_read_without_another_edge(pair):
    pair.peer.send(b"last")
    pair.peer.shutdown(socket.SHUT_WR)
    pair.wire.ready(left=True)
    assert [await pair.wire.receive(100), await pair.wire.receive(100)] == [b"last", b""]


async def test_a_flood_gives_other_tasks_a_turn(pair):
    pair.peer.send(b"x" * 64)
    turns = []

    async def other():
        turns.append(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(15):
            await pair.wire.receive(1)
        assert turns == []
        # Trio runs the two tasks of a turn in any order.
        for _ in range(17):
            await pair.wire.receive(1)
        assert turns == [1]


def test_receive_now_returns_a_whole_input_only(pair):
    assert pair.wire.receive_now() is None
    pair.peer.send(b"small")
    assert pair.wire.receive_now() == b"small"
    assert not pair.wire.readable
    pair.peer.close()
    assert pair.wire.receive_now() is None
    assert pair.wire.readable


def test_an_input_that_fills_the_buffer_may_have_more_behind_it(pair):
    pair.peer.send(b"x" * (READ + 1))
    assert len(pair.wire.receive_now()) == READ
    assert pair.wire.readable


async def test_a_large_message_is_sent_as_the_peer_reads(pair):
    data = bytes(range(256)) * 8192
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.wire.send, data)
        await settle()
        assert 0 < pair.wire.sent < len(data)
        assert unread_by_peer(pair.sock) > 0
        peer = trio.socket.from_stdlib_socket(pair.peer)
        while len(received) < len(data):
            received += await peer.recv(1 << 20)
    assert received == data
    assert pair.wire.sent == len(data)


async def test_sending_without_a_wait_returns_the_number_of_bytes(pair):
    while pair.wire.send_some(b"x" * 100_000):
        pass
    assert pair.wire.send_some(b"x") == 0
    pair.peer.close()
    with pytest.raises(OSError, match="Broken pipe"):
        pair.wire.send_some(b"x")


async def test_a_disconnected_peer_is_an_os_error(pair):
    pair.peer.close()
    with pytest.raises(OSError, match="Broken pipe"):
        await pair.wire.send(b"x")
    pair.sock.close()
    assert unread_by_peer(pair.sock) == 0


async def test_dropped_bytes_are_counted(pair):
    pair.peer.send(b"abc")
    pair.peer.close()
    pair.wire.ready(left=True)
    assert [await pair.wire.drop(), await pair.wire.drop()] == [3, 0]


class Input:
    """Receives the input of a wire in callbacks. `needs_task` are the inputs after which the task is needed."""

    def __init__(self, *needs_task):
        self.needs_task = needs_task
        self.received = []

    def __call__(self, data):
        self.received.append(data)
        if data == b"fault":
            raise RuntimeError("a bug of ours")
        return data not in self.needs_task


async def pass_input(pair, on_input, results):
    results.append(await pair.wire.pass_input(10, on_input))


@contextlib.asynccontextmanager
async def passing(pair, on_input):
    """Pass input in callbacks; yield the results, which are empty while the task waits."""
    pair.wire.readable, results = False, []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_input, pair, on_input, results)
        await settle()
        yield results
        await settle()
        nursery.cancel_scope.cancel()


async def test_input_is_passed_in_callbacks_until_the_task_is_needed(pair):
    on_input = Input(b"task")
    async with passing(pair, on_input) as results:
        for piece in (b"one", b"two"):
            pair.peer.send(piece)
            assert pair.wire.ready(left=False) is False
            await settle()
        assert (on_input.received, results) == ([b"one", b"two"], [])
        pair.peer.send(b"task")
        pair.wire.ready(left=False)
        # The task has not run yet.
        pair.peer.send(b"later")
        pair.wire.ready(left=False)
    assert (on_input.received, results) == ([b"one", b"two", b"task"], [True])
    assert await pair.wire.receive(10) == b"later"


async def test_after_as_much_as_is_read_at_once_there_may_be_more_without_an_edge(pair):
    on_input = Input()
    async with passing(pair, on_input) as results:
        pair.peer.send(b"x" * 20)
        assert pair.wire.ready(left=False)
        assert pair.wire.ready(left=False)
        assert not pair.wire.ready(left=False)
        assert results == []
    assert on_input.received == [b"x" * 10] * 2


async def test_the_task_reads_what_callbacks_have_left(pair):
    on_input = Input(b"x" * 10)
    async with passing(pair, on_input) as results:
        pair.peer.send(b"x" * 10 + b"rest")
        pair.wire.ready(left=False)
    assert results == [True]
    assert await pair.wire.pass_input(10, on_input) is False
    assert await pair.wire.receive(10) == b"rest"


async def test_an_end_is_left_to_the_task(pair):
    on_input = Input()
    async with passing(pair, on_input) as results:
        pair.peer.send(b"last")
        pair.peer.shutdown(socket.SHUT_WR)
        pair.wire.ready(left=True)
    assert (on_input.received, results) == ([], [False])
    assert [await pair.wire.receive(100), await pair.wire.receive(100)] == [b"last", b""]


async def test_an_end_that_was_not_reported_yet_is_left_to_the_task(pair):
    on_input = Input()
    async with passing(pair, on_input) as results:
        pair.peer.close()
        pair.wire.ready(left=False)
    assert (on_input.received, results) == ([], [False])
    assert await pair.wire.receive(100) == b""


async def test_a_broken_socket_is_left_to_the_task(pair):
    on_input = Input()
    async with passing(pair, on_input) as results:
        pair.sock.close()
        pair.wire.ready(left=False)
    assert (on_input.received, results) == ([], [False])


async def test_an_exception_in_a_callback_is_raised_in_the_task(pair):
    on_input = Input()
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="a bug of ours")):
        async with passing(pair, on_input):
            pair.peer.send(b"fault")
            pair.wire.ready(left=False)
    on_input.needs_task = (b"x",)
    async with passing(pair, on_input) as results:
        pair.peer.send(b"x")
        pair.wire.ready(left=False)
    assert (on_input.received, results) == ([b"fault", b"x"], [True])


async def test_callbacks_get_nothing_while_the_task_is_cancelled(pair):
    on_input = Input()
    pair.wire.readable = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_input, pair, on_input, [])
        await settle()
        pair.peer.send(b"x")
        nursery.cancel_scope.cancel()
        pair.wire.ready(left=False)
    assert on_input.received == []


async def send_all(rng, sock, received):
    """Send pieces of random sizes, and close the sending side at once or when all are received. Returns the bytes."""
    sent, waits = b"", rng.random() < 0.5
    for _ in range(rng.randrange(1, 50)):
        data = rng.randbytes(rng.choice([1, 10, 99, 100, 101, 1000, 5000]))
        with contextlib.suppress(BlockingIOError):
            sent += data[: sock.send(data)]
        for _ in range(rng.choice([0, 0, 1, 2, 10])):
            await trio.lowlevel.checkpoint()
    # The end would be an edge, which would hide that another one was missed.
    while waits and len(received) < len(sent):
        await trio.sleep(0.001)
    sock.shutdown(socket.SHUT_WR)
    return sent


async def receive_all(rng, wire, received):
    """Receive until the end, in callbacks and in this task, with exceptions and cancellations. Returns the bytes."""

    def on_input(data):
        received.extend(data)
        if rng.random() < 0.05:
            raise RuntimeError
        return rng.random() < 0.7

    while True:
        size = rng.choice([1, 7, 100, 100, 1000])
        if rng.random() < 0.7:
            with trio.CancelScope() as scope, contextlib.suppress(RuntimeError):
                if rng.random() < 0.3:
                    scope.deadline = trio.current_time() + rng.choice([0, 0.0002])
                await wire.pass_input(size, on_input)
            for _ in range(rng.choice([0, 0, 1, 5])):
                await trio.lowlevel.checkpoint()
        if wire.readable or rng.random() < 0.3:
            data = await wire.receive(size)
            if not data:
                return bytes(received)
            received.extend(data)


@pytest.mark.parametrize("seed", range(60))
async def test_callbacks_and_the_task_get_each_byte_once_and_in_order(seed):
    rng, poller, results = random.Random(seed), Poller(), {}
    pairs = [Pair() for _ in range(rng.randrange(1, 5))]

    async def run(key, function, *arguments):
        results[key] = await function(random.Random(f"{seed} {key}"), *arguments)

    def ready(pair, left):
        if pair.wire.ready(left=left):
            poller.call_again(pair.sock.fileno())

    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        with trio.fail_after(10):
            async with trio.open_nursery() as transfers:
                for number, pair in enumerate(pairs):
                    poller.register(pair.sock.fileno(), partial(ready, pair), pytest.fail)
                    received = bytearray()
                    transfers.start_soon(run, f"sent {number}", send_all, pair.peer, received)
                    transfers.start_soon(run, f"received {number}", receive_all, pair.wire, received)
        nursery.cancel_scope.cancel()
    for number, pair in enumerate(pairs):
        poller.unregister(pair.sock.fileno())
        pair.close()
        assert results[f"received {number}"] == results[f"sent {number}"]
    poller.close()


@pytest.fixture(scope="module")
def contexts(authority):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    return server, tls_client_context(authority)


async def tls(contexts):
    ours, theirs = trio.testing.memory_stream_pair()
    server = trio.SSLStream(ours, contexts[0], server_side=True, https_compatible=True)
    client = trio.SSLStream(theirs, contexts[1], server_hostname="localhost", https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        nursery.start_soon(client.do_handshake)
    return TlsWire(server), client, theirs


async def test_tls_sends_in_pieces_and_counts_them(contexts):
    wire, client, _ = await tls(contexts)
    data = b"x" * 200_000
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.send, data)
        while len(received) < len(data):
            received += await client.receive_some()
    assert (received, wire.sent) == (data, len(data))


async def test_each_principal_has_a_turn_beside_a_flood_over_tls(contexts, monkeypatch):
    activity, turns = Activity(), PrincipalTurns()
    activity.several = True
    monkeypatch.setattr(wire, "operation_turns", Turns(activity))
    monkeypatch.setattr(wire, "backlog_turns", turns)
    ours, client, _ = await tls(contexts)
    ours.principal = "flooding"
    await client.send_all(b"x" * 100)
    turns.connect(lambda: None)
    received = []

    async def receive():
        for _ in range(100):
            data = await ours.receive(1)
            received.append(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await settle()
        # The first turn is free; the others are those of the rounds.
        for number in range(1, 6):
            assert (len(received), [*turns.queues]) == (number, ["flooding"])
            turns.begin_round()
            await settle()
        turns.connect(None)
    assert len(received) == 100


async def test_a_broken_tls_stream_is_an_os_error(contexts):
    wire, _, transport = await tls(contexts)
    await transport.send_all(b"no TLS record")
    with pytest.raises(ConnectionError):
        await wire.receive(100)
    await transport.aclose()
    with pytest.raises(ConnectionError):
        await wire.send(b"x")
    await wire.close()


async def test_tls_is_closed_with_close_notify(contexts):
    wire, client, _ = await tls(contexts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.close)
        assert await client.receive_some() == b""
