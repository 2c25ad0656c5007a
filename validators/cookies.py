"""Read the cookies of a request (RFC 6265 section 5.4)."""

import re
from typing import Final

# HTTP/2 allows one field for each cookie (RFC 9113 section 8.2.3), which are then joined with a comma.
_BETWEEN: Final = re.compile(r"[;,]")
# A browser may hold several cookies of one name, for several paths or from other ports of the host. More are not examined.
_MOST: Final = 8


def cookie_values(header: str | None, name: str) -> list[str]:
    """Return the values of the cookies with this name, at most `_MOST`, in the order of the Cookie header."""
    found: list[str] = []
    for pair in _BETWEEN.split(header or ""):
        key, _, value = pair.strip(" \t").partition("=")
        if key == name and len(found) < _MOST:
            found.append(value)
    return found
