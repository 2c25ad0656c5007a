import pytest

from mcpbridged.validators import socks5
from mcpbridged.validators.remote_url import parse_remote_url


@pytest.mark.parametrize(
    ("authenticates", "message"), [(False, b"\x05\x01\x00"), (True, b"\x05\x02\x00\x02")]
)
def test_a_greeting_offers_only_what_can_be_done(authenticates, message):
    assert socks5.greeting(authenticates=authenticates) == message


@pytest.mark.parametrize(
    ("response", "authenticates", "method"),
    [(b"\x05\x00", False, 0), (b"\x05\x00", True, 0), (b"\x05\x02", True, 2)],
)
def test_the_proxy_selects_a_method(response, authenticates, method):
    assert socks5.read_method(response, authenticates=authenticates) == method


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"\x04\x00", "not a SOCKS 5 proxy"),
        (b"HT", "not a SOCKS 5 proxy"),
        (b"\x05\x02", "requires"),
        (b"\x05\xff", "requires"),
    ],
)
def test_a_method_that_was_not_offered_is_a_failure(response, reason):
    with pytest.raises(socks5.SocksFailure, match=reason):
        socks5.read_method(response, authenticates=False)


def test_user_and_password_have_a_length():
    assert socks5.password(b"us", b"pass") == b"\x01\x02us\x04pass"
    for pair in ((b"x" * 256, b""), (b"", b"x" * 256)):
        with pytest.raises(socks5.SocksFailure, match="more than 255 bytes"):
            socks5.password(*pair)
    socks5.check_password(b"\x01\x00")
    with pytest.raises(socks5.SocksFailure, match="does not accept"):
        socks5.check_password(b"\x01\x01")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://1.2.3.4:258", b"\x05\x01\x00\x01\x01\x02\x03\x04\x01\x02"),
        ("https://[::1]", b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x01\xbb"),
        ("http://a.example", b"\x05\x01\x00\x03\x09a.example\x00\x50"),
    ],
)
def test_a_request_names_an_address_or_a_name(url, message):
    assert socks5.request(parse_remote_url(url)) == message


def test_a_name_that_is_too_long_is_a_failure():
    with pytest.raises(socks5.SocksFailure, match="more than 255"):
        socks5.request(parse_remote_url(f"http://{'a.' * 150}example"))


@pytest.mark.parametrize(
    ("response", "rest"), [(b"\x05\0\0\x01\x7f", 5), (b"\x05\0\0\x04\0", 17), (b"\x05\0\0\x03\x09", 11)]
)
def test_a_response_has_an_address_that_is_not_used(response, rest):
    assert socks5.read_response(response) == rest


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"\x04\0\0\x01\0", "invalid response"),
        (b"\x05\0\0\x02\0", "invalid response"),
        (b"\x05\x01\0\x01\0", "opened no connection: general failure"),
        (b"\x05\x02\0\x01\0", "opened no connection: not allowed by its rules"),
        (b"\x05\x03\0\x01\0", "opened no connection: network unreachable"),
        (b"\x05\x04\0\x01\0", "opened no connection: host unreachable"),
        (b"\x05\x05\0\x01\0", "opened no connection: connection refused"),
        (b"\x05\x06\0\x01\0", "opened no connection: no response in time"),
        (b"\x05\x07\0\x01\0", "opened no connection: CONNECT is not supported"),
        (b"\x05\x08\0\x01\0", "opened no connection: the type of the address is not supported"),
        (b"\x05\x63\0\x01\0", "opened no connection: code 99"),
    ],
)
def test_a_refused_request_has_a_reason(response, reason):
    with pytest.raises(socks5.SocksFailure, match=reason):
        socks5.read_response(response)
