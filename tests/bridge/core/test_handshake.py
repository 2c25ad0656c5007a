"""The handshake of the bridge, and whether one of a client is ordinary."""

import pytest

from mcpbridged.bridge.core.handshake import initialize_params, is_ordinary


def test_an_initialize_of_the_bridge_is_ordinary():
    assert is_ordinary(initialize_params({}, "1"))


@pytest.mark.parametrize(
    "params",
    [
        b"",
        b"[]",
        b'{"protocolVersion":"2025-11-25"}',
        b'{"protocolVersion":"1.0","capabilities":{},"clientInfo":{"name":"x","version":"1"}}',
        b'{"protocolVersion":"2025-11-25","capabilities":[],"clientInfo":{"name":"x","version":"1"}}',
        b'{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x"}}',
        b'{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":"x"}',
    ],
)
def test_params_that_are_not_ordinary(params):
    assert not is_ordinary(params)
