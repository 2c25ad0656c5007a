"""Receive the redirect of an authorization server on a loopback address (RFC 8252 section 7.3).

The listener accepts one redirect. Its responses are constant: nothing of a request is repeated, and no page may frame or
script them. Requests of other pages and programs of this machine, which do not know the `state`, are refused and change
nothing.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Self
from urllib.parse import urlsplit

import trio

from ...validators.oauth_messages import LONGEST_REDIRECT
from ...validators.oauth_refusal import OAuthRefusal, WrongState

# A redirect URI without a port stands for any free port.
DEFAULT_REDIRECT: Final = "http://127.0.0.1/callback"
_LARGEST_HEAD: Final = LONGEST_REDIRECT + 16 * 1024
# Time for the head of a request, and for the response to it (seconds).
_REQUEST_SECONDS: Final = 5.0
# Connections at once. Browsers open some that they do not use.
_MOST_CONNECTIONS: Final = 16
_HEADERS: Final = (
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cache-Control: no-store\r\n"
    "Connection: close\r\n"
)
_RECEIVED: Final = "The login continues in the terminal. You can close this page.\n"
_REFUSED: Final = "This login was refused. The terminal has the reason.\n"
_OTHER: Final = "This page belongs to no login that is in progress.\n"
_MISSING: Final = "There is no such page.\n"
_INVALID: Final = "The request is not valid.\n"


class Loopback:
    """A listener for one redirect. `redirect_uri` is the URI that the authorization server gets."""

    def __init__(self, redirect_uri: str, listeners: list[trio.SocketListener]) -> None:
        self.redirect_uri = redirect_uri
        self._listeners = listeners
        parts = urlsplit(redirect_uri)
        self._path = parts.path or "/"
        self._host = parts.netloc

    @classmethod
    @asynccontextmanager
    async def open(cls, redirect_uri: str) -> AsyncGenerator[Self]:
        """Listen at the port of a redirect URI, or at a free port if it has none. Raises OSError."""
        parts = urlsplit(redirect_uri)
        host, port = parts.hostname or "", parts.port or 0
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1" if host == "localhost" else host)
        try:
            port = port or listeners[0].socket.getsockname()[1]
            if host == "localhost":
                # A browser may use either address of the name. On some machines there is no IPv6.
                with suppress(OSError):
                    listeners += await trio.open_tcp_listeners(port, host="::1")
            shown = f"[{host}]" if ":" in host else host
            yield cls(f"http://{shown}:{port}{parts.path}", listeners)
        finally:
            for listener in listeners:
                await listener.aclose()

    async def wait(self, accept: Callable[[str], str]) -> str:
        """Return what `accept` returns for the query of a redirect.

        A redirect for which it raises WrongState is ignored. Raises OAuthRefusal if it does.
        """
        sender, receiver = trio.open_memory_channel[str | OAuthRefusal](math.inf)
        limiter = trio.CapacityLimiter(_MOST_CONNECTIONS)

        async def serve(stream: trio.SocketStream) -> None:
            # Without a free place the connection waits for it, at most as long as the requests of the others take.
            async with stream, limiter:
                with trio.move_on_after(_REQUEST_SECONDS), suppress(trio.BrokenResourceError):
                    await self._respond(stream, accept, sender)

        async with trio.open_nursery() as nursery:
            for listener in self._listeners:
                nursery.start_soon(trio.serve_listeners, serve, [listener])
            outcome = await receiver.receive()
            nursery.cancel_scope.cancel()
        if isinstance(outcome, OAuthRefusal):
            raise outcome
        return outcome

    async def _respond(
        self,
        stream: trio.SocketStream,
        accept: Callable[[str], str],
        sender: trio.MemorySendChannel[str | OAuthRefusal],
    ) -> None:
        head = await _head(stream)
        outcome: str | OAuthRefusal | None = None
        query = self._query(head) if head else None
        if query is None:
            await _send(stream, 404 if head else 400, _MISSING if head else _INVALID)
            return
        try:
            outcome = accept(query)
        except WrongState:
            await _send(stream, 400, _OTHER)
            return
        except OAuthRefusal as fault:
            outcome = fault
        # The response is written first, because the listener ends with the outcome.
        refused = isinstance(outcome, OAuthRefusal)
        try:
            await _send(stream, 400 if refused else 200, _REFUSED if refused else _RECEIVED)
        finally:
            sender.send_nowait(outcome)

    def _query(self, head: bytes) -> str | None:
        """Return the query of a GET request for our path and host, None for any other request."""
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        hosts = [line[5:].strip(" \t").lower() for line in lines[1:] if line[:5].lower() == "host:"]
        if len(words) != 3 or words[0] != "GET" or hosts != [self._host]:
            return None
        path, _, query = words[1].partition("?")
        return query if path == self._path else None


async def _head(stream: trio.SocketStream) -> bytes:
    """Return the head of a request, empty if it is incomplete or too large."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some(4096)
        if not data or len(head) > _LARGEST_HEAD:
            return b""
        head += data
    return head.partition(b"\r\n\r\n")[0]


async def _send(stream: trio.SocketStream, status: int, text: str) -> None:
    line = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Refused'}\r\n"
    await stream.send_all(f"{line}{_HEADERS}Content-Length: {len(text)}\r\n\r\n{text}".encode())
    await stream.send_eof()
