"""Where `connect` finds a server: the Unix socket of the daemon, or a URL."""

import ssl
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

import attrs
import trio

from ...config.addresses import check_listener, websocket_url
from ..control_client import Unreachable, no_daemon

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

# Of TLS and of WebSocket, each (seconds).
HANDSHAKE_SECONDS: Final = 10.0
# Reasons of OpenSSL for a peer that responds without TLS.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


@attrs.frozen
class Target:
    """A server on a Unix socket, or else at a host and port, with or without TLS.

    `name` is what messages call it, `host` the value of the Host header, and `token` the bearer token or empty.
    """

    name: str
    host: str
    path: str
    unix: Path | None = None
    address: tuple[str, int] = ("", 0)
    tls: bool = False
    token: str = attrs.field(default="", repr=False)

    @classmethod
    def of_daemon(cls, unix: Path, name: str) -> "Target":
        """Return a server of the daemon behind a Unix socket."""
        return cls(name, "localhost", f"/servers/{quote(name, safe='')}/ws", unix)

    @classmethod
    def at(cls, url: str, token: str) -> "Target":
        """Return the server at a URL. Raises BadAddress."""
        found = websocket_url(url)
        tls = found.scheme == "wss"
        address = (found.hostname or "", found.port or (443 if tls else 80))
        return cls(url, found.netloc, found.path, None, address, tls, token)

    async def open(self) -> Stream:
        """Return a connection. Raises Unreachable."""
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
            try:
                with trio.fail_after(HANDSHAKE_SECONDS):
                    await stream.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        except (OSError, UnicodeError, trio.TooSlowError, trio.BrokenResourceError) as fault:
            raise Unreachable(self._unreachable(fault)) from None
        return stream

    def _unreachable(self, fault: Exception) -> str:
        cause = _cause_of(fault)
        reason = (
            getattr(cause, "strerror", None) or str(cause) or f"no response within {HANDSHAKE_SECONDS:g} s"
        )
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            return f"{self.name} does not use TLS; use an http:// or ws:// URL"
        if self.unix is None:
            untrusted = isinstance(cause, ssl.SSLCertVerificationError)
            why = "its TLS certificate is not trusted: " if untrusted else ""
            return f"cannot connect to {self.name}: {why}{reason}"
        return no_daemon(self.unix, reason)


def _cause_of(fault: BaseException) -> BaseException:
    """Return the first cause of an exception."""
    if isinstance(fault, BaseExceptionGroup):
        return _cause_of(cast("BaseExceptionGroup[BaseException]", fault).exceptions[0])
    return fault if fault.__cause__ is None else _cause_of(fault.__cause__)
