"""Pass any text as a URI, because only the server reads it."""

import json

import pytest

from ..support.scripted_servers import PAIRS, client, served

URIS = [
    "users/me",
    "README.md",
    "obsidian://My Vault/Note.md",
    "/etc/hosts",
    "C:\\Users\\me\\a b.txt",
    "caf\u00e9/\u5929\u6c17 \U0001f600",
    "?q=1#x",
    "9p://x",
    " ",
    "a\u2028b",
    "javascript:alert(1)",
    "x" * 8000,
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("uris")) as running:
        yield running


@pytest.fixture(scope="module", params=PAIRS, ids=str)
def peer(request, running):
    with client(running, request.param) as peer:
        yield peer


@pytest.mark.parametrize("uri", URIS)
def test_t9_any_text_is_a_uri(peer, uri):
    [content] = peer.exchange_json(peer.call(b"1", "resources/read", {"uri": uri}))["result"]["contents"]
    assert content == {"uri": uri, "text": uri}
    if peer.path.era == "legacy":
        for method in ("resources/subscribe", "resources/unsubscribe"):
            assert (
                "result" in peer.exchange_json(peer.call(b"2", method, {"uri": uri}), b"2")
                or peer.path.translates
            )


@pytest.mark.parametrize("uri", ["", "a\nb", "a\0", "a\x85", "a\x7f", "x" * 8193, "cut \ud83d"])
def test_t9_control_characters_and_a_length_over_the_limit_are_refused(peer, uri):
    peer.send(peer.call(b"1", "resources/read", {"uri": uri}))
    found = json.loads(peer.receive())
    # The header that repeats a URI over Streamable HTTP has its own limit, and is read before the id.
    too_large = found["id"] is None and "a header field of" in found["error"]["message"] and len(uri) > 8000
    assert too_large or (found["id"], found["error"]["code"]) in ((1, -32602), (1, -32020))
