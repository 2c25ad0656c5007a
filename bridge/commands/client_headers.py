"""The request headers that a user chooses for `connect`, and the one that names a token.

The daemon passes to a server what its `env_from_header` names, and nothing else.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ...transports.options import Headers
from ..config.child_environment import BadEnvironment
from ..config.credentials import BadCredential, read_private
from ..config.header_names import header_name

# A value that the daemon accepts for a variable. Leading and trailing white space is no part of a value (RFC 9110 section 5.5).
_VALUE: Final = re.compile(r"[ -~]*\Z")
_WHITE_SPACE: Final = " \t"
_TOKEN: Final = b"Mcp-Token-Name"


class BadHeader(ValueError):
    """A header that cannot be sent. The text names it, and never shows its value."""


def read_header(text: str) -> tuple[bytes, bytes]:
    """Return the name and the value of `NAME: VALUE`. Raises BadHeader."""
    name, colon, value = text.partition(":")
    if not colon:
        raise BadHeader("a header must be NAME: VALUE")
    try:
        header_name(name)
    except BadEnvironment as fault:
        raise BadHeader(str(fault)) from None
    value = value.strip(_WHITE_SPACE)
    if not _VALUE.match(value):
        raise BadHeader(f"the value of the header {name} must hold visible ASCII and spaces only")
    return name.encode(), value.encode()


def read_header_file(path: Path) -> Headers:
    """Return the headers in the lines of a file of mode 0600. Empty lines and lines that begin with # are left out.

    Raises BadCredential.
    """
    content = read_private(path, "header file")
    found: list[tuple[bytes, bytes]] = []
    for number, line in enumerate(content.decode(errors="replace").split("\n"), 1):
        text = line.removesuffix("\r")
        if not text.strip() or text.startswith("#"):
            continue
        try:
            found.append(read_header(text))
        except BadHeader as fault:
            raise BadCredential(f"the header file {path}, line {number}: {fault}") from None
    return tuple(found)


def check_once(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Check that no header is given twice, because a server would get both values as one. Raises BadHeader."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name.lower() in seen:
            raise BadHeader(f"the header {name.decode()} is given twice")
        seen.add(name.lower())


def named_headers(token: str, chosen: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers for the daemon beside Mcp-Cwd. `token` is the name of a token, or empty for the owner."""
    return [*([(_TOKEN, token.encode())] if token else []), *chosen]
