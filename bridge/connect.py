"""`mcp-bridge connect NAME`: a server of the daemon as a stdio server, for clients that only start commands.

Lines of stdin become messages of a WebSocket on the daemon's Unix socket, and the other way round, whatever era they are of.
"""

import http.client
import os
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import trio
import trio_websocket

from ..transports.lines import LineSplitter, Overlong
from ..validators import envelope
from ..validators.envelope import Message, Notification, Request, Response
from ..validators.limits import TRUSTING, Limits
from ..validators.rejection import Rejection
from ..validators.shapes import read_cancelled
from .asking import NoDaemon, Refused
from .log import tell

_READ: Final = 64 * 1024
# After the end of stdin, how long answers to what was asked may still come, in seconds.
_LAST_ANSWERS: Final = 30.0
_LISTEN: Final = "subscriptions/listen"


def connect(unix: Path, name: str) -> None:
    """Carry messages between our standard streams and a server until one side ends. Raises NoDaemon and Refused."""
    interrupted = False
    try:
        trio.run(_run, unix, name)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        raise KeyboardInterrupt


async def _run(unix: Path, name: str) -> None:
    try:
        stream = await trio.open_unix_socket(str(unix))
    except OSError as fault:
        raise NoDaemon(
            f"no daemon answers on {unix}: {fault.strerror or fault}; `mcp-bridge serve` starts one"
        ) from None
    refusal = ""
    try:
        async with stream, trio.open_nursery() as nursery:
            socket = await trio_websocket.wrap_client_stream(
                nursery,
                stream,
                "localhost",
                f"/servers/{quote(name, safe='')}/ws",
                subprotocols=["mcp"],
                max_message_size=TRUSTING.line,
            )
            refusal = await _Carrier(socket).run()
            nursery.cancel_scope.cancel()
    except* trio_websocket.ConnectionRejected as group:  # a task of the library raises it
        refusal = _reason(name, group.exceptions[0])
    if refusal:
        raise Refused(refusal)


def _reason(name: str, rejected: Exception) -> str:
    while isinstance(rejected, ExceptionGroup):
        rejected = cast("ExceptionGroup[Exception]", rejected).exceptions[0]
    assert isinstance(rejected, trio_websocket.ConnectionRejected)  # noqa: S101 - `except*` has looked
    if rejected.status_code == http.client.NOT_FOUND:
        return f"there is no server {name!r}"
    return bytes(rejected.body or b"").decode(errors="replace")


class _Carrier:
    """Both directions, and what is still to be answered."""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self._socket = socket
        self._limits = Limits()
        self._asked: set[bytes] = set()
        self._answered = trio.Event()
        self._stdin_over = False
        self._refusal = ""

    async def run(self) -> str:
        """Carry until one side ends; answers why it had to be given up, if it had."""
        async with trio.open_nursery() as nursery:
            over = nursery.cancel_scope
            for carry in (self._from_stdin, self._to_stdout, _until_told_to_end):
                nursery.start_soon(partial(_then, carry, over.cancel))
        return self._refusal

    async def _from_stdin(self) -> None:
        splitter = LineSplitter(self._limits.body)
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while data := await stdin.receive_some(_READ):
                for line in splitter.feed(data):
                    if isinstance(line, Overlong):
                        self._refusal = f"a message has more than {self._limits.body} bytes, the limit"
                        return
                    await self._send(line)
        self._stdin_over = True
        with trio.move_on_after(_LAST_ANSWERS):
            if self._asked:
                await self._answered.wait()

    async def _send(self, line: bytes) -> None:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            tell("mcp-bridge: a line that is not UTF-8 was dropped\n")
            return
        if not text.strip():
            return
        try:
            batch = envelope.split_batch(line, self._limits) if envelope.is_batch(line) else [line]
            messages = [envelope.decode(one, self._limits) for one in batch]
        except Rejection:  # the daemon says what is wrong with it
            self._asked.add(envelope.readable_id(line))
            self._asked.discard(b"null")
        else:
            for message in messages:
                self._expect(message)
        await self._socket.send_message(text)

    def _expect(self, message: Message) -> None:
        """Count what will be answered: not a subscription, which lasts, and not what is taken back."""
        if isinstance(message, Request) and message.method != _LISTEN:
            self._asked.add(message.id)
        elif isinstance(message, Notification) and message.method == "notifications/cancelled":
            self._asked.discard(read_cancelled(message.params)[0])

    async def _to_stdout(self) -> None:
        async with trio.lowlevel.FdStream(os.dup(1)) as stdout:
            while True:
                try:
                    text = await self._socket.get_message()
                except trio_websocket.ConnectionClosed:
                    return
                data = text.encode() if isinstance(text, str) else text
                try:
                    await stdout.send_all(data + b"\n")
                except trio.BrokenResourceError:
                    return  # nobody reads us any more
                message = envelope.decode(data, TRUSTING)
                if isinstance(message, Response):
                    self._asked.discard(message.id)
                if self._stdin_over and not self._asked:
                    self._answered.set()


async def _until_told_to_end() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as told:
        await anext(told)


async def _then(carry: Callable[[], Coroutine[Any, Any, None]], end: Callable[[], None]) -> None:
    await carry()
    end()
