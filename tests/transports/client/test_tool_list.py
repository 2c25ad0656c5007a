"""The annotations of tools that a client of a remote server has seen."""

import json

import pytest

from mcpbridged.transports.client.messages import Received
from mcpbridged.transports.client.tool_list import ToolList
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection


def tool(name, header="", kind="string"):
    about = {"type": kind, "x-mcp-header": header} if header else {"type": kind}
    return {"name": name, "inputSchema": {"type": "object", "properties": {"a": about}}}


def page(*tools, **more):
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": list(tools), **more}}).encode()
    return Received(line, b"1", "")


PARAMS = b'{"name":"t","arguments":{"a":"v"}}'


def test_an_unseen_tool_has_no_headers():
    assert ToolList(Limits()).headers("t", PARAMS) == ()


def test_a_list_of_the_client_is_learned_and_passes_unchanged():
    tools = ToolList(Limits())
    listed = page(tool("t", "A"), tool("u"))
    assert tools.on_page(listed) == (listed.line, [])
    assert tools.headers("t", PARAMS) == ((b"Mcp-Param-a", b"v"),)
    # A later list without the annotation.
    listed = page(tool("t"))
    assert tools.on_page(listed) == (listed.line, [])
    assert tools.headers("t", PARAMS) == ()


def test_a_tool_with_an_invalid_annotation_is_dropped_from_the_list():
    line, dropped = ToolList(Limits()).on_page(page(tool("t", "A"), tool("bad", "A b"), nextCursor="c"))
    assert json.loads(line)["result"] == {"tools": [tool("t", "A")], "nextCursor": "c"}
    assert dropped == ["bad"]


@pytest.mark.parametrize(
    "received",
    [
        Received(
            b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x-mcp-header"}}', b"1", "", error=True
        ),
        Received(b'{"jsonrpc":"2.0","id":1,"result":NaN,"x":"x-mcp-header"}', b"1", ""),
        page(*(tool(str(number), "A") for number in range(5000))),
        page(tool("no annotation")),
    ],
)
def test_what_cannot_be_learned_passes_unchanged(received):
    assert ToolList(Limits()).on_page(received) == (received.line, [])


def test_a_schema_over_the_limit_has_no_headers():
    tools = ToolList(Limits(schema_bytes=10))
    listed = page(tool("t", "A"))
    assert tools.on_page(listed) == (listed.line, [])
    assert tools.headers("t", PARAMS) == ()


def test_a_list_of_the_bridge_replaces_what_was_known():
    tools = ToolList(Limits(list_pages=2))
    tools.on_page(page(tool("old", "A")))
    tools.begin()
    assert tools.on_own_page(page(tool("t", "A"), nextCursor="c")) == b'"c"'
    assert tools.version == 0
    # The second page is the last, at the limit.
    assert tools.on_own_page(page(tool("u", "A"), nextCursor="d")) == b""
    assert tools.version == 1
    assert [tools.headers(name, PARAMS) != () for name in ("t", "u", "old")] == [True, True, False]
    with pytest.raises(Rejection):
        tools.on_own_page(
            Received(b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}', b"1", "", error=True)
        )
