"""The text of listen addresses."""

import pytest

from mcpbridged.bridge.config.addresses import shown_address


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (("127.0.0.1", 8808), "https://127.0.0.1:8808"),
        (("::1", 8808, 0, 0), "https://[::1]:8808"),
        (("localhost", 1), "https://localhost:1"),
        ("/run/user/1000/a b.sock", "unix:/run/user/1000/a b.sock"),
        (b"\0mcp-bridge", "unix:@mcp-bridge"),
    ],
)
def test_an_address_is_shown_as_a_url_or_a_path(name, shown):
    assert shown_address("https", name) == shown
