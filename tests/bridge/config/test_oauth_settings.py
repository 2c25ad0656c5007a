"""Which keys of [servers.NAME.oauth] fit together."""

import msgspec
import pytest

from mcpbridged.bridge.config.oauth_settings import BadOAuthTable, OAuth, check_oauth

GOOD = {
    "nothing": {},
    "a public client": {"client_id": "c", "token_endpoint_auth_method": "none"},
    "a secret": {"client_id": "c", "client_secret": "exec:pass mcp"},
    "a key": {"client_id": "c", "private_key": "key.pem", "token_endpoint_auth_method": "private_key_jwt"},
    "the client itself": {"grant": "client_credentials", "client_id": "c", "client_secret": "secret.txt"},
    "an assertion": {"grant": "jwt_bearer", "assertion": "exec:print-jwt"},
    "a document": {"client_metadata_url": "https://example.com/client.json"},
    # The first of them is used.
    "two client IDs": {"client_id": "c", "client_metadata_url": "https://example.com/c.json"},
    "any port": {"redirect_uri": "http://127.0.0.1/callback"},
    "a port": {"redirect_uri": "http://localhost:3000/oauth/callback"},
    "IPv6": {"redirect_uri": "http://[::1]:3000/"},
    "scopes": {"scopes": ["files:read", "https://example.com/scope"]},
}
BAD = {
    "a secret and a key": (
        {"client_id": "c", "client_secret": "a", "private_key": "b"},
        "exclude each other",
    ),
    "a secret of no client": ({"client_secret": "a"}, "need the client_id"),
    "no credential": ({"grant": "client_credentials", "client_id": "c"}, "needs client_id"),
    "no assertion": ({"grant": "jwt_bearer", "client_id": "c"}, "need each other"),
    "an unused assertion": ({"assertion": "jwt"}, "need each other"),
    "no key": ({"client_id": "c", "token_endpoint_auth_method": "private_key_jwt"}, "needs private_key"),
    "no secret": (
        {"client_id": "c", "token_endpoint_auth_method": "client_secret_post"},
        "needs client_secret",
    ),
    "an unused secret": (
        {"client_id": "c", "client_secret": "a", "token_endpoint_auth_method": "none"},
        "excludes client_secret",
    ),
    "a document over http": ({"client_metadata_url": "http://example.com/c.json"}, "https URL with a path"),
    "a document at the root": ({"client_metadata_url": "https://example.com/"}, "https URL with a path"),
    "a document with dots": ({"client_metadata_url": "https://example.com/a/../b"}, "https URL with a path"),
    "a document without a host": ({"client_metadata_url": "https:///c.json"}, "https URL with a path"),
    "a document of a user": ({"client_metadata_url": "https://u@example.com/c"}, "https URL with a path"),
    "a fragment of a document": ({"client_metadata_url": "https://example.com/c#"}, "https URL with a path"),
    "a document with a space": ({"client_metadata_url": "https://example.com/a b"}, "https URL with a path"),
    "a document with half a bracket": ({"client_metadata_url": "https://[::1/c"}, "https URL with a path"),
    "a redirect to a host": ({"redirect_uri": "http://example.com/callback"}, "127.0.0.1"),
    "a redirect with TLS": ({"redirect_uri": "https://127.0.0.1/callback"}, "127.0.0.1"),
    "a redirect with a query": ({"redirect_uri": "http://127.0.0.1/callback?a=b"}, "127.0.0.1"),
    "a redirect to port 0": ({"redirect_uri": "http://127.0.0.1:0/callback"}, "127.0.0.1"),
    "a redirect to a large port": ({"redirect_uri": "http://127.0.0.1:65536/callback"}, "127.0.0.1"),
    "a redirect with a line end": ({"redirect_uri": "http://127.0.0.1/\r\nX: y"}, "127.0.0.1"),
    "two scopes in one": ({"scopes": ["a b"]}, "scope token"),
    "an empty scope": ({"scopes": [""]}, "scope token"),
    "a quotation mark in a scope": ({"scopes": ['a"b']}, "scope token"),
}


@pytest.mark.parametrize("name", GOOD)
def test_keys_that_fit_together(name):
    check_oauth(msgspec.convert(GOOD[name], OAuth))


@pytest.mark.parametrize("name", BAD)
def test_keys_that_do_not_fit_together_are_named(name):
    keys, text = BAD[name]
    with pytest.raises(BadOAuthTable, match=text):
        check_oauth(msgspec.convert(keys, OAuth))


def test_an_unknown_method_is_refused_with_its_place():
    with pytest.raises(msgspec.ValidationError, match=r"\$\.token_endpoint_auth_method"):
        msgspec.convert({"token_endpoint_auth_method": "tls_client_auth"}, OAuth)
