"""The working directory of a client in the request header Mcp-Cwd. Pure.

The value is an absolute path. Bytes outside of visible ASCII, and the percent sign, are percent-encoded, as in a URL
(RFC 3986 section 2.1). It is decoded once, and no character but the slash has a meaning.
"""

import re
from typing import Final

from .rejection import INVALID_REQUEST, Rejection

# In lower case, as headers are stored.
DIRECTORY_HEADER: Final = "mcp-cwd"
# PATH_MAX of linux/limits.h without the zero byte at the end.
LONGEST_PATH: Final = 4095
# A space inside is accepted, because the path then still has one reading.
_ENCODED: Final = re.compile(rb"/(?:[ -$&-~]|%[0-9A-Fa-f]{2})*+\Z")
_ESCAPE: Final = re.compile(rb"%(..)")
_PLAIN: Final = frozenset(range(0x21, 0x7F)) - {ord("%")}


def encode_path(path: bytes) -> str:
    """Return the value of the header for an absolute path."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in path)


def decode_path(value: str) -> bytes:
    """Return the path in a value of the header. Raises Rejection 400."""
    encoded = value.encode("latin-1")
    if not _ENCODED.match(encoded):
        raise _bad(
            "must be an absolute path, with %XX for each percent sign and each byte that is not visible ASCII"
        )
    path = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), encoded)
    if b"\0" in path:
        raise _bad("holds a zero byte, which no path has")
    if len(path) > LONGEST_PATH:
        raise _bad(f"holds a path of {len(path)} bytes, and the limit is {LONGEST_PATH}")
    return path


def _bad(reason: str) -> Rejection:
    return Rejection(400, INVALID_REQUEST, f"the header Mcp-Cwd {reason}")
