"""The certificate of a listener with TLS: loaded with a sentence for each fault, and looked at for what clients will refuse.

Loading blocks, so the event loop never does it. OpenSSL is never left to ask for a passphrase.
"""

import os
import re
import ssl
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Final

import attrs

from ...transports.http.listen import KeyIsEncrypted, tls_context
from ...validators.x509 import Block, Certificate, blocks, read_certificate

# Of a file of certificates or a key; a chain has a few KiB.
_LARGEST: Final = 1024 * 1024
# The labels that OpenSSL takes for a certificate.
_CERTIFICATES: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})
# What else people put there by mistake, by its label.
_MISTAKEN: Final = {
    "CERTIFICATE REQUEST": "a certificate request, which an authority must sign first",
    "NEW CERTIFICATE REQUEST": "a certificate request, which an authority must sign first",
    "PUBLIC KEY": "a public key",
    "OPENSSH PRIVATE KEY": "a key of OpenSSH",
    "PKCS7": "a certificate in the form of PKCS #7",
    "EC PARAMETERS": "parameters of a key only",
}
# The tag of a sequence in DER, as certificates and keys that are not PEM begin.
_DER: Final = b"\x30"
# A block whose lines begin with spaces, as it stands in YAML.
_INDENTED: Final = re.compile(rb"^[ \t]+-----BEGIN ", re.MULTILINE)
# What OpenSSL says of a key of another pair; of one of another kind it says that it has no certificate for that.
_MISMATCH: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})


class BadCertificate(Exception):
    """A certificate or its key cannot be used; the text says why, and names the file."""


@attrs.frozen
class Loaded:
    """A certificate that can be served with. `chain` is empty where OpenSSL can read it and `x509` cannot."""

    file: Path
    chain: tuple[Certificate, ...]
    context: ssl.SSLContext
    # The SHA-256 of the certificate in hexadecimal digits, if that is known.
    fingerprint: str = ""

    @property
    def until(self) -> datetime | None:
        """When the first certificate of the chain expires, if that is known."""
        return min((one.not_after for one in self.chain), default=None)

    @property
    def expires(self) -> str:
        """When that is, in ISO 8601, or an empty text."""
        return self.until.isoformat() if self.until else ""

    @property
    def summary(self) -> str:
        """Until when it is valid, and for which hosts."""
        until, hosts = self.until, ", ".join(self.chain[0].hosts) if self.chain else ""
        return f"the certificate {self.file} is valid until {_shown(until) if until else 'an unknown time'}, for {hosts}"

    def faults(self, ahead: timedelta = timedelta(), now: datetime | None = None) -> list[str]:
        """Return why clients refuse it now, or will within this time, a sentence for each reason."""
        return [*_faults(self.file, self.chain, now or datetime.now(UTC), ahead)]


def load(certificate: Path, key: Path) -> Loaded:
    """Load both. Blocks. Raises BadCertificate."""
    text, key_text = _read(certificate), _read(key)
    try:
        context = tls_context(certificate, key)
    except KeyIsEncrypted:
        raise BadCertificate(_encrypted(key)) from None
    except (OSError, ssl.SSLError) as fault:
        reason = getattr(fault, "reason", None) or ""
        raise BadCertificate(_diagnosis(certificate, key, text, key_text, reason)) from None
    found = blocks(text)
    try:
        fingerprint = sha256(_certificates(found)[0].data).hexdigest()
        return Loaded(certificate, _chain(found), context, fingerprint)
    except (IndexError, ValueError):
        return Loaded(certificate, (), context)


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _faults(file: Path, chain: Sequence[Certificate], now: datetime, ahead: timedelta) -> Iterator[str]:
    if not chain:
        yield f"the dates and names in the certificate {file} cannot be read"
        return
    for number, one in enumerate(chain, 1):
        which = f"the certificate {file}" if number == 1 else f"certificate {number} of the chain in {file}"
        if one.not_after <= now:
            yield f"{which} expired on {_shown(one.not_after)}"
        elif one.not_after <= now + ahead:
            days = (one.not_after - now).days
            yield f"{which} expires on {_shown(one.not_after)}, in {days} day{'' if days == 1 else 's'}"
        if one.not_before > now:
            yield f"{which} is not valid before {_shown(one.not_before)}"
    if not chain[0].hosts:
        yield (
            f"the certificate {file}, valid until {_shown(chain[0].not_after)}, names no host:"
            " clients need a DNS name or an IP address as its subjectAltName"
        )
    if not chain[0].for_servers:
        yield f"the certificate {file} is not for servers: its extendedKeyUsage has other purposes and lacks serverAuth"
    if not chain[0].usable_key:
        yield (
            f"the key of the certificate {file} is of a kind that TLS clients do not take:"
            " RSA, or EC with one of the curves P-256, P-384 and P-521, is taken by all"
        )
    for number, (one, issuer) in enumerate(pairwise(chain), 2):
        if one.issuer != issuer.subject and one != issuer:
            yield f"the chain in {file} is in the wrong order: certificate {number} has not issued the one before it"
            return


def _read(path: Path) -> bytes:
    try:
        # A pipe would block, and could not be read again at a reload.
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadCertificate(f"{path} is not a regular file")
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as fault:
        raise BadCertificate(f"{path}: {os.strerror(fault.errno or 0)}") from None
    if len(text) > _LARGEST:
        raise BadCertificate(f"{path} has more than {_LARGEST} bytes, the limit for a certificate or a key")
    return text


def _diagnosis(certificate: Path, key: Path, text: bytes, key_text: bytes, reason: str) -> str:
    """Return why OpenSSL cannot use these two files, whose reason alone says little."""
    found, of_key = blocks(text), blocks(key_text)
    if not _certificates(found):
        if _has_key(found) and _certificates(of_key):
            return (
                f"the two files are swapped: {certificate} holds the private key, and {key} the certificate"
            )
        return _why_not("certificate", certificate, text, found)
    try:
        chain = _chain(found)
    except ValueError:
        return f"a certificate in {certificate} is damaged"
    if not _is_readable(certificate):
        return (
            f"OpenSSL cannot read the certificate {certificate}: a PEM block has no blank lines,"
            " and each of its lines ends with LF or CR LF"
        )
    if not _has_key(of_key):
        return _why_not("private key", key, key_text, of_key)
    if reason in _MISMATCH:
        return _mismatch(certificate, key, chain)
    words = reason.lower().replace("_", " ")
    if "too small" in words or "too weak" in words:
        return (
            f"OpenSSL on this machine finds the certificate {certificate} or the key {key} too weak: {words}"
        )
    return f"the private key in {key} is damaged, or of a kind that OpenSSL does not know" + (
        words and f": {words}"
    )


def _is_readable(certificate: Path) -> bool:
    """Return whether OpenSSL itself finds certificates in it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except (OSError, ssl.SSLError):
        return False
    return True


def _mismatch(certificate: Path, key: Path, chain: Sequence[Certificate]) -> str:
    if any(chain[0].subject == one.issuer != one.subject for one in chain[1:]):
        return (
            f"the chain in {certificate} is in the wrong order: it begins with a certificate that has issued another of it,"
            f" to which the key {key} does not belong; the server's own certificate comes first"
        )
    return f"the key {key} does not belong to the certificate {certificate}"


def _certificates(found: Sequence[Block]) -> list[Block]:
    return [block for block in found if block.label in _CERTIFICATES]


def _chain(found: Sequence[Block]) -> tuple[Certificate, ...]:
    return tuple(read_certificate(block.data) for block in _certificates(found))


def _has_key(found: Sequence[Block]) -> bool:
    return any(block.label.endswith("PRIVATE KEY") and block.label not in _MISTAKEN for block in found)


def _encrypted(key: Path) -> str:
    return (
        f"the key {key} is encrypted, and no passphrase is asked for;"
        f" openssl pkey -in {key} -out FILE writes one that is not, with the mode of your umask"
    )


def _why_not(what: str, path: Path, text: bytes, found: Sequence[Block]) -> str:
    """Return why a file holds no certificate, or no key."""
    if not text.strip():
        return f"{path} is empty"
    if text.startswith(_DER) and (b"\0" in text or not text.isascii()):
        tool = "openssl x509" if what == "certificate" else "openssl pkey"
        return (
            f"{path} is in the binary form DER (or PKCS #12), and PEM is needed;"
            f" {tool} -inform DER -in {path} -out FILE converts it"
        )
    for block in found:
        if block.label in _MISTAKEN:
            return f"{path} holds {_MISTAKEN[block.label]}, and no {what}"
        if block.label in _CERTIFICATES:
            return f"{path} holds a certificate, and no {what}"
    if _has_key(found):
        return f"{path} holds a private key, and no {what}"
    if found:
        return f"{path} holds a block {found[0].label!r}, and no {what}"
    if b"-\0-\0" in text:
        return f"{path} is in UTF-16, as some programs for Windows write it, and PEM is ASCII"
    if _INDENTED.search(text):
        return f"the PEM block in {path} is indented; each of its lines must begin without a space"
    if b"-----\\n" in text:
        return f"the lines of the PEM block in {path} end with the two characters \\n, and must end with a line feed"
    if b"-----BEGIN " in text:
        return f"the PEM block in {path} is damaged or cut off"
    return f"{path} holds no {what} in the form PEM, which has a line -----BEGIN {what.upper()}-----"
