"""The transport of a remote server."""

import pytest

from mcpbridged.transports.client.detection import RemoteMemory, is_modern_error, names_no_session
from mcpbridged.transports.client.options import RemoteOptions


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}',
            True,
        ),
        (
            b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}',
            True,
        ),
        (b"unknown session", True),
        (b"Invalid or missing session ID", True),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"invalid session name"}}', False),
        (b"Bad request: no tool with this name; the session continues", False),
        (b"", False),
    ],
)
def test_a_refusal_may_mean_that_the_session_does_not_exist(body, expected):
    assert names_no_session(body, b"7") is expected


@pytest.mark.parametrize(
    ("url", "transport", "found", "expected"),
    [
        ("https://x/mcp", "auto", "", ""),
        ("https://x/mcp", "auto", "http", "http"),
        ("https://x/sse", "auto", "sse", "sse"),
        ("https://x/sse", "http", "", "http"),
        ("https://x/mcp", "sse", "", "sse"),
        ("wss://x/ws", "auto", "", "websocket"),
        ("WS://x/ws", "auto", "", "websocket"),
        ("https://x/ws", "websocket", "http", "websocket"),
    ],
)
def test_the_transport_of_the_next_connection(url, transport, found, expected):
    memory = RemoteMemory()
    memory.found(found)
    assert memory.transport_for(RemoteOptions(url, transport=transport)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"no"}}', True),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32020.0}}', True),
        (b'{"error":{"code":-32601,"message":"no"}}', False),
        (b'{"error":{"code":"-32022"}}', False),
        (b'{"error":-32022}', False),
        (b"-32022", False),
        (b"", False),
    ],
)
def test_an_error_of_the_modern_era(body, expected):
    assert is_modern_error(body) is expected
