"""Search JSON text for a string. Pure.

A message of a megabyte has few strings as a rule, one of them long. Python finds a single byte in it about twelve times as
fast as a longer text, and one search must not hold the event loop for long.
"""

from typing import Final

# Strings that are looked at one by one.
_MOST: Final = 64
# From this size (bytes) on, that is faster.
_LARGE: Final = 16 * 1024


def occurs(quoted: bytes, text: bytes, start: int = 0) -> bool:
    """Return whether `quoted`, which begins with a quotation mark, is in the text from `start` (an index) on."""
    if len(text) < _LARGE:
        # `rfind` is faster than `find`.
        return text.rfind(quoted, start) >= 0
    at = text.find(b'"', start)
    for _ in range(_MOST):
        if at < 0:
            return False
        if text.startswith(quoted, at):
            return True
        at = text.find(b'"', at + 1)
    return at >= 0 and text.rfind(quoted, at) >= 0
