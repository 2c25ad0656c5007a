"""requestState under our seal: only who was given it, and only for the same call, can hand it back (digest 1.15, 8.5).

What is inside is no secret from the client, it may be the server's own text; but it cannot be changed, or used by another
principal, for another method or target, or with other arguments. The key lives as long as the process: after a
restart no state is accepted any more.

A state is a tag, the check value of the arguments, and what is inside. The tag covers all but the arguments, so that a state
that was never given out is recognised at a cost that does not depend on their size.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

import msgspec

_TAG: Final = 24
# In base64, without padding, since 24 is a multiple of three.
_TEXT: Final = _TAG * 4 // 3

# Up to this size (bytes) arguments are compared by their meaning.
_COMPARED: Final = 256 * 1024

_decode = msgspec.json.Decoder().decode
_sorted = msgspec.json.Encoder(order="sorted").encode


def binding(principal: str, method: str, target: str) -> bytes:
    """What a state is tied to, beside the arguments."""
    return b"\0".join((principal.encode(), method.encode(), target.encode("utf-8", "surrogatepass")))


def _canonical(raw: bytes) -> bytes:
    # Large arguments are compared byte for byte: to sort them would hold up everybody.
    if not raw or len(raw) > _COMPARED:
        return raw
    try:
        return _sorted(_decode(raw))
    except (ValueError, RecursionError):  # half a surrogate pair, as an escape: legal JSON, but no text
        return raw


class StateSigner:
    """Seals and opens states under one key, which nobody else has. Arguments are raw JSON, compared by their meaning.

    `place` is the name of the server process that has the call, without a colon; a state carries it.
    """

    def __init__(self, key: bytes, process: str = "") -> None:
        self._key = key
        self._process = process

    def derive(self, purpose: bytes) -> "StateSigner":
        """Another seal, always the same for this purpose, that opens none of ours."""
        return StateSigner(hmac.digest(self._key, purpose, "sha256"), self._process)

    def for_process(self, process: str) -> "StateSigner":
        """Return a seal under the same key for the states of another place."""
        return StateSigner(self._key, process)

    def sign(self, bound_to: bytes, arguments: bytes, inner: str) -> str:
        """The text that the client gets."""
        check = self._check(arguments)
        placed = f"{self._process}:{inner}"
        return self._tag(bound_to, check, placed) + check + placed

    def process_of(self, bound_to: bytes, sealed: str) -> str | None:
        """Return the place of a state, None where the seal is broken. The cost does not depend on the arguments."""
        tag, check, placed = sealed[:_TEXT], sealed[_TEXT : 2 * _TEXT], sealed[2 * _TEXT :]
        return placed.partition(":")[0] if _same(tag, self._tag(bound_to, check, placed)) else None

    def verify(self, bound_to: bytes, arguments: Callable[[], bytes], sealed: str) -> str | None:
        """What is inside, or None where the seal is broken or belongs to something else.

        The arguments are fetched only if the state was given out for this binding.
        """
        tag, check, inner = sealed[:_TEXT], sealed[_TEXT : 2 * _TEXT], sealed[2 * _TEXT :]
        if not _same(tag, self._tag(bound_to, check, inner)) or not _same(check, self._check(arguments())):
            return None
        return inner.partition(":")[2]

    def _tag(self, bound_to: bytes, check: str, inner: str) -> str:
        covered = hashlib.sha256(bound_to).digest() + (check + inner).encode("utf-8", "surrogatepass")
        return self._mac(b"state", covered)

    def _check(self, arguments: bytes) -> str:
        return self._mac(b"arguments", hashlib.sha256(_canonical(arguments)).digest())

    def _mac(self, purpose: bytes, text: bytes) -> str:
        tag = hmac.digest(self._key, purpose + b"\0" + text, "sha256")[:_TAG]
        return base64.urlsafe_b64encode(tag).decode()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
