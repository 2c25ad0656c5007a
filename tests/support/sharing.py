"""Sessions with one server over each transport, as plain messages in both directions."""

import contextlib
import json
import subprocess

import trio
import trio_websocket

from .bridge_process import PROGRAM
from .handshake import INITIALIZED, initialize_params
from .raw_http import BOTH, Connection

ASKABLE = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}
# Limit on the time until a message arrives (seconds).
TIMEOUT = 20


class Client:
    """A session. `send` sends one message, `receive` returns the next message of the server."""

    def __init__(self, send):
        self.send = send
        self.put, self.incoming = trio.open_memory_channel(1000)
        self.received = []
        self._next_id = 100

    async def receive(self):
        with trio.fail_after(TIMEOUT):
            message = await self.incoming.receive()
        self.received.append(message)
        return message

    async def until(self, wanted):
        """Return the next message for which `wanted` is true."""
        while not wanted(message := await self.receive()):
            pass
        return message

    async def begin(self, method, params=None):
        """Send a request and return its id."""
        self._next_id += 1
        message = {"jsonrpc": "2.0", "id": self._next_id, "method": method}
        await self.send({**message, "params": params} if params is not None else message)
        return self._next_id

    async def answer(self, number):
        return await self.until(lambda message: message.get("id") == number and "method" not in message)

    async def request(self, method, params=None):
        return await self.answer(await self.begin(method, params))

    async def call(self, tool, _meta=None, **arguments):
        """Call a tool. Return the text of its result."""
        params = {"name": tool, "arguments": arguments}
        answer = await self.request("tools/call", {**params, "_meta": _meta} if _meta else params)
        return answer["result"]["content"][0]["text"]

    async def server_request(self):
        return await self.until(lambda message: "method" in message and "id" in message)

    async def reply(self, question, result):
        await self.send({"jsonrpc": "2.0", "id": question["id"], "result": result})

    async def initialize(self, capabilities, version="2025-11-25"):
        params = initialize_params(version, capabilities, "mcp", "0.1.0")
        answer = await self.request("initialize", params)
        assert "result" in answer, answer
        await self.send(INITIALIZED)
        return answer["result"]


@contextlib.asynccontextmanager
async def connected(running):
    async with await trio.open_tcp_stream(*running.address) as stream:
        yield Connection(running, stream)


@contextlib.asynccontextmanager
async def over_http(running, path):
    """Yield a client over Streamable HTTP: a connection for each request, and a GET stream."""
    headers = {"Accept": BOTH, "Content-Type": "application/json"}

    async def post(message, *, task_status=trio.TASK_STATUS_IGNORED):
        async with connected(running) as connection:
            await connection.send("POST", f"{path}/mcp", headers, json.dumps(message).encode())
            if message.get("method") != "initialize":
                task_status.started()
            status, found = await connection.head()
            if message.get("method") == "initialize":
                headers["Mcp-Session-Id"] = found.get("mcp-session-id", "")
                task_status.started()
            if status == 202:
                return
            if found.get("content-type") == "text/event-stream":
                while (event := await connection.event()) is not None:
                    if event.data:
                        await client.put.send(event.json)
            else:
                await client.put.send(json.loads(await connection._exactly(int(found["content-length"]))))

    async def listen(*, task_status=trio.TASK_STATUS_IGNORED):
        async with connected(running) as connection:
            await connection.send("GET", f"{path}/mcp", {**headers, "Accept": "text/event-stream"})
            await connection.head()
            task_status.started()
            with contextlib.suppress(ConnectionResetError):
                while (event := await connection.event()) is not None:
                    if event.data:
                        await client.put.send(event.json)

    async with trio.open_nursery() as nursery:

        async def send(message):
            await nursery.start(post, message)
            if message.get("method") == "notifications/initialized":
                await nursery.start(listen)

        client = Client(send)
        yield client
        # The daemon may have ended.
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            async with connected(running) as connection:
                await connection.request("DELETE", f"{path}/mcp", headers)
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def over_sse(running, path):
    async with connected(running) as stream, connected(running) as posts, trio.open_nursery() as nursery:
        await stream.send("GET", f"{path}/sse", {"Accept": "text/event-stream"})
        await stream.head()
        target = (await stream.event()).data
        target = target if target.startswith("/") else f"{path}/{target}"
        one_at_a_time = trio.Lock()

        async def send(message):
            body = json.dumps(message).encode()
            async with one_at_a_time:
                answer = await posts.request("POST", target, {"Content-Type": "application/json"}, body)
            assert answer.status == 202

        async def read():
            with contextlib.suppress(ConnectionResetError):
                while (event := await stream.event()) is not None:
                    if event.data:
                        await client.put.send(event.json)

        client = Client(send)
        nursery.start_soon(read)
        yield client
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def over_websocket(running, path, make=Client):
    """Yield a client over WebSocket; `make` makes it from the function that sends a message."""
    host, port = running.address
    async with (
        trio_websocket.open_websocket_url(
            f"ws://{host}:{port}{path}/ws",
            subprotocols=["mcp"],
            extra_headers=[("Authorization", f"Bearer {running.token}")],
            disconnect_timeout=1,
        ) as socket,
        trio.open_nursery() as nursery,
    ):

        async def send(message):
            await socket.send_message(json.dumps(message))

        async def read():
            with contextlib.suppress(trio_websocket.ConnectionClosed):
                while True:
                    await client.put.send(json.loads(await socket.get_message()))

        client = make(send)
        nursery.start_soon(read)
        yield client
        nursery.cancel_scope.cancel()
        if socket.closed:
            # trio-websocket leaves the socket open if the peer has closed the WebSocket.
            await socket._stream.aclose()


@contextlib.asynccontextmanager
async def over_process(command, environment=None):
    """Yield a client of a program that serves MCP on its standard streams."""
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )

        async def send(message):
            await process.stdin.send_all(json.dumps(message).encode() + b"\n")

        async def read():
            buffer = b""
            async for data in process.stdout:
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    await client.put.send(json.loads(line))

        client = Client(send)
        nursery.start_soon(read)
        try:
            yield client
        finally:
            nursery.cancel_scope.cancel()
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


def over_connect(running, path):
    name = path.rpartition("/")[2] or "aggregate"
    return over_process(
        [str(PROGRAM), "connect", name, "--config", str(running.config)], environment=running.variables
    )


TRANSPORTS = {"http": over_http, "sse": over_sse, "ws": over_websocket, "connect": over_connect}


@contextlib.asynccontextmanager
async def session(running, transport, server, capabilities=None, version="2025-11-25"):
    """Yield an initialized session with the server of this name or at this path, or for "" with the aggregate."""
    path = f"/servers/{server}" if server and not server.startswith("/") else server or ""
    async with TRANSPORTS[transport](running, path) as client:
        client.initialize_result = await client.initialize(
            ASKABLE if capabilities is None else capabilities, version
        )
        yield client
