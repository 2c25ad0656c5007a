"""`mcp-bridge connect NAME|URL`: a server behind a bridge as a stdio server, for clients that only start commands.

Lines of stdin become messages of a WebSocket and the other way round, whatever era they are of.
"""

import contextlib
import http.client
import json
import os
import signal
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn, cast
from urllib.parse import quote

import attrs
import trio

from ..validators import envelope
from ..validators.envelope import Message, Notification, Request, Response
from ..validators.limits import TRUSTING, Limits
from ..validators.rejection import INTERNAL_ERROR, INVALID_REQUEST, Rejection
from ..validators.shapes import read_cancelled
from . import client_frames
from .addresses import check_listener, websocket_of
from .asking import NoDaemon, Refused, reason_in
from .log import escaped, tell
from .oversize import Lines, Oversize

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

_READ: Final = 64 * 1024
# After the end of stdin, how long answers to what was asked may still come, in seconds.
_LAST_ANSWERS: Final = 30.0
# How long a handshake may take, of TLS as of WebSocket, in seconds.
_HANDSHAKE: Final = 10.0
# What OpenSSL says of a peer that answers without TLS.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
# How much of the body of a refusal is read, in bytes, and for how long, in seconds.
_BODY: Final = 64 * 1024
_BODY_SECONDS: Final = 2.0
# How long the last errors may take to be written, in seconds.
_LAST_WORDS: Final = 1.0
# How many messages that are not JSON-RPC are shown.
_SHOWN: Final = 5
# The daemon has limits of its own, and has looked already.
_UNLIMITED: Final = 2**62
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

    async def open(self) -> Stream:
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
        reason = getattr(first, "strerror", None) or str(first) or f"no answer within {_HANDSHAKE:g} s"
        if isinstance(first, ssl.SSLError) and first.reason in _NO_TLS:
            return f"{self.name} does not speak TLS; without it a URL begins with http:// or ws://"
        if self.unix is None:
            that = "that we trust " if isinstance(first, ssl.SSLError) else ""
            return f"nothing {that}answers at {self.name}: {reason}"
        return f"no daemon answers on {self.unix}: {reason}; `mcp-bridge serve` starts one"


def _first(fault: BaseException) -> BaseException:
    """What was behind it all."""
    if isinstance(fault, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", fault).exceptions[0])
    return fault if fault.__cause__ is None else _first(fault.__cause__)


def connect(place: Place, limits: Limits) -> None:
    """Carry messages between our standard streams and a server until one side ends. Raises NoDaemon and Refused.

    A line of stdin has at most `limits.body` bytes, and a message from a URL at most `limits.line`.
    """
    interrupted = False
    try:
        trio.run(_run, place, limits)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        raise KeyboardInterrupt


async def _run(place: Place, limits: Limits) -> None:
    stream = await place.open()
    async with stream:
        try:
            with trio.fail_after(_HANDSHAKE):
                rest = await _opened(stream, place)
        except client_frames.BadPeer as fault:
            raise _as_failure(f"{place.name} {fault}") from None
        except trio.TooSlowError:
            raise NoDaemon(f"{place.name} has not answered the handshake within {_HANDSHAKE:g} s") from None
        except trio.BrokenResourceError:
            raise NoDaemon(f"{place.name} has closed the connection before it answered") from None
        await _Carrier(stream, place, limits).run(rest)


def _as_failure(text: str) -> NoDaemon | Refused:
    return Refused(text) if text.endswith("does not speak WebSocket") else NoDaemon(text)


async def _opened(stream: Stream, place: Place) -> bytes:
    """Open the WebSocket and return what has come after the handshake. Raises BadPeer, NoDaemon and Refused."""
    key = client_frames.new_key()
    # A daemon that refuses the connection has answered and closed it already.
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(client_frames.opening(place.host, place.path, key, place.token))
    data = b""
    while (found := client_frames.read_answer(data)) is None:
        more = await stream.receive_some(_READ)
        if not more:
            raise trio.BrokenResourceError
        data += more
    answer, rest = found
    if answer.status != http.client.SWITCHING_PROTOCOLS:
        await _refuse(stream, place, answer, rest)
    client_frames.check_opened(answer, key)
    return rest


async def _refuse(stream: Stream, place: Place, answer: client_frames.Answer, body: bytes) -> NoReturn:
    size = answer.headers.get("content-length", "")
    wanted = min(int(size), _BODY) if size.isascii() and size.isdecimal() and len(size) < 9 else _BODY
    with trio.move_on_after(_BODY_SECONDS), contextlib.suppress(trio.BrokenResourceError):
        while len(body) < wanted and (more := await stream.receive_some(_READ)):
            body += more
    text = reason_in(body[:wanted])
    if answer.status == http.client.NOT_FOUND:
        text = f"there is no server {place.name!r}" if place.unix else f"there is no server at {place.name}"
    elif answer.status == http.client.UNAUTHORIZED and not place.unix:
        text = f"{place.name} asks for a token, or for another one; --token-file FILE names the file that holds it"
    text = text or f"{place.name} answered {answer.status}, so it is no WebSocket of a bridge"
    busy = (
        answer.status >= http.client.INTERNAL_SERVER_ERROR or answer.status == http.client.TOO_MANY_REQUESTS
    )
    raise (NoDaemon if busy else Refused)(text)


class _Carrier:
    """Both directions, and what is still to be answered."""

    def __init__(self, stream: Stream, place: Place, limits: Limits) -> None:
        self._stream = stream
        self._place = place
        self._limits = limits
        self._sending = trio.Lock()
        # The raw ids of what the client has asked and is not answered, by their values.
        self._asked: dict[object, bytes] = {}
        self._unread: set[object] = set()  # those of them that are in messages which we cannot read
        self._answered = trio.Event()
        self._stdin_over = False
        self._noise = 0  # how many messages were dropped
        self._torn = False  # whether a line is being written to stdout
        self._ending = ""  # why it had to end
        self._may_leave = False  # whether that is no failure as long as nothing is unanswered
        self._told = False  # whether it was our client, or who started us, that wanted it
        self._signal = 0
        self._writing = trio.Lock()
        self._stdout: trio.lowlevel.FdStream
        self._over: trio.CancelScope

    async def run(self, rest: bytes) -> None:
        """Carry until one side ends. What is not answered by then gets an error. Raises NoDaemon."""
        async with trio.lowlevel.FdStream(os.dup(1)) as self._stdout:
            async with trio.open_nursery() as nursery:
                self._over = nursery.cancel_scope
                for carry in (self._from_stdin, partial(self._to_stdout, rest), self._until_told_to_end):
                    nursery.start_soon(partial(_then, carry, self._over.cancel))
            failed = bool(self._asked)
            with (
                trio.move_on_after(_LAST_WORDS, shield=True),
                contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                await self._fail_all()
                await self._stream.send_all(client_frames.close_frame(client_frames.NORMAL))
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._ending and not self._told and (failed or not self._may_leave):
            raise NoDaemon(self._ending)

    # ---- from the client

    async def _from_stdin(self) -> None:
        lines = Lines(self._limits.body)
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while data := await stdin.receive_some(_READ):
                for line in lines.feed(data):
                    await self._send(line)
        for line in lines.end():
            await self._send(line)
        self._stdin_over = True
        with trio.move_on_after(_LAST_ANSWERS):
            if self._asked:
                await self._answered.wait()
        self._told = True
        self._ending = f"no answer within {_LAST_ANSWERS:g} s after the end of the input"

    async def _send(self, line: bytes | Oversize) -> None:
        if isinstance(line, Oversize):
            await self._refuse(line, self._limits.body, "limits.body")
            return
        try:
            line.decode()
        except UnicodeDecodeError:
            tell("mcp-bridge: a line that is not UTF-8 was dropped\n")
            return
        for message in _messages(line, self._limits):
            self._expect(message)
        await self._frame(client_frames.text_frame(line.strip(), secret=self._place.unix is None))

    async def _frame(self, frame: bytes) -> None:
        async with self._sending:
            try:
                await self._stream.send_all(frame)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await trio.sleep_forever()  # `_to_stdout` says what has come before, and ends us

    def _expect(self, message: Message | bytes) -> None:
        """Count what will be answered: not a subscription, which lasts, and not what is taken back."""
        if isinstance(message, bytes):
            self._asked[_value(message)] = message
            self._unread.add(_value(message))
        elif isinstance(message, Request) and message.method != _LISTEN:
            self._asked[_value(message.id)] = message.id
        elif isinstance(message, Notification) and message.method == "notifications/cancelled":
            self._asked.pop(_value(read_cancelled(message.params)[0]), None)

    async def _refuse(self, message: Oversize, limit: int, key: str) -> None:
        """Answer a message that is too large, where its id can be read, so that it costs itself only."""
        text = f"a message of {message.size} bytes was dropped: the limit is {limit}, which {key} sets"
        tell(f"mcp-bridge: {text}\n")
        if not message.id:
            return
        from_client = key == "limits.body"
        to_client = from_client != message.is_answer
        if message.is_answer and not from_client:
            self._settle(message.id)
        error = envelope.error(message.id, INVALID_REQUEST if from_client else INTERNAL_ERROR, text)
        if to_client:
            await self._write(error)
        else:
            await self._frame(client_frames.text_frame(error, secret=True))

    # ---- from the server

    async def _to_stdout(self, data: bytes | bytearray) -> None:
        frames = client_frames.ServerFrames(_UNLIMITED if self._place.unix else self._limits.line)
        try:
            while True:
                for event in frames.feed(data):
                    if isinstance(event, client_frames.Closed):
                        self._closed(event)
                        return
                    await self._handle(event)
                data = await self._stream.receive_some(_READ)
                if not data:
                    break
        except client_frames.BadPeer as fault:
            self._ending = f"{self._place.name} {fault}"
            return
        except trio.BrokenResourceError:
            pass
        self._ending = f"{self._place.name} has closed the connection"
        self._may_leave = self._place.unix is not None

    def _closed(self, event: client_frames.Closed) -> None:
        self._may_leave = event.code in (
            client_frames.NORMAL,
            client_frames.GOING_AWAY,
            client_frames.NO_CODE,
        )
        why = f": {' '.join(event.reason.split())}" if event.reason else ""
        self._ending = f"{self._place.name} has closed the connection with the code {event.code}{why}"

    async def _handle(self, event: bytes | Oversize | client_frames.Ping) -> None:
        if isinstance(event, client_frames.Ping):
            await self._frame(client_frames.pong_frame(event.payload))
        elif isinstance(event, Oversize):
            await self._refuse(event, self._limits.line, "limits.line")
        else:
            line = one_line(event)
            answered = answers_in(line)
            if answered is None:
                self._dropped(line)
                return
            await self._write(line)
            for raw_id in answered:
                self._settle(raw_id)

    def _settle(self, raw_id: bytes) -> None:
        for value in self._unread if raw_id == b"null" else (_value(raw_id),):
            self._asked.pop(value, None)
        self._unread &= self._asked.keys()
        if self._stdin_over and not self._asked:
            self._answered.set()

    def _dropped(self, line: bytes) -> None:
        self._noise += 1
        if self._noise <= _SHOWN:
            shown = escaped(line[:200].decode(errors="replace"))
            tell(f"mcp-bridge: dropped a message that is not JSON-RPC: {shown}\n")
        elif self._noise == _SHOWN + 1:
            tell("mcp-bridge: further messages that are not JSON-RPC are dropped without a line here\n")

    # ---- the end

    async def _write(self, line: bytes) -> None:
        async with self._writing:
            self._torn = True
            try:
                await self._stdout.send_all(line + b"\n")
            except trio.BrokenResourceError:  # the client does not read any more
                self._asked.clear()
                self._told = True
                self._over.cancel()
                await trio.lowlevel.checkpoint()
            self._torn = False

    async def _fail_all(self) -> None:
        if self._asked and self._torn:
            await self._stdout.send_all(b"\n")
        for raw_id in tuple(self._asked.values()):
            await self._write(envelope.error(raw_id, INTERNAL_ERROR, self._ending))

    async def _until_told_to_end(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as told:
            self._signal = await anext(told)
        self._told, self._ending = True, f"connect was ended by {signal.Signals(self._signal).name}"


async def _then(carry: Callable[[], Coroutine[Any, Any, None]], end: Callable[[], None]) -> None:
    await carry()
    end()


def _messages(line: bytes, limits: Limits) -> list[Message | bytes]:
    """Return the messages in a line of the client; of one that cannot be read, the raw id that it may be answered under."""
    try:
        batch = envelope.split_batch(line, limits) if envelope.is_batch(line) else [line]
        return [envelope.decode(one, limits) for one in batch]
    except Rejection:  # the daemon says what is wrong with it
        raw_id = envelope.readable_id(line)
        return [] if raw_id == b"null" else [raw_id]


def one_line(data: bytes) -> bytes:
    """Return a JSON text on one line and in UTF-8. In a string of JSON there is no line end."""
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode(errors="replace").encode()
    return data.replace(b"\r", b" ").replace(b"\n", b" ").strip()


def answers_in(line: bytes) -> tuple[bytes, ...] | None:
    """Return the raw ids of the answers in a line of the server, None if the line is no JSON-RPC.

    As from a server on a pipe, a line is JSON-RPC if it says so, or has an id beside a result or an error.
    """
    try:
        if not envelope.is_batch(line):
            message = envelope.decode(line, TRUSTING)
            return (message.id,) if isinstance(message, Response) else ()
    except Rejection:
        pass
    try:
        found: Any = json.loads(line)
    except RecursionError:  # deeper than we can read: the client decides
        return ()
    except ValueError:
        return None
    members: list[Any] = found if isinstance(found, list) else [found]  # pyright: ignore[reportUnknownVariableType] - JSON
    messages = [cast("dict[str, Any]", one) for one in members if isinstance(one, dict)]
    messages = [one for one in messages if _is_message(one)]
    if not messages:
        return None
    return tuple(json.dumps(one["id"]).encode() for one in messages if "id" in one and "method" not in one)


def _is_message(found: dict[str, Any]) -> bool:
    return found.get("jsonrpc") == "2.0" or ("id" in found and ("result" in found or "error" in found))


def _value(raw_id: bytes) -> object:
    """Return what an id is, however it is written."""
    try:
        value: object = json.loads(raw_id)
    except ValueError:
        return raw_id
    return value if isinstance(value, str | int | float) else raw_id
