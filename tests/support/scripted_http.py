"""A TCP server whose connections follow a script of the test, for clients of remote servers."""

from contextlib import asynccontextmanager

import attrs
import trio


@attrs.define(eq=False)
class ScriptedServer:
    """A listening server. `connections` counts those that were accepted; `requests` has the heads and bodies that were read."""

    port: int
    scheme: str = "http"
    connections: int = 0
    requests: list[tuple[bytes, bytes]] = attrs.field(factory=list)

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}/mcp"


class Peer:
    """One accepted connection."""

    def __init__(self, stream, server):
        self.stream = stream
        self.server = server
        self._buffer = b""

    async def request(self):
        """Read one request. Return its head and body, None at the end of the stream."""
        while b"\r\n\r\n" not in self._buffer:
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self._buffer += data
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(rest) < length:
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            rest += data
        self._buffer = rest[length:]
        self.server.requests.append((head, rest[:length]))
        return head, rest[:length]

    async def send(self, data):
        await self.stream.send_all(data)

    async def answer(self, body=b"ok", status=b"200 OK", *fields):
        """Send a whole response."""
        lines = b"".join(b"%b\r\n" % field for field in (*fields, b"Content-Length: %d" % len(body)))
        await self.send(b"HTTP/1.1 %b\r\n%b\r\n%b" % (status, lines, body))

    async def ended(self):
        """Wait until the client has closed the connection."""
        try:
            while await self.stream.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            pass


@asynccontextmanager
async def scripted_server(script, *, tls=None):
    """Serve each connection with `script(peer)` and yield the ScriptedServer."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = ScriptedServer(listener.socket.getsockname()[1], "https" if tls else "http")

        async def serve(stream):
            server.connections += 1
            if tls is not None:
                stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            try:
                await script(Peer(stream, server))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                await trio.aclose_forcefully(stream)

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        fault = None
        try:
            yield server
        except Exception as raised:  # noqa: BLE001 - raised below, without an exception group around it
            fault = raised
        nursery.cancel_scope.cancel()
    if fault is not None:
        raise fault
