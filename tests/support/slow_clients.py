"""Clients of each transport that begin to read late, and then read all messages.

Each of `TRANSPORTS` takes a running daemon, the name of a server, tool calls (name and arguments) and a function that waits
before the first read. It returns the responses by number, and the notifications in order.
"""

import contextlib
import json
import socket
from functools import partial

import trio
import trio_websocket

from .connect_process import start_connect
from .raw_http import BOTH, INITIALIZE, Connection, message
from .stateless_requests import headers_of, request, tool

POST = {"Accept": BOTH, "Content-Type": "application/json"}
LOUD = {"io.modelcontextprotocol/logLevel": "debug"}


@contextlib.asynccontextmanager
async def connected(running):
    """Yield a connection with a small kernel buffer, so that the daemon has to store unread bytes."""
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        plain.setblocking(False)
        sock = trio.socket.from_stdlib_socket(plain)
        await sock.connect(running.address)
        yield Connection(running, trio.SocketStream(sock))


class Found:
    """The messages that a client has received."""

    def __init__(self):
        self.answers = {}
        self.notifications = []

    def add(self, arrived):
        if "method" in arrived:
            self.notifications.append(arrived)
        else:
            self.answers[arrived["id"]] = arrived


async def read_answer(connection, found):
    """Read one response over HTTP, as JSON or as an event stream. Return its headers."""
    status, headers = await connection.head()
    if headers["content-type"].startswith("text/event-stream"):
        while (event := await connection.event()) is not None:
            if event.data:
                found.add(event.json)
        return headers
    body = await connection._exactly(int(headers["content-length"]))
    assert status == 200, body[:300]
    found.add(json.loads(body))
    return headers


async def over_http(running, name, calls, pause, opening=trio.lowlevel.checkpoint):
    path, found = f"/servers/{name}/mcp", Found()
    async with connected(running) as connection:
        await connection.send("POST", path, POST, message("initialize", INITIALIZE, id=0))
        await opening()
        opened = await read_answer(connection, found)
    session = {**POST, "Mcp-Session-Id": opened["mcp-session-id"]}

    async def exchange(number, call):
        async with connected(running) as connection:
            params = {"name": call[0], "arguments": call[1]}
            await connection.send("POST", path, session, message("tools/call", params, id=number))
            await pause()
            await read_answer(connection, found)

    async with trio.open_nursery() as nursery:
        for number, call in enumerate(calls, 1):
            nursery.start_soon(exchange, number, call)
    return found


async def over_modern_http(running, name, calls, pause, path=""):
    found = Found()

    async def exchange(number, call):
        body = request("tools/call", tool(call[0], **call[1]), id=number, **LOUD)
        async with connected(running) as connection:
            target = path or f"/servers/{name}/mcp"
            await connection.send("POST", target, headers_of(body), json.dumps(body).encode())
            await pause()
            await read_answer(connection, found)

    async with trio.open_nursery() as nursery:
        for number, call in enumerate(calls, 1):
            nursery.start_soon(exchange, number, call)
    return found


def lines_of(calls):
    yield message("initialize", INITIALIZE, id=0)
    yield message("logging/setLevel", {"level": "debug"}, id="level")
    for number, (name, arguments) in enumerate(calls, 1):
        yield message("tools/call", {"name": name, "arguments": arguments}, id=number)


async def over_sse(running, name, calls, pause):
    found = Found()
    async with connected(running) as stream, connected(running) as posts:
        await stream.send("GET", f"/servers/{name}/sse", {"Accept": "text/event-stream"})
        assert (await stream.head())[0] == 200
        path = (await stream.event()).data
        path = path if path.startswith("/") else f"/servers/{name}/{path}"
        for number, body in enumerate(lines_of(calls)):
            await posts.request("POST", path, {"Content-Type": "application/json"}, body)
            while number == 0 and 0 not in found.answers:
                found.add(await stream.message())
        await pause()
        while len(found.answers) < len(calls) + 2:
            found.add(await stream.message())
    return found


async def over_websocket(running, name, calls, pause):
    found = Found()
    async with trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream(*running.address)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        opened = await trio_websocket.wrap_client_stream(
            nursery,
            stream,
            "{}:{}".format(*running.address),
            f"/servers/{name}/ws",
            subprotocols=["mcp"],
            extra_headers=[("Authorization", f"Bearer {running.token}")],
            max_message_size=2**25,
        )
        for number, body in enumerate(lines_of(calls)):
            await opened.send_message(body.decode())
            while number == 0 and 0 not in found.answers:
                found.add(json.loads(await opened.get_message()))
        await pause()
        while len(found.answers) < len(calls) + 2:
            found.add(json.loads(await opened.get_message()))
        await stream.aclose()
        nursery.cancel_scope.cancel()
    return found


@contextlib.contextmanager
def killing(process):
    try:
        yield
    finally:
        process.kill()


async def over_connect(running, name, calls, pause):
    process, found = start_connect(running, name), Found()

    def read_until(count):
        while len(found.answers) < count:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            found.add(json.loads(line))

    def write(bodies):
        for body in bodies:
            process.stdin.write(body + b"\n")
        process.stdin.flush()

    in_thread = partial(trio.to_thread.run_sync, abandon_on_cancel=True)
    with process, killing(process):
        opening, *bodies = lines_of(calls)
        await in_thread(write, [opening])
        await in_thread(read_until, 1)
        await in_thread(write, bodies)
        await pause()
        await in_thread(read_until, len(calls) + 2)
        process.stdin.close()
        assert process.wait(20) == 0
    return found


async def over_aggregate(running, name, calls, pause):
    renamed = [(f"{name}__{tool_}", arguments) for tool_, arguments in calls]
    return await over_modern_http(running, name, renamed, pause, path="/mcp")


async def over_aggregate_and_connect(running, name, calls, pause):
    renamed = [(f"{name}__{tool_}", arguments) for tool_, arguments in calls]
    return await over_connect(running, "aggregate", renamed, pause)


TRANSPORTS = {
    "http": over_http,
    "modern http": over_modern_http,
    "sse": over_sse,
    "websocket": over_websocket,
    "connect": over_connect,
    "aggregate": over_aggregate,
    "aggregate, connect": over_aggregate_and_connect,
}
