"""Stateless requests of clients (MCP 2026-07-28), as the bridge stores them until their response. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from ...validators.jsonrpc import Request
from ...validators.stateless_request import Envelope
from .access_policy import EVERYTHING, AccessPolicy
from .attribution import Client


class ClientRequest(NamedTuple):
    """One request of one client.

    `headers` is None for transports without mirrored headers (WebSocket, pipes). `since` is opaque here; if it is set, the
    request ends with one `RequestFinished`.
    """

    principal: str
    request: Request
    envelope: Envelope
    headers: Mapping[str, str] | None
    queue: object
    # Whether the queue carries the responses of several requests.
    pipe: bool
    # The policy of the principal for this server.
    policy: AccessPolicy = EVERYTHING
    since: float | None = None
    # The client program that sent the request.
    client: Client = Client("")
    # The peer of the connection, opaque here.
    caller: object = None
    # Whether the request was sent before to a process of another era.
    moved: bool = False
