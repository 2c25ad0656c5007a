"""How a request has ended."""

import msgspec
import pytest

from mcpbridged.bridge.core.outcomes import is_tool_error, outcome_of
from mcpbridged.validators.jsonrpc import Response


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (b'{"content":[],"isError":true}', True),
        (b'{"content":[],"isError" :\n true }', True),
        (b'{"content":[],"isError":false}', False),
        (b'{"content":[]}', False),
        (b'{"isError":true,"isError":false}', False),
        (b'{"isError":true,"structuredContent":{"x":0,"isError":false} }', True),
        (b'{"content":[],"isError":"true"}', False),
        (b'{"structuredContent":{"isError":true},"isError":false}', False),
        (b'{"isError":true,"structuredContent":{"isError":false}}', True),
        (b'{"structuredContent":{"isError":true}}', False),
        (b'{"content":[{"type":"text","text":"\\"isError\\":true"}]}', False),
        (b'{"isError":true,"x":"' + b"x" * 65536 + b'"}', False),
        (msgspec.Raw(b'{"isError":true}'), False),
        (b"", False),
    ],
)
def test_an_error_of_a_tool_is_found_in_its_result(result, expected):
    assert is_tool_error(result) is expected


def test_the_outcome_of_a_response():
    failed = b'{"isError":true}'
    assert outcome_of("tools/call", Response(b"1", failed, b"")) == "tool error"
    assert outcome_of("tools/call", Response(b"1", b'{"isError":true,"isError":false}', b"")) == "ok"
    assert (
        outcome_of("tools/call", Response(b"1", b'{"isError":true,"x":{"isError":false}}', b""))
        == "tool error"
    )
    assert outcome_of("prompts/get", Response(b"1", failed, b"")) == "ok"
    assert outcome_of("tools/call", Response(b"1", b"", b'{"code":-5,"message":"no"}')) == "error -5"
