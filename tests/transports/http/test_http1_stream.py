"""Heads and bodies out of a pair of sockets, and the deadline of each wait."""

import socket

import pytest
import trio
import trio.testing

from mcpbridged.transports.http.http1_stream import Wait
from mcpbridged.transports.memory import LARGE, large_messages
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.http_service import line, make_service

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked
HEAD = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture
def connection():
    with line() as connection:
        yield connection


async def test_a_head_is_separated_from_what_follows(connection):
    connection.send(HEAD + b"rest")
    assert await connection.stream.read_head() == HEAD
    assert connection.stream.buffer == b"rest"
    assert connection.stream.deadline.kind is Wait.NOTHING


@pytest.mark.parametrize("cut", range(1, len(HEAD)))
async def test_a_head_in_two_pieces_is_read(connection, cut):
    async with trio.open_nursery() as nursery:
        connection.send(HEAD[:cut])

        async def second():
            await settle()
            connection.send(HEAD[cut:] + b"x")

        nursery.start_soon(second)
        assert await connection.stream.read_head() == HEAD
    assert connection.stream.buffer == b"x"


async def test_a_second_head_in_the_buffer_needs_no_input(connection):
    connection.send(HEAD + HEAD)
    assert [await connection.stream.read_head(), await connection.stream.read_head()] == [HEAD, HEAD]


async def test_empty_lines_before_a_head_are_skipped(connection):
    connection.send(b"\r\n" + HEAD)
    assert await connection.stream.read_head() == HEAD


async def test_the_end_of_the_connection_is_no_head(connection):
    connection.send(b"GET", left=True)
    assert await connection.stream.read_head() == b""
    assert connection.stream.deadline.kind is Wait.NOTHING


async def test_the_deadline_of_a_head_begins_with_its_first_byte(connection):
    stream, ticker = connection.stream, connection.service.ticker
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.read_head)
        await settle()
        assert stream.deadline.kind is Wait.REQUEST
        ticker.now = 5.0
        connection.send(b"\r\n")
        await settle()
        assert (stream.deadline.kind, stream.deadline.since) == (Wait.REQUEST, 0.0)
        connection.send(b"G")
        await settle()
        assert (stream.deadline.kind, stream.deadline.since) == (Wait.HEAD, 5.0)
        ticker.now = 7.0
        connection.send(b"E")
        await settle()
        assert stream.deadline.since == 5.0
        connection.send(b"T / HTTP/1.1\r\n\r\n")


async def test_a_head_over_the_limit_is_refused_before_it_ends():
    with line(make_service(limits=Limits(header_block=100))) as connection:
        connection.send(b"GET / HTTP/1.1\r\nA: " + b"x" * 200)
        with pytest.raises(Rejection) as caught:
            await connection.stream.read_head()
    assert caught.value.status == 431


async def test_a_body_ends_at_its_length(connection):
    connection.stream.buffer = b"ab"
    connection.send(b"cdNEXT")
    assert await connection.stream.read_body(4, "owner") == b"abcd"
    assert connection.stream.buffer == b"NEXT"


async def test_a_chunked_body_leaves_the_next_request(connection):
    connection.stream.buffer = b"2\r\nab\r\n"
    connection.send(b"2\r\ncd\r\n0\r\n\r\nNEXT")
    assert await connection.stream.read_body(None, "owner") == b"abcd"
    assert connection.stream.buffer == b"NEXT"


@pytest.mark.parametrize("length", [4, None])
async def test_a_peer_that_disconnects_in_a_body_is_an_os_error(connection, length):
    connection.send(b"2\r\n", left=True)
    with pytest.raises(ConnectionError, match="in the middle of a body"):
        await connection.stream.read_body(length, "owner")


async def test_the_received_bytes_of_a_body_are_noted_for_its_rate(connection):
    stream = connection.stream
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.read_body, 10, "owner")
        await settle()
        connection.send(b"abc")
        await settle()
        assert (stream.deadline.kind, stream.deadline.received) == (Wait.BODY, 3)
        connection.send(b"defghij")
    assert stream.deadline.kind is Wait.NOTHING


async def test_unfinished_bodies_of_one_principal_have_a_common_limit():
    service = make_service(limits=Limits(unfinished_bytes=10))
    with line(service) as one, line(service) as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.stream.read_body, 20, "owner")
            one.send(b"123456")
            await settle()
            two.stream.buffer = b"12345"
            with pytest.raises(Rejection) as caught:
                await two.stream.read_body(20, "owner")
            assert caught.value.status == 429
            two.stream.buffer = b""
            two.send(b"12345")
            with pytest.raises(Rejection):
                await two.stream.read_body(20, "owner")
            two.stream.buffer = b"12345"
            assert await two.stream.read_body(5, "another") == b"12345"
            nursery.cancel_scope.cancel()


async def test_a_peer_that_reads_restarts_the_deadline(connection):
    stream = connection.stream
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send, b"x" * 10_000_000)
        await settle()
        assert stream.deadline.kind is Wait.READER
        stream.has_progress(1.0)
        assert not stream.has_progress(2.0)
        connection.received()
        assert stream.has_progress(3.0)
        assert stream.deadline.since == 3.0
        nursery.cancel_scope.cancel()


async def test_the_time_of_the_last_bytes_is_noted(connection):
    connection.service.ticker.now = 4.0
    await connection.stream.send(b"x")
    assert (connection.stream.last_sent, connection.stream.deadline.kind) == (4.0, Wait.NOTHING)


async def test_lingering_ends_with_the_peer_its_bytes_or_its_time(autojump_clock):
    for data, left, most, seconds in (
        (b"x" * 10, True, 100, 0),
        (b"x" * 100, False, 100, 0),
        (b"x" * 99, False, 100, 3),
    ):
        with line() as connection:
            connection.send(data, left=left)
            began = trio.current_time()
            await connection.stream.linger(3, most)
            assert trio.current_time() - began == seconds
            assert connection.client.recv(1) == b""


async def test_an_abort_wakes_the_reader(connection):
    connection.stream.abort()
    connection.stream.plain.ready(left=True)
    assert await connection.stream.read_head() == b""
    connection.stream.sock.close()
    connection.stream.abort()


def test_a_unix_socket_has_no_segments_to_hold_back(connection):
    assert connection.stream.sock.family == socket.AF_UNIX
    connection.stream.cork()


@pytest.mark.parametrize(("size", "large"), [(LARGE, False), (LARGE + 1, True)])
async def test_the_end_of_a_large_message_is_counted(connection, size, large):
    before = large_messages.count
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.stream.send, b"x" * size)
        received = 0
        while received < size:
            await settle()
            received += len(connection.received())
    assert large_messages.count == before + large


async def test_a_large_message_that_is_given_up_is_counted(connection):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.stream.send, b"x" * 10_000_000)
        await settle()
        before = large_messages.count
        nursery.cancel_scope.cancel()
    assert large_messages.count == before + 1
