"""Read stdin, and write stdout and stderr, without changing the flags of descriptors 0, 1 and 2.

O_NONBLOCK belongs to the open file description, which parents and shells share with us. A pipe is therefore opened once more
through /proc, and a socket is written with MSG_DONTWAIT. A terminal or a file may block.
"""

import _socket
import posix
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .lines import Piece

STDIN, STDOUT, _STDERR = 0, 1, 2
# stat.h
S_IFMT, S_IFIFO, S_IFCHR, S_IFSOCK = 0o170000, 0o010000, 0o020000, 0o140000
# PIPE_BUF: a pipe that is writable takes this much without blocking (bytes, pipe(7)).
_PIPE_BUF = 4096
# The most pieces of one system call.
_PIECES = 64
# Longest text on stderr (characters).
_NOTICE = 4096


def open_standard_streams() -> None:
    """Open descriptors 0 to 2 that are closed, so that no socket gets one of them."""
    while (descriptor := posix.open("/dev/null", posix.O_RDWR)) <= _STDERR:
        posix.set_inheritable(descriptor, True)
    posix.close(descriptor)


class ClientOutput:
    """The stdout of the program: whole lines, which are stored while the client does not read."""

    def __init__(self) -> None:
        self._pieces: list[Piece | memoryview] = []
        # The size of what is stored (bytes).
        self.size = 0
        # Set when the client has closed its end, or the device fails: the error.
        self.fault: OSError | None = None
        kind = posix.fstat(STDOUT).st_mode & S_IFMT
        self._socket = _socket.socket(fileno=STDOUT) if kind == S_IFSOCK else None
        # The descriptor that is written, and whether it must be written in small parts.
        self.descriptor = STDOUT
        self._in_parts = False
        if kind == S_IFIFO:
            try:
                flags = posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC | posix.O_NOCTTY
                self.descriptor = posix.open(f"/proc/self/fd/{STDOUT}", flags)
            except OSError:
                # Without /proc, or with a pipe of another user.
                self._in_parts = True

    def write(self, pieces: "list[Piece]") -> None:
        """Write, or store what the client does not read now."""
        self._pieces += pieces
        self.size += sum(map(len, pieces))
        self.flush()

    def flush(self) -> None:
        """Write what is stored, as far as the client reads."""
        while self._pieces and self.fault is None:
            try:
                count = self._write()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as fault:
                self.fault = fault
                return
            if not count:
                return
            self.size -= count
            while self._pieces and count >= len(self._pieces[0]):
                count -= len(self._pieces.pop(0))
            if count:
                self._pieces[0] = memoryview(self._pieces[0])[count:]

    def _write(self) -> int:
        if self._socket is not None:
            flags = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
            return self._socket.sendmsg(self._pieces[:_PIECES], (), flags)
        if not self._in_parts:
            return posix.writev(self.descriptor, self._pieces[:_PIECES])
        if not is_ready(self.descriptor, select.POLLOUT, 0):
            return 0
        return posix.write(self.descriptor, self._pieces[0][:_PIPE_BUF])

    def close(self) -> None:
        """Leave descriptor 1 open for the end of the interpreter."""
        if self._socket is not None:
            self._socket.detach()


def is_ready(descriptor: int, event: int, seconds: float) -> bool:
    """Wait for an event of a descriptor, and return whether it has come in time."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(seconds * 1000))


def notice(text: str) -> None:
    """Write a line to stderr, after the name of the program. It is dropped if stderr takes no more."""
    shown = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text[:_NOTICE])
    data = f"mcp-bridge: {shown}\n".encode("utf-8", "backslashreplace")
    try:
        if is_ready(_STDERR, select.POLLOUT, 0):
            posix.write(_STDERR, data)
    except OSError:
        return
