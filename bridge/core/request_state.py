"""Sign and verify `requestState` (MCP 2026-07-28 basic/patterns/mrtr, SEP-2322). Pure.

The state is signed, not encrypted: the client can read it. It cannot be changed, and it is valid only for the same principal,
method, target and arguments. The key is random for each run of the daemon, so no state is valid after a restart, unless
several daemons share keys (`SharedKeys`).

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


class SharedKeys:
    """Keys that several daemons have in common, so that each accepts the states of the others. A reload replaces them.

    The first key signs, and each of them verifies, so that a key can be replaced in one daemon after another.
    """

    def __init__(self, keys: tuple[bytes, ...] = ()) -> None:
        self.keys = keys


class StateSigner:
    """Signs and verifies states. Arguments are raw JSON, compared as values.

    `key` is used while `shared` has no keys. `process` is the name of the server process that has the call, without a colon. It
    is part of a state. The keys in use are derived for each of `purposes` in turn.
    """

    def __init__(
        self,
        key: bytes,
        process: str = "",
        *,
        shared: SharedKeys | None = None,
        purposes: tuple[bytes, ...] = (),
    ) -> None:
        self._own = (key,)
        self._process = process
        self._shared = shared
        self._purposes = purposes
        # The keys from which `_derived` was made.
        self._origin: tuple[bytes, ...] = ()
        self._derived: tuple[bytes, ...] = ()

    def derive(self, purpose: bytes) -> "StateSigner":
        """Return a signer with keys derived for this purpose. Neither accepts states of the other."""
        return StateSigner(
            self._own[0], self._process, shared=self._shared, purposes=(*self._purposes, purpose)
        )

    def for_process(self, process: str) -> "StateSigner":
        """Return a signer with the same keys for the states of another server process."""
        return StateSigner(self._own[0], process, shared=self._shared, purposes=self._purposes)

    def sign(self, bound_to: bytes, arguments: bytes, inner: str) -> str:
        """Return the state that the client gets."""
        key = self._keys()[0]
        check = _check(key, arguments)
        placed = f"{self._process}:{inner}"
        return _tag(key, bound_to, check, placed) + check + placed

    def process_of(self, bound_to: bytes, sealed: str) -> str | None:
        """Return the server process of a state, None if its tag is wrong. The cost does not depend on the arguments."""
        return None if self._key_of(bound_to, sealed) is None else sealed[2 * _TEXT :].partition(":")[0]

    def verify(self, bound_to: bytes, arguments: Callable[[], bytes], sealed: str) -> str | None:
        """Return the inner state, None if the state is forged or bound to another call.

        `arguments` is called only if the tag is right.
        """
        key = self._key_of(bound_to, sealed)
        if key is None or not _same(sealed[_TEXT : 2 * _TEXT], _check(key, arguments())):
            return None
        return sealed[2 * _TEXT :].partition(":")[2]

    def _key_of(self, bound_to: bytes, sealed: str) -> bytes | None:
        """Return the key with which a state was signed, None if it was signed with another."""
        tag, check, placed = sealed[:_TEXT], sealed[_TEXT : 2 * _TEXT], sealed[2 * _TEXT :]
        for key in self._keys():
            if _same(tag, _tag(key, bound_to, check, placed)):
                return key
        return None

    def _keys(self) -> tuple[bytes, ...]:
        origin = (self._shared.keys if self._shared else ()) or self._own
        if origin is not self._origin:
            self._derived = tuple(_derived(key, self._purposes) for key in origin)
            self._origin = origin
        return self._derived


def _derived(key: bytes, purposes: tuple[bytes, ...]) -> bytes:
    for purpose in purposes:
        key = hmac.digest(key, purpose, "sha256")
    return key


def _tag(key: bytes, bound_to: bytes, check: str, inner: str) -> str:
    covered = hashlib.sha256(bound_to).digest() + (check + inner).encode("utf-8", "surrogatepass")
    return _mac(key, b"state", covered)


def _check(key: bytes, arguments: bytes) -> str:
    return _mac(key, b"arguments", hashlib.sha256(_canonical(arguments)).digest())


def _mac(key: bytes, purpose: bytes, text: bytes) -> str:
    tag = hmac.digest(key, purpose + b"\0" + text, "sha256")[:_TAG]
    return base64.urlsafe_b64encode(tag).decode()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
