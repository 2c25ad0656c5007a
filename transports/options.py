"""What the transports are told, as plain data: whoever only reads a configuration needs no event loop for it."""

from collections.abc import Mapping
from typing import Final

import attrs

Headers = tuple[tuple[bytes, bytes], ...]

# The principals of who has shown no credential yet, and of who came over the Unix socket.
ANONYMOUS: Final = ""
LOCAL: Final = "local"


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
    umask: int = 0o077
    # By their names in getrlimit(2), lower case and without RLIMIT_.
    rlimits: Mapping[str, int] = attrs.field(factory=dict[str, int])
    private_tmp: bool = False
