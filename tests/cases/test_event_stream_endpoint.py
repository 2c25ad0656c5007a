"""Clients and proxies use the endpoint event of HTTP+SSE in several ways (T13)."""

import hashlib
import socket
import threading
from urllib.parse import urljoin, urlsplit

import pytest
import trio
from mcp import Client
from mcp.client.sse import sse_client

from mcpbridged.transports.endpoints.http_sse import relative

from ..support.bridge_process import EXAMPLE, Bridge
from ..support.daemon_process import Daemon, write_config
from ..support.listener_under_test import INITIALIZE, ListenerUnderTest
from ..support.sdk import SDK_WARNINGS

PREFIX = "/prefix/of/proxy"
LIMITED = "mcpb_" + "9876543210zyxwvutsrqponmlkjihgfedcbaZYXWVUT"
OTHER = "mcpb_" + "1234567890abcdefghijklmnopqrstuvwxyzABCDEFG"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with Bridge(tmp_path_factory.mktemp("plain") / "run") as bridge:
        yield ListenerUnderTest(bridge.address, bridge.token)


@pytest.fixture(scope="module", params=["servers only", "aggregate"])
def served(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    tokens = {
        f"tokens.{name}": {"sha256": hashlib.sha256(token.encode()).hexdigest(), **more}
        for name, token, more in (("limited", LIMITED, {"servers": ["one"]}), ("other", OTHER, {}))
    }
    tables = {"aggregate": {"servers": ["one", "two"]}} if request.param == "aggregate" else {}
    write_config(
        folder / "config.toml", {"one": {"command": EXAMPLE}, "two": {"command": EXAMPLE}}, **tokens, **tables
    )
    with Daemon(folder) as running:
        yield ListenerUnderTest(running.address, running.token)


@pytest.mark.parametrize(
    ("stream", "messages", "reference"),
    [
        ("/sse", "/messages", "messages"),
        ("/sse/", "/messages", "../messages"),
        ("/servers/x/sse", "/servers/x/messages", "messages"),
        ("/servers/x/sse/", "/servers/x/messages", "../messages"),
        ("/events", "/a/b", "a/b"),
        ("/a/events", "/b", "../b"),
        ("/a/b/events", "/a/c/m", "../c/m"),
        ("/a/events", "/a/m/", "m/"),
        ("/events", "/", "./"),
        ("/a/events", "/", "../"),
        ("/events", "/a:b", "./a:b"),
        ("/events", "/a/b:c", "a/b:c"),
        ("/", "/messages", "messages"),
        ("/m/sse", "/m", "../m"),
    ],
)
def test_t13_the_reference_leads_from_the_stream_to_its_messages(stream, messages, reference):
    assert relative(stream, messages) == reference
    for prefix in ("", PREFIX):
        assert urlsplit(urljoin(f"http://h{prefix}{stream}", reference)).path == prefix + messages


@pytest.mark.parametrize("target", ["/sse", "/sse/", "/servers/stdio/sse", "/servers/stdio/sse/"])
def test_t13_the_endpoint_event_is_relative_to_the_stream(plain, target):
    with plain.event_stream(target) as (events, data, messages):
        assert data.startswith("../messages?sessionId=" if target.endswith("/") else "messages?sessionId=")
        assert plain.exchange(plain.post(INITIALIZE, messages)).status == 202
        assert events.message().json["id"] == 0


def test_t13_configured_paths(tmp_path):
    with Bridge(tmp_path / "run", EXAMPLE, "--sse-path", "/a/events", "--messages-path", "/b/post") as bridge:
        door = ListenerUnderTest(bridge.address, bridge.token)
        with door.event_stream("/a/events") as (events, data, messages):
            assert data.startswith("../b/post?sessionId=")
            assert door.exchange(door.post(INITIALIZE, messages)).status == 202
            assert events.message().json["id"] == 0


@pytest.mark.parametrize(
    "query",
    ["sessionId=ID", "x=1&sessionId=ID", "sessionId=ID&x=1", "x&&sessionId=ID&", "a=sessionId&sessionId=ID&b=%26sessionId=x"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/messages", "/messages/", "/servers/stdio/messages"])
def test_t13_the_parameters_come_in_any_order(plain, path, query):
    with plain.event_stream() as (events, _, messages):
        session = messages.partition("sessionId=")[2]
        assert plain.exchange(plain.post(INITIALIZE, f"{path}?{query.replace('ID', session)}")).status == 202
        assert events.message().json["id"] == 0


@pytest.mark.parametrize(
    "query", ["", "sessionid=ID", "session_id=ID", "sessionId", "sessionId=ID&sessionId=ID", "sessionId=x&sessionId=ID", "xsessionId=ID"]
)  # fmt: skip
def test_t13_a_message_that_names_no_session_or_two(plain, query):
    with plain.event_stream() as (_, _, messages):
        session = messages.partition("sessionId=")[2]
        reply = plain.exchange(plain.post(INITIALIZE, f"/messages?{query.replace('ID', session)}"))
        assert reply.status == 400
        assert "sessionId" in reply.json["error"]["message"]


# ---- `/messages` of a daemon


@pytest.mark.parametrize("server", ["one", "two"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_t13_the_root_finds_the_session_of_every_server(served, server, slash):
    with served.event_stream(f"/servers/{server}/sse") as (events, data, messages):
        assert data.startswith("messages?sessionId=")
        assert messages.startswith(f"/servers/{server}/messages?")
        query = data.partition("?")[2]
        assert served.exchange(served.post(INITIALIZE, f"/messages{slash}?{query}")).status == 202
        assert events.message().json["id"] == 0
        assert (
            served.exchange(served.post(b'{"jsonrpc":"2.0","id":9,"method":"ping"}', messages)).status == 202
        )
        assert events.message().json == {"jsonrpc": "2.0", "id": 9, "result": {}}


def test_t13_the_root_finds_the_session_of_the_aggregate_as_before(served):
    request = served.request("GET", "/sse").add("Accept: text/event-stream")
    # This daemon has no aggregate.
    if served.head_of(request).status == 404:
        assert served.exchange(served.request("GET", "/mcp")).status == 404
        return
    with served.event_stream() as (events, data, messages):
        assert (data.partition("?")[0], messages.partition("?")[0]) == ("messages", "/messages")
        assert served.exchange(served.post(INITIALIZE, messages)).status == 202
        assert events.message().json["id"] == 0
    limited = ListenerUnderTest(served.address, LIMITED)
    assert limited.exchange(limited.request("GET", "/sse").add("Accept: text/event-stream")).status == 403


def test_t13_the_root_finds_a_session_for_its_principal_only(served):
    limited, other = ListenerUnderTest(served.address, LIMITED), ListenerUnderTest(served.address, OTHER)
    body = {**INITIALIZE, "id": 77}
    nobody = served.exchange(served.post(body, "/messages?sessionId=nobody"))
    assert (nobody.status, nobody.json["id"], nobody.code) == (404, 77, -32001)
    with limited.event_stream("/servers/one/sse") as (events, data, _):
        target = f"/messages?{data.partition('?')[2]}"
        for stranger in (served, other):
            assert stranger.exchange(stranger.post(body, target)).constant_part == nobody.constant_part
        assert limited.exchange(limited.bare("POST", target)).status == 401
        assert (
            limited.exchange(limited.post(body, target).replace_field("Content-Type: text/plain")).status
            == 415
        )
        assert limited.exchange(limited.request("GET", target)).headers["allow"] == "POST"
        assert limited.exchange(limited.post(body, "/messages?x=1")).status == 400
        assert limited.exchange(limited.post(body, target)).status == 202
        assert events.message().json["id"] == 77
    assert limited.exchange(limited.post(body, "/servers/two/messages?sessionId=nobody")).status == 403


def test_t13_the_sessions_of_other_transports_are_not_confused(served):
    """A message for a session of Streamable HTTP gets the same response as at the path of its server."""
    session = ListenerUnderTest(served.address, served.token)
    session.open_session("/servers/one/mcp")
    served_there = served.exchange(served.post(b'{"jsonrpc":"2.0","id":1,"method":"ping"}', f"/servers/one/messages?sessionId={session.session}"))  # fmt: skip
    served_here = served.exchange(served.post(b'{"jsonrpc":"2.0","id":1,"method":"ping"}', f"/messages?sessionId={session.session}"))  # fmt: skip
    assert served_here.constant_part == served_there.constant_part


# ---- behind a proxy


class StrippingProxy:
    """A reverse proxy that removes a prefix from the path of every request, and changes nothing else."""

    def __init__(self, upstream):
        self._upstream = upstream
        self._sock = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def url(self, path):
        return f"http://127.0.0.1:{self._sock.getsockname()[1]}{PREFIX}{path}"

    def _accept(self):
        while True:
            try:
                client, _ = self._sock.accept()
            except OSError:
                return
            server = socket.create_connection(self._upstream)
            host = "{}:{}".format(*self._upstream).encode()
            own = f"127.0.0.1:{self._sock.getsockname()[1]}".encode()

            def forward(data, host=host, own=own):
                for method in (b"GET", b"POST"):
                    data = data.replace(method + b" " + PREFIX.encode(), method + b" ")
                return data.replace(b"ost: " + own, b"ost: " + host)

            threading.Thread(target=self._pump, args=(client, server, forward), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, bytes), daemon=True).start()

    def _pump(self, source, sink, change):
        try:
            while data := source.recv(65536):
                sink.sendall(change(data))
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        sink.close()


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/sse", "/sse/", "/servers/stdio/sse"])
async def test_t13_the_official_client_behind_a_proxy_that_strips_a_prefix(plain, path):
    with StrippingProxy(plain.address) as proxy, trio.fail_after(20):
        headers = {"Authorization": f"Bearer {plain.token}"}
        async with Client(sse_client(proxy.url(path), headers=headers), mode="legacy") as client:
            assert (await client.list_tools()).tools


for _mark in SDK_WARNINGS:
    test_t13_the_official_client_behind_a_proxy_that_strips_a_prefix = _mark(
        test_t13_the_official_client_behind_a_proxy_that_strips_a_prefix
    )
