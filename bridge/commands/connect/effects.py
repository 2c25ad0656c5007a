"""Effects of `Reconnection`, which `proxy` carries out."""

from typing import NamedTuple


class ToClient(NamedTuple):
    """Write this line to the client. It responds to the requests with these raw ids."""

    line: bytes
    responses: tuple[bytes, ...] = ()


class ToServer(NamedTuple):
    """Send this message on the open connection."""

    text: bytes


class Notice(NamedTuple):
    """Write this sentence to stderr."""

    text: str


Effect = ToClient | ToServer | Notice
Effects = tuple[Effect, ...]
