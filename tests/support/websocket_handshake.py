"""WebSocket sessions on a connection with chosen header fields."""

import json

from .admission import INITIALIZE
from .wire import Socket, fresh_key

INITIALIZE_MESSAGE = json.loads(INITIALIZE)


def upgrade(bridge, connection, *fields, target="/ws"):
    """Upgrade this connection to a WebSocket."""
    lines = [f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{bridge.address[1]}", "Connection: Upgrade"]
    lines += ["Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {fresh_key()}"]
    connection.send("\r\n".join([*lines, *fields, "", ""]).encode())
    reply = connection.head()
    assert reply.status == 101, reply
    return Socket(connection)


def open_session(bridge, connection, *fields, target="/ws"):
    """Upgrade this connection to a WebSocket and initialize a session."""
    socket = upgrade(bridge, connection, *fields, target=target)
    socket.send(INITIALIZE_MESSAGE)
    assert "result" in socket.message()
    return socket
