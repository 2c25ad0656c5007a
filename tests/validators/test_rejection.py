"""Rejections, and the headers that they share."""

import pytest

from mcpbridged.validators import rejection
from mcpbridged.validators.rejection import retry_after


@pytest.mark.parametrize(("seconds", "value"), [(1, b"1"), (0.2, b"1"), (30.0, b"30"), (30.1, b"31")])
def test_a_client_may_retry_after_whole_seconds_and_never_too_early(seconds, value):
    assert retry_after(seconds) == ((b"Retry-After", value),)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("PARSE_ERROR", -32700),
        ("INVALID_REQUEST", -32600),
        ("METHOD_NOT_FOUND", -32601),
        ("INVALID_PARAMS", -32602),
        ("INTERNAL_ERROR", -32603),
    ],
)
def test_the_codes_of_json_rpc_are_those_of_its_specification(name, code):
    """JSON-RPC 2.0 section 5.1."""
    assert getattr(rejection, name) == code
