"""The table [access_tokens]."""

from pathlib import Path

import attrs
import pytest

from mcpbridged.bridge.config.access_token_settings import (
    AccessTokens,
    BadAccessTokenTable,
    Scope,
    check_table,
    settings_of,
)
from mcpbridged.bridge.core.grants import Grant

TABLE = AccessTokens("https://issuer.example", "https://mcp.example", scopes={"mcp": Scope()})


def test_a_scope_is_a_grant():
    scope = Scope(("git",), {"allow": ("a",), "deny": ("b",)}, ("tools/*",), read_only=True)
    assert scope.grant == Grant(frozenset({"git"}), ("a",), ("b",), (), ("tools/*",), read_only=True)
    assert Scope().grant == Grant()


@pytest.mark.parametrize(
    ("keys", "url", "file"),
    [
        ("", "", None),
        ("https://issuer.example/jwks", "https://issuer.example/jwks", None),
        ("jwks.json", "", Path("/base/jwks.json")),
        ("/etc/jwks.json", "", Path("/etc/jwks.json")),
    ],
)
def test_the_keys_are_at_a_url_or_in_a_file(keys, url, file):
    found = settings_of(attrs.evolve(TABLE, keys=keys, ca_file="ca.pem"), Path("/base"))
    assert (found.keys_url, found.keys_file, found.ca_file) == (url, file, "/base/ca.pem")
    assert found.scopes == {"mcp": Grant()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"issuer": "http://127.0.0.1:8080"},
        {"resource": "http://127.0.0.1:8808"},
        {"resource": "https://mcp.example/bridge"},
        {"keys": "http://localhost/jwks"},
    ],
    ids=str,
)
def test_a_table_is_accepted(changes):
    check_table(attrs.evolve(TABLE, **changes))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"issuer": "issuer.example"}, "issuer"),
        ({"issuer": "http://issuer.example"}, "issuer"),
        ({"issuer": "https://user@issuer.example"}, "issuer"),
        ({"issuer": "https:///x"}, "issuer"),
        ({"issuer": "https://issuer.example/#x"}, "issuer"),
        ({"resource": "https://mcp.example/"}, "resource"),
        ({"resource": "https://mcp.example?x"}, "resource"),
        ({"resource": 'https://mcp.example/" x'}, "resource"),
        ({"keys": "http://issuer.example/jwks"}, "keys"),
        ({"keys": "ftp://issuer.example/jwks"}, "keys"),
        ({"scopes": {}}, "scopes"),
        ({"scopes": {"a b": Scope()}}, "scopes"),
        ({"scopes": {'a"': Scope()}}, "scopes"),
        ({"scopes": {str(number): Scope() for number in range(65)}}, "scopes"),
    ],
    ids=str,
)
def test_a_table_is_refused(changes, key):
    with pytest.raises(BadAccessTokenTable) as caught:
        check_table(attrs.evolve(TABLE, **changes))
    assert caught.value.key == key
