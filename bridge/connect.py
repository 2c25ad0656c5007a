"""`mcp-bridge connect NAME|URL`: a server behind a bridge as a stdio server, for clients that only start commands.

Lines of stdin become messages of a WebSocket and the other way round, whatever era they are of.
"""

import http.client
import os
import signal
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import attrs
import trio
import trio_websocket

from ..transports.lines import LineSplitter, Overlong
from ..validators import envelope
from ..validators.envelope import Message, Notification, Request, Response
from ..validators.limits import TRUSTING, Limits
from ..validators.rejection import Rejection
from ..validators.shapes import read_cancelled
from .addresses import check_listener, websocket_of
from .asking import NoDaemon, Refused
from .log import tell

_READ: Final = 64 * 1024
# After the end of stdin, how long answers to what was asked may still come, in seconds.
_LAST_ANSWERS: Final = 30.0
# How long a handshake may take, of TLS as of WebSocket, in seconds.
_HANDSHAKE: Final = 10.0
_LISTEN: Final = "subscriptions/listen"


@attrs.frozen
class Place:
    """Where a server is: on a Unix socket, or else at a host and port, with TLS or without."""

    name: str  # as a person knows it
    host: str  # as the Host header has it
    path: str
    unix: Path | None = None
    address: tuple[str, int] = ("", 0)
    tls: bool = False
    token: str = attrs.field(default="", repr=False)

    @classmethod
    def of_daemon(cls, unix: Path, name: str) -> "Place":
        """A server of the daemon behind this Unix socket."""
        return cls(name, "localhost", f"/servers/{quote(name, safe='')}/ws", unix)

    @classmethod
    def at(cls, url: str, token: str) -> "Place":
        """A server of whatever bridge is at this URL. Raises BadAddress."""
        found = websocket_of(url)
        tls = found.scheme == "wss"
        address = (found.hostname or "", found.port or (443 if tls else 80))
        return cls(url, found.netloc, found.path, None, address, tls, token)

    async def open(self) -> "trio.SocketStream | trio.SSLStream[trio.SocketStream]":
        """A stream to it. Raises NoDaemon."""
        try:
            if self.unix is not None:
                local = await trio.open_unix_socket(str(self.unix))
                check_listener(local.socket, self.unix)
                return local
            plain = await trio.open_tcp_stream(*self.address)
            if not self.tls:
                return plain
            stream = trio.SSLStream(
                plain, ssl.create_default_context(), server_hostname=self.address[0], https_compatible=True
            )
            with trio.fail_after(_HANDSHAKE):
                await stream.do_handshake()
        except (OSError, UnicodeError, trio.TooSlowError, trio.BrokenResourceError) as fault:
            raise NoDaemon(self._unreachable(fault)) from None
        return stream

    def _unreachable(self, fault: Exception) -> str:
        first = _first(fault)
        reason = getattr(first, "strerror", None) or first
        if self.unix is None:
            that = "that we trust " if isinstance(first, ssl.SSLError) else ""
            return f"nothing {that}answers at {self.name}: {reason}"
        return f"no daemon answers on {self.unix}: {reason}; `mcp-bridge serve` starts one"


def _first(fault: BaseException) -> BaseException:
    """What was behind it all."""
    if isinstance(fault, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", fault).exceptions[0])
    return fault if fault.__cause__ is None else _first(fault.__cause__)


def connect(place: Place) -> None:
    """Carry messages between our standard streams and a server until one side ends. Raises NoDaemon and Refused."""
    interrupted = False
    try:
        trio.run(_run, place)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        raise KeyboardInterrupt


async def _run(place: Place) -> None:
    stream = await place.open()
    refusal = ""
    headers = [(b"Authorization", f"Bearer {place.token}".encode())] if place.token else []
    try:
        async with stream, trio.open_nursery() as nursery:
            # The library would wait for ever, also where the other side has left.
            with trio.fail_after(_HANDSHAKE):
                socket = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,
                    place.host,
                    place.path,
                    subprotocols=["mcp"],
                    extra_headers=headers,
                    max_message_size=TRUSTING.line,
                )
            refusal = await _Carrier(socket).run()
            nursery.cancel_scope.cancel()
    except* trio_websocket.ConnectionRejected as group:  # a task of the library raises it
        refusal = _reason(place, group.exceptions[0])
    except* trio.TooSlowError:
        refusal = f"{place.name} does not speak WebSocket"
    if refusal:
        raise Refused(refusal)


def _reason(place: Place, rejected: BaseException) -> str:
    rejected = _first(rejected)
    assert isinstance(rejected, trio_websocket.ConnectionRejected)  # noqa: S101 - `except*` has looked
    if rejected.status_code == http.client.NOT_FOUND:
        return f"there is no server {place.name!r}" if place.unix else f"there is no server at {place.name}"
    if rejected.status_code == http.client.UNAUTHORIZED:
        return f"{place.name} asks for a token, or for another one; --token-file FILE names the file that holds it"
    said = bytes(rejected.body or b"").decode(errors="replace")
    return said or f"{place.name} answered {rejected.status_code}, so it is no WebSocket of a bridge"


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
        try:
            await self._socket.send_message(text)
        except trio_websocket.ConnectionClosed:
            await trio.sleep_forever()  # `_to_stdout` says what has come before, and ends us

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
