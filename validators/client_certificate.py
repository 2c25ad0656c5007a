"""Read the names in a client certificate that TLS has verified. Pure.

A name has its kind in front, as OpenSSL writes it: `URI:`, `DNS:` and `email:` for a subjectAltName, and `CN:` for the common name
of the subject. Kinds are never mixed up, so that the DNS name of one certificate is not the common name of another.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import attrs

KINDS: Final = ("URI", "DNS", "email", "CN")
# The most names of one certificate that are read.
_MOST: Final = 64


@attrs.frozen
class PeerCertificate:
    """The names of a verified client certificate, and the end of its validity (seconds since the epoch).

    `authorities` identifies the certificates of authorities by which it was verified.
    """

    names: frozenset[str]
    until: float
    authorities: bytes = b""


def read_peer_certificate(found: Mapping[str, Any] | None, authorities: bytes) -> PeerCertificate | None:
    """Return the certificate in the result of `SSLSocket.getpeercert`, or None where the peer has sent none."""
    if not found:
        return None
    names = [f"{kind}:{value}" for kind, value in found.get("subjectAltName", ()) if kind in KINDS]
    for relative in cast("Iterable[Iterable[tuple[str, str]]]", found.get("subject", ())):
        names += [f"CN:{value}" for kind, value in relative if kind == "commonName"]
    return PeerCertificate(
        frozenset(map(_spelled, names[:_MOST])), _end(found.get("notAfter", "")), authorities
    )


def _spelled(name: str) -> str:
    """Return a name in the form in which names are compared: the case of a DNS name makes no difference."""
    kind, _, value = name.partition(":")
    return f"{kind}:{value.lower()}" if kind == "DNS" else name


def _end(text: str) -> float:
    try:
        return datetime.strptime(text, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def check_name(text: str) -> str:
    """Return a name of the configuration in the form in which names are compared. Raises ValueError."""
    kind, colon, value = text.partition(":")
    if not colon or kind not in KINDS or not value or not value.isprintable():
        raise ValueError(f"must be KIND:NAME, where KIND is {', '.join(KINDS)}")
    return _spelled(text)
