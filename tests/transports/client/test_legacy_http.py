"""The Streamable HTTP client of the handshake revisions: order, sessions, streams and failures."""

import json

import pytest
import trio
import trio.testing

from mcpbridged.transports.client import legacy_http, response_reader
from mcpbridged.transports.client.ports import LoginRequired
from mcpbridged.validators.limits import Limits

from ...support.remote_peer import RESULT, connected, remote_peer

pytestmark = pytest.mark.anyio


def serving(**handlers):
    """Return a handler of a server with a session. Keyword: a method, with `_` for `/`."""

    async def handler(exchange):
        special = handlers.get(exchange.method.replace("/", "_") or exchange.verb)
        if special is not None:
            await special(exchange)
        elif exchange.method == "initialize":
            await exchange.result(RESULT, Mcp_Session_Id="s1")
        elif exchange.verb == "GET":
            await exchange.send(status=405, kind="")
        elif exchange.verb == "DELETE" or exchange.id is None or "method" not in exchange.message:
            await exchange.accepted()
        else:
            await exchange.result({"echo": exchange.message.get("params")})

    return handler


async def test_a_session_is_opened_used_and_closed():
    async with remote_peer(serving()) as peer, connected(peer.url) as client:
        assert (await client.initialize())["result"] == RESULT
        assert (await client.ask(7, name="x"))["result"] == {"echo": {"name": "x"}}
        client.server.stop()
        assert await client.received.end() == "has closed the connection"
        await peer.until(lambda journal: journal[-1].verb == "DELETE")
    first, *rest = peer.journal
    assert not {"mcp-session-id", "mcp-protocol-version"} & first.headers.keys()
    assert {(e.headers["mcp-session-id"], e.headers["mcp-protocol-version"]) for e in rest} == {
        ("s1", "2025-11-25")
    }
    assert first.headers["accept"] == "application/json, text/event-stream"
    assert sorted((e.verb, e.method) for e in rest) == [
        ("DELETE", ""),
        ("GET", ""),
        ("POST", "notifications/initialized"),
        ("POST", "tools/call"),
    ]


async def test_messages_on_the_stream_of_a_request_are_related_to_it():
    async def call(exchange):
        await exchange.events()
        await exchange.event(
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
        )
        await exchange.event({"jsonrpc": "2.0", "id": "q", "method": "roots/list"})
        await exchange.event({"jsonrpc": "2.0", "id": exchange.id, "result": {}})
        await exchange.end()

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        await client.ask(7)
        client.send(id="q", result={"roots": []})
        await peer.until(lambda journal: "result" in journal[-1].message)
        assert client.received.related == [b"0", b"7", b"7", b"7"]
        assert [one.get("method") for one in client.received.messages[1:3]] == [
            "notifications/progress",
            "roots/list",
        ]


async def test_the_stream_of_the_session_is_opened_after_initialized():
    async def get(exchange):
        await exchange.events()
        await exchange.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await trio.sleep_forever()

    async with remote_peer(serving(GET=get)) as peer, connected(peer.url) as client:
        await client.initialize()
        assert (await client.received.until(2))[1]["method"] == "notifications/tools/list_changed"
        assert client.received.related == [b"0", b""]
        assert [e.method or e.verb for e in peer.journal] == [
            "initialize",
            "notifications/initialized",
            "GET",
        ]


async def test_requests_wait_for_the_acceptance_of_initialized():
    accepted = trio.Event()

    async def initialized(exchange):
        await accepted.wait()
        await exchange.accepted()

    async with (
        remote_peer(serving(notifications_initialized=initialized)) as peer,
        connected(peer.url) as client,
    ):
        await client.initialize()
        client.call(1)
        client.call(2)
        await peer.until(lambda journal: len(journal) == 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert peer.sent() == ["initialize", "notifications/initialized"]
        accepted.set()
        await client.received.until(3)


async def test_an_interrupted_stream_is_continued():
    async def call(exchange):
        await exchange.events()
        await exchange.event(b"", "one", retry=10)
        await exchange.reset()

    async def get(exchange):
        if "last-event-id" not in exchange.headers:
            await exchange.send(status=405)
            return
        await exchange.events()
        await exchange.event({"jsonrpc": "2.0", "id": 7, "result": {"n": 1}}, "two")
        await exchange.end()

    async with remote_peer(serving(tools_call=call, GET=get)) as peer, connected(peer.url) as client:
        await client.initialize()
        assert (await client.ask(7))["result"] == {"n": 1}
        assert peer.journal[-1].headers["last-event-id"] == "one"
        assert peer.journal[-1].headers["mcp-session-id"] == "s1"
        assert len(peer.sent("tools/call")) == 1
        assert client.received.related[-1] == b"7"


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_request_that_may_have_been_received_is_not_sent_again(era):
    async def call(exchange):
        await exchange.reset()

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        error = (await (client.ask if era == "legacy" else client.ask_modern)(1))["error"]
        assert error["message"].endswith("the request may have been carried out")
        assert error["data"] == {"reason": "unreachable", "sent": True}
        assert len(peer.sent("tools/call")) == 1


@pytest.mark.parametrize("reset", [False, True])
async def test_a_stream_without_answer_and_id_is_an_error(reset):
    async def call(exchange):
        await exchange.events()
        await (exchange.reset() if reset else exchange.end())

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        error = (await client.ask(7))["error"]
        assert "the request may have been carried out" in error["message"]
        assert len(peer.sent("tools/call")) == 1


async def test_a_lost_session_is_opened_again_and_the_refused_request_is_sent_again():
    lost = trio.Event()

    async def initialize(exchange):
        number = len([e for e in peer.journal if e.method == "initialize"])
        await exchange.result(
            {**RESULT, "capabilities": {"tools": {"listChanged": True}}}, Mcp_Session_Id=f"s{number}"
        )

    async def call(exchange):
        if exchange.message["params"].get("slow"):
            await exchange.events()
            await trio.sleep_forever()
        if lost.is_set() and exchange.headers["mcp-session-id"] == "s1":
            await exchange.json(
                {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "gone"}}, 404
            )
            return
        await exchange.result({"session": exchange.headers["mcp-session-id"]})

    async with (
        remote_peer(serving(initialize=initialize, tools_call=call)) as peer,
        connected(peer.url) as client,
    ):
        await client.initialize()
        await client.ask(1, "logging/setLevel", level="info")
        await client.ask(2, "resources/subscribe", uri="a:b")
        client.call(3, slow=True)
        await peer.until(lambda _: len(peer.sent("tools/call")) == 1)
        lost.set()
        assert (await client.ask(4))["result"] == {"session": "s2"}
        assert "may have been carried out" in (await client.answer(3))["error"]["message"]
        assert peer.sent() == [
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "resources/subscribe",
            "tools/call",
            "tools/call",
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "resources/subscribe",
            "tools/call",
        ]
        assert [one["method"] for one in client.received.messages if "method" in one] == [
            "notifications/tools/list_changed",
            "notifications/resources/updated",
        ]


def with_sessions(peer, lost, **more):
    """Return a handler of a server that has lost its first session once `lost` is set."""

    async def initialize(exchange):
        number = len([e for e in peer[0].journal if e.method == "initialize"])
        await exchange.result(RESULT, Mcp_Session_Id=f"s{number}")

    async def call(exchange):
        if lost.is_set() and exchange.headers["mcp-session-id"] == "s1":
            status = more.get("status", 404)
            await exchange.json(
                {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "No valid session ID"}},
                status,
            )
        else:
            await exchange.result({"session": exchange.headers["mcp-session-id"]})

    return serving(**{"initialize": initialize, "tools_call": call, **more.get("handlers", {})})


async def test_a_session_that_is_unknown_with_another_status_is_opened_again_for_the_next_request():
    lost, peers = trio.Event(), []
    async with remote_peer(with_sessions(peers, lost, status=400)) as peer, connected(peer.url) as client:
        peers.append(peer)
        await client.initialize()
        await client.ask(1)
        lost.set()
        # It is not sent again, because the specification does not demand this status before the execution.
        assert (await client.ask(2))["error"]["message"] == "No valid session ID"
        assert (await client.ask(3))["result"] == {"session": "s2"}
        assert len(peer.sent("tools/call")) == 3


async def test_many_requests_of_a_lost_session_are_sent_again_once_each():
    lost, peers = trio.Event(), []
    async with remote_peer(with_sessions(peers, lost)) as peer, connected(peer.url) as client:
        peers.append(peer)
        await client.initialize()
        await client.ask(1)
        lost.set()
        for number in range(2, 40):
            client.call(number)
        for number in range(2, 40):
            assert (await client.answer(number))["result"] == {"session": "s2"}
        assert len(peer.sent("initialize")) == 2


async def test_a_server_that_ends_every_session_fails_the_request():
    async def call(exchange):
        await exchange.send(b"gone", 404, "text/plain")

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        assert "has ended each of several sessions" in (await client.ask(1))["error"]["message"]
        assert len(peer.sent("tools/call")) == 3
        assert (await client.ask(2, "ping"))["result"] == {"echo": {}}


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (500, "application/json", "it refuses initialize: m"),
        (200, "application/json", "it refuses initialize: m"),
        (500, "text/event-stream", "has not opened another within 1 s"),
        (403, "text/event-stream", "HTTP 403"),
        (200, "text/html", "answered with text/html"),
    ],
)
async def test_a_session_that_is_not_opened_again_ends_the_connection(status, kind, text):
    async def initialize(exchange):
        if len(peer.sent("initialize")) == 1:
            await exchange.result(RESULT, Mcp_Session_Id="s1")
        else:
            body = json.dumps({"jsonrpc": "2.0", "id": exchange.id, "error": {"code": 1, "message": "m"}})
            await exchange.send(body.encode(), status, kind)

    async def call(exchange):
        await exchange.send(b"gone", 404, "text/plain")

    handler = serving(initialize=initialize, tools_call=call)
    async with remote_peer(handler) as peer, connected(peer.url, limits=Limits(start_seconds=1)) as client:
        await client.initialize()
        client.call(1)
        reason = await client.received.end()
        assert reason.startswith("has ended the session, and has not opened another")
        assert text in reason
        # Its user fails the requests that have no response.
        assert client.received.answers(1) == []


async def test_requests_of_the_server_end_with_their_session():
    lost, peers = trio.Event(), []

    async def get(exchange):
        if exchange.headers["mcp-session-id"] == "s1":
            await exchange.events()
            await exchange.event({"jsonrpc": "2.0", "id": 5, "method": "roots/list"})
            await exchange.left()
        else:
            await exchange.send(status=405)

    handler = with_sessions(peers, lost, handlers={"GET": get})
    async with remote_peer(handler) as peer, connected(peer.url) as client:
        peers.append(peer)
        await client.initialize()
        await client.received.until(2)
        lost.set()
        await client.ask(1)
        assert [
            one["params"]["requestId"]
            for one in client.received.messages
            if one.get("method", "").endswith("cancelled")
        ] == [5]
        client.send(id=5, result={"roots": []})
        await client.ask(2)
        assert [e.message for e in peer.journal if "result" in e.message] == []


async def test_a_cancellation_follows_its_request():
    begun = trio.Event()

    async def call(exchange):
        await begun.wait()
        await exchange.events()
        await exchange.left()

    async def cancelled(exchange):
        await exchange.accepted()

    handler = serving(tools_call=call, notifications_cancelled=cancelled)
    async with remote_peer(handler) as peer, connected(peer.url) as client:
        await client.initialize()
        await client.ask(9, "ping")
        client.call(1)
        await peer.until(lambda _: peer.sent("tools/call"))
        client.send(method="notifications/cancelled", params={"requestId": 1})
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert peer.sent("notifications/cancelled") == []
        begun.set()
        await peer.until(lambda _: peer.sent("notifications/cancelled"))
        await client.ask(2, "ping")
        # The response of a cancelled request is not missed.
        assert client.received.answers(1) == []


async def test_a_request_that_was_not_sent_is_withdrawn():
    accepted = trio.Event()

    async def initialized(exchange):
        await accepted.wait()
        await exchange.accepted()

    async with (
        remote_peer(serving(notifications_initialized=initialized)) as peer,
        connected(peer.url) as client,
    ):
        await client.initialize()
        client.call(1)
        client.send(method="notifications/cancelled", params={"requestId": 1})
        client.send(method="notifications/cancelled", params={"requestId": 77})
        client.send(method="notifications/cancelled", params={"requestId": 0})
        await trio.testing.wait_all_tasks_blocked(0.02)
        accepted.set()
        await client.ask(2)
        assert peer.sent("tools/call", "notifications/cancelled") == ["tools/call"]


async def test_an_answer_on_the_stream_of_the_session_is_accepted():
    accepted = trio.Event()

    async def get(exchange):
        await exchange.events()
        await accepted.wait()
        await exchange.event({"jsonrpc": "2.0", "id": 1, "result": {"late": True}})
        await exchange.left()

    async def call(exchange):
        await exchange.accepted()
        accepted.set()

    async with remote_peer(serving(GET=get, tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        await peer.until(lambda journal: journal[-1].verb == "GET")
        assert (await client.ask(1))["result"] == {"late": True}


async def test_a_request_that_is_only_accepted_is_an_error_without_a_stream_of_the_session():
    async def call(exchange):
        await exchange.accepted()

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        await peer.until(lambda journal: journal[-1].verb == "GET")
        assert "sends no answer" in (await client.ask(1))["error"]["message"]


async def test_the_stream_of_the_session_is_opened_again_where_it_ended():
    async def get(exchange):
        if "last-event-id" in exchange.headers:
            await exchange.events()
            await exchange.event({"jsonrpc": "2.0", "method": "notifications/second"})
            await exchange.left()
            return
        await exchange.events()
        await exchange.event({"jsonrpc": "2.0", "method": "notifications/first"}, "e1", retry=20)
        await exchange.end()

    async with remote_peer(serving(GET=get)) as peer, connected(peer.url) as client:
        await client.initialize()
        await client.received.until(3)
        assert [one.get("method") for one in client.received.messages[1:]] == [
            "notifications/first",
            "notifications/second",
        ]
        assert peer.journal[-1].headers["last-event-id"] == "e1"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 500, 503])
async def test_a_server_without_a_stream_of_the_session_is_usable(status):
    async def get(exchange):
        await exchange.send(b"no", status, "text/plain")

    async with remote_peer(serving(GET=get)) as peer, connected(peer.url) as client:
        await client.initialize()
        await peer.until(lambda journal: "GET" in [e.verb for e in journal])
        for number in range(1, 4):
            assert "result" in await client.ask(number)


async def test_a_continued_stream_that_stays_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(response_reader, "_PAUSE", 0.01)

    async def call(exchange):
        await exchange.events()
        await exchange.event(b"", "one", retry=1)
        await exchange.end()

    async def get(exchange):
        await exchange.send(b"no", 500, "text/plain")

    async with (
        remote_peer(serving(tools_call=call, GET=get)) as peer,
        connected(peer.url, seconds=20) as client,
    ):
        await client.initialize()
        error = (await client.ask(1))["error"]
        assert "HTTP 500" in error["message"]
        assert "may have been carried out" in error["message"]
        assert len([e for e in peer.journal if e.headers.get("last-event-id") == "one"]) == 6


async def test_a_stream_is_not_continued_where_the_server_refuses_it():
    async def call(exchange):
        await exchange.events()
        await exchange.event(b"", "one", retry=1)
        await exchange.end()

    async def get(exchange):
        await exchange.send(b"unknown event", 400, "text/plain")

    async with remote_peer(serving(tools_call=call, GET=get)) as peer, connected(peer.url) as client:
        await client.initialize()
        message = (await client.ask(1))["error"]["message"]
        assert "unknown event" in message
        assert message.endswith("the request may have been carried out")


async def test_a_slow_notification_delays_others_for_a_short_time_only():
    async def slow(exchange):
        await exchange.left()

    handler = serving(notifications_roots_list_changed=slow)
    async with remote_peer(handler) as peer, connected(peer.url) as client:
        await client.initialize()
        client.send(method="notifications/roots/list_changed")
        begun = trio.current_time()
        await client.ask(1)
        assert 1.5 < trio.current_time() - begun < 4


async def test_a_response_to_a_request_of_the_server_never_waits():
    async def initialize(exchange):
        await exchange.events(Mcp_Session_Id="s1")
        await exchange.event({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        await peer.until(lambda journal: "result" in journal[-1].message)
        await exchange.event({"jsonrpc": "2.0", "id": exchange.id, "result": RESULT})
        await exchange.end()

    async with remote_peer(serving(initialize=initialize)) as peer, connected(peer.url) as client:
        client.call(0, "initialize")
        client.call(1)
        await client.received.until(1)
        await trio.testing.wait_all_tasks_blocked(0.02)
        # Nothing else is sent before the response to initialize.
        assert peer.sent() == ["initialize"]
        client.send(id="p", result={})
        await client.answer(0)
        await client.answer(1)


@pytest.mark.parametrize("fault", ["reset", "end", 502])
async def test_initialize_is_sent_again_after_a_failure_that_may_pass(fault, monkeypatch):
    monkeypatch.setattr(legacy_http, "_PAUSE", 0.01)

    async def initialize(exchange):
        if len(peer.sent("initialize")) == 3:
            await exchange.result(RESULT, Mcp_Session_Id="s1")
        elif fault == "reset":
            await exchange.reset()
        elif fault == "end":
            await exchange.events()
            await exchange.end()
        else:
            await exchange.send(b"no", fault, "text/plain")

    async with remote_peer(serving(initialize=initialize)) as peer, connected(peer.url) as client:
        assert (await client.initialize())["result"] == RESULT
        assert "result" in await client.ask(1)


async def test_an_initialize_that_always_fails_ends_the_connection(monkeypatch):
    monkeypatch.setattr(legacy_http, "_PAUSE", 0.01)

    async def initialize(exchange):
        await exchange.events()
        await exchange.end()

    async with remote_peer(serving(initialize=initialize)) as peer, connected(peer.url) as client:
        client.call(0, "initialize")
        assert "has ended the response without an answer" in await client.received.end()
        assert len(peer.sent("initialize")) == 3


async def test_a_notification_without_further_effect_and_a_response_are_repeated(monkeypatch):
    monkeypatch.setattr(legacy_http, "_PAUSE", 0.01)
    failed = []

    async def flaky(exchange):
        name = exchange.method or "response"
        if failed.count(name) < 2 or name == "notifications/x":
            failed.append(name)
            await exchange.reset()
        else:
            await exchange.accepted()

    async def get(exchange):
        await exchange.events()
        await exchange.event({"jsonrpc": "2.0", "id": "q", "method": "ping"})
        await exchange.left()

    async def handler(exchange):
        if "result" in exchange.message or exchange.method in (
            "notifications/initialized",
            "notifications/x",
        ):
            await flaky(exchange)
        else:
            await serving(GET=get)(exchange)

    async with remote_peer(handler) as peer, connected(peer.url) as client:
        await client.initialize()
        await client.received.until(2)
        client.send(id="q", result={})
        client.send(method="notifications/x")
        await client.ask(1)
        await peer.until(lambda _: len([e for e in peer.journal if "result" in e.message]) == 3)
        assert peer.sent("notifications/initialized", "notifications/x") == [
            "notifications/initialized"
        ] * 3 + ["notifications/x"]
        assert any(b"notifications/x was not accepted" in note for note in client.received.notes)


async def test_a_stream_is_not_continued_without_its_session():
    """While the session is opened again, there is no session id for the continuation."""
    opening, open_now = trio.Event(), trio.Event()

    async def initialize(exchange):
        if len(peer.sent("initialize")) > 1:
            opening.set()
            await open_now.wait()
        await exchange.result(RESULT, Mcp_Session_Id=f"s{len(peer.sent('initialize'))}")

    async def call(exchange):
        if exchange.message["params"].get("lose"):
            await exchange.send(
                b"gone", 404 if exchange.headers["mcp-session-id"] == "s1" else 200, "text/plain"
            )
            return
        await opening.wait()
        await exchange.events()
        await exchange.event(b"", "one", retry=1)
        await exchange.end()

    handler = serving(initialize=initialize, tools_call=call)
    async with remote_peer(handler) as peer, connected(peer.url) as client:
        await client.initialize()
        client.call(1)
        await peer.until(lambda _: len(peer.sent("tools/call")) == 1)
        client.call(2, lose=True)
        error = (await client.answer(1))["error"]
        assert error["data"] == {"reason": "session lost"}
        assert "may have been carried out" in error["message"]
        open_now.set()
        await client.answer(2)
        assert "one" not in [e.headers.get("last-event-id") for e in peer.journal]


async def test_a_session_that_a_notification_shows_to_be_lost_is_opened_again():
    async def initialize(exchange):
        await exchange.result(RESULT, Mcp_Session_Id=f"s{len(peer.sent('initialize'))}")

    async def changed(exchange):
        await exchange.send(b"gone", 404, "text/plain")

    handler = serving(initialize=initialize, notifications_roots_list_changed=changed)
    async with remote_peer(handler) as peer, connected(peer.url) as client:
        await client.initialize()
        client.send(method="notifications/roots/list_changed")
        await peer.until(lambda _: len(peer.sent("notifications/initialized")) == 2)
        await client.ask(1)
        assert peer.journal[-1].headers["mcp-session-id"] == "s2"


async def test_a_notification_that_the_server_refuses_is_logged_once():
    async def changed(exchange):
        await exchange.send(b"not you", 400, "text/plain")

    handler = serving(notifications_roots_list_changed=changed)
    async with remote_peer(handler) as peer, connected(peer.url) as client:
        await client.initialize()
        client.send(method="notifications/roots/list_changed")
        await client.ask(1)
        assert len(peer.sent("notifications/roots/list_changed")) == 1
        (note,) = client.received.notes
        assert b"notifications/roots/list_changed was not accepted: the remote server at" in note
        assert note.endswith(b"HTTP 400 (Bad Request): not you")


async def test_an_accepted_request_ends_with_the_stream_of_the_session(monkeypatch):
    monkeypatch.setattr(response_reader, "_PAUSE", 0.001)
    accepted = trio.Event()

    async def get(exchange):
        if accepted.is_set():
            await exchange.send(b"no", 405, "text/plain")
            return
        await exchange.events()
        await accepted.wait()
        await exchange.end()

    async def call(exchange):
        await exchange.accepted()
        accepted.set()

    async with remote_peer(serving(GET=get, tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        await peer.until(lambda journal: journal[-1].verb == "GET")
        assert "sends no answer" in (await client.ask(1))["error"]["message"]


async def test_a_second_session_that_ends_at_once_ends_the_connection():
    async def initialize(exchange):
        await exchange.result(RESULT, Mcp_Session_Id="s")

    async def gone(exchange):
        if len(peer.sent("logging/setLevel")) == 1:
            await exchange.result()
        else:
            await exchange.send(b"gone", 404, "text/plain")

    handler = serving(initialize=initialize, logging_setLevel=gone, tools_call=gone)
    async with remote_peer(handler) as peer, connected(peer.url) as client:
        await client.initialize()
        await client.ask(1, "logging/setLevel", level="info")
        client.call(2, "logging/setLevel", level="debug")
        assert await client.received.end() == "has ended two sessions in a row"


# ---- credentials


class Tokens:
    """Credentials that the server refuses until they were renewed (ports.Authorizer)."""

    def __init__(self, *tokens, fault=None):
        self.tokens = list(tokens)
        self.fault = fault
        self.challenges = []

    async def headers(self):
        if not self.tokens:
            raise LoginRequired("run: mcp-bridge login x")
        return ((b"Authorization", b"Bearer " + self.tokens[0]),)

    async def renew(self, challenge, used):
        self.challenges.append((challenge.status, challenge.www_authenticate, used))
        if self.fault is not None:
            raise self.fault
        self.tokens.pop(0)
        return bool(self.tokens)


def demanding(token, **handlers):
    async def handler(exchange):
        if exchange.headers.get("authorization") == f"Bearer {token}":
            await serving(**handlers)(exchange)
        else:
            await exchange.send(b"", 401, "text/plain", WWW_Authenticate='Bearer error="invalid_token"')

    return handler


async def test_a_refused_request_is_sent_again_with_other_credentials():
    tokens = Tokens(b"old", b"new")
    async with remote_peer(demanding("new")) as peer, connected(peer.url, authorizer=tokens) as client:
        await client.initialize()
        assert "result" in await client.ask(1)
        assert tokens.challenges == [
            (401, ('Bearer error="invalid_token"',), ((b"Authorization", b"Bearer old"),))
        ]
        assert len(peer.sent("initialize")) == 2


async def test_a_login_that_is_required_ends_the_connection():
    async with remote_peer(demanding("x")) as peer, connected(peer.url, authorizer=Tokens()) as client:
        client.call(0, "initialize")
        assert await client.received.end() == "requires a login: run: mcp-bridge login x"
        assert peer.journal == []


async def test_a_login_that_is_required_later_is_an_error_of_each_request():
    tokens = Tokens(b"x")
    async with remote_peer(demanding("x")) as peer, connected(peer.url, authorizer=tokens) as client:
        await client.initialize()
        await client.ask(1)
        tokens.tokens.clear()
        error = (await client.ask(2))["error"]
        assert error["message"] == "the remote server requires a login: run: mcp-bridge login x"
        client.send(method="notifications/roots/list_changed")
        tokens.tokens.append(b"x")
        assert "result" in await client.ask(3)


async def test_credentials_that_the_server_always_refuses_are_an_error_without_them():
    async def call(exchange):
        await exchange.send(b"you sent Bearer secret-token-1", 403, "text/plain")

    tokens = Tokens(b"secret-token-1")
    async with remote_peer(serving(tools_call=call)) as peer:
        options = {"authorizer": tokens, "headers": ((b"X-Key", b"secret-header"),)}
        async with connected(peer.url, **options) as client:
            await client.initialize()
            message = (await client.ask(1))["error"]["message"]
            assert message.endswith(
                "HTTP 403 (Forbidden); check the credentials of this server: you sent Bearer …"
            )
            assert {e.headers["x-key"] for e in peer.journal} == {"secret-header"}


async def test_an_answer_with_status_404_is_no_lost_session():
    async def call(exchange):
        error = {"code": -32601, "message": "Method not found"}
        await exchange.json({"jsonrpc": "2.0", "id": exchange.id, "error": error}, 404)

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        assert (await client.ask(1))["error"] == {"code": -32601, "message": "Method not found"}
        assert peer.sent("initialize", "tools/call") == ["initialize", "tools/call"]


async def test_an_unknown_session_is_lost_also_where_the_error_has_the_id_of_the_request():
    async def call(exchange):
        if exchange.headers["mcp-session-id"] == "s1" and peer.sent("initialize") == ["initialize"]:
            error = {"code": -32001, "message": "Session not found"}
            await exchange.json({"jsonrpc": "2.0", "id": exchange.id, "error": error}, 404)
        else:
            await exchange.result({"ok": True})

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        assert (await client.ask(1))["result"] == {"ok": True}
        assert peer.sent("initialize", "tools/call") == [
            "initialize",
            "tools/call",
            "initialize",
            "tools/call",
        ]


async def test_a_server_without_a_route_for_get_has_no_stream_and_keeps_its_session():
    async def get(exchange):
        await exchange.send(b"Cannot GET /mcp", 404, "text/html")

    async with remote_peer(serving(GET=get)) as peer, connected(peer.url) as client:
        await client.initialize()
        await peer.until(lambda journal: journal[-1].verb == "GET")
        await trio.testing.wait_all_tasks_blocked(0.1)
        await client.ask(1)
        assert peer.sent("initialize") == ["initialize"]
        assert client.received.notes == []


async def test_what_opens_a_session_again_does_not_count_as_sent_by_the_client():
    async def call(exchange):
        if peer.sent("initialize") == ["initialize"]:
            await exchange.send(status=404, kind="")
        else:
            await exchange.result({"ok": True})

    async with remote_peer(serving(tools_call=call)) as peer, connected(peer.url) as client:
        await client.initialize()
        await client.ask(1, "logging/setLevel", level="info")
        assert (await client.ask(2))["result"] == {"ok": True}
        assert peer.sent("initialize", "logging/setLevel") == ["initialize", "logging/setLevel"] * 2
        assert client.server._connection.unsent == 0
