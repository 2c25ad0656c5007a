"""Load the TLS certificate of the listener, and find the reasons why clients would refuse it.

Loading blocks, so the event loop never does it. OpenSSL never prompts for a passphrase.
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
from ...validators.counted import counted
from ...validators.x509 import Block, Certificate, blocks, read_certificate

# The largest file of certificates or a key; a chain has a few KiB (bytes).
_LARGEST: Final = 1024 * 1024
# The PEM labels that OpenSSL accepts for a certificate (RFC 7468).
_CERTIFICATES: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})
# Other PEM blocks that are used by mistake, by their label.
_MISTAKEN: Final = {
    "CERTIFICATE REQUEST": "a certificate request, which an authority must sign first",
    "NEW CERTIFICATE REQUEST": "a certificate request, which an authority must sign first",
    "PUBLIC KEY": "a public key",
    "OPENSSH PRIVATE KEY": "a key of OpenSSH",
    "PKCS7": "a certificate in the form of PKCS #7",
    "EC PARAMETERS": "parameters of a key only",
}
# The tag of a sequence in DER (X.690), with which binary certificates and keys begin.
_DER: Final = b"\x30"
# A PEM block whose lines begin with spaces, as in YAML.
_INDENTED: Final = re.compile(rb"^[ \t]+-----BEGIN ", re.MULTILINE)
# The reasons of OpenSSL for a key of another pair; NO_CERTIFICATE_ASSIGNED for a key of another kind.
_MISMATCH: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})


class BadCertificate(Exception):
    """Raised for a certificate or key that cannot be used. The text names the file and the reason."""


@attrs.frozen
class Loaded:
    """A usable certificate. `chain` is empty where OpenSSL can read it and `validators.x509` cannot."""

    file: Path
    chain: tuple[Certificate, ...]
    context: ssl.SSLContext
    # The SHA-256 of the certificate (hexadecimal), or empty if it cannot be read.
    fingerprint: str = ""

    @property
    def until(self) -> datetime | None:
        """Return when the first certificate of the chain expires, or None if it cannot be read."""
        return min((one.not_after for one in self.chain), default=None)

    @property
    def expires(self) -> str:
        """Return `until` in ISO 8601, or an empty string."""
        return self.until.isoformat() if self.until else ""

    @property
    def summary(self) -> str:
        """Return a sentence with the end of validity and the hosts."""
        until, hosts = self.until, ", ".join(self.chain[0].hosts) if self.chain else ""
        return f"the certificate {self.file} is valid until {_shown(until) if until else 'an unknown time'}, for {hosts}"

    def faults(self, ahead: timedelta = timedelta(), now: datetime | None = None) -> list[str]:
        """Return the reasons why clients refuse it now, or will within `ahead`."""
        return [*_faults(self.file, self.chain, now or datetime.now(UTC), ahead)]


@attrs.frozen
class CertificateFiles:
    """The files of a listener: its certificate and key, and the authorities of client certificates, if they are requested."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    requires_certificate: bool = False


def load(files: CertificateFiles) -> Loaded:
    """Load a certificate chain and its key. Blocks. Raises BadCertificate."""
    certificate, key = files.certificate, files.key
    text, key_text = _read(certificate), _read(key)
    authorities = "" if files.client_ca is None else _authorities(files.client_ca)
    try:
        context = tls_context(certificate, key, authorities, requires_certificate=files.requires_certificate)
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


def _authorities(path: Path) -> str:
    """Return the certificates of the authorities of clients, in PEM. Raises BadCertificate."""
    text = _read(path)
    if not _certificates(blocks(text)):
        raise BadCertificate(_why_not("certificate", path, text, blocks(text)))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text.decode("ascii"))
    except (UnicodeDecodeError, ssl.SSLError):
        raise BadCertificate(f"a certificate in {path} is damaged") from None
    return text.decode("ascii")


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
            yield f"{which} expires on {_shown(one.not_after)}, in {counted(days, 'day')}"
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
        # A pipe could block, and cannot be read again at a reload.
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
    """Return why OpenSSL cannot use these two files, in more detail than the reason of OpenSSL."""
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
        return f"OpenSSL on this machine refuses the certificate {certificate} or the key {key} as too weak: {words}"
    return f"the private key in {key} is damaged, or of a type that OpenSSL does not support" + (
        words and f": {words}"
    )


def _is_readable(certificate: Path) -> bool:
    """Return whether OpenSSL finds certificates in a file."""
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
        f"the key {key} is encrypted, which is not supported;"
        f" openssl pkey -in {key} -out FILE decrypts it (mind the umask)"
    )


def _why_not(what: str, path: Path, text: bytes, found: Sequence[Block]) -> str:
    """Return why a file has no certificate, or no key."""
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
