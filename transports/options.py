"""What the transports are told, as plain data: whoever only reads a configuration needs no event loop for it."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

Headers = tuple[tuple[bytes, bytes], ...]
# The media type of JSON-RPC messages and of errors.
JSON: Final = b"application/json"

# The principals of who has shown no credential yet, and of who came over the Unix socket.
ANONYMOUS: Final = ""
LOCAL: Final = "local"

# An encoded slash, or a segment of dots.
_UNCLEAR: Final = re.compile(r"%2f|/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)


def spellings(path: str) -> tuple[str, ...]:
    """Return the spellings of the path of an endpoint: without a slash at its end, and with one."""
    if "//" in path or path in ("", "/"):
        return (path,)
    bare = path.removesuffix("/")
    return bare, f"{bare}/"


def both_spellings(paths: Iterable[str]) -> frozenset[str]:
    """Return all spellings of all these paths."""
    return frozenset(spelling for path in paths for spelling in spellings(path))


def is_discovery(path: str) -> bool:
    """Return whether clients look here for OAuth metadata, or register (RFC 8414, RFC 9728, RFC 7591).

    A path of another spelling, with an empty segment, a dot segment or an encoded slash, is none.
    """
    segments = path.removesuffix("/").split("/")[1:]
    if ".well-known" not in segments and segments != ["register"]:
        return False
    return "" not in segments and not _UNCLEAR.search(path)


@attrs.frozen
class Paths:
    """Where one server's transports are; an empty path switches that transport off."""

    mcp: str = "/mcp"
    sse: str = "/sse"
    messages: str = "/messages"
    ws: str = "/ws"

    @classmethod
    def below(cls, name: str) -> "Paths":
        """The paths of a server by its name (DESIGN section 5)."""
        root = f"/servers/{name}"
        return cls(f"{root}/mcp", f"{root}/sse", f"{root}/messages", f"{root}/ws")


class SpawnFailed(Exception):
    """The server cannot be started; the text names the program and the reason."""


@attrs.frozen
class Launch:
    """What to execute, and in which surroundings. `env` is all of the child's environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = attrs.field(repr=False)
    cwd: str | None = None
    # None: that with which the daemon was started.
    umask: int | None = None
    # By their names in getrlimit(2), lower case and without RLIMIT_.
    rlimits: Mapping[str, int] = attrs.field(factory=dict[str, int])
    private_tmp: bool = False
