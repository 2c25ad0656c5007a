"""Options of the transports as plain data, so that commands that only read the configuration import no event loop."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

Headers = tuple[tuple[bytes, bytes], ...]
# The media type of JSON-RPC messages and errors.
JSON: Final = b"application/json"

# The principals of requests without a credential, and of requests over the Unix socket.
ANONYMOUS: Final = ""
LOCAL: Final = "local"

# An encoded slash, or a dot segment (RFC 3986 section 3.3).
_UNCLEAR: Final = re.compile(r"%2f|/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)


def spellings(path: str) -> tuple[str, ...]:
    """Return the path of an endpoint without and with a slash at its end."""
    if "//" in path or path in ("", "/"):
        return (path,)
    bare = path.removesuffix("/")
    return bare, f"{bare}/"


def both_spellings(paths: Iterable[str]) -> frozenset[str]:
    """Return each path without and with a slash at its end."""
    return frozenset(spelling for path in paths for spelling in spellings(path))


def is_discovery(path: str) -> bool:
    """Return whether a path is for OAuth metadata or client registration (RFC 8414, RFC 9728, RFC 7591).

    A path with an empty segment, a dot segment or an encoded slash is not.
    """
    segments = path.removesuffix("/").split("/")[1:]
    if ".well-known" not in segments and segments != ["register"]:
        return False
    return "" not in segments and not _UNCLEAR.search(path)


@attrs.frozen
class Paths:
    """Paths of the transports of one server. An empty path disables the transport."""

    mcp: str = "/mcp"
    sse: str = "/sse"
    messages: str = "/messages"
    ws: str = "/ws"
    pipe: str = "/pipe"

    @classmethod
    def below(cls, name: str) -> "Paths":
        """Return the paths of a server with this name."""
        return cls._at(f"/servers/{name}")

    @classmethod
    def of_aggregate(cls, name: str) -> "Paths":
        """Return the paths of a named aggregate."""
        return cls._at(f"/aggregates/{name}")

    @classmethod
    def _at(cls, root: str) -> "Paths":
        return cls(f"{root}/mcp", f"{root}/sse", f"{root}/messages", f"{root}/ws", f"{root}/pipe")


# Between the name of an aggregate and that of a server in a path by which the aggregate reaches the server.
_OF_MEMBERS: Final = re.compile(r"/aggregates/([^/]+)/members/[^/]+/ws/?")


def member_path(aggregate: str, server: str) -> str:
    """Return the path of the WebSocket by which the process of a named aggregate reaches a server. It is for that process only."""
    return f"/aggregates/{aggregate}/members/{server}/ws"


def aggregate_of(path: str) -> str:
    """Return the name of the aggregate whose process alone may use a path, empty for any other path."""
    found = _OF_MEMBERS.fullmatch(path)
    return "" if found is None else found[1]


class SpawnFailed(Exception):
    """The server cannot be started. The text names the program and the reason."""


@attrs.frozen
class Directory:
    """A directory as it was found at an absolute path without symbolic links, by device and inode.

    The path is decoded as file names are (os.fsdecode).
    """

    path: str
    device: int
    inode: int

    @property
    def shown(self) -> str:
        """The path for logs and JSON: a byte that is not UTF-8 is escaped."""
        return os.fsencode(self.path).decode(errors="backslashreplace")


@attrs.frozen
class Sandbox:
    """What a process may use beside its pipes. Paths are absolute, or WORKING_DIRECTORY.

    `level` is "basic", "landlock" or "bwrap". With "basic" only `network` has an effect.
    """

    level: str = "basic"
    # Paths that every program needs, or this one, to start. A missing path is left out.
    base_read: tuple[str, ...] = ()
    base_write: tuple[str, ...] = ()
    # Paths of the configuration. A missing path fails the start.
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    # Paths that no other entry grants, except an entry for the path itself.
    hidden: tuple[str, ...] = ()
    # The TCP ports to connect to; empty for all.
    connect: tuple[int, ...] = ()
    network: bool = True
    # The path of bwrap(1), for this level only.
    bwrap: str = ""

    @property
    def confines_files(self) -> bool:
        """Whether the process can use files of these lists only."""
        return self.level != "basic"

    @property
    def is_default(self) -> bool:
        """Whether nothing is confined beyond what every server process has."""
        return not self.confines_files and self.network


# In a list of paths of a sandbox: the working directory of the process.
WORKING_DIRECTORY: Final = "."


@attrs.frozen
class Launch:
    """A command and its process attributes. `env` is the whole environment of the process."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = attrs.field(repr=False)
    cwd: str | None = None
    # None: the umask that the daemon was started with.
    umask: int | None = None
    # Key: name of a limit of getrlimit(2), lower case and without RLIMIT_. Value: the soft and hard limit.
    rlimits: Mapping[str, int] = attrs.field(factory=dict[str, int])
    private_tmp: bool = False
    # The working directory in place of `cwd`. The start fails if its path leads to another directory by then.
    directory: Directory | None = None
    sandbox: Sandbox = Sandbox()

    @property
    def has_scratch(self) -> bool:
        """Whether the process gets a directory of its own for temporary files."""
        return self.private_tmp or self.sandbox.confines_files
