"""The transport of a remote server."""

import pytest

from mcpbridged.transports.client.detection import RemoteMemory, refuses_post
from mcpbridged.transports.client.options import RemoteOptions


def test_only_a_refusal_by_the_server_itself_may_mean_another_transport():
    assert [status for status in (400, 404, 405, 406, 410, 415, 422) if not refuses_post(status)] == []
    others = (200, 202, 301, 401, 403, 407, 408, 425, 429, 500, 502, 503, 504)
    assert [status for status in others if refuses_post(status)] == []


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
