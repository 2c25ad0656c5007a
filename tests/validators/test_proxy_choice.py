import base64

import pytest

from mcpbridged.validators.proxy_choice import FROM_ENVIRONMENT, choose_proxy, parse_proxy
from mcpbridged.validators.remote_url import HTTP_SCHEMES, WEBSOCKET_SCHEMES, BadRemoteUrl, parse_remote_url

ANY = (*HTTP_SCHEMES, *WEBSOCKET_SCHEMES)


def chosen(url, setting=FROM_ENVIRONMENT, **environ):
    proxy = choose_proxy(setting, parse_remote_url(url, ANY), environ)
    return None if proxy is None else proxy.url.origin


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://a.example", {}, None),
        ("https://a.example", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example", {"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://p:1"),
        ("https://a.example", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://a.example", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example", {"all_proxy": "p:1"}, "http://p:1"),
        ("https://a.example", {"HTTPS_PROXY": "", "ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("http://a.example", {"http_proxy": "https://p"}, "https://p"),
        ("http://a.example", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("http://a.example", {"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None),
        ("http://a.example", {"http_proxy": "http://p:1", "REQUEST_METHOD": "GET"}, "http://p:1"),
        ("ws://a.example", {"http_proxy": "http://p:1"}, "http://p:1"),
        ("https://a.example", {"ALL_PROXY": "socks5h://p"}, "socks5h://p"),
        ("http://a.example", {"ALL_PROXY": "socks5://p:9"}, "socks5://p:9"),
        ("wss://a.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://localhost", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://x.localhost.", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://127.0.0.9:8", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://[::1]", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://10.0.0.1", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
    ],
)
def test_a_variable_of_the_environment_names_the_proxy(url, environ, expected):
    assert chosen(url, **environ) == expected


@pytest.mark.parametrize(
    ("url", "exclusions", "direct"),
    [
        ("https://a.example", "*", True),
        ("https://a.example", "a.example", True),
        ("https://A.example", " b.example , A.EXAMPLE", True),
        ("https://x.a.example", "a.example", True),
        ("https://x.a.example", ".a.example", True),
        ("https://x.a.example", "*.a.example", True),
        ("https://xa.example", "a.example", False),
        ("https://a.example", "x.a.example", False),
        ("https://a.example.", "a.example", True),
        ("https://a.example:8443", "a.example:8443", True),
        ("https://a.example:8443", "a.example:443", False),
        ("https://a.example:8443", "a.example:x", False),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3:9", "10.1.2.3:9", True),
        ("https://10.1.2.3", "11.0.0.0/8,10.1.2", False),
        ("https://10.1.2.3", "nonsense/8", False),
        ("https://a.example", "10.0.0.0/8", False),
        ("https://[fd00::1]", "fd00::/8", True),
        ("https://[fd00::1]", "[fd00::1]", True),
        ("https://[fd00::1]", "fd00::1", True),
        ("https://[fd00::1]:9", "[fd00::1]:9", True),
        ("https://[fd00::1]:9", "[fd00::1]:8", False),
        ("https://a.example", ".", False),
        ("https://a.example", "", False),
    ],
)
def test_no_proxy_names_hosts_that_are_reached_directly(url, exclusions, direct):
    assert (chosen(url, HTTPS_PROXY="http://p:1", no_proxy=exclusions) is None) is direct
    assert (chosen(url, HTTPS_PROXY="http://p:1", NO_PROXY=exclusions) is None) is direct


def test_a_configured_proxy_is_used_for_each_host():
    assert chosen("https://localhost", "http://p:1", NO_PROXY="*") == "http://p:1"
    assert chosen("https://a.example", "", HTTPS_PROXY="http://p:1") is None


def test_user_and_password_are_sent_to_the_proxy_and_not_shown():
    proxy = parse_proxy("http://us%40er:pa%3Ass@p:3128/")
    assert proxy.authorization == b"Basic " + base64.b64encode(b"us@er:pa:ss")
    assert parse_proxy("http://user@p").authorization == b"Basic " + base64.b64encode(b"user:")
    assert parse_proxy("http://p").authorization == b""
    assert "pa:ss" not in repr(proxy)
    assert not proxy.socks
    proxy = parse_proxy("socks5://user:p%40ss@p")
    assert (proxy.socks, proxy.url.port, proxy.user, proxy.password) == (True, 1080, b"user", b"p@ss")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("socks4://user:secret@p:1", "socks4:// proxies are not supported"),
        ("http://p:x", "the proxy cannot be used"),
        ("http://secret@[::1", "invalid host or port"),
        ("http://user:secret@", "the proxy cannot be used: the URL has no host"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused(text, reason):
    with pytest.raises(BadRemoteUrl, match=reason) as refused:
        parse_proxy(text)
    assert "secret" not in str(refused.value)
