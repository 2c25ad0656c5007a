"""What the daemon sends to the process of the aggregate: its members, and what it says of itself.

A notification on the standard input of the process, before everything else and after each change. Clients cannot send it,
because the daemon passes no notification of a client to a server of the modern era. Pure.
"""

from typing import Final

import msgspec

from ..validators import envelope

METHOD: Final = "notifications/mcp-bridge/members"

_encode: Final = msgspec.json.Encoder().encode


class Membership(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The members by their names, in their order, each with a number that is another one when the server is another.

    `name`, `version`, `title` and `instructions` are those of the aggregate; an empty `instructions` stands for those of
    the members. `without` are capabilities that no member offers by configuration. Calls to a member that is removed have
    `drain_seconds` to end.
    """

    members: dict[str, int]
    name: str = "mcp-bridge aggregate"
    version: str = "0"
    title: str = ""
    instructions: str = ""
    without: tuple[str, ...] = ()
    drain_seconds: float = 10.0


_decode: Final = msgspec.json.Decoder(Membership).decode


def line(membership: Membership) -> bytes:
    """Return the notification as one line."""
    return envelope.notification(METHOD, _encode(membership))


def read(params: bytes) -> Membership:
    """Return what a notification says. Raises ValueError for anything that the daemon does not write."""
    return _decode(params)
