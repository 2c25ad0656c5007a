"""Responses of a remote server: bodies, streams, wrong ids, and everything that is too large."""

import json

import pytest
import trio

from mcpbridged.transports.client.response_reader import StreamProgress
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.sse_events import SseParser

from ...support.remote_peer import connected, remote_peer

pytestmark = pytest.mark.anyio


def answer(exchange, **more):
    return {"jsonrpc": "2.0", "id": exchange.id, "result": {"ok": True}, **more}


async def answered(handler, **options):
    """Return what a client receives for one request, and the notes in the log."""
    async with remote_peer(handler) as peer, connected(peer.url, **options) as client:
        found = await client.ask_modern(1)
        return found, b"\n".join(client.received.notes).decode()


@pytest.mark.parametrize(
    "body",
    [
        lambda text: json.dumps(json.loads(text), indent=2).encode(),
        lambda text: b"\xef\xbb\xbf" + text + b"\r\n",
        lambda text: b"[" + text + b"]",
        lambda text: text.replace(b'"id": 1', b'"id": "1"'),
        lambda text: text.replace(b'"id": 1', b'"id": 1.0'),
    ],
)
@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "", "application/x+json"]
)
async def test_an_answer_in_any_spelling(body, kind):
    async def handler(exchange):
        await exchange.send(body(json.dumps(answer(exchange)).encode()), kind=kind)

    found, _ = await answered_raw(handler)
    assert json.loads(found)["result"] == {"ok": True}
    assert b"\n" not in found


async def answered_raw(handler, **options):
    async with remote_peer(handler) as peer, connected(peer.url, **options) as client:
        client.modern(1)
        await client.received.until(1)
        return client.received.lines[0], client.received.related


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "it is empty"),
        (b"hello", "no JSON-RPC message: hello"),
        (b'{"jsonrpc":"2.0","id":99,"result":{}}', "without an answer"),
        (b'{"jsonrpc":"2.0","method":"notifications/x"}', "without an answer"),
    ],
)
async def test_a_body_without_the_answer_is_an_error(body, text):
    async def handler(exchange):
        await exchange.send(body)

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        assert text in (await client.ask_modern(1))["error"]["message"]


async def test_an_error_without_an_id_is_the_answer():
    async def handler(exchange):
        await exchange.json({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "bad"}}, 400)

    found, _ = await answered(handler)
    assert found["error"] == {"code": -32600, "message": "bad"}


async def test_another_content_type_is_an_error():
    async def handler(exchange):
        await exchange.send(b"<p>Welcome</p>", kind="text/html")

    found, _ = await answered(handler)
    assert "answered with text/html" in found["error"]["message"]
    assert found["error"]["data"] == {"reason": "content type"}


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_an_error(announced):
    async def handler(exchange):
        body = json.dumps(answer(exchange, x="y" * 5000)).encode()
        if announced:
            await exchange.send(body)
            return
        await exchange._peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        while True:
            await exchange.chunk(b" " * 700)

    found, _ = await answered(handler, limits=Limits(line=2000))
    assert (
        "the limit is 2000 (limits.line); the request may have been carried out" in found["error"]["message"]
    )
    assert found["error"]["data"] == {"reason": "too large"}


async def test_an_event_over_the_limit_fails_the_request_that_it_answers():
    async def handler(exchange):
        await exchange.events()
        await exchange.event({"jsonrpc": "2.0", "method": "n", "params": {"x": "y" * 9000}})
        await exchange.event(answer(exchange, x="y" * 9000))
        await exchange.end()

    found, notes = await answered(handler, limits=Limits(line=2000))
    assert "sent a response of 9" in found["error"]["message"]
    assert "the limit is 2000 (limits.line)" in found["error"]["message"]
    assert "dropped a message" in notes


async def test_unfinished_bodies_have_a_limit_together():
    async def handler(exchange):
        await exchange._peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(10):
            await exchange.chunk(b" " * 1000)
        await exchange.left()

    async with (
        remote_peer(handler) as peer,
        connected(peer.url, limits=Limits(unfinished_bytes=25_000)) as client,
    ):
        for number in (1, 2, 3):
            client.modern(number)
        (found,) = await client.received.until(1)
        assert "25000 bytes, the limit (limits.unfinished_bytes)" in found["error"]["message"]
        assert client.server._connection._held <= 25_000


async def test_duplicates_and_foreign_answers_are_dropped():
    async def handler(exchange):
        await exchange.events()
        await exchange.event(answer(exchange, id=77))
        await exchange.event(answer(exchange))
        await exchange.event(answer(exchange))
        await exchange.event({"jsonrpc": "2.0", "method": "notifications/last"})
        await exchange.end()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        client.modern(1)
        await client.received.until(2)
        assert [one.get("id") for one in client.received.messages] == [1, None]
        # What follows the response belongs to no other request.
        assert client.received.related == [b"1", b"1"]


async def test_an_answer_on_the_stream_of_another_request_is_accepted():
    first, left = trio.Event(), trio.Event()

    async def handler(exchange):
        if exchange.id == 1:
            first.set()
            await exchange.events()
            await exchange.left()
            left.set()
            return
        await first.wait()
        await exchange.events()
        await exchange.event(answer(exchange, id=1))
        await exchange.event(answer(exchange))
        await exchange.end()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        client.modern(1)
        await first.wait()
        client.modern(2)
        await client.received.until(2)
        assert [one["id"] for one in client.received.messages] == [1, 2]
        assert client.received.related == [b"1", b"2"]
        # The stream that has no answer any more is closed.
        await left.wait()


async def test_events_that_are_no_messages_are_dropped():
    async def handler(exchange):
        await exchange.events()
        await exchange.chunk(b"event: ping\ndata: {}\n\n: comment\n\ndata: hello\n\nunknown: x\n\n")
        await exchange.event(answer(exchange))
        await exchange.end()

    found, notes = await answered(handler)
    assert found["result"] == {"ok": True}
    assert "dropped an event that is no JSON-RPC message: hello" in notes


async def test_a_connection_is_used_again_after_the_end_of_a_stream():
    async def handler(exchange):
        await exchange.events()
        await exchange.event(answer(exchange))
        await exchange.end()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        for number in range(3):
            await client.ask_modern(number)
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert len({id(e._peer) for e in peer.journal}) == 1


async def test_a_stream_that_does_not_end_after_the_answer_is_closed():
    left = trio.Event()

    async def handler(exchange):
        await exchange.events()
        await exchange.event(answer(exchange))
        await exchange.left()
        left.set()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        await client.ask_modern(1)
        await left.wait()


async def test_nothing_is_read_while_the_client_is_slow():
    sent = 0

    async def handler(exchange):
        nonlocal sent
        await exchange.events()
        for _ in range(1000):
            await exchange.event({"jsonrpc": "2.0", "method": "n", "params": {"x": "y" * 50_000}})
            sent += 1
        await exchange.event(answer(exchange))
        await exchange.end()

    async with remote_peer(handler) as peer, connected(peer.url, seconds=20) as client:
        client.modern(1)
        await client.received.until(2)
        client.server.pause()
        now = trio.current_time()
        assert client.server.active_time(now + 5) == client.server.active_time(now)
        count = len(client.received.lines)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert len(client.received.lines) == count
        assert sent < 900
        client.server.resume()
        await client.received.until(1001)
        assert len(client.received.answers(1)) == 1


def test_the_pause_before_the_next_attempt():
    progress = StreamProgress()
    assert progress.pause(0) == 1
    assert 1.5 <= progress.pause(3) <= 2.0
    assert 45 <= progress.pause(30) <= 60
    parser = SseParser(100)
    list(parser.feed(b"retry: 90000\nid: a\n\n"))
    progress.on_piece(parser, 0)
    assert (progress.pause(0), progress.pause(3), progress.last_event_id, progress.events) == (
        90,
        90,
        b"a",
        1,
    )
    list(parser.feed(b"retry: 999999999999\n\n"))
    progress.on_piece(parser, 0)
    assert (progress.retry, progress.last_event_id, progress.events) == (86_400, b"a", 1)
    progress.on_piece(parser, 2)
    assert progress.events == 2


async def test_a_request_after_the_response_still_names_its_call():
    async def handler(exchange):
        await exchange.events()
        both = [answer(exchange), {"jsonrpc": "2.0", "id": "q", "method": "roots/list"}]
        await exchange.chunk(b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in both))
        await exchange.end()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        client.modern(1)
        await client.received.until(2)
        assert client.received.related == [b"1", b"1"]


async def test_a_request_that_is_answered_on_another_stream_is_not_unsent_any_more():
    first = trio.Event()

    async def handler(exchange):
        if exchange.id == 1:
            first.set()
            await exchange.left()
            return
        await exchange.events()
        await exchange.event(answer(exchange, id=1))
        await exchange.event(answer(exchange))
        await exchange.end()

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        client.modern(1)
        await first.wait()
        client.modern(2)
        await client.received.until(2)
        assert not client.server.has_unread_input


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_what_is_shown_of_a_response_has_no_configured_secret(kind):
    async def handler(exchange):
        text = b'{"headers": "%b"}' % exchange.headers["x-key"].encode()
        await exchange.send(b"data: %b\n\n" % text if "event" in kind else text, kind=kind)

    found, notes = await answered(handler, headers=((b"X-Key", b"0123456789"),))
    assert "…" in found["error"]["message"] + notes
    assert "0123456789" not in found["error"]["message"] + notes


def test_a_server_cannot_be_requested_again_without_a_pause():
    parser, progress = SseParser(1000), StreamProgress()
    list(parser.feed(b"retry: 0\nid: a\ndata: b\n\n"))
    progress.on_piece(parser, 1)
    assert progress.pause(0) == 0.1
