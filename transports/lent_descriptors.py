"""Receive a descriptor that a local peer lends, and watch it for input (unix(7), SCM_RIGHTS).

A program that has nothing to do can thus exit from memory, and is woken when its client sends something. The descriptor is
never read, written or examined, because its file description is shared: only the poller has it, and it is unregistered before
it is closed.
"""

import array
import os
import socket
from typing import Final

from .poller import OnFault, Poller, Ready

# Room for one descriptor, or for two because of its alignment. The kernel closes those for which there is no room.
_SPACE: Final = socket.CMSG_SPACE(array.array("i").itemsize)
_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC


class LentDescriptors:
    """The descriptor that the peer of one Unix socket lends, at most one at a time."""

    def __init__(self, sock: socket.socket, poller: Poller) -> None:
        self._sock = sock
        self._poller = poller
        # The descriptor that was received last and is not watched, or -1.
        self._received = -1
        # The descriptor that is watched, or -1.
        self._watched = -1

    def receive(self, max_bytes: int) -> bytes:
        """Receive bytes as `socket.recv`, and keep the first descriptor that comes with them. Raises OSError."""
        data, ancillary, _, _ = self._sock.recvmsg(max_bytes, _SPACE, _FLAGS)
        if ancillary:
            self._keep(ancillary)
        return data

    def _keep(self, ancillary: "list[tuple[int, int, bytes]]") -> None:
        # The peer is awake, and has replaced what it has lent before.
        self.close()
        found = array.array("i")
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found.frombytes(content)
        for surplus in found[1:]:
            os.close(surplus)
        if found:
            self._received = found[0]

    def watch(self, ready: Ready, on_fault: OnFault) -> bool:
        """Call `ready` when the received descriptor is readable or ends, perhaps more than once.

        Returns False where no descriptor was received, and where it cannot be watched, such as a regular file (epoll_ctl(2)).
        """
        self.unwatch()
        descriptor, self._received = self._received, -1
        if descriptor < 0:
            return False
        try:
            self._poller.register(descriptor, ready, on_fault)
        except OSError:
            os.close(descriptor)
            return False
        self._watched = descriptor
        return True

    def unwatch(self) -> None:
        """Return the watched descriptor to its owner, if there is one."""
        descriptor, self._watched = self._watched, -1
        if descriptor >= 0:
            # A closed descriptor whose description is open elsewhere could not be unregistered.
            self._poller.unregister(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Close every descriptor."""
        self.unwatch()
        descriptor, self._received = self._received, -1
        if descriptor >= 0:
            os.close(descriptor)
