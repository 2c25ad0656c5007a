"""The URL of a remote server as it may be shown, and the parts of it that are redacted."""

import pytest

from mcpbridged.bridge.config.remote import Remote, hidden_parts, shown_url

RANDOM = "aB3dEf6hIjKlMnOp9qRsT"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://Example.COM/mcp", "https://example.com/mcp"),
        ("https://example.com:8443", "https://example.com:8443/"),
        ("https://example.com/mcp?api_key=secret1234", "https://example.com/mcp?…"),
        (f"https://example.com/s/{RANDOM}/mcp", "https://example.com/s/…/mcp"),
        ("https://example.com/s/ghp_abcdefghijklmnopqrst/mcp#x", "https://example.com/s/…/mcp"),
        ("wss://example.com/ws", "wss://example.com/ws"),
        ("https://user:password@example.com/", "a URL that cannot be used"),
    ],
)
def test_the_shown_url_has_no_secret(url, shown):
    assert shown_url(url) == shown


def test_the_secrets_of_a_url_are_redacted_in_each_form():
    url = f"https://example.com/s/{RANDOM}/mcp?api_key=se%2Fcret123&page=aaaaaaaaaaaaaaaaaaaaaaaa&x={RANDOM}x&key=short"
    assert set(hidden_parts(url)) == {RANDOM, "se/cret123", "se%2Fcret123", f"{RANDOM}x"}


def test_no_secret_is_in_the_text_of_a_remote_server():
    remote = Remote(
        f"https://example.com/{RANDOM}", headers=(("Authorization", f"Bearer {RANDOM}"),), secrets=(RANDOM,)
    )
    assert RANDOM not in repr(remote)
    assert RANDOM not in remote.shown
    assert remote.fields == ((b"Authorization", b"Bearer aB3dEf6hIjKlMnOp9qRsT"),)
