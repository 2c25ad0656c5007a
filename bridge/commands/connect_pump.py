"""Run `mcp-bridge connect NAME`: a lean program that carries lines between stdin and stdout and a server of the daemon."""

import posix
import sys

from .pump.daemon_socket import usual_socket
from .pump.program import Program
from .pump.settings import Settings, nap_times
from .pump.streams import open_standard_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from typing import NoReturn

    from .pump.record import Value
else:
    import _signal as signal
    import _socket as socket

# The interpreter is started without `site`, so that it has no path to the package.
_CODE = f"import sys;sys.path.append(sys.argv[1]);from {__name__} import main;main()"


def run_plain(name: str) -> "int | None":
    """Connect to a server of the daemon at the usual socket, and return the exit code.

    Returns None, without effect, if the configuration may name another socket.
    """
    path = usual_socket(posix.environ)
    if path is None:
        return None
    return run(Settings(name.encode("utf-8", "surrogateescape"), path))


def run(settings: Settings, values: "list[Value] | None" = None, sock: "socket.socket | None" = None) -> int:
    """Connect to a server, or continue after a nap with the state and the socket, and return the exit code."""
    open_standard_streams()
    # Signals end the program at once; the daemon then ends the session.
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    program = Program(settings, nap_times(posix.environ), command)
    if sock is not None and values is not None:
        program.resume(sock, values)
    return program.run()


def execute(settings: Settings) -> "NoReturn":
    """Replace this process with one that runs the program and has loaded nothing else. Raises OSError."""
    from .pump import record  # noqa: PLC0415 - only a process that is replaced needs it

    descriptor = record.store(record.settings_values(settings))
    posix.execv(sys.executable, command(str(descriptor)))


def command(*words: str) -> "list[str]":
    """Return the command that calls `main` with these words."""
    return [sys.executable, "-I", "-S", "-c", _CODE, _folder(), *words]


def _folder() -> str:
    """Return the folder that holds the package."""
    return __file__.rsplit("/", __name__.count(".") + 1)[0]


def main() -> "NoReturn":
    """Run with what another process has stored: the words are the descriptors of the record, and after a nap of the socket."""
    from .pump import record  # noqa: PLC0415 - likewise

    _, _, record_of_process, *socket_of_process = sys.argv
    values = record.load(int(record_of_process))
    sock = socket.socket(fileno=int(socket_of_process[0])) if socket_of_process else None
    sys.exit(run(record.settings_of(values), values, sock))
