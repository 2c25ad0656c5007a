"""Read dates, names and issuer of certificates (RFC 5280), and the blocks of PEM files (RFC 7468), for warnings.

OpenSSL verifies certificates for TLS. This module verifies nothing, and its results are only shown. Pure.
"""

import binascii
import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

_SEQUENCE: Final = 0x30
_UTC_TIME: Final = 0x17
_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_OCTETS: Final = 0x04
_DNS_NAME: Final = 0x82
_IP_ADDRESS: Final = 0x87
# Two digits of a year from 50 on are in the 20th century (RFC 5280 section 4.1.2.5.1).
_PIVOT: Final = 50
# 2.5.29.17 in DER.
_SUBJECT_ALT_NAME: Final = bytes.fromhex("551d11")
# The bit of a length that makes the other bits the number of its bytes, and the most such bytes.
_LONG: Final = 0x80
_MOST_LENGTH_BYTES: Final = 4

# 2.5.29.37 in DER, and the purposes that allow a server: id-kp-serverAuth and anyExtendedKeyUsage.
_EXTENDED_KEY_USAGE: Final = bytes.fromhex("551d25")
_OF_SERVERS: Final = frozenset({bytes.fromhex("2b06010505070301"), bytes.fromhex("551d2500")})
# id-ecPublicKey and id-dsa in DER, and the curves that TLS 1.3 has signatures for (RFC 8446 section 4.2.3).
_EC_KEY: Final = bytes.fromhex("2a8648ce3d0201")
_DSA_KEY: Final = bytes.fromhex("2a8648ce380401")
_CURVES: Final = frozenset(map(bytes.fromhex, ("2a8648ce3d030107", "2b81040022", "2b81040023")))

# Some editors write it at the beginning of a file, and OpenSSL skips it.
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BEGIN: Final = b"-----BEGIN "
_END: Final = b"-----END "
_DASHES: Final = b"-----"


class Block(NamedTuple):
    """A block of a PEM file: its label, and the text between its first and last line."""

    label: str
    text: bytes

    @property
    def data(self) -> bytes:
        """Return the decoded bytes. Raises ValueError."""
        return binascii.a2b_base64(b"".join(self.text.split()), strict_mode=True)


class Certificate(NamedTuple):
    """The validity of a certificate, its hosts (DNS names and IP addresses), and the names of subject and issuer in DER.

    `for_servers` is false for a certificate with purposes that do not include a server. `usable_key` is false for a kind of key
    for which TLS 1.3 has no signature.
    """

    not_before: datetime
    not_after: datetime
    hosts: tuple[str, ...]
    subject: bytes
    issuer: bytes
    for_servers: bool
    usable_key: bool


def blocks(text: bytes) -> list[Block]:
    """Return the blocks of a PEM file in order."""
    found: list[Block] = []
    label: bytes | None = None
    lines: list[bytes] = []
    for line in map(bytes.rstrip, text.removeprefix(_BYTE_ORDER_MARK).splitlines()):
        if line.startswith(_BEGIN) and line.endswith(_DASHES):
            label, lines = line[len(_BEGIN) : -len(_DASHES)], []
        elif label is not None and line == _END + label + _DASHES:
            found.append(Block(label.decode("latin-1"), b"\n".join(lines)))
            label = None
        elif label is not None:
            lines.append(line)
    return found


def read_certificate(der: bytes) -> Certificate:
    """Return the fields of a certificate in DER. Raises ValueError for other bytes."""
    (outer, *_) = _elements(der)
    signed = _inside(outer)[0]
    fields = _inside(signed)
    if fields[0].tag == _VERSION:
        del fields[0]
    # The serial number and the algorithm come first, the public key last.
    _, _, issuer, validity, subject, public_key, *more = fields
    not_before, not_after = map(_time, _inside(validity))
    extensions = [pair for field in more if field.tag == _EXTENSIONS for pair in _extensions(field)]
    hosts = tuple(host for name, value in extensions if name == _SUBJECT_ALT_NAME for host in _hosts(value))
    purposes = {
        purpose.content for name, value in extensions if name == _EXTENDED_KEY_USAGE for purpose in value
    }
    return Certificate(
        not_before,
        not_after,
        hosts,
        subject.content,
        issuer.content,
        not purposes or not purposes.isdisjoint(_OF_SERVERS),
        _is_usable(public_key),
    )


class _Element(NamedTuple):
    tag: int
    content: bytes


def _elements(data: bytes) -> Iterator[_Element]:
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1] if at + 1 < len(data) else _LONG, at + 2
        if size >= _LONG:
            count = size - _LONG
            if not 0 < count <= _MOST_LENGTH_BYTES:
                raise ValueError("a length in DER is malformed")
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + size > len(data):
            raise ValueError("an element in DER is cut off")
        yield _Element(tag, data[at : at + size])
        at += size


def _inside(element: _Element) -> list[_Element]:
    if element.tag != _SEQUENCE:
        raise ValueError("a sequence in DER was expected")
    found = [*_elements(element.content)]
    if not found:
        raise ValueError("a sequence in DER is empty")
    return found


def _time(element: _Element) -> datetime:
    text = element.content.decode("ascii")
    if element.tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _PIVOT else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _is_usable(public_key: _Element) -> bool:
    """Return whether TLS 1.3 has signatures for this kind of key (a SubjectPublicKeyInfo)."""
    words = [
        part.content
        for algorithm in [*_elements(public_key.content)][:1]
        for part in _elements(algorithm.content)
    ]
    if words[:1] == [_EC_KEY]:
        return not _CURVES.isdisjoint(words[1:])
    return words[:1] != [_DSA_KEY]


def _extensions(extensions: _Element) -> Iterator[tuple[bytes, list[_Element]]]:
    """Yield the identifier and the elements of the two extensions that are read."""
    (listed, *_) = _elements(extensions.content)
    for extension in _inside(listed):
        name, *_, value = _inside(extension)
        if name.content in (_SUBJECT_ALT_NAME, _EXTENDED_KEY_USAGE) and value.tag == _OCTETS:
            (content, *_) = _elements(value.content)
            yield name.content, _inside(content)


def _hosts(names: list[_Element]) -> Iterator[str]:
    for found in names:
        if found.tag == _DNS_NAME:
            yield found.content.decode("ascii")
        elif found.tag == _IP_ADDRESS:
            yield str(ipaddress.ip_address(found.content))
