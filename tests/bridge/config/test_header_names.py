"""Names of request headers that may set variables."""

import pytest

from mcpbridged.bridge.config.child_environment import BadEnvironment
from mcpbridged.bridge.config.header_names import REFUSED_HEADERS, header_name


@pytest.mark.parametrize("name", ["X-Api-Key", "a" * 64, "x-mcp", "X_Key"])
def test_a_free_name_is_used_in_lower_case(name):
    assert header_name(name) == name.lower()


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "a:", "é", "a\n"])
def test_a_name_that_is_no_token_is_refused(name):
    with pytest.raises(BadEnvironment, match="must be a token of 1 to 64 characters"):
        header_name(name)


@pytest.mark.parametrize(
    "name", [*sorted(REFUSED_HEADERS), "AUTHORIZATION", "Mcp-Param-X", "Sec-Fetch-Site", "Accept", "Proxy-X"]
)
def test_a_name_that_http_or_mcp_defines_is_refused(name):
    with pytest.raises(BadEnvironment, match="is refused: HTTP or MCP defines it"):
        header_name(name)
