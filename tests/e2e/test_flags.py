"""Every flag of the wrapper, also with the names of supergateway, and its visible effect."""

import json
import re
import socket
import time
import urllib.error
import urllib.request

import pytest

from ..support.bridge_process import EXAMPLE
from ..support.handshake import initialize_request

INITIALIZE = initialize_request(1)


def exchange(bridge, method, path, body=None, **headers):
    """Return the status, the headers and the beginning of the body. Event streams are not read to their end."""
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


def upgrade_status(bridge, path):
    """Return the status of a WebSocket handshake on this path."""
    with socket.create_connection(bridge.address, timeout=5) as sock:
        sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {bridge.address[0]}:{bridge.address[1]}\r\nConnection: Upgrade\r\n"
            f"Authorization: Bearer {bridge.token}\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mcp\r\n\r\n".encode()
        )
        return int(sock.recv(100).split()[1])


@pytest.mark.parametrize("flag", ["--mcp-path", "--streamableHttpPath"])
def test_the_path_of_streamable_http(start_bridge, flag):
    bridge = start_bridge(EXAMPLE, flag, "/elsewhere")
    assert exchange(bridge, "POST", "/elsewhere", INITIALIZE)[0] == 200
    assert exchange(bridge, "POST", "/mcp", INITIALIZE)[0] == 404


@pytest.mark.parametrize(
    ("sse", "messages"), [("--sse-path", "--messages-path"), ("--ssePath", "--messagePath")]
)
def test_the_paths_of_http_sse(start_bridge, sse, messages):
    bridge = start_bridge(EXAMPLE, sse, "/events", messages, "/post")
    status, _, first = exchange(bridge, "GET", "/events")
    assert (status, "data: post?sessionId=" in first) == (200, True)
    assert exchange(bridge, "GET", "/sse")[0] == 404


def test_the_path_of_the_websocket(start_bridge):
    bridge = start_bridge(EXAMPLE, "--ws-path", "/socket")
    assert upgrade_status(bridge, "/socket") == 101
    assert upgrade_status(bridge, "/ws") == 404


@pytest.mark.parametrize("flag", ["--health", "--healthEndpoint"])
def test_the_path_of_health_checks(start_bridge, flag):
    bridge = start_bridge(EXAMPLE, flag, "/up")
    assert exchange(bridge, "GET", "/up", Authorization="")[::2] == (200, "ok")
    assert exchange(bridge, "GET", "/healthz")[0] == 404


@pytest.mark.parametrize("flag", ["--output-transport", "--outputTransport"])
@pytest.mark.parametrize("transport", ["streamableHttp", "sse", "ws"])
def test_a_single_transport(start_bridge, flag, transport):
    bridge = start_bridge(EXAMPLE, flag, transport)
    served = {
        "streamableHttp": exchange(bridge, "POST", "/mcp", INITIALIZE)[0] == 200,
        "sse": exchange(bridge, "GET", "/sse")[0] == 200,
        "ws": upgrade_status(bridge, "/ws") == 101,
    }
    assert served == {name: name == transport for name in served}


@pytest.mark.parametrize("flag", ["--session-timeout", "--sessionTimeout"])
def test_an_idle_session_ends(start_bridge, flag):
    bridge = start_bridge(EXAMPLE, flag, "300")
    session = exchange(bridge, "POST", "/mcp", INITIALIZE)[1]["Mcp-Session-Id"]
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    assert exchange(bridge, "POST", "/mcp", ping, Mcp_Session_Id=session)[0] == 200
    deadline = time.monotonic() + 10
    while bridge.children():
        assert time.monotonic() < deadline
    assert exchange(bridge, "POST", "/mcp", ping, Mcp_Session_Id=session)[0] == 404


def test_stateful_is_accepted_and_changes_nothing(start_bridge):
    assert exchange(start_bridge(EXAMPLE, "--stateful"), "POST", "/mcp", INITIALIZE)[1]["Mcp-Session-Id"]


def test_a_further_host_is_served_and_its_pages_are_refused(start_bridge):
    bridge = start_bridge(EXAMPLE, "--allowed-host", "localhost:9000", "a.example")
    for host, status in (
        ("localhost:9000", 200),
        ("A.example", 200),
        ("a.example:80", 421),
        ("b.example", 421),
    ):
        response = exchange(bridge, "POST", "/mcp", INITIALIZE, Host=host)
        assert response[0] == status, host
    assert "--allowed-host" in response[2]
    response = exchange(bridge, "POST", "/mcp", INITIALIZE, Host="a.example", Origin="http://a.example")
    assert response[0] == 403
    assert "--cors" in response[2]


def test_an_origin_that_is_allowed_may_read(start_bridge):
    bridge = start_bridge(EXAMPLE, "--cors", "http://localhost:6274")
    status, headers, _ = exchange(bridge, "POST", "/mcp", INITIALIZE, Origin="http://localhost:6274")
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "http://localhost:6274")
    preflight = {
        "Origin": "http://localhost:6274",
        "Access_Control_Request_Method": "POST",
        "Authorization": "",
    }
    assert exchange(bridge, "OPTIONS", "/mcp", **preflight)[0] == 204
    assert exchange(bridge, "POST", "/mcp", INITIALIZE, Origin="http://localhost:6275")[0] == 403


@pytest.mark.parametrize("flag", ["--log-level", "--logLevel"])
def test_the_log_level(start_bridge, flag):
    bridge = start_bridge(EXAMPLE, flag, "none")
    exchange(bridge, "POST", "/mcp", INITIALIZE)
    bridge.stop()
    assert not [line for line in bridge.lines if re.match(r"mcp-bridge: (info|debug|warning|error):", line)]


def test_the_log_format(start_bridge):
    bridge = start_bridge(EXAMPLE, "--log-format", "json")
    exchange(bridge, "POST", "/mcp", INITIALIZE)
    bridge.stop()
    events = [json.loads(line) for line in bridge.lines if line.startswith('{"ts"')]
    assert "session_opened" in [event["event"] for event in events]
