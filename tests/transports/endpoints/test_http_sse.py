"""The two endpoints of HTTP+SSE, with the server and the connection replaced."""

import json

import pytest
import trio
import trio.testing

from mcpbridged.transports.endpoints.http_sse import (
    EventStream,
    MessagePost,
    SharedMessagePost,
    relative,
    session_of,
)
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection

from ...support.exchange import FakeBackend, FakeConversation, FakeExchange, head

pytestmark = pytest.mark.anyio
JSON = {"Content-Type": "application/json"}
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
LARGE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"y": "z" * 300_000}}).encode()


@pytest.mark.parametrize(
    ("stream", "messages", "reference"),
    [
        ("/sse", "/messages", "messages"),
        ("/sse/", "/messages", "../messages"),
        ("/messages/sse", "/messages", "../messages"),
        ("/servers/a/sse", "/servers/a/messages", "messages"),
        ("/servers/a/sse", "/servers/b/messages", "../b/messages"),
        ("/a/sse", "/messages", "../messages"),
        ("/sse", "/a/messages", "a/messages"),
        ("/sse", "/a:b/messages", "./a:b/messages"),
        ("/sse", "//messages", ".//messages"),
    ],
)
def test_the_reference_to_the_messages_survives_a_prefix(stream, messages, reference):
    assert relative(stream, messages) == reference


def test_the_session_id_is_named_once():
    assert session_of("a=b&sessionId=x%20y&c") == "x%20y"
    for query in ("", "sessionid=x", "sessionId=x&sessionId=x"):
        with pytest.raises(Rejection, match=r"sessionId=\.\.\. once"):
            session_of(query)


def opened(**more):
    exchange = FakeExchange(head("GET", "/sse", {"Accept": "text/event-stream"}))
    backend = FakeBackend(**more)
    return exchange, backend, EventStream(backend, Limits(), "/messages")


async def test_a_stream_begins_with_its_endpoint_and_ends_its_session():
    exchange, backend, endpoint = opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint, exchange)
        await trio.testing.wait_all_tasks_blocked()
        backend.queue.enqueue(b"1")
        await trio.testing.wait_all_tasks_blocked()
        exchange.disconnect()
    assert exchange.stream == b"event: endpoint\ndata: messages?sessionId=s1\n\nevent: message\ndata: 1\n\n"
    assert backend.conversation.ended == ["the client closed its event stream"]


async def test_a_client_that_does_not_read_is_named_in_the_reason():
    exchange, backend, endpoint = opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint, exchange)
        await trio.testing.wait_all_tasks_blocked()
        backend.queue.on_stall()
    assert backend.conversation.ended == ["the client has not read its event stream for 30 s"]


@pytest.mark.parametrize(
    ("method", "accept", "status"), [("POST", "text/event-stream", 405), ("GET", "application/json", 406)]
)
async def test_a_wrong_request_opens_no_session(method, accept, status):
    backend = FakeBackend()
    with pytest.raises(Rejection) as caught:
        await EventStream(backend, Limits(), "/messages")(
            FakeExchange(head(method, "/sse", {"Accept": accept}))
        )
    assert (caught.value.status, backend.opened) == (status, 0)


async def post(body, session="s1", backend=None, **conversation):
    backend = backend or FakeBackend(FakeConversation(**conversation), is_open=True)
    exchange = FakeExchange(head("POST", f"/messages?sessionId={session}", JSON), body)
    await MessagePost(backend, Limits())(exchange)
    return exchange, backend.conversation


@pytest.mark.parametrize("body", [PING, LARGE], ids=["small", "large"])
async def test_a_message_is_accepted_and_passed_to_its_session(body):
    exchange, conversation = await post(body)
    assert exchange.answers == [(202, b"text/plain", b"Accepted")]
    assert [message.id for message in conversation.received] == [b"1"]
    # Such as traceparent.
    assert conversation.headers[0]["content-type"] == "application/json"


async def test_an_unreadable_message_is_refused():
    exchange, conversation = await post(b'{"id":1')
    assert exchange.answers[0][0] == 400
    assert conversation.received == []


async def test_an_unknown_session_is_refused_under_the_id_of_the_request():
    exchange, _ = await post(PING, session="other")
    [(status, _, text)] = exchange.answers
    assert (status, json.loads(text)["id"]) == (404, 1)


async def test_a_refused_request_gets_its_error_on_the_stream():
    def refuse(_message, _queue):
        raise Rejection(400, -32602, "no")

    exchange, conversation = await post(PING, reply=refuse)
    assert (exchange.answers[0][0], conversation.refused) == (202, [(b"1", "no")])


@pytest.mark.parametrize(("version", "status"), [("2025-03-26", 202), ("2025-06-18", 400), ("", 202)])
async def test_a_batch_depends_on_the_revision(version, status):
    exchange, conversation = await post(b"[" + PING + b"," + PING + b"]", version=version)
    assert exchange.answers[0][0] == status
    assert len(conversation.received) == (2 if status == 202 else 0)


async def test_a_refused_message_of_a_batch_stops_none_of_the_others():
    def refuse(message, _queue):
        if message.method == "notifications/bad":
            raise Rejection(400, -32600, "no")

    bad = b'{"jsonrpc":"2.0","method":"notifications/bad"}'
    exchange, conversation = await post(b"[" + bad + b"," + PING + b"]", version="2025-03-26", reply=refuse)
    assert (exchange.answers[0][0], len(conversation.received)) == (400, 2)


@pytest.mark.parametrize(
    ("method", "headers", "status"), [("GET", JSON, 405), ("POST", {"Content-Type": "text/plain"}, 415)]
)
async def test_a_wrong_request_is_refused_before_its_body_is_read(method, headers, status):
    class Unread(FakeExchange):
        async def read_body(self):
            raise AssertionError

    with pytest.raises(Rejection) as caught:
        await MessagePost(FakeBackend(), Limits())(
            Unread(head(method, "/messages?sessionId=s1", headers), PING)
        )
    assert caught.value.status == status


async def shared(session, may_use=lambda _principal, _server: True):
    """Post to the shared path with servers `a` (session s1) and `b` (session s2); return the exchange and who got it."""
    passed = []

    def server(name, session_id):
        async def endpoint(_exchange):
            passed.append(name)

        return FakeBackend(FakeConversation(id=session_id), is_open=True), endpoint

    exchange = FakeExchange(head("POST", f"/messages?sessionId={session}", JSON), PING)
    await SharedMessagePost({"a": server("a", "s1"), "b": server("b", "s2")}, may_use)(exchange)
    return exchange, passed


async def test_the_session_determines_the_server_of_a_message():
    for session, name in (("s1", "a"), ("s2", "b")):
        assert (await shared(session))[1] == [name]


async def test_a_server_that_the_principal_may_not_use_has_no_sessions():
    for exchange, passed in (
        await shared("s2", lambda principal, server: (principal, server) != ("owner", "b")),
        await shared("s3"),
    ):
        assert passed == []
        assert exchange.answers[0][0] == 404
