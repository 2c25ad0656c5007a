"""Bytes over a pair of sockets. Edges of the poller are calls of `ready`."""

import socket
import ssl

import pytest
import trio
import trio.testing

from mcpbridged.transports.http.wire import READ, PlainWire, TlsWire, unread_by_peer
from mcpbridged.transports.poller import WakeUpSlot

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
def pair():
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
