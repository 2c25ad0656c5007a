"""Host and Origin as tables: DNS rebinding, similar names, pages of other origins."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators.origin import Site, parse_host
from mcpbridged.validators.rejection import INVALID_REQUEST, Rejection

SITE = Site.for_listener("http", "127.0.0.1", 8808)


def status(call, *arguments):
    try:
        call(*arguments)
    except Rejection as rejection:
        return rejection.status if rejection.code == INVALID_REQUEST else 0
    return 200


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("localhost", ("localhost", None)),
        ("LocalHost:8808", ("localhost", 8808)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]", ("[::1]", None)),
        ("[::FFFF:127.0.0.1]:65535", ("[::ffff:127.0.0.1]", 65535)),
        ("a-b_c.example:080", ("a-b_c.example", 80)),
        ("a%41", ("a%41", None)),
    ],
)
def test_hosts_are_split(value, expected):
    assert parse_host(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        ":8808",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:123456",
        "localhost:80:80",
        "localhost:+80",
        "localhost: 80",
        "localhost:\u0661",
        "localhost.",
        "localhost.:8808",
        "local host",
        " localhost",
        "localhost\n",
        "localhost\x00",
        "a@127.0.0.1:8808",
        "localhost:8808@evil",
        "127.0.0.1:8808/x?#",
        "localhost/",
        "localhost?x",
        "localhost#x",
        "localhost\\x",
        "a,b:8808 ",
        "%zz",
        "loc\u0430lhost",
        "\u212aelvin",
        "::1",
        "[::1",
        "::1]",
        "[]",
        "[:]",
        "[127.0.0.1]",
        "[::1%25lo]",
        "[::1]x",
        "[v1.a:b:c]",
        "[" + ":" * 46 + "]",
    ],
)
def test_malformed_hosts_are_refused(value):
    with pytest.raises(Rejection) as caught:
        parse_host(value)
    assert caught.value.status == 400
    assert status(SITE.check_host, value) == 400


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("127.0.0.1:8808", 200),
        ("localhost:8808", 200),
        ("LOCALHOST:8808", 200),
        ("[::1]:8808", 200),
        ("localhost:08808", 200),
        ("127.0.0.1", 421),
        ("localhost", 421),
        ("127.0.0.1:80", 421),
        ("127.0.0.1:88080", 400),
        ("evil.example:8808", 421),
        ("127.0.0.1:8808.evil.example", 400),
        ("127.0.0.1.evil.example:8808", 421),
        ("localhost.evil.example:8808", 421),
        ("localhost:8808@evil", 400),
        ("127.1:8808", 421),
        ("0x7f000001:8808", 421),
        ("2130706433:8808", 421),
        ("127.0.0.2:8808", 421),
        ("0.0.0.0:8808", 421),
        ("[::]:8808", 421),
        ("[0:0:0:0:0:0:0:1]:8808", 421),
        ("[::ffff:127.0.0.1]:8808", 421),
        ("localhost.:8808", 400),
        ("local%68ost:8808", 421),
        ("127.0.0.1:8808, 127.0.0.1:8808", 400),
    ],
)
def test_the_host_must_be_a_name_of_the_listener(value, expected):
    assert status(SITE.check_host, value) == expected


@pytest.mark.parametrize(
    ("scheme", "port", "value", "expected"),
    [
        ("http", 80, "localhost", 200),
        ("http", 80, "localhost:80", 200),
        ("http", 443, "localhost", 421),
        ("https", 443, "localhost", 200),
        ("https", 443, "127.0.0.1:443", 200),
        ("https", 80, "localhost", 421),
    ],
)
def test_only_the_default_port_may_be_left_out(scheme, port, value, expected):
    assert status(Site.for_listener(scheme, "localhost", port).check_host, value) == expected


@pytest.mark.parametrize(
    ("host", "own", "foreign"),
    [
        ("10.0.0.5", "10.0.0.5:8808", "10.0.0.6:8808"),
        ("fd00::1", "[fd00::1]:8808", "[fd00::2]:8808"),
        ("[fd00::1]", "[fd00::1]:8808", "fd00::1:8808"),
        ("Bridge.Example", "bridge.example:8808", "example:8808"),
        ("0.0.0.0", "127.0.0.1:8808", "0.0.0.0:8808"),
        ("::", "[::1]:8808", "[::]:8808"),
    ],
)
def test_the_bound_address_is_a_host_unless_it_is_a_wildcard(host, own, foreign):
    site = Site.for_listener("https", host, 8808)
    assert status(site.check_host, own) == 200
    assert status(site.check_origin, f"https://{own}", "cross-site") == 200
    assert status(site.check_origin, f"http://{own}", "cross-site") == 200
    assert status(site.check_host, foreign) in {400, 421}


@pytest.mark.parametrize(
    ("origin", "fetch_site", "expected"),
    [
        (None, None, 200),
        (None, "none", 200),
        (None, "same-origin", 200),
        (None, "same-site", 403),
        (None, "cross-site", 403),
        (None, "", 403),
        (None, "None", 403),
        ("http://127.0.0.1:8808", None, 200),
        ("http://localhost:8808", "same-origin", 200),
        ("http://[::1]:8808", None, 200),
        ("http://localhost:6274", "cross-site", 200),
        ("http://localhost:6274", "same-site", 200),
        ("http://localhost:6274/", None, 403),
        ("HTTP://localhost:6274", None, 403),
        ("https://localhost:6274", None, 403),
        ("http://localhost:6274.evil.example", None, 403),
        ("http://localhost", None, 403),
        ("https://127.0.0.1:8808", None, 403),
        ("http://evil.example", "same-origin", 403),
        ("http://evil.example:8808", None, 403),
        ("http://0.0.0.0:8808", None, 403),
        ("null", None, 403),
        ("null", "same-origin", 403),
        ("", None, 403),
        ("*", None, 403),
        ("http://127.0.0.1:8808 http://evil.example", None, 403),
    ],
)
def test_origins(origin, fetch_site, expected):
    site = Site.for_listener("http", "127.0.0.1", 8808, extra_origins=["http://localhost:6274"])
    assert status(site.check_origin, origin, fetch_site) == expected


def test_an_allowed_host_is_one_more():
    site = Site.for_listener("http", "127.0.0.1", 8808, extra_hosts=["app.example", "localhost:8808"])
    assert [status(site.check_host, host) for host in ("app.example", "localhost:8808")] == [200, 200]
    assert status(site.check_origin, "http://app.example", None) == 403


def test_an_allowed_origin_may_be_that_of_the_listener():
    site = Site.for_listener("http", "127.0.0.1", 8808, extra_origins=["http://localhost:8808"])
    assert status(site.check_origin, "http://localhost:8808", None) == 200


def test_an_allowed_origin_is_not_an_allowed_host():
    site = Site.for_listener("http", "127.0.0.1", 8808, extra_origins=["http://app.example"])
    assert status(site.check_host, "app.example") == 421


def test_a_unix_socket_has_the_host_localhost_and_no_origins():
    site = Site.for_unix()
    assert status(site.check_host, "localhost") == 200
    assert status(site.check_host, "LOCALHOST") == 200
    assert status(site.check_host, "localhost:80") == 421
    assert status(site.check_host, "evil.example") == 421
    assert status(site.check_host, "") == 400
    assert status(site.check_origin, None, None) == 200
    assert status(site.check_origin, "http://localhost", None) == 403


def test_a_refusal_names_the_option_and_not_the_input():
    with pytest.raises(Rejection) as caught:
        SITE.check_origin("http://canary", None)
    assert "--cors ORIGIN" in caught.value.text
    assert "canary" not in caught.value.text


@settings(max_examples=300)
@given(st.one_of(st.text(), st.text("abl.:[]%@0189", max_size=20)))
def test_a_divided_host_can_be_joined(value):
    try:
        host, port = parse_host(value)
    except Rejection:
        return
    assert value.isascii()
    again = host if port is None else f"{host}:{port}"
    assert parse_host(again) == (host, port)
