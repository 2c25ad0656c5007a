"""Check media types by their grammar. Pure.

A media type is `type/subtype` with parameters (RFC 9110 section 8.3.1). Each name has at most 127 characters (RFC 6838
section 4.2). A parameter is needed for real types, as in `text/html;profile=mcp-app`.
"""

import re
from typing import Final

_WORD: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]"
_QUOTED: Final = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_MEDIA_TYPE: Final = re.compile(
    rf"{_WORD}{{1,127}}+/{_WORD}{{1,127}}+"
    rf"(?:[ \t]*+;[ \t]*+(?:{_WORD}++=(?:{_WORD}++|{_QUOTED}))?+)*+"
)
# A longer text is no media type (characters).
_LONGEST: Final = 1024


def is_media_type(text: str) -> bool:
    """Return whether a text is a media type, perhaps with parameters."""
    return len(text) <= _LONGEST and _MEDIA_TYPE.fullmatch(text) is not None
