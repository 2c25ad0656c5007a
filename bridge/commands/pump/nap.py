"""Leave memory while nothing happens: an idle program becomes a shell that waits for one line of the daemon.

The program lends its stdin, if that is a pipe, a socket or a terminal, to the daemon, which polls it and never reads it. When the daemon has answered this very request,
the program stores its state in a file in memory and executes `/bin/sh`, which has a twentieth of its size. The daemon sends
`#wake` before anything else, or when stdin is readable or ends, and the shell executes the program again. `read` of a shell
takes single bytes from a socket, so that no byte behind that line is lost (POSIX, Shell Command Language, `read`).
"""

import _socket
import errno
import posix
import sys

from .streams import S_IFCHR, S_IFIFO, S_IFMT, S_IFSOCK, STDIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .settings import NapTimes

_SHELL = "/bin/sh"
_SCRIPT = 'read -r line <&%d; exec "$0" "$@"'
# Descriptors of redirections have one digit (POSIX, Shell Command Language, section 2.7).
_HIGHEST = 9
# Shells that are the same under any name, so that `ps` can show what the process is. Others choose a program by that name.
_NAMELESS = ("dash", "bash")
# Variables that make a shell execute something or behave differently (dash(1), bash(1)). The program needs none of them.
_SHELL_VARIABLES = (b"ENV", b"BASH_ENV", b"SHELLOPTS", b"BASHOPTS", b"POSIXLY_CORRECT")
_FUNCTIONS = b"BASH_FUNC_"
# After a wake-up that came too early, no nap is tried for this time (seconds).
_RESTLESS = 600.0


class NapSchedule:
    """When the program may sleep. The caller passes the time (seconds, monotonic clock).

    `woken` is the time of the last two wake-ups, oldest first, 0 where there was none.
    """

    def __init__(self, times: "NapTimes", now: float, woken: "tuple[float, float]" = (0.0, 0.0)) -> None:
        self._times = times
        before, last = woken
        self.woken = woken
        self._not_before = 0.0
        if last:
            self._not_before = last + times.awake
        if before and last - before < times.apart:
            self._not_before = last + max(_RESTLESS, times.apart)
        self._last = now
        # How often the daemon was asked for a nap, and whether nothing has happened since.
        self._asked = 0
        self.is_asking = False
        # Whether the daemon cannot watch stdin.
        self.is_refused = not times.quiet

    def on_activity(self, now: float) -> None:
        """Note that a line has passed."""
        self._last = now
        self.is_asking = False

    def ask(self, sock: "_socket.socket") -> bool:
        """Ask the daemon for a nap, and lend it stdin. Return whether the kernel has taken the line."""
        self._asked += 1
        self.is_asking = lend_stdin(sock, b"#sleep %d\n" % self._asked)
        return self.is_asking

    def is_answer(self, words: "list[bytes]") -> bool:
        """Return whether a line of the daemon allows the nap that was asked for last, and nothing has happened since."""
        return self.is_asking and words == [b"#asleep", b"%d" % self._asked]

    @property
    def due(self) -> float:
        """Return when the next nap may begin."""
        return max(self._last + self._times.quiet, self._not_before)


def has_shell() -> bool:
    """Return whether there is a shell to become."""
    return posix.access(_SHELL, posix.X_OK)


def may_lend_stdin() -> bool:
    """Return whether the daemon may poll stdin: a pipe, a socket or a terminal.

    The poll of another file system or device, such as one of FUSE, may block, and with it the daemon.
    """
    try:
        kind = posix.fstat(STDIN).st_mode & S_IFMT
    except OSError:
        return False
    return kind in (S_IFIFO, S_IFSOCK) or (kind == S_IFCHR and posix.isatty(STDIN))


def lend_stdin(sock: "_socket.socket", line: bytes) -> bool:
    """Send a line with stdin attached; return whether the kernel has taken it."""
    descriptor = STDIN.to_bytes(4, sys.byteorder)
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor)]
    try:
        return sock.sendmsg([line], rights, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL) == len(line)
    except OSError:
        return False


def sleep(name: str, socket: int, command: "list[str]") -> "NoReturn":
    """Become a shell that executes `command` when a line arrives on the socket. Raises OSError, without effect.

    The descriptors that the command names must be inheritable.
    """
    if socket > _HIGHEST:
        raise OSError(errno.EBADF, f"a shell reads no descriptor above {_HIGHEST}")
    environment = {
        variable: value
        for variable, value in posix.environ.items()
        if variable not in _SHELL_VARIABLES and not variable.startswith(_FUNCTIONS)
    }
    posix.execve(_SHELL, [_title(name), "-c", _SCRIPT % socket, *command], environment)


def _title(name: str) -> str:
    try:
        target = posix.readlink(_SHELL)
    except OSError:
        target = _SHELL
    return f"mcp-bridge: {name}, idle" if target.rpartition("/")[2] in _NAMELESS else "sh"
