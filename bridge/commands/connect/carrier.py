"""`mcp-bridge connect NAME|URL`: a server behind a bridge as a stdio server, for clients that only start commands.

Lines of stdin become messages of a WebSocket and the other way round, whatever era they are of. When the connection is lost,
another is made; `reconnection` decides what is sent on it, and which requests have failed.
"""

import contextlib
import http.client
import os
import random
import signal
import ssl
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, cast
from urllib.parse import quote

import attrs
import trio

from ....validators.limits import Limits
from ...config.addresses import BadAddress, check_listener, websocket_of
from ...log import escaped, tell
from ..control_client import NoDaemon, Refused, reason_in
from . import websocket
from .bounded_lines import Lines, Oversize
from .reconnection import Effect, Reconnection, Say, ToClient, one_line

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
# A stream on which a WebSocket is open, and what has come behind the handshake.
_Open = tuple[Stream, bytes]

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
# Between two attempts to connect, in seconds: it doubles, with some chance, so that not all clients come at once.
_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
# A connection that has lasted so long, or has carried an answer, ends the time in which others must succeed (seconds).
_LASTED: Final = 10.0
# A peer that does not answer the handshake within so many seconds is waited for with a line on standard error.
_SILENT: Final = 2.0


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
        reason = getattr(first, "strerror", None) or str(first) or f"no response within {_HANDSHAKE:g} s"
        if isinstance(first, ssl.SSLError) and first.reason in _NO_TLS:
            return f"{self.name} does not use TLS; use an http:// or ws:// URL"
        if self.unix is None:
            untrusted = isinstance(first, ssl.SSLCertVerificationError)
            why = "its TLS certificate is not trusted: " if untrusted else ""
            return f"cannot connect to {self.name}: {why}{reason}"
        return f"cannot connect to the daemon at {self.unix}: {reason}; start it with `mcp-bridge serve`"


def _first(fault: BaseException) -> BaseException:
    """What was behind it all."""
    if isinstance(fault, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", fault).exceptions[0])
    return fault if fault.__cause__ is None else _first(fault.__cause__)


def run(place: Place, limits: Limits, wait: float) -> None:
    """Carry messages between our standard streams and a server until one side ends. Raises NoDaemon and Refused.

    A line of stdin has at most `limits.body` bytes, and a message from a URL at most `limits.line`. A daemon that does not
    answer yet, or whose connection is lost, is waited for, for `wait` seconds.
    """
    interrupted = False
    try:
        trio.run(_run, place, limits, wait)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        raise KeyboardInterrupt


async def _run(place: Place, limits: Limits, wait: float) -> None:
    async with trio.lowlevel.FdStream(os.dup(1)) as stdout:
        await _Carrier(place, limits, wait, stdout).run()


async def _handshake(place: Place, patience: float) -> _Open:
    """Return a stream on which a WebSocket is open, and what has come behind the handshake.

    Raises NoDaemon, Refused and BadAddress.
    """
    stream = await place.open()
    try:
        with trio.fail_after(patience):
            return stream, await _opened(stream, place)
    except websocket.BadPeer as fault:
        reason: NoDaemon | Refused = _as_failure(f"{place.name} {fault}")
    except trio.TooSlowError:
        reason = NoDaemon(f"{place.name} did not respond to the handshake within {patience:g} s")
    except trio.BrokenResourceError:
        reason = NoDaemon(f"{place.name} closed the connection before it responded")
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    await trio.aclose_forcefully(stream)
    raise reason


class _Busy(NoDaemon):
    """It is there, and has no room."""


def _as_failure(text: str) -> NoDaemon | Refused:
    return Refused(text) if text.endswith("does not speak WebSocket") else NoDaemon(text)


async def _opened(stream: Stream, place: Place) -> bytes:
    """Open the WebSocket and return what has come after the handshake. Raises BadPeer, NoDaemon and Refused."""
    key = websocket.new_key()
    # A daemon that refuses the connection has answered and closed it already.
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(websocket.opening(place.host, place.path, key, place.token))
    data = b""
    while (found := websocket.read_answer(data)) is None:
        more = await stream.receive_some(_READ)
        if not more:
            raise trio.BrokenResourceError
        data += more
    answer, rest = found
    if answer.status != http.client.SWITCHING_PROTOCOLS:
        await _refuse(stream, place, answer, rest)
    websocket.check_opened(answer, key)
    return rest


async def _refuse(stream: Stream, place: Place, answer: websocket.Answer, body: bytes) -> NoReturn:
    size = answer.headers.get("content-length", "")
    wanted = min(int(size), _BODY) if size.isascii() and size.isdecimal() and len(size) < 9 else _BODY
    with trio.move_on_after(_BODY_SECONDS), contextlib.suppress(trio.BrokenResourceError):
        while len(body) < wanted and (more := await stream.receive_some(_READ)):
            body += more
    text = reason_in(body[:wanted])
    if answer.status == http.client.NOT_FOUND:
        text = f"there is no server {place.name!r}" if place.unix else f"there is no server at {place.name}"
    elif answer.status == http.client.UNAUTHORIZED and not place.unix:
        text = f"{place.name}: 401 Unauthorized: missing or wrong token; pass --token-file FILE"
    text = text or f"{place.name} returned HTTP {answer.status}; it is not a WebSocket endpoint of mcp-bridge"
    busy = (
        answer.status >= http.client.INTERNAL_SERVER_ERROR or answer.status == http.client.TOO_MANY_REQUESTS
    )
    raise (_Busy if busy else Refused)(text)


class _Wire:
    """One connection. What is sent on it after its end is dropped."""

    def __init__(self, stream: Stream, *, secret: bool) -> None:
        self.stream = stream
        self._secret = secret
        self._sending = trio.Lock()

    async def send_text(self, text: bytes) -> None:
        """Send a message."""
        await self.send(websocket.text_frame(text, secret=self._secret))

    async def send(self, frame: bytes) -> None:
        """Send a frame."""
        async with self._sending:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_all(frame)


class _Lost(NamedTuple):
    """How a connection has ended; `in_order` where that is no failure as long as nothing is unanswered."""

    reason: str
    in_order: bool = False


class _Carrier:
    """Both directions, over one connection after another."""

    def __init__(self, place: Place, limits: Limits, wait: float, stdout: trio.lowlevel.FdStream) -> None:
        self._place = place
        self._limits = limits
        self._wait = wait
        self._stdout = stdout
        self._client = Reconnection(limits)
        self._wire: _Wire | None = None
        self._since = trio.current_time()  # when the last connection was made
        self._carried = False  # whether anything has come on it
        self._deadline = trio.current_time() + wait  # until when there must be another one
        self._pause = _PAUSE
        self._never: NoDaemon | None = None  # why there was no connection yet
        self._stdin_over = False
        self._deciding = False  # a connection is lost, and whether there will be another one is not known yet
        self._changed = trio.Event()  # something was sent, answered or lost
        self._noise = 0  # how many messages were dropped
        self._unwritten: list[bytes] = []  # raw ids of answers that are not written in whole
        self._torn = False  # whether a line is being written to stdout
        self._deaf = False  # whether the client does not read any more
        self._refused = trio.Event()  # a request was refused, and waits for the next connection
        self._ending = ""  # why it had to end
        self._failure: NoDaemon | Refused | BadAddress | None = None
        self._signal = 0
        self._writing = trio.Lock()
        self._over = trio.CancelScope()

    async def run(self) -> None:
        """Carry until one side ends. What is not answered by then gets an error. Raises NoDaemon, Refused and BadAddress."""
        first = await self._first()
        with self._over:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._give_back)
                for carry in (self._from_stdin, partial(self._connections, first), self._until_told_to_end):
                    nursery.start_soon(partial(_then, carry, self._over.cancel))
        with trio.move_on_after(_LAST_WORDS, shield=True):
            await self._end()
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._failure is not None and not self._deaf:
            raise self._failure

    async def _end(self) -> None:
        if self._torn:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._stdout.send_all(b"\n")
        unwritten, self._unwritten = self._unwritten, []
        await self._perform(self._client.ended(self._ending, unwritten))
        if self._wire is not None:
            await self._wire.send(websocket.close_frame(websocket.NORMAL))
            await trio.aclose_forcefully(self._wire.stream)

    async def _perform(self, effects: Iterable[Effect]) -> None:
        # All is for the connection that is open now: on a later one it would be out of place.
        wire, effects = self._wire, tuple(effects)
        for effect in effects:
            if isinstance(effect, ToClient):
                self._unwritten += effect.answers
        for effect in effects:
            if isinstance(effect, ToClient):
                await self._write(effect)
            elif isinstance(effect, Say):
                _say(effect.text)
            elif wire is not None:
                await wire.send_text(effect.text)
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # ---- from the client

    async def _from_stdin(self) -> None:
        lines = Lines(self._limits.body)
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while data := await stdin.receive_some(_READ):
                for line in lines.feed(data):
                    await self._take(line)
                while self._client.full:
                    await self._changed.wait()
        for line in lines.end():
            await self._take(line)
        self._stdin_over = True
        await self._last_answers(trio.current_time())
        self._ending = self._ending or "stdin was closed"
        self._failure = self._failure or self._never

    async def _last_answers(self, ended: float) -> None:
        while self._deciding or self._unwritten or not self._client.answered:
            if self._wire is None:  # the task that makes another one knows when to give up
                await self._changed.wait()
                continue
            left = max(ended, self._since) + _LAST_ANSWERS - trio.current_time()
            if left <= 0:
                self._ending = f"no response within {_LAST_ANSWERS:g} s after stdin was closed"
                return
            with trio.move_on_after(left):
                await self._changed.wait()

    async def _take(self, line: bytes | Oversize) -> None:
        if isinstance(line, Oversize):
            effects = self._client.too_large(line, self._limits.body, "limits.body", from_client=True)
        else:
            effects = self._client.on_client_message(line)
        await self._perform(effects)

    # ---- connections

    async def _first(self) -> _Open | None:
        """Return a connection, or None where the daemon is to be waited for. Raises NoDaemon, Refused and BadAddress."""
        try:
            return await self._attempt()
        except NoDaemon as fault:
            if isinstance(fault, _Busy) or not self._place.unix or trio.current_time() >= self._deadline:
                raise
            self._never = fault
        _say(f"{self._never}; retrying for at most {self._wait:g} s")
        return None

    async def _connections(self, found: _Open | None) -> None:
        """Make one connection after another, until none can be made or none is needed."""
        while found := found or await self._again():
            stream, rest = found
            found = None
            self._wire, self._since, self._carried = (
                _Wire(stream, secret=self._place.unix is None),
                trio.current_time(),
                False,
            )
            self._never = None
            await self._perform(self._client.connected())
            lost = await self._to_stdout(rest)
            self._wire, self._deciding = None, True
            failing = not self._client.answered
            effects = self._client.disconnected(lost.reason)
            await trio.aclose_forcefully(stream)
            await self._perform(effects)
            if not self._goes_on(lost, failing=failing):
                return
            _say(f"{lost.reason}; reconnecting")
            self._deciding = False
            self._change()

    def _goes_on(self, lost: _Lost, *, failing: bool) -> bool:
        now = trio.current_time()
        lasted = self._carried or now - self._since >= _LASTED
        if lasted:
            self._deadline, self._pause = now + self._wait, 0.0
        if self._stdin_over and not self._client.waiting:
            self._ending = lost.reason
            if failing or not lost.in_order:
                self._failure = NoDaemon(lost.reason)
            return False
        if now >= self._deadline:
            self._ending = lost.reason
            self._failure = NoDaemon(lost.reason)
            return False
        return True

    async def _again(self) -> _Open | None:
        """Return another connection, None where it has to end."""
        while True:
            await trio.sleep(self._pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            self._pause = min(max(2 * self._pause, _PAUSE), _LONGEST_PAUSE)
            try:
                return await self._attempt()
            except NoDaemon as fault:
                if trio.current_time() < self._deadline:
                    continue
                self._failure = fault
            except (Refused, BadAddress) as fault:
                self._failure = fault
            self._ending = str(self._failure)
            return None

    async def _attempt(self) -> _Open:
        """Connect once. Raises NoDaemon, Refused and BadAddress."""
        patience, silence = _HANDSHAKE, trio.CancelScope()
        if self._place.unix:  # the socket of a service manager is there before the daemon is
            patience = max(patience, self._deadline - trio.current_time())
        found: list[_Open] = []
        fault: NoDaemon | Refused | BadAddress | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say_what_is_waited_for, silence, patience)
            try:
                found.append(await _handshake(self._place, patience))
            except (NoDaemon, Refused, BadAddress) as error:
                fault = error
            silence.cancel()
        if fault is not None:
            raise fault
        return found[0]

    async def _say_what_is_waited_for(self, scope: trio.CancelScope, patience: float) -> None:
        with scope:
            await trio.sleep(_SILENT)
            if self._place.unix:
                _say(
                    f"{self._place.unix} accepted the connection and has not responded; waiting for at most {patience:.0f} s"
                )

    # ---- from the server

    async def _to_stdout(self, data: bytes | bytearray) -> _Lost:
        assert self._wire is not None  # noqa: S101 - it was just made
        name, stream = self._place.name, self._wire.stream
        frames = websocket.ServerFrames(_UNLIMITED if self._place.unix else self._limits.line)
        try:
            while True:
                for event in frames.feed(data):
                    if isinstance(event, websocket.Closed):
                        return self._closed(event)
                    self._carried = True
                    await self._handle(event)
                data = await stream.receive_some(_READ)
                if not data:
                    break
        except websocket.BadPeer as fault:
            return _Lost(f"{name} {fault}")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        return _Lost(f"{name} closed the connection", in_order=self._place.unix is not None)

    def _closed(self, event: websocket.Closed) -> _Lost:
        in_order = event.code in (
            websocket.NORMAL,
            websocket.GOING_AWAY,
            websocket.NO_CODE,
        )
        why = f": {' '.join(event.reason.split())}" if event.reason else ""
        return _Lost(
            f"{self._place.name} closed the connection with code {event.code}{why}", in_order=in_order
        )

    async def _handle(self, event: bytes | Oversize | websocket.Ping) -> None:
        if isinstance(event, websocket.Ping):
            if self._wire is not None:
                await self._wire.send(websocket.pong_frame(event.payload))
        elif isinstance(event, Oversize):
            limit, key = self._limits.line, "limits.line"
            await self._perform(self._client.too_large(event, limit, key, from_client=False))
        else:
            line = one_line(event)
            effects = self._client.on_server_message(line)
            if effects is None:
                self._dropped(line)
                return
            await self._perform(effects)
            if not effects and self._client.turned_away:
                self._refused.set()

    async def _give_back(self) -> None:
        """End the wait of requests that a server has refused which is being replaced, if its connection does not end in time."""
        while True:
            await self._refused.wait()
            with trio.move_on_after(self._wait):
                while self._client.turned_away:
                    await self._changed.wait()
            self._refused = trio.Event()
            await self._perform(self._client.give_back())

    def _dropped(self, line: bytes) -> None:
        self._noise += 1
        if self._noise <= _SHOWN:
            _say(f"dropped a message that is not JSON-RPC: {line[:200].decode(errors='replace')}")
        elif self._noise == _SHOWN + 1:
            _say("further messages that are not JSON-RPC are dropped without a notice")

    # ---- the end

    async def _write(self, effect: ToClient) -> None:
        async with self._writing:
            if not self._deaf:
                self._torn = True
                try:
                    await self._stdout.send_all(effect.line + b"\n")
                except trio.BrokenResourceError:
                    self._deaf = True
                    self._over.cancel()
                self._torn = False
        for raw_id in effect.answers:
            if raw_id in self._unwritten:
                self._unwritten.remove(raw_id)

    async def _until_told_to_end(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as told:
            self._signal = await anext(told)
        self._ending = f"connect was stopped by {signal.Signals(self._signal).name}"


def _say(text: str) -> None:
    tell(f"mcp-bridge: {escaped(text)}\n")


async def _then(carry: Callable[[], Coroutine[Any, Any, None]], end: Callable[[], None]) -> None:
    await carry()
    end()
