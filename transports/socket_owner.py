"""Look up the process at the other end of a local connection.

A Unix socket has SO_PEERCRED (unix(7)); TCP has sock_diag(7) and /proc/net/tcp (proc(5)). Standard library only, because
the command-line client uses this module too.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Protocol

# linux/sock_diag.h, linux/inet_diag.h and include/net/tcp_states.h
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_NLMSG_ERROR: Final = 2
_NETLINK_SOCK_DIAG: Final = 4
_ESTABLISHED: Final = 1
_TCP_LISTEN: Final = 10
_ALL_STATES: Final = 0xFFFFFFFF
_ANY_COOKIE: Final = b"\xff" * 8
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBBI")
_PORTS: Final = struct.Struct("!HH")
# After the header: family, state, two bytes, 48 bytes of socket id, three counters, uid and inode.
_ANSWER: Final = struct.Struct("=BBBB48sIIIII")
# Time limit for the kernel's response (seconds). The kernel responds within the system call.
_KERNEL_SECONDS: Final = 1.0

_Address = tuple[bytes, int]


class Socket(Protocol):
    """A socket of the standard library or of Trio."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """Return the value of an option (getsockopt(2))."""
        ...


def uid_of_unix_peer(sock: Socket) -> int:
    """Return the uid of the process that connected to, or listens on, this Unix socket. Raises OSError."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def is_of_another_user(sock: socket.socket, peer: tuple[str, int]) -> bool:
    """Return whether the peer of a TCP connection from this address is known to be a process of another uid.

    Returns False for a peer in another network namespace or on another machine, which is not known. Returns True for a
    peer that has closed its socket, because closing early must not bypass this check.
    """
    try:
        found = _look_up(sock.family, _address(peer), _address(sock.getsockname()))
        if found is None:
            return _state_of(sock) != _ESTABLISHED
    except OSError:
        # The connection is gone.
        return True
    uid, inode = found
    # The kernel reports uid 0 for a socket that was closed and waits for the end of its connection.
    return uid != os.geteuid() or (uid == 0 and not inode)


def owner_of_far_end(sock: socket.socket) -> tuple[int, int] | None:
    """Return uid and inode of the socket at the other end of a TCP connection; None if it is not on this machine.

    Raises OSError where the connection has ended.
    """
    return _look_up(sock.family, _address(sock.getpeername()), _address(sock.getsockname()))


def uid_listening_on(host: str, port: int) -> int | None:
    """Return the uid of the process that listens on this TCP port and address, or None if it is not known."""
    wanted = _packed(host)
    everything = (bytes(4), bytes(16), _packed("::ffff:0.0.0.0"))
    for local, _, state, uid, _ in _table():
        if state == _TCP_LISTEN and local[1] == port and local[0] in (wanted, *everything):
            return uid
    return None


def _packed(host: str) -> bytes:
    try:
        return ip_address("127.0.0.1" if host == "localhost" else host).packed
    except ValueError:
        return b""


def _address(name: tuple[str, int]) -> _Address:
    return ip_address(name[0].partition("%")[0]).packed, name[1]


def _state_of(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def _look_up(family: int, local: _Address, remote: _Address) -> tuple[int, int] | None:
    """Return uid and inode of the socket of this machine with these two ends, or None."""
    try:
        return _query_kernel(family, local, remote)
    except OSError:
        for one_end, other_end, state, uid, inode in _table():
            if (one_end, other_end) == (local, remote) and state != _TCP_LISTEN:
                return uid, inode
        return None


def _query_kernel(family: int, local: _Address, remote: _Address) -> tuple[int, int] | None:
    ends = _PORTS.pack(local[1], remote[1]) + local[0].ljust(16, b"\0") + remote[0].ljust(16, b"\0")
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + ends + bytes(4) + _ANY_COOKIE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_KERNEL_SECONDS)
        size = _HEADER.size + len(request)
        netlink.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + request)
        answer = netlink.recv(4096)
    kind = _HEADER.unpack_from(answer)[1]
    if kind == _NLMSG_ERROR:
        number = -struct.unpack_from("=i", answer, _HEADER.size)[0]
        if number == errno.ENOENT:
            return None
        raise OSError(number, os.strerror(number))
    _, state, _, _, id_, _, _, _, uid, inode = _ANSWER.unpack_from(answer, _HEADER.size)
    # Where no connection has these ends, the kernel returns a listening socket.
    return None if state == _TCP_LISTEN or id_[:4] != ends[:4] else (uid, inode)


def _table() -> Iterator[tuple[_Address, _Address, int, int, int]]:
    """Yield the TCP sockets of this network namespace: both ends, state, uid and inode."""
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            yield _end(words[1]), _end(words[2]), int(words[3], 16), int(words[7]), int(words[9])


def _end(text: str) -> _Address:
    host, _, port = text.partition(":")
    # Each group of four bytes is a number in the byte order of this machine.
    groups = (struct.pack("=I", int(host[at : at + 8], 16)) for at in range(0, len(host), 8))
    return b"".join(groups), int(port, 16)
