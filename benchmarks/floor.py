"""Serve the floor of the benchmark: the cost of Trio, the HTTP parser and a pipe alone.

The body of a POST goes to a child as a line and the child's line comes back as the body. There are no sessions,
credentials, limits or checks. Use it for measuring only.

    python benchmarks/floor.py [--parked | --shared] PORT COMMAND [ARG...]

By default each connection has a child of its own and reads its answers itself: this is the least possible cost. `--parked` gives
each child a reader that wakes the caller parked for an id, with ids rewritten. A bridge needs this for messages
that a server sends on its own. `--shared` is the same with one child for all connections.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import outcome
import trio

from mcpbridged.validators.http_head import parse_head
from mcpbridged.validators.limits import Limits

_LIMITS: Final = Limits()
_SIZE: Final = 64 * 1024
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_ACCEPTED: Final = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
_NOT_ALLOWED: Final = b"HTTP/1.1 405 Method Not Allowed\r\nallow: POST\r\ncontent-length: 0\r\n\r\n"
# Sufficient for load.c and child.c, whose messages have the id before any text of the same shape.
_ID: Final = re.compile(rb'"id":("[^"\\]*"|[0-9]+)')

Ask = Callable[[bytes], Awaitable[bytes]]


async def _receive(connection: socket.socket) -> bytes:
    while True:
        try:
            return connection.recv(_SIZE)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(connection)


async def _send(connection: socket.socket, data: bytes) -> None:
    while True:
        try:
            sent = connection.send(data)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(connection)
            continue
        if sent == len(data):
            return
        data = data[sent:]


async def _write(stdin: int, line: bytes) -> None:
    while True:
        try:
            written = os.write(stdin, line)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(stdin)
            continue
        if written == len(line):
            return
        line = line[written:]


async def _read(stdout: int) -> bytes:
    while True:
        try:
            return os.read(stdout, _SIZE)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(stdout)


class Direct:
    """A child with one caller, which reads the response itself."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self._stdin = stdin
        self._stdout = stdout

    async def ask(self, line: bytes) -> bytes:
        await _write(self._stdin, line)
        if b'"id":' not in line:
            return b""
        parts: list[bytes] = []
        while True:
            part = await _read(self._stdout)
            if not part:
                raise EOFError
            parts.append(part)
            if part.endswith(b"\n"):
                return b"".join(parts)[:-1]


class Parked:
    """A child with a reader that wakes the caller of each response by its id."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._turn = trio.Lock()
        self._minted = 0
        self._callers: dict[bytes, tuple[trio.lowlevel.Task, bytes]] = {}

    async def ask(self, line: bytes) -> bytes:
        found = _ID.search(line)
        if found is None:
            await self._put(line)
            return b""
        self._minted += 1
        minted = b"%d" % self._minted
        self._callers[minted] = trio.lowlevel.current_task(), found[1]
        await self._put(line[: found.start(1)] + minted + line[found.end(1) :])

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self._callers[minted]
            return trio.lowlevel.Abort.SUCCEEDED

        answer = await trio.lowlevel.wait_task_rescheduled(abort)
        assert isinstance(answer, bytes)
        return answer

    async def _put(self, line: bytes) -> None:
        # The lock keeps the parts of a line together if the pipe does not take all at once. Otherwise no caller waits.
        if not self._turn.locked():
            try:
                written = os.write(self._stdin, line)
            except BlockingIOError:
                written = 0
            if written == len(line):
                return
            line = line[written:]
        async with self._turn:
            await _write(self._stdin, line)

    async def read(self) -> None:
        parts: list[bytes] = []
        while part := await _read(self._stdout):
            *lines, rest = part.split(b"\n")
            for line in lines:
                parts.append(line)
                self._settle(b"".join(parts))
                parts.clear()
            if rest:
                parts.append(rest)

    def _settle(self, line: bytes) -> None:
        found = _ID.search(line)
        if found is not None and found[1] in self._callers:
            task, theirs = self._callers.pop(found[1])
            answer = line[: found.start(1)] + theirs + line[found.end(1) :]
            trio.lowlevel.reschedule(task, outcome.Value(answer))


async def _requests(connection: socket.socket, ask: Ask) -> None:
    buffer = b""
    while True:
        while (end := buffer.find(b"\r\n\r\n") + 4) < 4:
            received = await _receive(connection)
            if not received:
                return
            buffer += received
        head = parse_head(buffer[:end], _LIMITS)
        length = end + (head.content_length or 0)
        while len(buffer) < length:
            received = await _receive(connection)
            if not received:
                return
            buffer += received
        body, buffer = buffer[end:length], buffer[length:]
        if head.method != "POST":
            await _send(connection, _NOT_ALLOWED)
            continue
        line = await ask(body + b"\n")
        await _send(connection, _HEAD % len(line) + line if line else _ACCEPTED)


@contextlib.asynccontextmanager
async def _child(command: list[str], mode: str) -> AsyncIterator[Ask]:
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: ASYNC220 - at the start only
    assert child.stdin is not None
    assert child.stdout is not None
    stdin, stdout = child.stdin.fileno(), child.stdout.fileno()
    os.set_blocking(stdin, False)
    os.set_blocking(stdout, False)
    try:
        if mode == "direct":
            yield Direct(stdin, stdout).ask
        else:
            parked = Parked(stdin, stdout)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(parked.read)
                yield parked.ask
                nursery.cancel_scope.cancel()
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


async def _serve(connection: socket.socket, command: list[str], mode: str, ask: Ask | None) -> None:
    with contextlib.suppress(OSError, EOFError), contextlib.closing(connection):
        if ask is not None:
            await _requests(connection, ask)
            return
        async with _child(command, mode) as ask_own:
            await _requests(connection, ask_own)


async def _main(mode: str, port: int, command: list[str]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        ask = await stack.enter_async_context(_child(command, mode)) if mode == "shared" else None
        listener = stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=256))
        listener.setblocking(False)
        where = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        print(f"floor: ready on {where}", file=sys.stderr, flush=True)
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(listener)
                    continue
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                nursery.start_soon(_serve, connection, command, mode, ask)


if __name__ == "__main__":
    modes: Final = {"--parked": "parked", "--shared": "shared"}
    given = sys.argv[1:]
    chosen = modes.get(given[0], "direct") if given else "direct"
    if chosen != "direct":
        del given[0]
    if len(given) < 2:  # at least a port and a command
        sys.exit("usage: floor.py [--parked | --shared] PORT COMMAND [ARG...]")
    trio.run(_main, chosen, int(given[0]), given[1:])
