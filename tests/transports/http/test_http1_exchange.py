"""One request and its response over a pair of sockets."""

import contextlib
import socket
import types

import pytest
import trio
import trio.testing

from mcpbridged.transports.client_process import Caller
from mcpbridged.transports.http.http1_exchange import Http1Exchange
from mcpbridged.transports.http.http1_stream import Wait
from mcpbridged.transports.http.responses import SAFE_LINES
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import head
from ...support.http_service import line, make_service

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked
LARGE = b"x" * 10_000_000


@pytest.fixture
def connection():
    with line() as connection:
        yield connection


def exchange(connection, method="POST", headers=None, cors=(), version=11):
    request = head(method, "/mcp", headers)
    request = Http1Exchange(connection.stream, request, "owner", Caller(name="test"), cors)
    request.body_pending = bool(request.head.chunked or request.head.content_length)
    return request


async def test_a_response_has_the_date_its_headers_and_its_length(connection):
    await exchange(connection).answer(202, b"text/plain", b"ok", ((b"A", b"b"),))
    assert connection.received() == (
        b"HTTP/1.1 202 Accepted\r\nDate: DATE\r\n" + SAFE_LINES + b"A: b\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
    )


async def test_a_response_without_content_has_no_length(connection):
    await exchange(connection).answer(204, b"", b"")
    assert b"Content-Length" not in connection.received()


async def test_a_response_to_head_has_a_length_and_no_body(connection):
    await exchange(connection, "HEAD").answer(200, b"text/plain", b"ok")
    assert connection.received().endswith(b"Content-Length: 2\r\n\r\n")


async def test_a_large_response_is_sent_in_whole(connection):
    data = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange(connection).answer, 200, b"text/plain", LARGE)
        while not data.endswith(LARGE):
            await settle()
            data += connection.received()


async def test_cors_headers_are_part_of_every_response(connection):
    for send in (
        lambda request: request.answer(200, b"", b""),
        lambda request: request.begin_stream(),
    ):
        await send(exchange(connection, cors=((b"Vary", b"Origin"),)))
        assert b"Vary: Origin\r\n" in connection.received()


@pytest.mark.parametrize(("received", "closes"), [(b"ab", False), (b"a", True)])
async def test_a_body_that_did_not_arrive_ends_the_connection(connection, received, closes):
    connection.stream.buffer = received
    request = exchange(connection, headers={"Content-Length": "2"})
    await request.answer(200, b"", b"")
    assert (b"Connection: close\r\n" in connection.received()) is closes
    assert request.drop_body() is not closes
    assert connection.stream.close is closes


async def test_an_unread_body_is_dropped_up_to_the_next_request(connection):
    connection.stream.buffer = b"abNEXT"
    assert exchange(connection, headers={"Content-Length": "2"}).drop_body()
    assert connection.stream.buffer == b"NEXT"


async def test_a_body_is_read_once_from_what_was_received(connection):
    connection.stream.buffer = b"abNEXT"
    request = exchange(connection, headers={"Content-Length": "2"})
    assert [await request.read_body(), await request.read_body()] == [b"ab", b""]
    assert connection.stream.buffer == b"NEXT"


async def test_a_client_that_waits_for_permission_gets_it_before_its_body(connection):
    request = exchange(connection, headers={"Content-Length": "2", "Expect": "100-continue"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(request.read_body)
        await settle()
        assert connection.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(b"ab")


async def test_a_body_over_the_limit_is_refused_without_permission():
    with line(make_service(limits=Limits(body=10))) as connection:
        request = exchange(connection, headers={"Content-Length": "11", "Expect": "100-continue"})
        with pytest.raises(Rejection) as caught:
            await request.read_body()
        assert (caught.value.status, connection.received()) == (413, b"")


async def test_an_event_stream_is_chunked_and_ends(connection):
    request = exchange(connection)
    await request.begin_stream(((b"A", b"b"),))
    sent = connection.received()
    assert b"\r\nTransfer-Encoding: chunked\r\n\r\n" in sent
    assert b"\r\nA: b\r\n" in sent
    await request.write(b"x" * 17)
    await request.end()
    assert connection.received() == b"11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n"


async def test_an_event_stream_of_http_1_0_ends_with_the_connection(connection):
    request = exchange(connection)
    request.head.version = 10
    await request.begin_stream()
    await request.write(b"x")
    await request.end()
    sent = connection.received()
    assert b"chunked" not in sent
    assert sent.endswith(b"Connection: close\r\n\r\nx")


def direct(connection, **options):
    """Return a request whose response may be sent directly, and its queue."""
    request = exchange(connection, **options)
    queue = request.queue(direct=True)
    request.attach(queue, ends_with_client=True)
    connection.stream.plain.readable = False
    return request, queue


async def test_a_single_response_is_sent_without_the_task(connection):
    request, queue = direct(connection)
    queue.enqueue(b"{}", last=True)
    expected = (
        b"HTTP/1.1 200 OK\r\nDate: DATE\r\n%bContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert connection.received() == expected % SAFE_LINES
    assert (request.answered, request.sent_directly) == (True, True)
    assert connection.stream.deadline.kind is Wait.REQUEST


@pytest.mark.parametrize(("status", "line_"), [(200, b"200 OK"), (404, b"404 Not Found")])
async def test_a_direct_response_has_the_status_and_the_cors_headers(connection, status, line_):
    _, queue = direct(connection, cors=((b"Vary", b"Origin"),))
    queue.status = status
    queue.enqueue(b"{}", last=True)
    sent = connection.received()
    assert sent.startswith(b"HTTP/1.1 " + line_ + b"\r\n")
    assert b"Vary: Origin\r\n" in sent


@pytest.mark.parametrize("obstacle", ["input", "size"])
async def test_the_task_sends_what_cannot_be_sent_directly(connection, obstacle):
    request, queue = direct(connection)
    connection.stream.plain.readable = obstacle == "input"
    queue.enqueue(LARGE if obstacle == "size" else b"{}", last=True)
    assert (connection.received(), request.answered, len(queue)) == (b"", False, 1)


@pytest.mark.parametrize("obstacle", ["close", "body_pending", "buffer", "not asked for"])
async def test_a_response_behind_other_work_is_not_sent_directly(connection, obstacle):
    request = exchange(connection)
    connection.stream.close = obstacle == "close"
    request.body_pending = obstacle == "body_pending"
    connection.stream.buffer = b"next" if obstacle == "buffer" else b""
    assert request.queue(direct=obstacle != "not asked for").shortcut is None
    connection.stream.close, request.body_pending, connection.stream.buffer = False, False, b""
    assert request.queue(direct=True).shortcut is not None


async def test_the_rest_of_a_direct_response_is_sent_by_the_task(connection):
    request, queue = direct(connection)
    filler = b"x" * 1_000_000
    while connection.stream.plain.send_some(filler):
        pass
    connection.client.recv(1 << 16)
    body = b"y" * 60_000
    queue.enqueue(body, last=True)
    assert request.unsent
    assert not request.sent_directly
    assert queue.backlog.bytes == len(request.unsent)
    data = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(request.end)
        while not data.endswith(body):
            await settle()
            data += connection.received()
    assert queue.backlog.bytes == 0


async def test_a_disconnect_discards_the_queue_of_a_request_that_it_cancels(connection):
    request = exchange(connection)
    request.on_disconnect()
    for cancels, state in ((True, "disconnected"), (False, "open")):
        queue = request.queue()
        request.attach(queue, ends_with_client=cancels)
        request.on_disconnect()
        assert queue.state == state
        queue = request.queue()
        connection.stream.disconnected = True
        request.attach(queue, ends_with_client=cancels)
        assert queue.state == state
        connection.stream.disconnected = False


async def test_the_first_heartbeat_may_be_early(connection):
    connection.service.ticker.now = 100.0
    request = exchange(connection)
    request.attach(request.queue(), ends_with_client=False)
    assert connection.stream.last_sent == 100.0
    request.attach(request.queue(), ends_with_client=False, first_heartbeat=1.0)
    assert connection.stream.last_sent == 100.0 - (15 - 1.0 - 0.25)
    request.attach(request.queue(), ends_with_client=False, first_heartbeat=60.0)
    assert connection.stream.last_sent == 100.0


async def test_an_upgraded_connection_begins_with_the_bytes_behind_the_head(connection):
    connection.stream.buffer = b"early"
    upgraded = exchange(connection, "GET").upgrade()
    connection.send(b"late")
    assert [await upgraded.receive_some(), await upgraded.receive_some()] == [b"early", b"late"]
    assert upgraded.exempt_from_pings
    assert connection.stream.close
    await upgraded.send_all(b"a")
    assert upgraded.send_some(b"b") == 1
    assert connection.received() == b"ab"


async def test_bytes_behind_the_head_are_received_before_input_in_callbacks(connection):
    connection.stream.buffer = b"early"
    upgraded = exchange(connection, "GET").upgrade()
    connection.stream.plain.readable = False
    received = []
    assert await upgraded.pass_input(10, received.append) is False
    assert await upgraded.receive_some() == b"early"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upgraded.pass_input, 10, received.append)
        await settle()
        connection.send(b"late")
    assert received == [b"late"]


async def test_over_tls_no_input_is_received_in_callbacks(connection):
    connection.stream.plain = None
    assert await exchange(connection, "GET").upgrade().pass_input(10, list.append) is False


async def test_an_upgraded_connection_raises_what_a_stream_raises(connection):
    upgraded = exchange(connection, "GET").upgrade()
    connection.client.close()
    connection.stream.sock.close()
    with pytest.raises(trio.BrokenResourceError):
        await upgraded.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await upgraded.send_all(b"x")
    assert upgraded.send_some(b"xyz") == 3


async def test_the_disconnect_of_an_upgraded_connection_is_left_to_its_reader(connection):
    request = exchange(connection, "GET")
    queue = request.queue()
    request.attach(queue, ends_with_client=True)
    request.upgrade()
    request.on_disconnect()
    assert queue.state == "open"


@pytest.mark.parametrize(("delegates", "aggregate"), [(None, False), (lambda _pid: True, True)])
async def test_only_the_aggregate_is_known_to_read(delegates, aggregate):
    with line(make_service(delegates=delegates)) as connection:
        exchange(connection, "GET", {"Mcp-Bridge-Principal": "alice"}).upgrade()
        assert connection.stream.may_stall is aggregate


async def test_a_local_peer_may_stop_reading_for_any_time(connection):
    exchange(connection, "GET").upgrade(local=True)
    assert connection.stream.may_stall


async def test_a_local_upgrade_over_tls_is_refused(connection):
    connection.stream.plain = None
    request = exchange(connection, "GET")
    with pytest.raises(Rejection, match="on the Unix socket, and on loopback without TLS"):
        request.upgrade(local=True)
    assert (request.upgraded, connection.stream.may_stall) == (False, False)


@pytest.mark.parametrize(("peer", "accepted"), [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False)])
async def test_a_local_upgrade_is_for_peers_on_this_machine(connection, monkeypatch, peer, accepted):
    sock = types.SimpleNamespace(family=socket.AF_INET, getpeername=lambda: (peer, 1))
    connection.stream.sock = sock
    with contextlib.nullcontext() if accepted else pytest.raises(Rejection):
        exchange(connection, "GET").upgrade(local=True)


async def test_a_local_upgrade_of_a_peer_that_has_left_is_refused(connection):
    connection.stream.sock = socket.socket()
    with connection.stream.sock, pytest.raises(Rejection):
        exchange(connection, "GET").upgrade(local=True)


async def test_a_peer_that_only_ends_its_input_still_reads(connection):
    upgraded = exchange(connection, "GET").upgrade(local=True)
    assert not upgraded.gone
    connection.client.shutdown(socket.SHUT_WR)
    assert not upgraded.gone
    connection.client.close()
    assert upgraded.gone


async def test_refusals_are_counted_by_kind(connection):
    exchange(connection).count_refusal(Rejection(413, -32600, "x"))
    assert connection.service.refusals.counts == {"too_large": 1}
