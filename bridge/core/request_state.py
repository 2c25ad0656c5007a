"""Sign and verify `requestState` (MCP 2026-07-28 basic/patterns/mrtr, SEP-2322). Pure.

The state is signed, not encrypted: the client can read it. It cannot be changed, and it is valid only for the same principal,
method, target and arguments. The key is random for each run of the daemon, so no state is valid after a restart.

A state consists of a tag, a check value of the arguments, the name of a server process, a colon, and the inner state. The tag
covers all but the arguments, so the cost to reject a forged state does not depend on their size.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

import msgspec

# The error text for a `requestState` that no call has, or that belongs to another one.
INVALID_STATE: Final = "Invalid or expired requestState"

# The size of a tag and of a check value (bytes).
_TAG: Final = 24
# The same in base64, without padding because 24 is a multiple of three (characters).
_TEXT: Final = _TAG * 4 // 3

# Arguments up to this size are compared as JSON values (bytes).
_COMPARED: Final = 256 * 1024

_decode = msgspec.json.Decoder().decode
_sorted = msgspec.json.Encoder(order="sorted").encode


def binding(principal: str, method: str, target: str) -> bytes:
    """Return the bytes that a state is bound to, beside the arguments."""
    return b"\0".join((principal.encode(), method.encode(), target.encode("utf-8", "surrogatepass")))


def _canonical(raw: bytes) -> bytes:
    # Larger arguments are compared byte for byte, because sorting them would delay all other work of the event loop.
    if not raw or len(raw) > _COMPARED:
        return raw
    try:
        return _sorted(_decode(raw))
    # An escaped lone surrogate is valid JSON (RFC 8259 section 8.2) and cannot be decoded.
    except (ValueError, RecursionError):
        return raw


class StateSigner:
    """Signs and verifies states with one secret key. Arguments are raw JSON, compared as values.

    `process` is the name of the server process that has the call, without a colon. It is part of a state.
    """

    def __init__(self, key: bytes, process: str = "") -> None:
        self._key = key
        self._process = process

    def derive(self, purpose: bytes) -> "StateSigner":
        """Return a signer with a key derived for this purpose. Neither accepts states of the other."""
        return StateSigner(hmac.digest(self._key, purpose, "sha256"), self._process)

    def for_process(self, process: str) -> "StateSigner":
        """Return a signer with the same key for the states of another server process."""
        return StateSigner(self._key, process)

    def sign(self, bound_to: bytes, arguments: bytes, inner: str) -> str:
        """Return the state that the client gets."""
        check = self._check(arguments)
        placed = f"{self._process}:{inner}"
        return self._tag(bound_to, check, placed) + check + placed

    def process_of(self, bound_to: bytes, sealed: str) -> str | None:
        """Return the server process of a state, None if its tag is wrong. The cost does not depend on the arguments."""
        tag, check, placed = sealed[:_TEXT], sealed[_TEXT : 2 * _TEXT], sealed[2 * _TEXT :]
        return placed.partition(":")[0] if _same(tag, self._tag(bound_to, check, placed)) else None

    def verify(self, bound_to: bytes, arguments: Callable[[], bytes], sealed: str) -> str | None:
        """Return the inner state, None if the state is forged or bound to another call.

        `arguments` is called only if the tag is right.
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
