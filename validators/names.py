"""Check the structure of names in messages: methods, tools, prompts, URIs, progress tokens.

Names are not rewritten or decoded, and no character is refused as "dangerous": `<form>`, `x/../../y` and `100%2525` are legal
data. A refused name is over the limit, or would break a log line, a header or the parser of a peer.
"""

import re
from typing import Final

from .limits import Limits
from .rejection import INVALID_PARAMS, INVALID_REQUEST, Rejection

# Control characters (Unicode Cc), and halves of surrogate pairs, which have no UTF-8.
_CONTROL: Final = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_CONTROLS: Final = re.compile(rf"[{_CONTROL}]")
_CONTROLS_AND_SPACES: Final = re.compile(rf"[{_CONTROL}\s]")
# A string or an integer (MCP 2025-11-25 basic/utilities/progress).
_PROGRESS_TOKEN: Final = re.compile(rb'-?(?:0|[1-9][0-9]*)\Z|"')


def check_method(method: str, limits: Limits) -> None:
    """Raise Rejection for a method that is empty, too long, or has white space or control characters in it."""
    if not 0 < len(method) <= limits.method:
        raise Rejection(400, INVALID_REQUEST, _length("a method", len(method), limits.method, "characters"))
    if _CONTROLS_AND_SPACES.search(method):
        raise Rejection(400, INVALID_REQUEST, "a method has no white space and no control characters")


def check_name(name: str, limits: Limits) -> None:
    """Raise Rejection for the name of a tool or prompt that is empty, too long, or has control characters in it."""
    if not 0 < len(name) <= limits.name:
        raise Rejection(400, INVALID_PARAMS, _length("a name", len(name), limits.name, "characters"))
    if not name.isprintable() and _CONTROLS.search(name):
        raise Rejection(400, INVALID_PARAMS, "a name has no control characters")


def check_uri(uri: str, limits: Limits) -> None:
    """Raise Rejection for a URI that is empty, too long, or has control characters in it. Its syntax is not checked."""
    size = len(uri) if uri.isascii() else len(uri.encode("utf-8", "surrogatepass"))
    if not 0 < size <= limits.uri:
        raise Rejection(400, INVALID_PARAMS, _length("a URI", size, limits.uri, "bytes"))
    if not uri.isprintable() and _CONTROLS.search(uri):
        raise Rejection(400, INVALID_PARAMS, "a URI has no control characters")


def check_progress_token(token: bytes, limits: Limits) -> None:
    """Raise Rejection for a progress token, as raw JSON text, of another type or over the limit of an id."""
    if not _PROGRESS_TOKEN.match(token) or len(token) > limits.id + 2:
        text = f"a progress token is a string or an integer of at most {limits.id} bytes"
        raise Rejection(400, INVALID_PARAMS, text)


def _length(what: str, length: int, limit: int, unit: str) -> str:
    return f"{what} has 1 to {limit} {unit}, this one has {length}"
