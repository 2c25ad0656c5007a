"""Notifications between the daemon and the process of the aggregate about its members. Pure.

The daemon sends `METHOD` on stdin of the process, as the first message and after each change. It has the members and the
identity of the aggregate. Clients cannot send it, because the daemon passes no such notification of a client. The process
sends `LEFT_OUT` when the set of members without an answer has changed. The daemon shows these in the status and sends the
notification to no client.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from ...validators import jsonrpc
from ...validators.jsonrpc import Notification

METHOD: Final = "notifications/mcp-bridge/members"
LEFT_OUT: Final = "notifications/mcp-bridge/left_out"
# The longest reason in `LEFT_OUT` (characters).
_REASON_SIZE: Final = 200
# The name in the serverInfo of the aggregate, unless the configuration has another.
DEFAULT_NAME: Final = "mcp-bridge aggregate"

_encode: Final = msgspec.json.Encoder().encode


class Membership(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The members of the aggregate in their order: by name, the generation of each server, a number.

    `name`, `version`, `title` and `instructions` are those of the aggregate; without `instructions` the members' are used.
    `without` are capabilities that are denied for all members. Calls to a removed member have `drain_seconds` to finish.
    The other fields are keys of [aggregates.NAME].
    """

    members: dict[str, int]
    name: str = DEFAULT_NAME
    version: str = "0"
    title: str = ""
    instructions: str = ""
    without: tuple[str, ...] = ()
    drain_seconds: float = 10.0
    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    describe: dict[str, str] = {}
    surface: str = "all"

    @property
    def offer_of_tools(self) -> tuple[object, ...]:
        """Return what decides how the tools of the members are listed, as a value to compare."""
        return self.allow, self.deny, self.rename, self.describe, self.surface


class _LeftOut(msgspec.Struct, frozen=True):
    members: dict[str, str]


_decode: Final = msgspec.json.Decoder(Membership).decode
_decode_left_out: Final = msgspec.json.Decoder(_LeftOut).decode


def line(membership: Membership) -> bytes:
    """Return the notification as one line."""
    return jsonrpc.notification(METHOD, _encode(membership))


def read(params: bytes) -> Membership:
    """Parse the params of `METHOD`. Raises ValueError for params that the daemon does not write."""
    return _decode(params)


def left_out(reasons: Mapping[str, str]) -> Notification:
    """Return the notification for these members, each with its reason."""
    shown = {name: reason[:_REASON_SIZE] for name, reason in reasons.items()}
    return Notification(LEFT_OUT, _encode(_LeftOut(shown)))


def read_left_out(params: bytes) -> dict[str, str]:
    """Parse the params of `LEFT_OUT`: reasons by member. Raises ValueError for params that `left_out` does not write."""
    return _decode_left_out(params).members
