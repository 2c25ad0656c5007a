"""Requests of clients without a session (MCP 2026-07-28), as the bridge keeps them until they are answered. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from ...validators.jsonrpc import Request
from ...validators.stateless_request import Envelope
from .access_policy import EVERYTHING, AccessPolicy
from .attribution import Client


class ClientRequest(NamedTuple):
    """One request of one caller. `headers` are None where the transport has none to mirror (WebSocket, pipes).

    With `since`, a time that means something to the shell only, the request ends with `RequestFinished`.
    """

    principal: str
    request: Request
    envelope: Envelope
    headers: Mapping[str, str] | None
    queue: object
    pipe: bool  # whether more than one answer goes to the outlet
    policy: AccessPolicy = EVERYTHING  # what there is for the principal
    since: float | None = None
    client: Client = Client("")  # the client program that sent it
    caller: object = None  # where it came from, as the shell knows it
    moved: bool = False  # whether it was sent to a server that turned out to be of another era
