"""The clients of all servers, as `mcp-bridge sessions --json` prints them. mcp-bridge(1) documents the fields."""

import time
from collections.abc import Iterable

import msgspec
import trio

from ..runtime.connected_clients import ConnectedClient
from ..runtime.server import LocalServer


class SessionStatus(msgspec.Struct, frozen=True):
    """One client of one server.

    `session` is the beginning of the session id, as in the log; empty for a client without a session (2026-07-28). `client`
    and `client_version` are what the client states about itself. `transport` is http, sse, websocket or pipe. `revision` is
    that of MCP; empty before the handshake. `since` is in seconds since 1970, and `idle` is the time since the last message of
    the client (seconds). `pid` is that of the server process, 0 if none runs or the server is remote.
    """

    server: str
    session: str
    client: str
    client_version: str
    principal: str
    transport: str
    revision: str
    since: float
    idle: float
    pid: int
    in_flight: int


class SessionList(msgspec.Struct, frozen=True):
    """The clients, by server in the order of the configuration, and then those with a session first."""

    sessions: tuple[SessionStatus, ...]


def session_list(servers: Iterable[LocalServer]) -> SessionList:
    """Return the clients of these servers."""
    now, wall = trio.current_time(), time.time()
    return SessionList(
        tuple(_status(server.name, client, now, wall) for server in servers for client in server.clients)
    )


def _status(server: str, client: ConnectedClient, now: float, wall: float) -> SessionStatus:
    return SessionStatus(
        server=server,
        session=client.session,
        client=client.name,
        client_version=client.version,
        principal=client.principal,
        transport=client.transport,
        revision=client.revision,
        since=round(wall - (now - client.opened), 1),
        # A message of the present round is noticed at its end.
        idle=0.0 if client.in_flight else round(max(0.0, now - client.used), 1),
        pid=client.pid,
        in_flight=client.in_flight,
    )
