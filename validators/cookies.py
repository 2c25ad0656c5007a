"""Read the cookies of a request (RFC 6265 section 5.4)."""

import re
from typing import Final

# HTTP/2 allows one field for each cookie (RFC 9113 section 8.2.3), which are then joined with a comma.
_BETWEEN: Final = re.compile(r"[;,]")
# How much of a Cookie header is read (characters). The head of a request has a smaller limit, `header_block`.
_LONGEST: Final = 64 * 1024


def cookie_values(header: str | None, name: str, length: int) -> list[str]:
    """Return the different values of this length that the cookies of this name have, in the order of the Cookie header.

    A browser may hold several cookies of one name, for several paths or from other ports of the host, in any order. Each of
    them takes more than `length` of the characters that are read, which limits their number.
    """
    found: dict[str, None] = {}
    for pair in _BETWEEN.split((header or "")[:_LONGEST]):
        key, _, value = pair.strip(" \t").partition("=")
        if key == name and len(value) == length:
            found[value] = None
    return list(found)
