"""Structural limits on methods, names, URIs and media types, which never rewrite content and never refuse legal MCP.

Not here: anything that judges what a text means. Lists of "dangerous characters" refuse honest content and stop nobody
(the seed's rows on false positives: descriptions with `<form>`, `conclusion=success`, `100%2525`).
"""

import re
from typing import Final

from .limits import Limits
from .rejection import INVALID_PARAMS, INVALID_REQUEST, Rejection

# C0, DEL and C1 controls.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_CONTROL_OR_SPACE: Final = re.compile("[\x00-\x20\x7f-\x9f]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
# A URI of these schemes is a program for whoever opens it, and no resource.
_PROGRAMS: Final = frozenset({"javascript", "vbscript"})
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_RESTRICTED: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MIME: Final = re.compile(
    rf"{_RESTRICTED}/{_RESTRICTED}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|\"(?:[^\"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*\"))*\Z"
)


def check_method(method: str, limits: Limits) -> None:
    """Raise Rejection -32600 for a method that is empty, too long, or holds white space or control characters."""
    if not 0 < len(method) <= limits.method:
        raise Rejection(
            400, INVALID_REQUEST, f"a method of {len(method)} characters; the limit is 1 to {limits.method}"
        )
    if not method.isascii() or " " in method or not method.isprintable():
        if _CONTROL_OR_SPACE.search(method):
            raise Rejection(400, INVALID_REQUEST, "a method holds no white space and no control characters")


def check_name(name: str, limits: Limits) -> None:
    """Raise Rejection -32602 for the name of a tool or prompt that is empty, too long, or holds control characters."""
    if not 0 < len(name) <= limits.name:
        raise Rejection(
            400, INVALID_PARAMS, f"a name of {len(name)} characters; the limit is 1 to {limits.name}"
        )
    if _CONTROL.search(name):
        raise Rejection(400, INVALID_PARAMS, "a name holds no control characters")


def check_uri(uri: str, limits: Limits) -> None:
    """Raise Rejection -32602 for a resource URI without a scheme, too long, or with spaces or control characters."""
    size = len(uri.encode("utf-8", "surrogatepass"))
    if not 0 < size <= limits.uri:
        raise Rejection(400, INVALID_PARAMS, f"a URI of {size} bytes; the limit is 1 to {limits.uri}")
    scheme = _SCHEME.match(uri)
    if scheme is None or _CONTROL_OR_SPACE.search(uri):
        raise Rejection(
            400, INVALID_PARAMS, "a URI begins with a scheme and holds no white space or control characters"
        )
    if scheme[1].lower() in _PROGRAMS:
        raise Rejection(400, INVALID_PARAMS, "a URI of this scheme is not a resource")


def is_mime(value: str) -> bool:
    """Whether a text is a media type with optional parameters (RFC 6838, RFC 9110 section 8.3.1)."""
    return _MIME.match(value) is not None
