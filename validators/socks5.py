"""The messages of a client of a SOCKS 5 proxy (RFC 1928), with user and password (RFC 1929). Pure."""

from typing import Final

from .remote_url import RemoteUrl, address_of

# The methods of authentication (RFC 1928 section 3).
NO_AUTHENTICATION: Final = 0
PASSWORD: Final = 2
# The size of the response to a greeting and to a password (bytes).
SHORT_RESPONSE: Final = 2
# The size of the first part of the response to a request (bytes), up to the first byte of the address.
REQUEST_RESPONSE: Final = 5
_LONGEST_FIELD: Final = 255
_IPV4: Final = 1
_NAME: Final = 3
_IPV6: Final = 4
# RFC 1928 section 6.
_FAILURES: Final = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "no response in time",
    7: "CONNECT is not supported",
    8: "the type of the address is not supported",
}


class SocksFailure(Exception):
    """The proxy opens no tunnel. The text is the reason, a sentence about the proxy."""


def greeting(*, authenticates: bool) -> bytes:
    """Return the first message, which offers the methods of authentication."""
    methods = (NO_AUTHENTICATION, PASSWORD) if authenticates else (NO_AUTHENTICATION,)
    return bytes((5, len(methods), *methods))


def read_method(response: bytes, *, authenticates: bool) -> int:
    """Return the method that the proxy has selected. Raises SocksFailure."""
    if response[0] != 5:
        raise SocksFailure("the proxy is not a SOCKS 5 proxy")
    if response[1] == NO_AUTHENTICATION or (response[1] == PASSWORD and authenticates):
        return response[1]
    raise SocksFailure("the proxy requires a user name and password, or another kind of authentication")


def password(user: bytes, secret: bytes) -> bytes:
    """Return the message with user and password. Raises SocksFailure for a value that is too long."""
    if len(user) > _LONGEST_FIELD or len(secret) > _LONGEST_FIELD:
        raise SocksFailure(
            f"the user name or password of the proxy has more than {_LONGEST_FIELD} bytes (RFC 1929)"
        )
    return bytes((1, len(user))) + user + bytes((len(secret),)) + secret


def check_password(response: bytes) -> None:
    """Raise SocksFailure unless the proxy has accepted the password."""
    if response[1] != 0:
        raise SocksFailure("the proxy does not accept the user name or password")


def request(url: RemoteUrl) -> bytes:
    """Return the request of a connection to the host of a URL. The proxy resolves names. Raises SocksFailure."""
    address = address_of(url.host)
    if address is not None:
        target = bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed
    elif len(url.host) > _LONGEST_FIELD:
        raise SocksFailure(f"the host name has more than {_LONGEST_FIELD} bytes (RFC 1928)")
    else:
        target = bytes((_NAME, len(url.host))) + url.host.encode("ascii")
    return b"\x05\x01\x00" + target + url.port.to_bytes(2, "big")


def read_response(response: bytes) -> int:
    """Return how many bytes follow the first part of the response to a request. Raises SocksFailure."""
    version, status, _, kind, first = response
    if version != 5:
        raise SocksFailure("the proxy sent an invalid response")
    if status != 0:
        raise SocksFailure(f"the proxy opened no connection: {_FAILURES.get(status, f'code {status}')}")
    sizes = {_IPV4: 3, _NAME: first, _IPV6: 15}
    if kind not in sizes:
        raise SocksFailure("the proxy sent an invalid response")
    return sizes[kind] + 2
