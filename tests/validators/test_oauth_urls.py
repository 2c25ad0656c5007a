"""URLs that a server names, and well-known URLs."""

import pytest

from mcpbridged.validators.oauth_refusal import OAuthRefusal
from mcpbridged.validators.oauth_urls import (
    check_issuer,
    check_named,
    check_resource,
    configured_server,
    is_loopback,
    protected_resource_urls,
    resource_of,
    server_metadata_urls,
)

REMOTE = configured_server("https://h.example/mcp")
LOCAL = configured_server("http://127.0.0.1:9000/mcp")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://H.example:443/mcp", "https://h.example/mcp"),
        ("wss://h.example/ws", "https://h.example/ws"),
        ("ws://localhost:8080/ws", "http://localhost:8080/ws"),
        ("http://[::1]:9/mcp", "http://[::1]:9/mcp"),
        ("http://a.localhost./mcp", "http://a.localhost./mcp"),
    ],
)
def test_a_server_with_tls_or_on_the_loopback_gets_credentials(text, shown):
    assert str(configured_server(text)) == shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://h.example/mcp", "uses no TLS"),
        ("http://10.0.0.1/mcp", "uses no TLS"),
        ("ftp://h.example", "must begin with"),
        ("https://u:p@h.example/", "user name"),
    ],
)
def test_another_server_gets_none(text, reason):
    with pytest.raises(OAuthRefusal, match=reason):
        configured_server(text)


def test_loopback_hosts():
    assert is_loopback(LOCAL)
    assert not is_loopback(REMOTE)
    assert not is_loopback(configured_server("https://localhost.example/"))


@pytest.mark.parametrize(
    "text",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1/x",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://as.example/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://as.example/\x1b[2J",
        "https://as.example/ x",
        "https://u@as.example/",
        "https://as.example/x#y",
        "https:///x",
        "//as.example/x",
        "",
        None,
        7,
        {"a": 1},
    ],
)
def test_a_remote_server_cannot_name_this_url(text):
    with pytest.raises(OAuthRefusal, match="the endpoint"):
        check_named(text, "the endpoint", REMOTE)


def test_no_control_character_of_a_refused_url_is_shown():
    with pytest.raises(OAuthRefusal) as caught:
        check_named("https://as.example/\x1b[2J\r\n", "the endpoint", REMOTE)
    assert str(caught.value).isprintable()


def test_a_server_on_the_loopback_may_name_others_there():
    assert check_named("http://localhost:1/token", "the endpoint", LOCAL).port == 1
    assert check_named("https://as.example/token", "the endpoint", LOCAL).host == "as.example"
    with pytest.raises(OAuthRefusal, match="must be https"):
        check_named("http://as.example/token", "the endpoint", LOCAL)


def test_a_server_for_which_plain_http_was_accepted_may_name_its_own_origin():
    server = configured_server("http://h.example:8000/mcp", plain_http=True)
    assert check_named("http://h.example:8000/token", "the endpoint", server).target == "/token"
    for other in ("http://h.example/token", "http://as.example:8000/token", "http://127.0.0.1:8000/token"):
        with pytest.raises(OAuthRefusal, match="must be https"):
            check_named(other, "the endpoint", server)


def test_an_issuer_has_no_query():
    assert check_issuer("https://as.example/t", REMOTE).target == "/t"
    with pytest.raises(OAuthRefusal, match="it has a query"):
        check_issuer("https://as.example/t?x", REMOTE)
    with pytest.raises(OAuthRefusal, match="the issuer"):
        check_issuer(None, REMOTE)


@pytest.mark.parametrize(
    ("server", "urls"),
    [
        (
            "https://h/mcp/x",
            ["/.well-known/oauth-protected-resource/mcp/x", "/.well-known/oauth-protected-resource"],
        ),
        (
            "https://h/mcp/",
            ["/.well-known/oauth-protected-resource/mcp/", "/.well-known/oauth-protected-resource"],
        ),
        ("https://h", ["/.well-known/oauth-protected-resource"]),
        ("https://h/", ["/.well-known/oauth-protected-resource"]),
        (
            "https://h/?k=v",
            ["/.well-known/oauth-protected-resource?k=v", "/.well-known/oauth-protected-resource"],
        ),
        (
            "https://h/m?k",
            ["/.well-known/oauth-protected-resource/m?k", "/.well-known/oauth-protected-resource"],
        ),
    ],
)
def test_well_known_urls_of_a_protected_resource(server, urls):
    assert list(protected_resource_urls(configured_server(server))) == [f"https://h{url}" for url in urls]


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        ("https://a", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]),
        ("https://a/", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]),
        (
            "https://a/t/u/",
            [
                "/.well-known/oauth-authorization-server/t/u",
                "/.well-known/openid-configuration/t/u",
                "/t/u/.well-known/openid-configuration",
            ],
        ),
    ],
)
def test_well_known_urls_of_an_authorization_server(issuer, urls):
    assert list(server_metadata_urls(check_issuer(issuer, REMOTE))) == [f"https://a{url}" for url in urls]


def test_the_canonical_uri_has_no_slash_after_the_host_alone():
    assert resource_of(configured_server("https://H/")) == "https://h"
    assert resource_of(configured_server("https://h/mcp/")) == "https://h/mcp/"


@pytest.mark.parametrize(
    ("server", "resource"),
    [
        ("https://h/mcp", "https://h/mcp"),
        ("https://h/mcp", "https://H:443/mcp"),
        ("https://h/mcp", "https://h/mcp/"),
        ("https://h/mcp/", "https://h/mcp"),
        ("https://h/mcp", "https://h"),
        ("https://h/mcp/x?y", "https://h/mcp"),
        ("https://h/mcp?x=/y", "https://h/mcp?x=/y"),
    ],
)
def test_the_resource_of_a_server(server, resource):
    assert check_resource(resource, configured_server(server)) == resource


@pytest.mark.parametrize(
    "resource",
    [
        "https://evil.example/mcp",
        "http://h/mcp",
        "https://h:444/mcp",
        "https://h/mc",
        "https://h/mcp/x",
        "https://h/other",
        "https://h/mcp#x",
        "https://h/mcp?x",
        "https://h@evil.example/mcp",
        "urn:x",
        "",
        None,
    ],
)
def test_the_resource_of_another_server_is_refused(resource):
    with pytest.raises(OAuthRefusal, match="resource"):
        check_resource(resource, configured_server("https://h/mcp"))
