"""Find addresses that a browser runs as a script, or that name another refused scheme. Pure.

The scheme is read as a browser reads it (https://url.spec.whatwg.org/#concept-basic-url-parser): without leading control
characters and spaces, and without tabs and line ends at any place. Other white space and characters that are not seen
are ignored too, because a client may remove them before it passes the address on.
"""

import re
import unicodedata
from collections.abc import Collection
from typing import Final

# Scheme names, and media types of data URLs whose content runs a script in a browser.
DEFAULT_SCHEMES: Final = (
    "javascript",
    "vbscript",
    "data:text/html",
    "data:application/xhtml+xml",
    "data:image/svg+xml",
    "data:text/xml",
    "data:application/xml",
)
# An entry of a list of refused schemes.
PATTERN: Final = r"^(?:[a-z][a-z0-9+.-]*|data:[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)\Z"
FORM: Final = "a scheme in lower case such as javascript, or data:TYPE/SUBTYPE"
# Schemes whose address is another address.
_WRAPPERS: Final = frozenset({"view-source", "feed", "jar", "pcast"})
# The part of an address that is read (characters), and how much of it must be left of an address that is longer.
_MOST_READ: Final = 8 * 1024
_LEAST_LEFT: Final = 1024
_MOST_WRAPPERS: Final = 8
# The result for an address whose beginning has thousands of characters that are ignored.
UNREADABLE: Final = "thousands of characters that are not seen"
_EXPRESSION: Final = re.compile(r"\{[^{}]*\}")
_CONTROLS_AND_SPACES: Final = re.compile(r"[\x00-\x20\x7f-\xa0]++")
# Categories of characters: controls, format, surrogates, unassigned, private use, spaces and separators.
_IGNORED: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zs", "Zl", "Zp"})
_DATA: Final = "data"
# The media type of a data URL without one (RFC 2397).
_PLAIN: Final = "text/plain"


def refused_scheme(address: str, refused: Collection[str], *, icon: bool = False) -> str:
    r"""Return the entry of `refused` that an address matches, or an empty string.

    A data URL is legal as the source of an icon if it is an image, because a browser runs no script of an image.

    >>> refused_scheme(" Java\tScript:alert(1)", {"javascript"}), refused_scheme("https://example.com/", {"javascript"})
    ('javascript', '')
    >>> image = "data:image/svg+xml,<svg/>"
    >>> refused_scheme(image, {"data:image/svg+xml"}), refused_scheme(image, {"data:image/svg+xml"}, icon=True)
    ('data:image/svg+xml', '')
    """
    scheme = ""
    rest = _seen(address)
    if rest is None:
        return UNREADABLE
    for _ in range(_MOST_WRAPPERS):
        scheme, colon, rest = rest.partition(":")
        if not colon:
            return ""
        if scheme in refused and scheme != _DATA:
            return scheme
        if scheme == _DATA:
            return _refused_data(rest, refused, icon=icon)
        if scheme not in _WRAPPERS:
            return ""
    return scheme


def refused_template(template: str, refused: Collection[str]) -> str:
    """Return the entry of `refused` that a URI template matches, as it is or with empty expressions (RFC 6570)."""
    return refused_scheme(template, refused) or refused_scheme(_EXPRESSION.sub("", template), refused)


def _refused_data(rest: str, refused: Collection[str], *, icon: bool) -> str:
    media_type = re.split("[;,]", rest, maxsplit=1)[0] or _PLAIN
    if icon and media_type.startswith("image/"):
        return ""
    entry = f"{_DATA}:{media_type}"
    if entry in refused:
        return entry
    return _DATA if _DATA in refused else ""


def _seen(address: str) -> str | None:
    """Return the beginning of an address without the characters that are ignored, in lower case, or None if too few are left."""
    head = address[:_MOST_READ]
    if head.isascii() and head.isprintable() and " " not in head:
        return head.lower()
    address = _CONTROLS_AND_SPACES.sub("", address)
    seen = "".join(one for one in address[:_MOST_READ] if unicodedata.category(one) not in _IGNORED)
    if len(seen) < _LEAST_LEFT and len(address) > _MOST_READ:
        return None
    return seen.lower()
