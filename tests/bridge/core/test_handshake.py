"""The handshake of the bridge, and whether one of a client is ordinary."""

import pytest

from mcpbridged.bridge.core.handshake import initialize_params, is_ordinary, revision_named


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


@pytest.mark.parametrize(
    ("payload", "revision"),
    [
        (b'{"protocolVersion":"2025-03-26"}', "2025-03-26"),
        (b'{"protocolVersion":"2025-07-01"}', "2025-06-18"),
        (b'{"protocolVersion":"2026-07-28"}', "2025-11-25"),
        (b'{"protocolVersion":5}', "2025-11-25"),
        (b"", "2025-11-25"),
    ],
)
def test_the_rules_for_a_peer_are_those_of_the_revision_that_it_names(payload, revision):
    assert revision_named(payload) == revision
