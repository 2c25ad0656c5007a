"""Listening sockets, and the accept loop that isolates connections.

No input of a peer reaches the nursery of the listener: a fault costs one connection.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import attrs
import trio

from ...validators.client_certificate import read_peer_certificate
from ...validators.rejection import INVALID_REQUEST, Rejection
from ..rate_limited_log import RateLimitedLog
from ..socket_owner import is_of_another_user, uid_listening_on, uid_of_unix_peer
from .gate import Peer
from .http1 import Connection
from .quota import HANDSHAKE, NO_HEAD, REFUSED, Seat
from .responses import LINGER_BYTES, LINGER_SECONDS, last_response
from .service import Service
from .wire import TlsWire

# Received bytes that the kernel holds for a connection at most. It would hold up to tcp_rmem, 32 MB on many systems, and on
# loopback a read that makes room copies up to half of that from the sender, during the system call.
_RECEIVE_BUFFER: Final = 256 * 1024
# Connections that the kernel queues (listen(2)): more than half a second of a flood of 2,000 per second.
_BACKLOG: Final = 1024
# The kernel closes a connection whose peer acknowledges nothing for this long (milliseconds, tcp(7)).
_USER_TIMEOUT_MS: Final = 45_000
_LONGEST_MS: Final = 2**31 - 1
# Pause after the process has run out of descriptors (seconds).
_EXHAUSTED_PAUSE: Final = 0.1
# Connections accepted in one turn of the event loop: at most `_FAIR`, and at most this share of the places without a
# credential. A connection thus has 16 turns for its handshake and head before it can be evicted.
_FAIR: Final = 64
_SHARE: Final = 16
# Length of sun_path without its terminating zero (unix(7)).
_LONGEST_PATH: Final = 107
# First bytes of HTTP that TLS never begins with: letters, and the line end that may precede a request line.
_PLAIN: Final = frozenset(bytes([byte]) for byte in range(128) if chr(byte).isalpha() or chr(byte) in "\r\n")
# Bytes that are read and dropped at once from a refused peer.
_DROPPED_AT_ONCE: Final = 64 * 1024
# The first descriptor that systemd passes (sd_listen_fds(3)).
_FIRST_PASSED: Final = 3
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class CannotListen(Exception):
    """An address cannot be listened on. `in_use` is set where another process has it."""

    def __init__(self, text: str, *, in_use: bool = False) -> None:
        super().__init__(text)
        self.in_use = in_use


class KeyIsEncrypted(Exception):
    """The private key of a certificate needs a passphrase."""


@attrs.define(eq=False)
class Listener:
    """A listening socket and the service of its connections. With `tls` ALPN is offered.

    `tls` may be replaced; the new context is used for connections from then on.
    """

    sock: socket.socket
    service: Service
    tls: ssl.SSLContext | None = None
    # Cancelled to accept no more connections. Open connections continue.
    accepting: trio.CancelScope = attrs.field(factory=trio.CancelScope, eq=False)

    @property
    def port(self) -> int:
        """The TCP port that was bound."""
        port: int = self.sock.getsockname()[1]
        return port


def bind_tcp(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket. Raises CannotListen."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as fault:
        raise CannotListen(f"the host {host!r} cannot be resolved: {fault.strerror}") from None
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as fault:
        sock.close()
        in_use = fault.errno == errno.EADDRINUSE
        holder = _holder(host, port) if in_use else ""
        raise CannotListen(
            f"cannot listen on {host} port {port}: {os.strerror(fault.errno or 0)}{holder}", in_use=in_use
        ) from None
    sock.setblocking(False)
    return sock


def _holder(host: str, port: int) -> str:
    """Return a text about the process of another user that listens on this port, or an empty text."""
    uid = uid_listening_on(host, port)
    if uid is None or uid == os.geteuid():
        return ""
    return (
        f" by a process of another user, uid {uid}. Clients that connected to it may have sent it their token:"
        " `mcp-bridge token rotate` replaces the default token, `mcp-bridge token new` the others"
    )


def bind_unix(path: Path) -> socket.socket:
    """Return a listening Unix socket of mode 0600, replacing a stale socket of this user. Raises CannotListen."""
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise CannotListen(
            f"the path of a Unix socket has at most {_LONGEST_PATH} bytes, this one has {len(os.fsencode(path))}"
        )
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(os.fspath(path))
        sock.listen(_BACKLOG)
    except OSError as fault:
        sock.close()
        raise CannotListen(f"cannot listen on {path}: {os.strerror(fault.errno or 0)}") from None
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as fault:
        raise CannotListen(f"cannot listen on {path}: {os.strerror(fault.errno or 0)}") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise CannotListen(f"{path} exists and is not a socket")
    if found.st_uid != os.geteuid():
        raise CannotListen(
            f"{path} is a socket of the user with uid {found.st_uid}, not of uid {os.geteuid()}"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise CannotListen(f"{path} is in use", in_use=True)


async def serve(listener: Listener) -> None:
    """Accept until `listener.accepting` is cancelled, and return when the last connection has ended."""
    async with trio.open_nursery() as nursery:
        with listener.accepting:
            await _accept(listener, nursery)


async def _accept(listener: Listener, nursery: trio.Nursery) -> None:
    unblocked = 0
    most = max(1, min(_FAIR, listener.service.limits.connections_unauthenticated // _SHARE))
    while True:
        try:
            sock, address = listener.sock.accept()
        except BlockingIOError:
            unblocked = 0
            await trio.lowlevel.wait_readable(listener.sock)
            continue
        except OSError as fault:
            if fault.errno in _NO_ROOM:
                await _make_room(listener.service, fault)
            continue
        _admit(listener, nursery, sock, address)
        unblocked += 1
        if unblocked >= most:
            unblocked = 0
            await trio.lowlevel.checkpoint()


async def _make_room(service: Service, fault: OSError) -> None:
    # The descriptor of an evicted connection is free as soon as its task has run.
    evicted = service.quota.make_room()
    service.rate_limited.error("accept_failed", reason=os.strerror(fault.errno or 0), evicted=evicted)
    if evicted:
        await trio.lowlevel.checkpoint()
    else:
        await trio.sleep(_EXHAUSTED_PAUSE)


def _admit(listener: Listener, nursery: trio.Nursery, sock: socket.socket, address: tuple[str, int]) -> None:
    """Admit a connection to the quota and start its task. `address` is that of accept(2)."""
    service, peer = listener.service, _name(address)
    sock.setblocking(False)
    local = sock.family == socket.AF_UNIX
    if local and uid_of_unix_peer(sock) != os.geteuid():
        service.refusals.note("uid", peer)
        sock.close()
        return
    try:
        seat = service.quota.admit(sock, peer, HANDSHAKE if listener.tls else NO_HEAD)
    except Rejection as rejection:
        service.refusals.count(rejection, peer)
        with sock:
            if listener.tls is None:
                with contextlib.suppress(OSError):
                    sock.send(last_response(rejection))
        return
    if not local:
        seat.client = Peer(address[0].partition("%")[0])
        seat.is_foreign = PeerOrigin(sock, address, service.rate_limited).is_foreign
    nursery.start_soon(_serve_connection, listener, sock, peer, seat)


def _name(address: object) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) and address else "unix"


async def _serve_connection(listener: Listener, sock: socket.socket, peer: str, seat: Seat) -> None:
    service = listener.service
    with sock:
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            if service.limits.write_stall_seconds * 1000 > _USER_TIMEOUT_MS and sock.family != socket.AF_UNIX:
                milliseconds = min(service.limits.write_stall_seconds * 1500, _LONGEST_MS)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(milliseconds))
            if listener.tls is None:
                await Connection(service, sock, peer, seat).serve()
            else:
                await _serve_tls(service, listener.tls, sock, peer, seat)
        except* OSError:
            # The peer has disconnected.
            pass
        except* Exception as group:  # noqa: BLE001 - the boundary of one connection
            service.log.error("internal_error", peer=peer, fault=group)
        finally:
            seat.release()


async def _serve_tls(
    service: Service, tls: ssl.SSLContext, sock: socket.socket, peer: str, seat: Seat
) -> None:
    stream = trio.SSLStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(sock)), tls, server_side=True, https_compatible=True
    )
    try:
        await _serve_stream(service, stream, sock, peer, seat, tls)
    finally:
        # The stream is part of a reference cycle, and would keep 50 KiB of OpenSSL until a garbage collection.
        vars(stream).clear()


async def _serve_stream(
    service: Service,
    stream: "trio.SSLStream[trio.SocketStream]",
    sock: socket.socket,
    peer: str,
    seat: Seat,
    tls: ssl.SSLContext,
) -> None:
    with trio.move_on_after(service.limits.head_seconds) as timeout:
        if await _is_plain(sock):
            await _answer_plain(service, sock, peer, seat)
            return
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            if not seat.evicted:
                service.refusals.note("tls_handshake", peer)
            return
    if timeout.cancelled_caught:
        service.refusals.note("tls_handshake", peer)
        return
    seat.set_state(NO_HEAD)
    # Dynamic attributes of Trio's stream lead to the SSLObject.
    found = stream.getpeercert()
    seat.client = attrs.evolve(
        seat.client, tls=True, certificate=read_peer_certificate(found, authorities_of(tls))
    )
    if stream.selected_alpn_protocol() == "h2":
        from .http2 import serve_http2  # noqa: PLC0415 - Hypercorn is loaded for TLS only

        await serve_http2(service, stream, sock, peer, seat)
        return
    try:
        await Connection(service, sock, peer, seat, stream).serve()
    finally:
        # allowed: shield-without-limit - the function has one
        with trio.CancelScope(shield=True):
            await TlsWire(stream).close()


async def _is_plain(sock: socket.socket) -> bool:
    """Return whether the first byte of a connection is HTTP without TLS."""
    while True:
        try:
            return sock.recv(1, socket.MSG_PEEK) in _PLAIN
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
        # The handshake fails in the same way.
        except OSError:
            return False


def _plain_on_tls() -> Rejection:
    return Rejection(
        400,
        INVALID_REQUEST,
        "this port is served with TLS; use https:// or wss://",
        close=True,
        reason="plain_http_on_tls_port",
    )


async def _answer_plain(service: Service, sock: socket.socket, peer: str, seat: Seat) -> None:
    """Send an HTTP/1.1 error to a request without TLS, before it is read."""
    rejection = _plain_on_tls()
    service.refusals.count(rejection, peer)
    seat.set_state(REFUSED)
    sock.send(last_response(rejection))
    sock.shutdown(socket.SHUT_WR)
    with trio.move_on_after(LINGER_SECONDS):
        left = LINGER_BYTES
        while left > 0:
            try:
                count = len(sock.recv(min(left, _DROPPED_AT_ONCE)))
            except BlockingIOError:
                await trio.lowlevel.wait_readable(sock)
                continue
            left -= count or left


class PeerOrigin:
    """Check whether the peer is a process of another uid, once for each connection and on demand."""

    def __init__(self, sock: socket.socket, address: tuple[str, int], log: RateLimitedLog) -> None:
        self._sock = sock
        self._address = address
        self._log = log
        self._foreign: bool | None = None

    def is_foreign(self) -> bool:
        """Return whether the peer is known to be a process of another uid."""
        if self._foreign is None:
            self._foreign = is_of_another_user(self._sock, self._address[:2])
        if self._foreign:
            self._log.warning(
                "default_token_refused", peer=_name(self._address), reason="process of another user"
            )
        return self._foreign


def passed_sockets(environment: Mapping[str, str], *, others: bool = False) -> list[socket.socket]:
    """Return the listening sockets that systemd passed (sd_listen_fds(3)), none if they are for another process.

    Raises CannotListen for a socket of another kind, or, without `others`, one that other machines could reach.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    number = environment.get("LISTEN_FDS", "0")
    count = int(number) if number.isdecimal() else 0
    return [_passed(descriptor, others=others) for descriptor in range(_FIRST_PASSED, _FIRST_PASSED + count)]


def _passed(descriptor: int, *, others: bool) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        raise CannotListen(f"the descriptor {descriptor} passed by systemd is no socket") from None
    if sock.type != socket.SOCK_STREAM or not listening:
        raise CannotListen(f"the socket {descriptor} passed by systemd is not a listening stream socket")
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        host = str(sock.getsockname()[0])
        if not others and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            raise CannotListen(
                f"{host} is not a loopback address; other machines are served if listen.http has such an address"
            )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    elif sock.family != socket.AF_UNIX:
        raise CannotListen(f"the socket {descriptor} passed by systemd is neither TCP nor Unix")
    sock.setblocking(False)
    return sock


def _no_passphrase() -> str:
    # Without a callback OpenSSL would prompt on the terminal, and block.
    raise KeyIsEncrypted


def authorities_of(context: ssl.SSLContext) -> bytes:
    """Return a digest of the certificates with which client certificates are verified; empty where none are requested."""
    if context.verify_mode == ssl.CERT_NONE:  # noqa: TID251 - read, not set
        return b""
    return sha256(b"".join(sorted(context.get_ca_certs(binary_form=True)))).digest()


def tls_context(
    certificate: Path, key: Path, client_authorities: str = "", *, requires_certificate: bool = False
) -> ssl.SSLContext:
    """Return a context for TLS 1.2 or newer that offers HTTP/2 and HTTP/1.1 (ALPN).

    `client_authorities` are certificates (PEM) that verify those of clients; empty to request none. Raises KeyIsEncrypted, and
    OSError or ssl.SSLError for other unusable files.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, _no_passphrase)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if client_authorities:
        context.verify_mode = ssl.CERT_REQUIRED if requires_certificate else ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=client_authorities)
    return context
