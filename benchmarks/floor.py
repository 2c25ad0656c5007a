"""The floor: what trio, our HTTP parser and a pipe cost when nothing else is done (DESIGN section 11).

One child for each connection; the body of a POST goes to it as a line and its line comes back as the body. It has no
sessions, no credential, no limits and no validation, so it is for measuring only and must never serve anybody.

    python benchmarks/floor.py PORT COMMAND [ARG...]
"""

import os
import socket
import subprocess
import sys
from typing import Final

import trio

from mcpbridged.validators.http_head import parse_head
from mcpbridged.validators.limits import Limits

_LIMITS: Final = Limits()
_SIZE: Final = 64 * 1024
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_ACCEPTED: Final = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
_NOT_ALLOWED: Final = b"HTTP/1.1 405 Method Not Allowed\r\nallow: POST\r\ncontent-length: 0\r\n\r\n"


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


async def _ask(stdin: int, line: bytes) -> None:
    while True:
        try:
            written = os.write(stdin, line)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(stdin)
            continue
        if written == len(line):
            return
        line = line[written:]


async def _answer(stdout: int) -> bytes:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(stdout, _SIZE)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(stdout)
            continue
        if not part:
            raise EOFError
        parts.append(part)
        if part.endswith(b"\n"):
            return b"".join(parts)[:-1]


async def _requests(connection: socket.socket, stdin: int, stdout: int) -> None:
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
        await _ask(stdin, body + b"\n")
        if b'"id":' not in body:
            await _send(connection, _ACCEPTED)
            continue
        line = await _answer(stdout)
        await _send(connection, _HEAD % len(line) + line)


async def _serve(connection: socket.socket, command: list[str]) -> None:
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: ASYNC220 - at the start only
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        os.set_blocking(child.stdin.fileno(), False)
        os.set_blocking(child.stdout.fileno(), False)
        await _requests(connection, child.stdin.fileno(), child.stdout.fileno())
    except (OSError, EOFError):
        pass
    finally:
        connection.close()
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


async def _main(port: int, command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=256) as listener:
        listener.setblocking(False)
        print(
            f"floor: ready on http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True
        )
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(listener)
                    continue
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                nursery.start_soon(_serve, connection, command)


if __name__ == "__main__":
    trio.run(_main, int(sys.argv[1]), sys.argv[2:])
