"""One stateless request over HTTP, with the server and the connection replaced."""

import json

import pytest
import trio
import trio.testing

from mcpbridged.transports.endpoints.stateless_http import begin_modern, read_modern, serve_modern
from mcpbridged.validators.content_negotiation import accepts
from mcpbridged.validators.jsonrpc import decode
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import FakeBackend, FakeExchange, head
from ...support.stateless_requests import headers_of, request, tool

pytestmark = pytest.mark.anyio
JSON_ONLY, EVENTS_ONLY, BOTH = map(
    accepts, ("application/json", "text/event-stream", "application/json, text/event-stream")
)
CALL = request("tools/call", tool("x"))
LARGE = request("tools/call", tool("x", text="y" * 300_000))
LISTEN = request("subscriptions/listen", {"notifications": {}})
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'
NOTE = b'{"jsonrpc":"2.0","method":"notifications/progress"}'


def answer(_request, queue):
    queue.enqueue(ANSWER, last=True)


def prepared(body=CALL, **more):
    text = json.dumps(body).encode()
    return FakeExchange(head(headers=headers_of(body, **more)), text), decode(text, Limits())


async def serve(body=CALL, reply=answer, acceptable=BOTH, **more):
    exchange, message = prepared(body, **more)
    backend = FakeBackend(reply=reply)
    await serve_modern(exchange, backend, message, Limits(), acceptable)
    return exchange, backend


@pytest.mark.parametrize("body", [CALL, LARGE], ids=["small", "large"])
async def test_a_single_response_is_json(body):
    exchange, backend = await serve(body)
    assert exchange.answers == [(200, b"application/json", ANSWER)]
    assert exchange.ends_with_client
    assert backend.upstream.disconnects == 0


async def test_the_status_of_an_error_is_that_of_its_kind():
    def reply(_request, queue):
        queue.status = 404
        queue.enqueue(ANSWER, last=True)

    for acceptable in (BOTH, EVENTS_ONLY):
        exchange, _ = await serve(reply=reply, acceptable=acceptable)
        assert exchange.answers == [(404, b"application/json", ANSWER)]


async def test_a_client_without_json_gets_an_event():
    exchange, _ = await serve(acceptable=EVENTS_ONLY)
    assert (exchange.answers, exchange.stream) == ([], b"event: message\ndata: " + ANSWER + b"\n\n")


def note_and_answer(_request, queue):
    if not queue.answers_only:
        queue.enqueue(NOTE)
    queue.enqueue(ANSWER, last=True)


async def test_messages_before_the_response_make_an_event_stream():
    exchange, _ = await serve(reply=note_and_answer)
    assert exchange.stream.count(b"event: message") == 2
    assert exchange.answers == []


async def test_a_client_without_events_gets_the_response_only():
    exchange, _ = await serve(reply=note_and_answer, acceptable=JSON_ONLY)
    assert exchange.answers == [(200, b"application/json", ANSWER)]


async def test_a_client_that_disconnects_cancels_its_request():
    exchange, message = prepared()
    backend = FakeBackend()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_modern, exchange, backend, message, Limits(), BOTH)
        await trio.testing.wait_all_tasks_blocked()
        exchange.disconnect()
    assert (exchange.answers, exchange.stream, backend.upstream.disconnects) == ([], None, 1)


async def test_a_client_that_disconnects_before_the_server_starts_sends_no_request():
    exchange, message = prepared()
    exchange.is_gone = True
    backend = FakeBackend()
    await serve_modern(exchange, backend, message, Limits(), BOTH)
    assert (
        begin_modern(exchange, backend, read_modern(exchange.head.headers, message, Limits()), BOTH) is None
    )
    assert backend.requests == []


async def test_a_task_that_is_cancelled_cancels_the_request():
    exchange, message = prepared()
    backend = FakeBackend()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_modern, exchange, backend, message, Limits(), BOTH)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert backend.upstream.disconnects == 1


async def test_a_notification_is_accepted():
    body = request("notifications/cancelled", {"requestId": 1})
    del body["id"]
    exchange, backend = await serve(body)
    assert exchange.answers == [(202, b"", b"")]
    assert backend.notifications[0].method == "notifications/cancelled"


async def test_a_response_is_refused():
    exchange = FakeExchange(head())
    with pytest.raises(Rejection, match="a response is not expected"):
        await serve_modern(exchange, FakeBackend(), decode(ANSWER, Limits()), Limits(), BOTH)


async def test_a_subscription_needs_events():
    with pytest.raises(Rejection, match=r"subscriptions/listen needs text/event-stream") as caught:
        await serve(LISTEN, acceptable=JSON_ONLY)
    assert caught.value.status == 406


async def test_a_header_that_differs_from_the_body_is_refused_before_the_server_starts():
    with pytest.raises(Rejection, match="Mcp-Method"):
        await serve(**{"Mcp-Method": "tools/list"})


@pytest.mark.parametrize(("body", "slow"), [(LISTEN, False), (CALL, True)])
async def test_a_request_that_must_wait_is_not_begun(body, slow):
    exchange, message = prepared(body)
    backend = FakeBackend(slow=slow)
    modern = read_modern(exchange.head.headers, message, Limits())
    assert begin_modern(exchange, backend, modern, BOTH) is None
    assert backend.requests == []


async def test_a_request_that_was_begun_is_answered_by_the_rest():
    exchange, message = prepared()
    backend = FakeBackend(reply=answer)
    rest = begin_modern(exchange, backend, read_modern(exchange.head.headers, message, Limits()), BOTH)
    await rest()
    assert exchange.answers == [(200, b"application/json", ANSWER)]
