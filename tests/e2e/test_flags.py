"""Every flag, supergateway's names among them, changes what can be seen from outside."""

import json
import re
import socket
import time
import urllib.error
import urllib.request

import pytest

from ..support.bridge_process import EXAMPLE

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}


def ask(bridge, method, path, body=None, **headers):
    """Status, headers and the beginning of the body; event streams are not read to their end."""
    host, port = bridge.address
    request = urllib.request.Request(
        f"http://{host}:{port}{path}",
        None if body is None else json.dumps(body).encode(),
        {
            **bridge.headers,
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            first = (
                answer.readline() + answer.readline()
                if "event-stream" in answer.headers.get("Content-Type", "")
                else answer.read()
            )
            return answer.status, answer.headers, first.decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def upgraded(bridge, path):
    """What a WebSocket handshake on this path is answered with."""
    with socket.create_connection(bridge.address, timeout=5) as sock:
        sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {bridge.address[0]}:{bridge.address[1]}\r\nConnection: Upgrade\r\n"
            f"Authorization: Bearer {bridge.token}\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mcp\r\n\r\n".encode()
        )
        return int(sock.recv(100).split()[1])


@pytest.mark.parametrize("flag", ["--mcp-path", "--streamableHttpPath"])
def test_where_streamable_http_is(start_bridge, flag):
    bridge = start_bridge(EXAMPLE, flag, "/elsewhere")
    assert ask(bridge, "POST", "/elsewhere", INITIALIZE)[0] == 200
    assert ask(bridge, "POST", "/mcp", INITIALIZE)[0] == 404


@pytest.mark.parametrize(
    ("sse", "messages"), [("--sse-path", "--messages-path"), ("--ssePath", "--messagePath")]
)
def test_where_http_sse_is(start_bridge, sse, messages):
    bridge = start_bridge(EXAMPLE, sse, "/events", messages, "/post")
    status, _, first = ask(bridge, "GET", "/events")
    assert (status, "data: post?sessionId=" in first) == (200, True)
    assert ask(bridge, "GET", "/sse")[0] == 404


def test_where_the_websocket_is(start_bridge):
    bridge = start_bridge(EXAMPLE, "--ws-path", "/socket")
    assert upgraded(bridge, "/socket") == 101
    assert upgraded(bridge, "/ws") == 404


@pytest.mark.parametrize("flag", ["--health", "--healthEndpoint"])
def test_where_health_is_told(start_bridge, flag):
    bridge = start_bridge(EXAMPLE, flag, "/up")
    assert ask(bridge, "GET", "/up", Authorization="")[::2] == (200, "ok")
    assert ask(bridge, "GET", "/healthz")[0] == 404


@pytest.mark.parametrize("flag", ["--output-transport", "--outputTransport"])
@pytest.mark.parametrize("transport", ["streamableHttp", "sse", "ws"])
def test_one_transport_only(start_bridge, flag, transport):
    bridge = start_bridge(EXAMPLE, flag, transport)
    served = {
        "streamableHttp": ask(bridge, "POST", "/mcp", INITIALIZE)[0] == 200,
        "sse": ask(bridge, "GET", "/sse")[0] == 200,
        "ws": upgraded(bridge, "/ws") == 101,
    }
    assert served == {name: name == transport for name in served}


@pytest.mark.parametrize("flag", ["--session-timeout", "--sessionTimeout"])
def test_an_idle_session_ends(start_bridge, flag):
    bridge = start_bridge(EXAMPLE, flag, "300")
    session = ask(bridge, "POST", "/mcp", INITIALIZE)[1]["Mcp-Session-Id"]
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    assert ask(bridge, "POST", "/mcp", ping, Mcp_Session_Id=session)[0] == 200
    deadline = time.monotonic() + 10
    while bridge.children():
        assert time.monotonic() < deadline
    assert ask(bridge, "POST", "/mcp", ping, Mcp_Session_Id=session)[0] == 404


def test_stateful_is_what_we_always_are(start_bridge):
    assert ask(start_bridge(EXAMPLE, "--stateful"), "POST", "/mcp", INITIALIZE)[1]["Mcp-Session-Id"]


def test_a_further_host_is_one_of_ours_and_its_pages_are_not(start_bridge):
    bridge = start_bridge(EXAMPLE, "--allowed-host", "localhost:9000", "a.example")
    for host, status in (
        ("localhost:9000", 200),
        ("A.example", 200),
        ("a.example:80", 421),
        ("b.example", 421),
    ):
        told = ask(bridge, "POST", "/mcp", INITIALIZE, Host=host)
        assert told[0] == status, host
    assert "--allowed-host" in told[2]
    told = ask(bridge, "POST", "/mcp", INITIALIZE, Host="a.example", Origin="http://a.example")
    assert told[0] == 403
    assert "--cors" in told[2]


def test_an_origin_that_is_allowed_may_read(start_bridge):
    bridge = start_bridge(EXAMPLE, "--cors", "http://localhost:6274")
    status, headers, _ = ask(bridge, "POST", "/mcp", INITIALIZE, Origin="http://localhost:6274")
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "http://localhost:6274")
    preflight = {
        "Origin": "http://localhost:6274",
        "Access_Control_Request_Method": "POST",
        "Authorization": "",
    }
    assert ask(bridge, "OPTIONS", "/mcp", **preflight)[0] == 204
    assert ask(bridge, "POST", "/mcp", INITIALIZE, Origin="http://localhost:6275")[0] == 403


@pytest.mark.parametrize("flag", ["--log-level", "--logLevel"])
def test_how_much_is_said(start_bridge, flag):
    bridge = start_bridge(EXAMPLE, flag, "none")
    ask(bridge, "POST", "/mcp", INITIALIZE)
    bridge.stop()
    assert not [line for line in bridge.lines if re.match(r"mcp-bridge: (info|debug|warning|error):", line)]


def test_for_whom_it_is_said(start_bridge):
    bridge = start_bridge(EXAMPLE, "--log-format", "json")
    ask(bridge, "POST", "/mcp", INITIALIZE)
    bridge.stop()
    events = [json.loads(line) for line in bridge.lines if line.startswith('{"ts"')]
    assert "session_opened" in [event["event"] for event in events]
