"""Certificates as far as they are worth a warning: dates, names and issuer (RFC 5280), and the blocks of PEM files (RFC 7468).

TLS itself reads them with OpenSSL. Here nothing is verified, and nothing in a certificate is trusted. Pure.
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
# Of a length, the bit that says that the other bits count its bytes; no certificate needs more of them.
_LONG: Final = 0x80
_MOST_LENGTH_BYTES: Final = 4

_BEGIN: Final = b"-----BEGIN "
_END: Final = b"-----END "
_DASHES: Final = b"-----"


class Block(NamedTuple):
    """One block of a PEM file: its label, and the text between its lines."""

    label: str
    text: bytes

    @property
    def data(self) -> bytes:
        """The bytes that it encodes. Raises ValueError."""
        return binascii.a2b_base64(b"".join(self.text.split()), strict_mode=True)


class Certificate(NamedTuple):
    """When it is valid, for which hosts (DNS names and IP addresses), and the names of its subject and issuer in DER."""

    not_before: datetime
    not_after: datetime
    hosts: tuple[str, ...]
    subject: bytes
    issuer: bytes


def blocks(text: bytes) -> list[Block]:
    """Return the blocks of a PEM file, in their order."""
    found: list[Block] = []
    label: bytes | None = None
    lines: list[bytes] = []
    for line in map(bytes.rstrip, text.splitlines()):
        if line.startswith(_BEGIN) and line.endswith(_DASHES):
            label, lines = line[len(_BEGIN) : -len(_DASHES)], []
        elif label is not None and line == _END + label + _DASHES:
            found.append(Block(label.decode("latin-1"), b"\n".join(lines)))
            label = None
        elif label is not None:
            lines.append(line)
    return found


def read_certificate(der: bytes) -> Certificate:
    """Return what is of interest in a certificate. Raises ValueError for what is none."""
    (outer, *_) = _elements(der)
    signed = _inside(outer)[0]
    fields = _inside(signed)
    if fields[0].tag == _VERSION:
        del fields[0]
    # The serial number and the algorithm come first, the public key last.
    _, _, issuer, validity, subject, _, *more = fields
    not_before, not_after = map(_time, _inside(validity))
    hosts = tuple(host for field in more if field.tag == _EXTENSIONS for host in _hosts(field))
    return Certificate(not_before, not_after, hosts, subject.content, issuer.content)


class _Element(NamedTuple):
    tag: int
    content: bytes


def _elements(data: bytes) -> Iterator[_Element]:
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1] if at + 1 < len(data) else _LONG, at + 2
        if size >= _LONG:
            count = size - _LONG
            if not 0 < count <= _MOST_LENGTH_BYTES or at + count > len(data):
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


def _hosts(extensions: _Element) -> Iterator[str]:
    (listed, *_) = _elements(extensions.content)
    for extension in _inside(listed):
        name, *_, value = _inside(extension)
        if name.content == _SUBJECT_ALT_NAME and value.tag == _OCTETS:
            (names, *_) = _elements(value.content)
            for found in _inside(names):
                if found.tag == _DNS_NAME:
                    yield found.content.decode("ascii")
                elif found.tag == _IP_ADDRESS:
                    yield str(ipaddress.ip_address(found.content))
