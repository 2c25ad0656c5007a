"""Dates, names and issuer of certificates, and ValueError for all other bytes."""

import contextlib
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.validators.x509 import blocks, read_certificate

KEY = ec.generate_private_key(ec.SECP256R1())
DAY = timedelta(days=1)


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def made(begins, ends, names=(), *, subject="server", issuer="authority", more=()):
    builder = (
        x509.CertificateBuilder(named(issuer), named(subject), KEY.public_key(), 7)
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


NAMES = [
    x509.DNSName("example.org"),
    x509.DNSName("*.example.net"),
    x509.RFC822Name("me@example.org"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
    x509.UniformResourceIdentifier("spiffe://x"),
]
BASIC = (x509.BasicConstraints(ca=False, path_length=None), True)


@pytest.mark.parametrize(
    "begins", [datetime(1990, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2020, 2, 29, tzinfo=UTC)]
)
@pytest.mark.parametrize("ends", [datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)])  # fmt: skip
def test_dates_are_read_in_both_forms(begins, ends):
    found = read_certificate(made(begins, ends))
    assert (found.not_before, found.not_after, found.hosts) == (begins, ends, ())


@pytest.mark.parametrize("more", [(), (BASIC,)])
def test_the_hosts_are_dns_names_and_addresses(more):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found = read_certificate(made(now, now + DAY, NAMES, more=more))
    assert found.hosts == ("example.org", "*.example.net", "127.0.0.1", "::1")
    assert read_certificate(made(now, now + DAY, NAMES[2:3], more=more)).hosts == ()
    assert read_certificate(made(now, now + DAY, more=(BASIC,))).hosts == ()


def test_subject_and_issuer_are_compared():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    leaf = read_certificate(made(now, now + DAY))
    authority = read_certificate(made(now, now + DAY, subject="authority"))
    assert leaf.issuer == authority.subject == authority.issuer != leaf.subject


@pytest.mark.parametrize(
    ("purposes", "served"),
    [([], True), ([Purpose.SERVER_AUTH], True), ([Purpose.ANY_EXTENDED_KEY_USAGE], True), ([Purpose.CLIENT_AUTH], False)],
)  # fmt: skip
def test_a_certificate_with_purposes_is_for_these_only(purposes, served):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    more = [BASIC, *([(x509.ExtendedKeyUsage(purposes), True)] if purposes else [])]
    assert read_certificate(made(now, now + DAY, NAMES, more=more)).for_servers is served


@pytest.mark.parametrize(
    ("key", "usable"),
    [
        (KEY, True),
        (ed25519.Ed25519PrivateKey.generate(), True),
        (ec.generate_private_key(ec.SECP256K1()), False),
        (dsa.generate_private_key(1024), False),
    ],
)
def test_keys_that_tls_has_signatures_for(key, usable):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(named("x"), named("x"), key.public_key(), 7, now, now + DAY)
    found = read_certificate(builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    assert found.usable_key is usable


GOOD = made(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), NAMES, more=(BASIC,))


def element(tag, *inside):
    content = b"".join(inside)
    return bytes([tag, len(content)]) + content


def of_version_1(subject):
    validity = element(0x30, element(0x17, b"500101000000Z"), element(0x18, b"20500101000000Z"))
    issuer, key = element(0x30), element(0x30)
    return element(0x30, element(2, b"\1"), element(0x30), issuer, validity, element(0x30, subject), key)


def test_a_certificate_of_version_1_has_no_version_and_no_extensions():
    found = read_certificate(element(0x30, of_version_1(b"\5\0")))
    assert (found.not_before.year, found.not_after.year) == (1950, 2050)
    assert (found.subject, found.issuer, found.hosts) == (b"\5\0", b"", ())


@pytest.mark.parametrize("length", [b"\x81\x80", b"\x82\0\x80", b"\x84\0\0\0\x80"])
def test_a_length_has_up_to_four_bytes(length):
    certificate = of_version_1(b"\5" * (128 - len(of_version_1(b""))))
    assert read_certificate(b"\x30" + length + certificate).subject.startswith(b"\5")
    # An indefinite length, and one of five bytes.
    assert is_refused(b"\x30\x80" + certificate)
    assert is_refused(b"\x30\x85\0\0\0\0\x80" + certificate)


def is_refused(data):
    try:
        read_certificate(data)
    except ValueError:
        return True
    return False


def test_a_certificate_truncated_at_any_position_is_refused():
    assert all(is_refused(GOOD[:end]) for end in range(len(GOOD)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02\x01\x01",
        b"\x30\x00",
        b"\x30\x80",
        b"\x30\x85\0\0\0\0\0",
        b"\x30\x02\x30\x00",
        b"\x30\x04\x30\x02\xa0\x00",
        b"\x30\x84\xff\xff\xff\xff",
    ],
)
def test_other_bytes_than_a_certificate_are_a_value_error(data):
    assert is_refused(data)


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=4), st.integers(0, 4))
@settings(max_examples=500)
def test_a_damaged_certificate_raises_no_other_exception_than_value_error(at, piece, dropped):
    with contextlib.suppress(ValueError):
        read_certificate(GOOD[:at] + piece + GOOD[at + dropped :])


@given(st.binary(max_size=300))
def test_random_bytes_raise_no_other_exception_than_value_error(data):
    with contextlib.suppress(ValueError):
        read_certificate(data)


def test_blocks_are_found_between_other_lines():
    pem = ssl.DER_cert_to_PEM_cert(GOOD).encode()
    text = b"Subject: CN=server\n" + pem + b"-----BEGIN A KEY-----\r\nAAAA\r\n-----END A KEY----- \r\n" + pem
    found = blocks(text)
    assert [block.label for block in found] == ["CERTIFICATE", "A KEY", "CERTIFICATE"]
    assert found[0].data == found[2].data == GOOD
    assert found[1].data == b"\0\0\0"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-----BEGIN A-----\nAAAA\n",
        b"-----BEGIN A-----\nAAAA\n-----END B-----\n",
        b" -----BEGIN A-----\nAAAA\n-----END A-----\n",
        b"-----END A-----\n",
        b"-----BEGIN A\nAAAA\n-----END A-----",
    ],
)
def test_a_block_needs_both_its_lines(text):
    assert blocks(text) == []


def test_text_that_is_not_base64_is_a_value_error():
    (block,) = blocks(b"-----BEGIN A-----\nA!AA\n-----END A-----")
    with pytest.raises(ValueError, match="base64"):
        assert block.data


def test_many_begin_lines_are_read_in_linear_time():
    assert blocks(b"-----BEGIN A-----\n" * 60_000) == []
