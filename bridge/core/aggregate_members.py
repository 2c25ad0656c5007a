"""What the daemon and the process of the aggregate tell each other about its members. Pure.

The daemon sends a notification on the standard input of the process, before everything else and after each change: the
members, and what the aggregate says of itself. Clients cannot send it, because the daemon passes no notification of a client
to a server of the modern era. The process sends a notification when it leaves out other members than before; the daemon
shows them, and passes it on to no client.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from ...validators import jsonrpc
from ...validators.jsonrpc import Notification

METHOD: Final = "notifications/mcp-bridge/members"
LEFT_OUT: Final = "notifications/mcp-bridge/left_out"
# Of a reason why a member is left out, in characters.
_REASON: Final = 200

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


class _LeftOut(msgspec.Struct, frozen=True):
    members: dict[str, str]


_decode: Final = msgspec.json.Decoder(Membership).decode
_decode_left_out: Final = msgspec.json.Decoder(_LeftOut).decode


def line(membership: Membership) -> bytes:
    """Return the notification as one line."""
    return jsonrpc.notification(METHOD, _encode(membership))


def read(params: bytes) -> Membership:
    """Return what a notification says. Raises ValueError for anything that the daemon does not write."""
    return _decode(params)


def left_out(reasons: Mapping[str, str]) -> Notification:
    """Return the notification that these members are left out, each with the reason."""
    shown = {name: reason[:_REASON] for name, reason in reasons.items()}
    return Notification(LEFT_OUT, _encode(_LeftOut(shown)))


def read_left_out(params: bytes) -> dict[str, str]:
    """Return the members that are left out, with the reasons. Raises ValueError for anything that `left_out` does not write."""
    return _decode_left_out(params).members
