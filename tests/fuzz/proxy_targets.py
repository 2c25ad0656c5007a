"""Messages of proxies: SOCKS 5, and the headers of reverse proxies."""

import ipaddress

from mcpbridged.validators import socks5
from mcpbridged.validators.forwarded import TrustedProxies, parse_address, parse_networks
from mcpbridged.validators.remote_url import BadRemoteUrl, parse_remote_url

from .target import Target, holds, same

_NETWORKS = parse_networks(("10.0.0.0/8", "fd00::/8"))


def forwarded(data: bytes) -> None:
    """The value of a header, with an entry of the client before a line end: the client cannot choose its address."""
    text = data.decode("latin-1")
    entry, newline, value = text.partition("\n")
    value = value if newline else text
    for header in ("x-forwarded-for", "forwarded"):
        proxies = TrustedProxies(_NETWORKS, header)
        same("without trust", proxies.client("192.0.2.1", value), "192.0.2.1")
        found = proxies.client("10.0.0.1", value)
        if found:
            same("an address in another spelling", str(ipaddress.ip_address(found)), found)
        if found and not proxies.trusts(found):
            same("an entry of the client counts", proxies.client("10.0.0.1", f"{entry},{value}"), found)
        holds("a secure client without trust", not proxies.is_secure("192.0.2.1", value, value))
        if proxies.is_secure("10.0.0.1", value, value):
            holds("https is not in the header", "https" in value.lower())
    parsed = parse_address(text)
    if parsed is not None:
        same("an address that is read again", parse_address(str(parsed)), parsed)


def forwarded_seeds():
    yield b"1.2.3.4\n192.0.2.7, 10.0.0.2"
    yield b'for=6.6.6.6\nfor="[2001:db8::1]:4711";proto=https, for=10.1.1.1;by=x;proto=https'
    yield b"fd00::1, ::ffff:10.0.0.1, [fe80::1%eth0]:80"
    yield b"unknown, _hidden, 1.2.3.4:99999"
    yield b'for="a\\"b;c", for = x'
    yield b"10.0.0.1," * 40
    yield b"for=" + b";" * 500


def socks(data: bytes) -> None:
    """The responses of a proxy: SocksFailure only, and a number of bytes that the request can have. Also its URL."""
    short, response = data[:2].ljust(2, b"\0"), data[2:7].ljust(5, b"\0")
    for authenticates in (False, True):
        try:
            method = socks5.read_method(short, authenticates=authenticates)
        except socks5.SocksFailure:
            continue
        holds("a method that was not offered", method in ((0, 2) if authenticates else (0,)))
    try:
        socks5.check_password(short)
    except socks5.SocksFailure:
        holds("an accepted password is refused", short[1] != 0)
    try:
        rest = socks5.read_response(response)
    except socks5.SocksFailure as failure:
        holds("an error has control characters", str(failure).isprintable())
    else:
        holds("the rest of a response", 0 <= rest <= 257)
    try:
        url = parse_remote_url(data.decode("latin-1"))
    except BadRemoteUrl as fault:
        holds("an error has control characters", str(fault).isprintable())
        return
    holds("a port", 0 < url.port < 65536)
    holds("a host that is not in lower case", url.host == url.host.lower() and url.host.isascii())
    try:
        request = socks5.request(url)
    except socks5.SocksFailure:
        holds("a short name is refused", len(url.host) > 255)
    else:
        same("the port of a request", request[-2:], url.port.to_bytes(2, "big"))


def socks_seeds():
    yield b"\x05\x00\x05\x00\x00\x01\x7f"
    yield b"\x05\x02\x05\x00\x00\x03\xff"
    yield b"\x05\xff\x05\x05\x00\x04\x00"
    yield b"\x04\x00\x04\x5a\x00\x00\x00"
    yield b"https://H.example:8443/mcp?x=y#z"
    yield b"http://[::1]:1/"
    yield b"http://u:p@127.1\\@x/"
    yield b"https://" + b"a." * 200 + b"b/"


TARGETS = (
    Target("forwarded", forwarded, forwarded_seeds),
    Target("socks5_and_urls", socks, socks_seeds, 1024),
)
