"""Requests of Streamable HTTP, with the session and the connection replaced."""

import json

import pytest
import trio
import trio.testing

from mcpbridged.transports.endpoints.streamable_http import StreamableHttp
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import FakeBackend, FakeConversation, FakeExchange, head
from ...support.stateless_requests import headers_of, request, tool

pytestmark = pytest.mark.anyio
settle = trio.testing.wait_all_tasks_blocked
JSON = "application/json"
EVENTS = "text/event-stream"
BOTH = f"{JSON}, {EVENTS}"
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}'
NOTE = b'{"jsonrpc":"2.0","method":"notifications/x"}'
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'


def answer(message, queue):
    if queue is not None:
        queue.enqueue(b'{"jsonrpc":"2.0","id":%b,"result":{}}' % message.id, last=True)


class World:
    """A server with a session, and the exchanges with it."""

    def __init__(self, *, reply=answer, is_open=True, version="2025-11-25", **more):
        self.conversation = FakeConversation(version=version, reply=reply)
        self.backend = FakeBackend(self.conversation, is_open=is_open, **more)
        self.endpoint = StreamableHttp(self.backend, Limits())

    def exchange(self, body=b"", method="POST", accept=BOTH, session="s1", **headers):
        headers = {"Accept": accept, "Content-Type": JSON, "Mcp-Session-Id": session, **headers}
        return FakeExchange(
            head(method, "/mcp", {name: value for name, value in headers.items() if value}), body
        )

    async def send(self, body=b"", method="POST", **headers):
        exchange = self.exchange(body, method, **headers)
        await self.endpoint(exchange)
        return exchange

    async def refused(self, body=b"", method="POST", **headers):
        """Return the status of a request that is refused, before or after its body is read."""
        try:
            exchange = await self.send(body, method, **headers)
        except Rejection as rejection:
            return rejection.status
        [(status, _, text)] = exchange.answers
        assert b'"error"' in text
        return status


async def test_a_single_response_is_json():
    exchange = await World().send(CALL)
    assert exchange.answers == [(200, b"application/json", ANSWER)]
    assert exchange.ends_with_client is False


@pytest.mark.parametrize(("body", "is_open"), [(CALL, True), (INITIALIZE, False)])
async def test_the_stream_of_a_response_in_json_is_closed(body, is_open):
    """The stream and the queue refer to each other, and only the garbage collector would free them."""
    world = World(is_open=is_open)
    exchange = await world.send(body, session="s1" if is_open else None)
    assert exchange.answers[0][:2] == (200, b"application/json")
    assert world.conversation.streams == [("close", True)]


@pytest.mark.parametrize(("version", "seconds"), [("2025-11-25", 1.0), ("2025-06-18", None)])
async def test_a_slow_call_becomes_a_stream_where_it_can_be_resumed(version, seconds):
    assert (await World(version=version).send(CALL)).first_heartbeat == seconds


async def test_messages_before_the_response_make_an_event_stream():
    def reply(message, queue):
        queue.enqueue(NOTE, b"e1")
        answer(message, queue)

    world = World(reply=reply)
    world.conversation.first_event = b"e0"
    exchange = await world.send(CALL)
    assert exchange.stream.startswith(b"id: e0\nretry: 1000\ndata: \n\n")
    assert exchange.stream.count(b"event: message") == 2
    assert world.conversation.streams == ["begin", ("close", True)]


async def test_a_client_that_prefers_events_gets_a_stream():
    exchange = await World().send(CALL, accept=f"{EVENTS}, {JSON}")
    assert (exchange.answers, b"data: " + ANSWER in exchange.stream) == ([], True)


@pytest.mark.parametrize("body", [NOTE, b'{"jsonrpc":"2.0","id":5,"result":{}}'])
async def test_a_message_without_a_response_is_accepted(body):
    world = World(reply=None)
    assert (await world.send(body)).answers == [(202, b"", b"")]
    assert len(world.conversation.received) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"session": None}, 400),
        ({"session": "other"}, 404),
        ({"accept": "image/png"}, 406),
        ({"Content-Type": "text/plain"}, 415),
        ({"MCP-Protocol-Version": "1999-01-01"}, 400),
    ],
)
async def test_a_wrong_header_is_refused(headers, status):
    world = World()
    assert await world.refused(CALL, **headers) == status
    assert world.conversation.received == []


async def test_other_methods_are_refused():
    assert await World().refused(method="PUT") == 405


async def test_the_session_id_is_in_the_head_of_the_response_to_initialize():
    world = World(is_open=False)
    exchange = await world.send(INITIALIZE, session=None)
    assert exchange.answers[0][0] == 200
    assert exchange.headers == ((b"Mcp-Session-Id", b"s1"),)
    assert world.conversation.ended == []


async def test_a_refused_initialize_opens_no_session():
    world = World(is_open=False, version="")
    exchange = await world.send(INITIALIZE, session=None)
    assert exchange.headers == ()
    assert world.conversation.ended == ["the server refused to initialize"]


async def test_a_client_that_disconnects_before_its_session_id_has_no_session():
    world = World(is_open=False, reply=None)
    exchange = world.exchange(INITIALIZE, session=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.endpoint, exchange)
        await settle()
        exchange.disconnect()
    assert exchange.answers == []
    assert len(world.conversation.ended) == 1


async def test_a_session_is_initialized_once():
    world = World()
    assert await world.refused(INITIALIZE) == 400
    assert world.backend.opened == 0


def batch(*messages):
    return b"[" + b",".join(messages) + b"]"


@pytest.mark.parametrize(("version", "status"), [("2025-03-26", 200), ("2025-06-18", 400)])
async def test_a_batch_depends_on_the_revision(version, status):
    exchange = await World(version=version).send(batch(CALL), accept=JSON)
    assert exchange.answers[0][0] == status


async def test_the_responses_of_a_batch_are_one_array():
    def reply(message, queue):
        queue.enqueue(b'{"jsonrpc":"2.0","id":%b,"result":{}}' % message.id)
        if message.id == b"2":
            queue.close()

    second = CALL.replace(b'"id":1', b'"id":2')
    exchange = await World(version="2025-03-26", reply=reply).send(batch(CALL, second), accept=JSON)
    assert [one["id"] for one in json.loads(exchange.answers[0][2])] == [1, 2]


@pytest.mark.parametrize("other", [INITIALIZE, b'{"jsonrpc":"2.0","id":5,"result":{}}'])
async def test_a_batch_holds_no_initialize_and_no_responses_beside_requests(other):
    world = World(version="2025-03-26")
    assert await world.refused(batch(CALL, other)) == 400
    assert world.conversation.received == []


async def test_a_batch_of_notifications_is_accepted():
    world = World(version="2025-03-26", reply=None)
    assert (await world.send(batch(NOTE, NOTE))).answers == [(202, b"", b"")]
    assert len(world.conversation.received) == 2


BAD_NOTE = NOTE.replace(b"/x", b"/bad")


@pytest.mark.parametrize("call", [False, True])
async def test_a_refused_notification_of_a_batch_stops_none_of_the_others(call):
    def reply(message, queue):
        if message.method == "notifications/bad":
            raise Rejection(400, -32600, "no")
        if call and message.method == "tools/call":
            queue.enqueue(ANSWER)
            queue.close()

    world = World(version="2025-03-26", reply=reply)
    exchange = await world.send(batch(BAD_NOTE, NOTE, *[CALL] * call), accept=JSON)
    assert len(world.conversation.received) == 2 + call
    # Only a batch without a response of its own has room for the refusal.
    assert exchange.answers[0][0] == (200 if call else 400)


@pytest.mark.parametrize(("event", "begun"), [(None, "listen"), ("e7", ("resume", "e7"))])
async def test_a_get_listens_or_resumes(event, begun):
    world = World()
    exchange = world.exchange(method="GET", **({"Last-Event-ID": event} if event else {}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.endpoint, exchange)
        await settle()
        exchange.disconnect()
    assert world.conversation.streams == [begun, "begin", ("close", True)]


async def test_a_get_needs_events_and_a_session():
    assert await World().refused(method="GET", accept=JSON) == 406
    assert await World().refused(method="GET", session=None) == 400
    assert await World().refused(method="GET", **{"MCP-Protocol-Version": "2026-07-28"}) == 405


async def test_a_delete_ends_the_session():
    world = World()
    assert (await world.send(method="DELETE")).answers == [(204, b"", b"")]
    assert world.conversation.ended == ["the client ended the session"]


async def test_a_stateless_request_needs_no_session():
    body = request("tools/call", tool("x"))
    world = World(is_open=False)
    world.backend.reply = answer
    exchange = FakeExchange(head(headers=headers_of(body)), json.dumps(body).encode())
    await world.endpoint(exchange)
    assert exchange.answers == [(200, b"application/json", ANSWER)]
    assert world.backend.opened == 0


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (INITIALIZE, {}),
        (NOTE, {}),
        (batch(CALL), {}),
        (b"{", {}),
        (CALL, {"session": "other"}),
        (CALL, {"accept": "image/png"}),
        (CALL, {"MCP-Protocol-Version": "1999-01-01"}),
        (CALL[:-2] + b',"y":"' + b"z" * 70_000 + b'"}}', {}),
    ],
)
def test_only_an_ordinary_request_is_begun_without_a_wait(body, headers):
    world = World()
    assert world.endpoint.begin(world.exchange(body, **headers), body) is None
    assert world.conversation.received == []


async def test_a_request_that_was_begun_and_refused_is_answered_by_the_rest():
    def refuse(_message, _queue):
        raise Rejection(400, -32602, "no")

    world = World(reply=refuse)
    exchange = world.exchange(CALL)
    await world.endpoint.begin(exchange, CALL)()
    [(status, _, text)] = exchange.answers
    assert (status, json.loads(text)["error"]["message"]) == (400, "no")
