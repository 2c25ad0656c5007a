"""Which address the client of forwarded requests has."""

import pytest

from mcpbridged.validators.forwarded import TrustedProxies, parse_address, parse_networks

PROXIES = TrustedProxies(parse_networks(["10.0.0.0/8", "fd00::/8", "127.0.0.1"]))
FORWARDED = TrustedProxies(PROXIES.networks, "forwarded")


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (None, "10.0.0.1"),
        ("198.51.100.7", "198.51.100.7"),
        # What a client has sent is in front of what the proxies have added.
        ("127.0.0.1, 198.51.100.7", "198.51.100.7"),
        ("1.2.3.4, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("198.51.100.7,::ffff:10.1.1.1", "198.51.100.7"),
        # Every entry is that of a proxy.
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("127.0.0.1", "127.0.0.1"),
        # An entry that is no address hides what is before it.
        ("unknown", ""),
        ("198.51.100.7, unknown", ""),
        ("198.51.100.7, ", ""),
        ("", ""),
        ("198.51.100.7, 10.0.0.256", ""),
        ("198.51.100.7\t", "198.51.100.7"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_trusted(value, client):
    assert PROXIES.client("10.0.0.1", value) == client


def test_the_header_of_another_peer_is_not_read():
    for peer in ("198.51.100.1", "", "11.0.0.1"):
        assert PROXIES.client(peer, "1.2.3.4") == peer
    assert TrustedProxies().client("10.0.0.1", "1.2.3.4") == "10.0.0.1"
    assert PROXIES.client("::ffff:10.0.0.1", "1.2.3.4") == "1.2.3.4"


def test_the_number_of_entries_is_limited():
    assert PROXIES.client("10.0.0.1", "198.51.100.7" + ", 10.0.0.2" * 31) == "198.51.100.7"
    assert PROXIES.client("10.0.0.1", "198.51.100.7" + ", 10.0.0.2" * 32) == "10.0.0.2"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=198.51.100.7", "198.51.100.7"),
        ('For="[2001:db8::1]:4711";proto=https', "2001:db8::1"),
        ("for=1.2.3.4, for=198.51.100.7;by=10.0.0.1, for=10.0.0.2", "198.51.100.7"),
        ("proto=https", ""),
        ("for=_hidden", ""),
        ("for=unknown", ""),
        ('for="198.51.100.7', ""),
        ("for=10.0.0.9", "10.0.0.9"),
    ],
)
def test_the_elements_of_forwarded_are_read(value, client):
    assert FORWARDED.client("10.0.0.1", value) == client


def test_only_a_trusted_proxy_states_that_it_has_tls():
    assert PROXIES.is_secure("10.0.0.1", "https", None)
    assert PROXIES.is_secure("10.0.0.1", "http, HTTPS", None)
    assert not PROXIES.is_secure("10.0.0.1", "https, http", None)
    assert not PROXIES.is_secure("10.0.0.1", None, "proto=https")
    assert not PROXIES.is_secure("198.51.100.1", "https", None)
    assert FORWARDED.is_secure("10.0.0.1", "http", "for=1.2.3.4;proto=http, for=1.2.3.4;proto=https")
    assert not FORWARDED.is_secure("10.0.0.1", "https", "for=1.2.3.4")
    assert not FORWARDED.is_secure("10.0.0.1", "https", None)


def test_a_network_has_no_host_bits():
    assert parse_address("x") is None
    for text in ("10.0.0.1/8", "example.org", ""):
        with pytest.raises(ValueError, match=r"IP|host bits|does not appear"):
            parse_networks([text])
