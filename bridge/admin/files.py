"""The static files of the page, and the headers that restrict what the browser does with them.

The files are part of the package. No other file can be named, and none is read before the first request.
"""

from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from ...transports.options import Headers

_FOLDER: Final = Path(__file__).with_name("static-files")
# No inline script or style, nothing of another origin, and no string becomes HTML or script (Trusted Types).
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self';"
    b" frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
PROTECTION: Final[Headers] = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", _POLICY),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
)
_TYPES: Final = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
# The pages, which have a path of their own.
INDEX: Final = "index.html"
OPEN: Final = "open.html"
NAMES: Final = ("admin.css", "icon.svg", "open.js", "admin.js", "api.js", "dom.js", "views.js")


class StaticFile(NamedTuple):
    """A file of the page, and its media type."""

    media_type: bytes
    content: bytes


@cache
def static_file(name: str) -> StaticFile:
    """Return one of the files of the page. Blocks at the first call for each file."""
    path = _FOLDER / name
    return StaticFile(_TYPES[path.suffix], path.read_bytes())
