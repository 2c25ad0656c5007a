"""Limits on the arguments of tools and prompts."""

import json

import pytest

from mcpbridged.bridge.core.access_policy import AccessPolicy
from mcpbridged.bridge.core.argument_limits import ArgumentLimits, limits_of
from mcpbridged.validators.rejection import Rejection

CALL = "tools/call"


def params(size, name="write_file", depth=1, **more):
    """Return params whose arguments have `size` bytes."""
    nested = "x"
    for _ in range(depth - 1):
        nested = [nested]
    empty = len(json.dumps({"a": "", "n": nested}, separators=(",", ":")))
    arguments = {"a": "x" * (size - empty), "n": nested}
    return json.dumps({"name": name, "arguments": arguments, **more}, separators=(",", ":")).encode()


def test_without_limits_there_is_nothing_to_check():
    assert limits_of("files", 0, 0, {}) is None
    assert limits_of("files", 1, 0, {}) is not None
    assert limits_of("files", 0, 1, {}) is not None
    assert limits_of("files", 0, 0, {"*": 1}) is not None


@pytest.mark.parametrize("method", [CALL, "prompts/get"])
def test_arguments_may_have_exactly_the_limit(method):
    limits = ArgumentLimits("files", 100, 0, {})
    # Other members do not count.
    limits.check(method, params(100, _meta={"x": "y" * 1000}), "write_file")
    with pytest.raises(Rejection) as caught:
        limits.check(method, params(101), "write_file")
    rejection = caught.value
    assert (rejection.status, rejection.code, rejection.reason) == (200, -32602, "argument_limit")
    assert rejection.text == "the arguments have 101 bytes and the limit is 100 (limits.argument_bytes)"
    assert rejection.data == {"limit": 100, "value": 101, "key": "limits.argument_bytes"}


def test_the_first_pattern_that_matches_a_tool_decides():
    limits = ArgumentLimits("files", 100, 0, {"write_*": 200, "*_file": 50})
    limits.check(CALL, params(200, "write_file"), "write_file")
    limits.check(CALL, params(100, "list"), "list")
    with pytest.raises(Rejection) as caught:
        limits.check(CALL, params(51, "read_file"), "read_file")
    key = 'servers.files.argument_bytes."*_file"'
    assert caught.value.data == {"limit": 50, "value": 51, "key": key}
    # A prompt is no tool.
    assert limits.most_bytes("prompts/get", "write_file") == (100, "limits.argument_bytes")


def test_only_arguments_of_tools_and_prompts_are_limited():
    limits = ArgumentLimits("files", 10, 1, {})
    limits.check("completion/complete", params(1000), "")
    limits.check(CALL, b"", "")
    limits.check(CALL, json.dumps({"name": "a", "other": "x" * 100}).encode(), "a")
    limits.check(CALL, b"[" + b"1," * 100 + b"1]", "")


def test_a_pattern_alone_leaves_other_tools_without_a_limit():
    limits = ArgumentLimits("files", 0, 0, {"write_*": 10})
    limits.check(CALL, params(5000, "read"), "read")
    with pytest.raises(Rejection):
        limits.check(CALL, params(50), "write_file")


def test_arguments_may_be_nested_as_deep_as_the_limit():
    limits = ArgumentLimits("files", 0, 3, {})
    limits.check(CALL, params(100, depth=3), "write_file")
    with pytest.raises(Rejection) as caught:
        limits.check(CALL, params(100, depth=4), "write_file")
    assert caught.value.text == "the arguments are nested deeper than the limit of 3 (limits.argument_depth)"
    assert caught.value.data == {"limit": 3, "key": "limits.argument_depth"}


def test_a_small_message_is_not_parsed():
    # Text that is not JSON passes, because it is shorter than the limit.
    ArgumentLimits("files", 100, 0, {}).check(CALL, b'{"arguments":', "write_file")


def test_a_role_keeps_the_limits_of_the_server():
    server = AccessPolicy(arguments=ArgumentLimits("files", 10, 0, {}))
    assert server.checks
    assert not server.restricts
    role = AccessPolicy(deny=("x",), within=server)
    with pytest.raises(Rejection, match="the limit is 10"):
        role.check_request(CALL, params(50), "write_file", 200)
    assert not AccessPolicy().checks
