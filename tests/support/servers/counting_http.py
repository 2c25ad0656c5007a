"""`counting_http.py JOURNAL [json] [resumable]`: an HTTP server that writes each execution of its tool into JOURNAL before it answers.

It is the official Python SDK 2.x, which speaks the era of each request. It prints its port. With `json` it answers with JSON,
otherwise with event streams; with `resumable` these can be resumed (handshake revisions only). The tool `count` writes its
`number`, waits for `seconds`, sends progress for each of `steps`, and answers with the number and `size` more characters.
"""

import asyncio
import os
import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventMessage, EventStore

JOURNAL, *OPTIONS = sys.argv[1:]
journal = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
server = MCPServer("counting", version="1.0.0")


class Events(EventStore):
    """The last events of all streams. The id of an event is its number."""

    def __init__(self):
        self.first = 0
        self.events = []

    async def store_event(self, stream_id, message):
        self.events.append((stream_id, message))
        if len(self.events) > 10_000:
            self.first += 5_000
            del self.events[:5_000]
        return str(self.first + len(self.events) - 1)

    async def replay_events_after(self, last_event_id, send_callback):
        number = int(last_event_id) - self.first
        if not 0 <= number < len(self.events):
            return None
        stream_id = self.events[number][0]
        for later, (stream, message) in enumerate(self.events[number + 1 :], number + 1):
            if stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(self.first + later)))
        return stream_id


@server.tool()
async def count(ctx: Context, number: str, seconds: float = 0, steps: int = 0, size: int = 0) -> str:
    os.write(journal, f"{number}\n".encode())
    for step in range(steps):
        await ctx.report_progress(step, steps)
    if seconds:
        await asyncio.sleep(seconds)
    return number + " " + "x" * size


app = server.streamable_http_app(
    json_response="json" in OPTIONS,
    event_store=Events() if "resumable" in OPTIONS else None,
    retry_interval=50 if "resumable" in OPTIONS else None,
    max_sessions=None,
)
listener = socket.create_server(("127.0.0.1", 0), backlog=512)
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_keep_alive=30)).run([listener])
