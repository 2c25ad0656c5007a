"""requestState under our seal: only who was given it, and only for the same call, can hand it back (digest 1.15, 8.5).

What is inside is no secret from the client, it may be the server's own text; but it cannot be changed, or used by another
principal, for another method or target, or with other arguments. The key lives as long as the process: after a
restart no state is accepted any more.
"""

import base64
import hashlib
import hmac
from typing import Final

import msgspec

_TAG: Final = 24
# In base64, without padding, since 24 is a multiple of three.
_TEXT: Final = _TAG * 4 // 3

_decode = msgspec.json.Decoder().decode
_sorted = msgspec.json.Encoder(order="sorted").encode


def binding(principal: str, method: str, target: str, arguments: bytes) -> bytes:
    """What a state is tied to. `arguments` is raw JSON, compared by its meaning."""
    return b"\0".join(
        (principal.encode(), method.encode(), target.encode("utf-8", "surrogatepass"), _canonical(arguments))
    )


def _canonical(raw: bytes) -> bytes:
    if not raw:
        return b""
    try:
        return _sorted(_decode(raw))
    except (
        msgspec.DecodeError,
        UnicodeError,
    ):  # half a surrogate pair, as an escape: legal JSON, but no text
        return raw


class Seal:
    """Seals and opens states under one key, which nobody else has."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def within(self, purpose: bytes) -> "Seal":
        """Another seal, always the same for this purpose, that opens none of ours."""
        return Seal(hmac.digest(self._key, purpose, "sha256"))

    def seal(self, bound_to: bytes, inner: str) -> str:
        """The text that the client gets."""
        return self._tag(bound_to, inner) + inner

    def open(self, bound_to: bytes, sealed: str) -> str | None:
        """What is inside, or None where the seal is broken or belongs to something else."""
        tag, inner = sealed[:_TEXT], sealed[_TEXT:]
        expected = self._tag(bound_to, inner)
        if not hmac.compare_digest(tag.encode("utf-8", "surrogatepass"), expected.encode()):
            return None
        return inner

    def _tag(self, bound_to: bytes, inner: str) -> str:
        text = hashlib.sha256(bound_to).digest() + inner.encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(hmac.digest(self._key, text, "sha256")[:_TAG]).decode()
