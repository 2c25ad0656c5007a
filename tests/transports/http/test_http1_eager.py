"""Requests that are begun in the callback that reads them, without waking the task of their connection."""

import contextlib
import gc
from functools import partial

import pytest
import trio

from mcpbridged.transports.endpoints import sse_codec
from mcpbridged.transports.endpoints.sse_writer import write_events
from mcpbridged.transports.http.http1 import Connection
from mcpbridged.transports.http.http1_exchange import Http1Exchange
from mcpbridged.transports.send_queue import DISCONNECTED, OPEN
from mcpbridged.validators.rejection import Rejection

from ...support.serving import TOKEN, listening

pytestmark = pytest.mark.anyio


class Calls:
    """An endpoint whose responses come from the test."""

    def __init__(self):
        self.served = []  # bodies of requests that the task has served
        self.taken = []  # bodies of requests that were begun, by the task or without it
        self.queues = []
        self.ended = []  # the states of the queues at the end of their requests
        self.begun, self.ending = trio.Event(), trio.Event()

    def begin(self, exchange, body):
        self.begun.set()
        self.begun = trio.Event()
        if body.startswith(b"skip"):
            return None
        if body.startswith(b"bug"):
            raise RuntimeError("a bug of ours")
        self.taken.append(body)
        queue = exchange.queue(direct=not body.startswith(b"event"))
        self.queues.append(queue)
        if body.startswith(b"now"):
            queue.enqueue(b"at once", last=True)
        if body.startswith(b"refuse"):
            return partial(self._refuse, exchange)
        exchange.attach(queue, ends_with_client=True)
        return partial(self._send_answer, exchange, queue)

    async def _refuse(self, exchange):
        await exchange.answer(200, b"text/plain", b"refused")

    async def _send_answer(self, exchange, queue):
        try:
            if await queue.wait_answer():
                answer = queue.pop_answer()
                if answer is not None:
                    await exchange.answer(200, b"text/plain", b"by the task: " + answer)
                    queue.on_sent()
                return
            if queue.state != DISCONNECTED:
                queue.shortcut = None
                await exchange.begin_stream()
                await write_events(exchange, queue)
        finally:
            self.ended.append(queue.state)
            self.ending.set()

    async def __call__(self, exchange):
        body = await exchange.read_body()
        self.served.append(body)
        if body.startswith(b"skip"):
            await exchange.answer(200, b"text/plain", b"not taken")
            return
        await self.begin(exchange, body)()


class Client:
    """A client that sends bodies of the same length, and heads that differ in the last line only."""

    def __init__(self, server, calls, stream):
        self.server, self.calls, self.stream = server, calls, stream
        self.rest = b""

    def request(self, body, more=""):
        body = body.ljust(8, b".")
        head = f"POST /calls HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\nAuthorization: Bearer {TOKEN}\r\n{more}"
        return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body

    async def send(self, body, more=""):
        begun = self.calls.begun
        await self.stream.send_all(self.request(body, more))
        await begun.wait()

    async def answer(self):
        data = self.rest
        while b"\r\n\r\n" not in data:
            data += await self.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
        while len(body) < length:
            body += await self.receive()
        self.rest = body[length:]
        return int(head[9:12]), body[:length]

    async def receive(self):
        data = await self.stream.receive_some()
        assert data, "the connection has ended"
        return data

    async def call(self, body=b"call", answer=b"directly"):
        """Make a call whose response is sent directly, after which the task waits."""
        await self.send(body)
        assert self.calls.queues[-1].enqueue(answer, last=True)
        assert await self.answer() == (200, answer)


@contextlib.asynccontextmanager
async def connected():
    async with listening() as server:
        calls = Calls()
        server.routes.replace({"/calls": calls})
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            with trio.fail_after(5):
                yield Client(server, calls, stream)


async def test_a_request_with_the_same_head_is_begun_without_the_task(anyio_backend):
    async with connected() as client:
        for number in range(5):
            await client.call(b"call %d" % number)
        assert client.calls.served == [b"call 0.."]
        assert len(client.calls.taken) == 5


async def test_a_response_that_comes_while_a_request_is_begun_is_sent(anyio_backend):
    async with connected() as client:
        await client.call()
        for _ in range(3):
            await client.send(b"now")
            assert await client.answer() == (200, b"at once")
        assert len(client.calls.served) == 1


async def test_an_answered_request_is_freed_at_once(anyio_backend):
    """A cycle would keep the request, its connection and the descriptor of its client until the garbage collector runs."""
    async with connected() as client:
        await client.call()
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await client.call()
            # The last belongs to the connection, and those of the first call to tasks that have not returned.
            client.calls.queues.clear()
            assert sum(isinstance(found, Http1Exchange) for found in gc.get_objects()) <= 3
        finally:
            gc.enable()


@pytest.mark.parametrize("cut", [1, 30, -8, -1])
async def test_a_request_in_pieces_is_served_by_the_task(anyio_backend, cut):
    async with connected() as client:
        await client.call()
        whole = client.request(b"pieces")
        await client.stream.send_all(whole[:cut])
        await trio.testing.wait_all_tasks_blocked(0.01)
        begun = client.calls.begun
        await client.stream.send_all(whole[cut:])
        await begun.wait()
        client.calls.queues[-1].enqueue(b"answer", last=True)
        assert await client.answer() == (200, b"answer")
        assert client.calls.served == [b"call....", b"pieces.."]
        await client.call(b"again")
        assert len(client.calls.served) == 2


async def test_bytes_that_come_before_the_task_has_run_are_not_lost(anyio_backend):
    async with connected() as client:
        await client.call()
        (connection,) = [one for one in client.server.ticker._members if isinstance(one, Connection)]
        whole = client.request(b"pieces")
        begun = client.calls.begun
        for piece in (whole[:-6], whole[-6:-3], whole[-3:]):
            client.stream.socket._sock.send(piece)
            connection._ready(False)
        await begun.wait()
        client.calls.queues[-1].enqueue(b"answer", last=True)
        assert (await client.answer())[1].endswith(b"answer")
        assert client.calls.served[1:] == [b"pieces.."]


async def test_another_head_is_admitted_by_the_task(anyio_backend):
    async with connected() as client:
        await client.call()
        await client.send(b"other", "X-Other: 1\r\n")
        client.calls.queues[-1].enqueue(b"answer", last=True)
        assert await client.answer() == (200, b"answer")
        assert client.calls.served[1:] == [b"other..."]


async def test_two_requests_at_once_are_served_in_their_order(anyio_backend):
    async with connected() as client:
        await client.call()
        begun = client.calls.begun
        await client.stream.send_all(client.request(b"first") + client.request(b"now"))
        await begun.wait()
        client.calls.queues[-1].enqueue(b"answer", last=True)
        assert await client.answer() == (200, b"by the task: answer")
        assert await client.answer() == (200, b"at once")
        assert client.calls.served[1:] == [b"first...", b"now....."]


async def test_a_request_behind_another_waits_for_the_response(anyio_backend):
    async with connected() as client:
        await client.call()
        await client.send(b"first")
        await client.stream.send_all(client.request(b"now"))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert client.calls.taken[1:] == [b"first..."]
        client.calls.queues[-1].enqueue(b"answer", last=True)
        assert await client.answer() == (200, b"by the task: answer")
        assert await client.answer() == (200, b"at once")


async def test_a_request_that_the_endpoint_cannot_begin_is_served_by_the_task(anyio_backend):
    async with connected() as client:
        await client.call()
        await client.send(b"skip")
        assert await client.answer() == (200, b"not taken")
        await client.call()
        await client.call()
        assert client.calls.served == [b"call....", b"skip....", b"call...."]


async def test_a_response_of_several_messages_is_an_event_stream(anyio_backend):
    async with connected() as client:
        await client.call()
        await client.send(b"call")
        queue = client.calls.queues[-1]
        queue.enqueue(b"first")
        queue.enqueue(b"last", last=True)
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += await client.receive()
        assert sse_codec.message(b"", b"first") in data
        assert sse_codec.message(b"", b"last") in data
        await client.call()
        assert client.calls.served == [b"call....", b"call...."]


@pytest.mark.parametrize(("body", "answer"), [(b"events", b"by the task: answer"), (b"refuse", b"refused")])
async def test_the_task_sends_a_response_that_cannot_be_sent_directly(anyio_backend, body, answer):
    async with connected() as client:
        await client.call()
        await client.send(body)
        if body == b"events":
            client.calls.queues[-1].enqueue(b"answer", last=True)
        assert await client.answer() == (200, answer)
        assert len(client.calls.served) == 1
        await client.call()


async def test_a_heartbeat_begins_the_event_stream(anyio_backend):
    async with connected() as client:
        await client.call()
        await client.send(b"call")
        client.calls.queues[-1].heartbeat()
        data = await client.receive()
        assert b"text/event-stream" in data


async def test_a_disconnect_ends_a_request_that_was_begun(anyio_backend):
    async with connected() as client:
        await client.call()
        await client.send(b"call")
        await client.stream.aclose()
        while client.calls.ended[-1:] != [DISCONNECTED]:
            await client.calls.ending.wait()
            client.calls.ending = trio.Event()


async def test_cancelling_a_connection_ends_a_request_that_was_begun(anyio_backend):
    async with connected() as client:
        await client.call()
        await client.send(b"call")
        assert client.calls.queues[-1].state == OPEN
        calls = client.calls
    assert calls.ended[-1] == DISCONNECTED


async def test_an_exception_of_the_endpoint_closes_the_connection(anyio_backend):
    async with connected() as client:
        await client.call()
        await client.send(b"bug")
        status, _ = await client.answer()
        assert status == 500
        assert await client.stream.receive_some() == b""
        assert [event for _, event, _ in client.server.log.events if event == "internal_error"]


async def test_after_a_change_of_the_routes_the_head_is_admitted_again(anyio_backend):
    async with connected() as client:
        await client.call()
        client.server.routes.replace({})
        await client.stream.send_all(client.request(b"call"))
        status, _ = await client.answer()
        assert status == 404
        assert len(client.calls.taken) == 1


async def test_a_request_during_shutdown_is_served_and_is_the_last(anyio_backend):
    async with connected() as client:
        await client.call()
        await client.send(b"call")
        client.server.ticker.announce_shutdown()
        client.calls.queues[-1].heartbeat()  # wakes the task
        data = await client.receive()
        client.calls.queues[-1].enqueue(b"answer", last=True)
        while not data.endswith(b"0\r\n\r\n"):
            data += await client.receive()
        assert sse_codec.message(b"", b"answer") in data
        assert await client.stream.receive_some() == b""


async def test_a_rejection_of_the_endpoint_is_sent(anyio_backend):
    async with connected() as client:
        await client.call()

        def refuse(_exchange, _body):
            raise Rejection(429, -32000, "too much")

        client.calls.begin = refuse
        await client.stream.send_all(client.request(b"call"))
        status, body = await client.answer()
        assert (status, b"too much" in body) == (429, True)
