"""Open connections to a remote server: name resolution, proxy, TLS. Each failure has a reason that its user can act on."""

import functools
import os
import socket
import ssl
from pathlib import Path
from typing import Final, cast

import attrs
import trio

from ...validators import socks5
from ...validators.proxy_choice import Proxy, choose_proxy
from ...validators.remote_url import BadRemoteUrl, RemoteUrl, same_origin
from .addresses import Guard, open_guarded
from .options import RemoteOptions
from .ports import Unreachable

# A peer that is gone without an end of the connection, for example after a change of the network, is found within a minute
# although no byte is sent: a response may take any time (seconds, and the number of probes; see tcp(7)).
_KEEP_ALIVE: Final = (
    ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 30),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), 10),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPCNT), 3),
)

Stream = trio.SocketStream | trio.SSLStream[trio.abc.Stream]

# The longest head of a proxy's response to CONNECT (bytes).
_PROXY_HEAD: Final = 16 * 1024
# Reasons of OpenSSL for a peer that responds without TLS.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
# The same for a peer that has refused the certificate of the client, or its absence (RFC 8446 section 6.2).
_CERTIFICATE_ALERTS: Final = (
    "CERTIFICATE_REQUIRED",
    "BAD_CERTIFICATE",
    "UNKNOWN_CA",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
)


@attrs.define(eq=False)
class Connection:
    """An open connection. `forward` is the proxy to which requests for other origins are sent, if it is no tunnel."""

    stream: Stream
    socket: trio.SocketStream
    forward: Proxy | None = None

    def close(self) -> None:
        """Close the socket now, without any message and without waiting."""
        self.socket.socket.close()

    @property
    def readable(self) -> bool:
        """Whether the peer has sent something, or has closed the connection."""
        return self.socket.socket.is_readable()


class Connector:
    """Opens connections for one remote server. With a `guard` only to addresses that it permits."""

    def __init__(self, options: RemoteOptions, home: RemoteUrl, guard: Guard | None = None) -> None:
        self._options = options
        self._home = home
        self._guard = guard

    async def open(self, url: RemoteUrl, *, seconds: float, tunnel: bool = False) -> Connection:
        """Return a connection to the origin of a URL.

        Through a proxy it is a tunnel for TLS and with `tunnel`. Raises Unreachable; the server has then received no request.
        """
        name = url.origin
        try:
            proxy = choose_proxy(self._options.proxy, url, os.environ)
        except BadRemoteUrl as fault:
            raise Unreachable(f"cannot connect to {name}: {fault}") from None
        opened: list[trio.SocketStream] = []
        try:
            with trio.fail_after(seconds):
                return await self._open(url, proxy, opened, tunnel=tunnel or url.tls)
        except BaseException as fault:
            for stream in opened:
                stream.socket.close()
            if isinstance(fault, trio.TooSlowError):
                raise Unreachable(f"cannot connect to {name}: no connection within {seconds:g} s") from None
            raise

    async def _open(
        self, url: RemoteUrl, proxy: Proxy | None, opened: list[trio.SocketStream], *, tunnel: bool
    ) -> Connection:
        if proxy is None:
            plain = await self._open_tcp(url, f"cannot connect to {url.origin}", guarded=True)
            opened.append(plain)
            stream: Stream = plain
        else:
            if self._guard is not None:
                await self._guard.permitted(url, resolve=False)
            failed = f"cannot connect to {url.origin}: the proxy {proxy.url.origin} cannot be reached"
            plain = await self._open_tcp(proxy.url, failed, guarded=False)
            opened.append(plain)
            stream = plain
            if proxy.url.tls:
                stream = await self._start_tls(stream, proxy.url, failed)
            if proxy.socks:
                await _request_socks(stream, url, proxy)
            elif tunnel:
                await _request_tunnel(stream, url, proxy)
            else:
                return Connection(stream, plain, proxy)
        if url.tls:
            stream = await self._start_tls(stream, url, f"cannot connect to {url.origin}")
        return Connection(stream, plain)

    async def _open_tcp(self, url: RemoteUrl, failed: str, *, guarded: bool) -> trio.SocketStream:
        try:
            if guarded and self._guard is not None:
                stream = await open_guarded(self._guard, url)
            else:
                stream = await trio.open_tcp_stream(url.host, url.port)
            for option, value in _KEEP_ALIVE:
                stream.setsockopt(*option, value)
        except OSError as fault:
            raise Unreachable(f"{failed}: {_reason(fault)}") from None
        except UnicodeError:
            raise Unreachable(f"{failed}: the host name is not valid") from None
        return stream

    async def _start_tls(self, stream: Stream, url: RemoteUrl, failed: str) -> Stream:
        options = self._options
        own = same_origin(url, self._home)
        try:
            context = await trio.to_thread.run_sync(
                tls_context,
                options.ca_file,
                options.cert_file if own else "",
                options.key_file if own else "",
            )
        except (OSError, ssl.SSLError) as fault:
            raise Unreachable(f"{failed}: {fault}") from None
        tls = trio.SSLStream[trio.abc.Stream](
            stream, context, server_hostname=url.host.removesuffix("."), https_compatible=True
        )
        try:
            await tls.do_handshake()
        except (trio.BrokenResourceError, ssl.CertificateError) as fault:
            raise Unreachable(tls_reason(fault, url, failed)) from None
        return tls


async def _request_socks(stream: Stream, url: RemoteUrl, proxy: Proxy) -> None:
    """Request a connection from a SOCKS 5 proxy. Raises Unreachable."""
    failed = f"cannot connect to {url.origin} through the proxy {proxy.url.origin}"
    authenticates = bool(proxy.user)

    async def exchange(message: bytes, size: int) -> bytes:
        await stream.send_all(message)
        response = b""
        while len(response) < size:
            more = await stream.receive_some(size - len(response))
            if not more:
                raise trio.BrokenResourceError
            response += more
        return response

    try:
        response = await exchange(socks5.greeting(authenticates=authenticates), socks5.SHORT_RESPONSE)
        if socks5.read_method(response, authenticates=authenticates) == socks5.PASSWORD:
            message = socks5.password(proxy.user, proxy.password)
            socks5.check_password(await exchange(message, socks5.SHORT_RESPONSE))
        response = await exchange(socks5.request(url), socks5.REQUEST_RESPONSE)
        await exchange(b"", socks5.read_response(response))
    except socks5.SocksFailure as fault:
        raise Unreachable(f"{failed}: {fault}") from None
    except trio.BrokenResourceError:
        raise Unreachable(f"{failed}: the proxy closed the connection") from None


async def _request_tunnel(stream: Stream, url: RemoteUrl, proxy: Proxy) -> None:
    """Request a tunnel from a proxy (RFC 9110 section 9.3.6). Raises Unreachable."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    target = f"{host}:{url.port}".encode()
    lines = [b"CONNECT %b HTTP/1.1" % target, b"Host: %b" % target]
    if proxy.authorization:
        lines.append(b"Proxy-Authorization: %b" % proxy.authorization)
    failed = f"cannot connect to {url.origin} through the proxy {proxy.url.origin}"
    head = b""
    try:
        await stream.send_all(b"".join(line + b"\r\n" for line in (*lines, b"")))
        # One byte at a time in the worst case only: bytes after the head belong to the server.
        while b"\r\n\r\n" not in head:
            more = await stream.receive_some(_next_size(head))
            head += more
            if not more:
                raise Unreachable(f"{failed}: the proxy closed the connection")
            if len(head) > _PROXY_HEAD:
                raise Unreachable(
                    f"{failed}: the proxy sent a response head of more than {_PROXY_HEAD} bytes"
                )
    except trio.BrokenResourceError:
        raise Unreachable(f"{failed}: the proxy closed the connection") from None
    first = head.split(b"\r\n", 1)[0].split(b" ", 2)
    status = first[1] if len(first) > 1 and first[0].startswith(b"HTTP/1.") else b""
    if status[:1] != b"2":
        shown = status.decode("latin-1") if status.isdigit() and len(status) == 3 else "an invalid response"
        hint = "; its user name or password is wrong or missing" if status == b"407" else ""
        raise Unreachable(f"{failed}: the proxy answered CONNECT with {shown}{hint}")


def _next_size(head: bytes) -> int:
    """Return how many bytes can be read without reading beyond a head that ends with an empty line."""
    for end in (b"\r\n\r", b"\r\n", b"\r"):
        if head.endswith(end):
            return 4 - len(end)
    return 4


def tls_context(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """Return the TLS context of a client. Reads files. Raises OSError and ssl.SSLError, whose texts name the file.

    The certificates in `ca_file` are trusted in addition to those of the system.
    """
    changed = tuple(_changed(path) for path in (ca_file, cert_file, key_file))
    return _tls_context(ca_file, cert_file, key_file, changed)


# One context has all certificates of the system, about 500 KiB. A changed file makes a new one.
@functools.lru_cache(maxsize=16)
def _tls_context(
    ca_file: str, cert_file: str, key_file: str, _changed: tuple[tuple[int, int], ...]
) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    try:
        if ca_file:
            context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise ssl.SSLError(f"{ca_file} has no certificates in PEM format") from None
    try:
        if cert_file:
            context.load_cert_chain(cert_file, key_file or None, password=_no_password)
    except (ssl.SSLError, ValueError):
        pair = f"{cert_file} and {key_file}" if key_file else cert_file
        raise ssl.SSLError(
            f"{pair}: not a certificate and its key in PEM format, without a password"
        ) from None
    return context


def _no_password() -> str:
    """Return the password of a key, so that OpenSSL does not ask for one on the terminal."""
    return ""


def _changed(path: str) -> tuple[int, int]:
    if not path:
        return 0, 0
    try:
        found = Path(path).stat()
    except OSError as fault:
        raise OSError(f"{path} cannot be read: {fault.strerror}") from None
    return found.st_mtime_ns, found.st_ino


def _first_cause(fault: BaseException) -> BaseException:
    if isinstance(fault, BaseExceptionGroup):
        return _first_cause(cast("BaseExceptionGroup[BaseException]", fault).exceptions[0])
    return fault if fault.__cause__ is None else _first_cause(fault.__cause__)


def _reason(fault: OSError) -> str:
    """Return the reason of a failed connection attempt."""
    cause = _first_cause(fault)
    if isinstance(cause, socket.gaierror):
        return f"the host name cannot be resolved: {cause.strerror}"
    number = getattr(cause, "errno", None)
    return os.strerror(number) if number else str(cause)


def tls_reason(fault: Exception, url: RemoteUrl, failed: str) -> str:
    """Return why a TLS connection to this URL has failed."""
    cause = _first_cause(fault)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"{failed}: its TLS certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        if cause.reason in _NO_TLS:
            plain = {"https": "http", "wss": "ws"}[url.scheme]
            return f"{url.origin} does not use TLS; use a {plain}:// URL"
        if is_certificate_alert(cause):
            return f"{failed}: it does not accept the client certificate, or requires one ({cause.reason})"
        hint = "; it may require a client certificate" if "HANDSHAKE_FAILURE" in (cause.reason or "") else ""
        return f"{failed}: TLS failed: {cause.reason or cause}{hint}"
    return f"{failed}: the connection was closed during the TLS handshake"


def is_certificate_alert(fault: BaseException) -> bool:
    """Return whether the peer has refused the certificate of the client, and therefore has received no request."""
    cause = _first_cause(fault)
    return isinstance(cause, ssl.SSLError) and any(
        (cause.reason or "").endswith(f"ALERT_{alert}") for alert in _CERTIFICATE_ALERTS
    )
