import ipaddress

import pytest

from mcpbridged.validators.remote_url import (
    HTTP_SCHEMES,
    LONGEST_URL,
    LOOPBACK,
    PRIVATE,
    PUBLIC,
    UNREACHED,
    WEBSOCKET_SCHEMES,
    BadRemoteUrl,
    address_of,
    ends_in_number,
    parse_remote_url,
    reach_of,
    resolve_reference,
    same_origin,
)

ANY = (*HTTP_SCHEMES, *WEBSOCKET_SCHEMES)


@pytest.mark.parametrize(
    ("text", "authority", "target"),
    [
        ("https://example.com", "example.com", "/"),
        ("https://EXAMPLE.com:443/mcp", "example.com", "/mcp"),
        ("http://example.com:443/mcp", "example.com:443", "/mcp"),
        ("https://example.com/a%2Fb/../c?key=1&x=a%20b", "example.com", "/a%2Fb/../c?key=1&x=a%20b"),
        ("https://example.com?key=1", "example.com", "/?key=1"),
        ("https://example.com/mcp#part", "example.com", "/mcp"),
        ("https://example.com/ä?ö=<>", "example.com", "/%C3%A4?%C3%B6=%3C%3E"),
        ("https://bücher.example/", "xn--bcher-kva.example", "/"),
        ("http://[::1]:8080/mcp", "[::1]:8080", "/mcp"),
        ("http://[0:0:0:0:0:0:0:1]/", "[::1]", "/"),
        ("http://my_container:80/", "my_container", "/"),
        ("http://example.com./", "example.com.", "/"),
        ("wss://example.com/ws", "example.com", "/ws"),
        ("ws://example.com:8080/ws", "example.com:8080", "/ws"),
        ("http://2130706433/", "2130706433", "/"),
    ],
)
def test_a_url_has_one_reading(text, authority, target):
    url = parse_remote_url(text, ANY)
    assert (url.authority, url.target) == (authority, target)
    assert str(url) == f"{url.origin}{target}"
    assert parse_remote_url(str(url), ANY) == url


@pytest.mark.parametrize(
    ("scheme", "port"),
    [("http", 80), ("https", 443), ("ws", 80), ("wss", 443), ("socks5", 1080), ("socks5h", 1080)],
)
def test_a_scheme_has_a_port(scheme, port):
    url = parse_remote_url(f"{scheme}://example.com", (scheme,))
    assert (url.port, url.authority) == (port, "example.com")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must begin with"),
        ("example.com/mcp", "must begin with"),
        ("file:///etc/passwd", "must begin with http:// or https://"),
        ("javascript:alert(1)", "must begin with"),
        ("ws://example.com", "must begin with"),
        ("https://user@example.com/", "user name or password"),
        ("https://user:secret@example.com/", "user name or password"),
        ("https://example.com:0/", "port"),
        ("https://example.com:/", "port"),
        ("https://example.com:65536/", "host or port"),
        ("https://example.com:x/", "host or port"),
        ("https://[::1/", "host or port"),
        ("https://[1.2.3.4]/", "host"),
        ("https://[::1%25eth0]/", "host"),
        ("https:///mcp", "no host"),
        ("https://exa mple.com/", "white space"),
        ("https://example.com/a\nb", "white space"),
        ("https://example.com/\x1b[2J", "white space, a control character"),
        ("https://example.com\\@evil.example/", "backslash"),
        ("https://example.com/\ud800", "white space"),
        ("https://exam%70le.com/", "not a valid name"),
        ("https://-example.com/", "not a valid name"),
        ("https://example..com/", "not a valid name"),
        (f"https://{'ä' * 70}.example/", "not a valid name"),
        ("https://example.com/" + "a" * LONGEST_URL, str(LONGEST_URL)),
    ],
)
def test_a_url_with_another_reading_is_refused(text, reason):
    with pytest.raises(BadRemoteUrl, match=reason) as refused:
        parse_remote_url(text)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("/messages?id=1", "https://example.com/messages?id=1"),
        ("messages", "https://example.com/prefix/messages"),
        ("?sessionId=1", "https://example.com/prefix/sse?sessionId=1"),
        ("https://example.com/other", "https://example.com/other"),
        ("//evil.example/x", "https://evil.example/x"),
        ("http://example.com/x", "http://example.com/x"),
        ("../x", "https://example.com/x"),
    ],
)
def test_a_reference_is_resolved_against_its_base(reference, expected):
    base = parse_remote_url("https://example.com/prefix/sse?key=1")
    assert str(resolve_reference(base, reference)) == expected


def test_a_reference_may_have_8192_characters():
    base, url = parse_remote_url("https://example.com/sse"), "https://example.com/"
    longest = url + "x" * (8192 - len(url))
    assert str(resolve_reference(base, longest)) == longest
    with pytest.raises(BadRemoteUrl, match="8193 characters; the limit is 8192"):
        resolve_reference(base, f"{longest}x")


@pytest.mark.parametrize(
    "reference",
    ["javascript:1", "a\nb", "/a\tb", "\r\nX: y", "//[", "https://u@example.com/"],
)
def test_a_reference_to_no_url_is_refused(reference):
    with pytest.raises(BadRemoteUrl):
        resolve_reference(parse_remote_url("https://example.com/sse"), reference)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example/x", "https://A.example:443/y?z", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:8443", False),
        ("https://a.example", "https://b.a.example", False),
        ("https://a.example", "https://a.example.", False),
        ("http://[::1]/", "http://[0::1]/", True),
    ],
)
def test_an_origin_is_scheme_host_and_port(one, other, same):
    assert same_origin(parse_remote_url(one), parse_remote_url(other)) is same


@pytest.mark.parametrize(("scheme", "tls"), [("http", False), ("https", True), ("ws", False), ("wss", True)])
def test_tls_follows_the_scheme(scheme, tls):
    assert parse_remote_url(f"{scheme}://example.com", ANY).tls is tls


@pytest.mark.parametrize(
    ("host", "number"),
    [
        ("2130706433", True),
        ("0x7f.1", True),
        ("0x7f000001", True),
        ("127.1", True),
        ("0177.0.0.1", True),
        ("example.0x1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("example.com", False),
        ("1.example", False),
        ("0xg", False),
    ],
)
def test_a_host_that_some_programs_read_as_an_address_is_found(host, number):
    assert ends_in_number(host) is number


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        ("8.8.8.8", PUBLIC),
        ("2606:4700::1111", PUBLIC),
        ("::ffff:8.8.8.8", PUBLIC),
        ("127.0.0.1", LOOPBACK),
        ("127.255.255.254", LOOPBACK),
        ("::1", LOOPBACK),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("10.0.0.1", PRIVATE),
        ("172.31.255.255", PRIVATE),
        ("192.168.1.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("fd00::1", PRIVATE),
        ("fec0::1", PRIVATE),
        ("::ffff:10.0.0.1", PRIVATE),
        ("169.254.169.254", UNREACHED),
        ("::ffff:169.254.169.254", UNREACHED),
        ("fe80::1", UNREACHED),
        ("0.0.0.0", UNREACHED),
        ("::", UNREACHED),
        ("255.255.255.255", UNREACHED),
        ("224.0.0.1", UNREACHED),
        ("ff0e::1", UNREACHED),
        ("240.0.0.1", UNREACHED),
        ("198.18.0.1", UNREACHED),
        ("192.0.2.1", UNREACHED),
        ("2002:7f00:1::", UNREACHED),
        ("64:ff9b::7f00:1", UNREACHED),
        ("64:ff9b:1::7f00:1", UNREACHED),
        ("2001:0:7f00:1::", UNREACHED),
        ("::127.0.0.1", UNREACHED),
        ("2001:db8::1", UNREACHED),
    ],
)
def test_an_address_has_one_reach(text, reach):
    assert reach_of(ipaddress.ip_address(text)) == reach


def test_a_zone_is_no_part_of_an_address():
    assert address_of("fe80::1%eth0") == ipaddress.ip_address("fe80::1")
    assert address_of("localhost") is None
