"""The settings of one run of the program: the socket of the daemon, the server, and the time to wait."""

from .daemon_socket import directory_headers, opening

# How long a daemon is waited for by default (seconds).
WAIT = 30.0
# Variable that sets the times of a nap: three numbers of seconds, see `NapTimes`. The first alone is enough; 0 allows none.
NAP_VARIABLE = b"MCP_BRIDGE_NAP"
_NUMBERS = 3
# A day (seconds).
_LONGEST = 86400.0


class NapTimes:
    """When the program leaves memory.

    `quiet` is the time without a line after which it does (0: never), `awake` the time that it stays after it was woken, and
    `apart` the time between two wake-ups below which it stays for long (seconds).
    """

    def __init__(self, quiet: float = 10.0, awake: float = 30.0, apart: float = 60.0) -> None:
        self.quiet = quiet
        self.awake = awake
        self.apart = apart


def nap_times(environment: "dict[bytes, bytes]") -> NapTimes:
    """Return the times that a variable sets, or the default ones."""
    try:
        numbers = [float(word) for word in environment[NAP_VARIABLE].split(b",")]
    except (KeyError, ValueError):
        return NapTimes()
    if len(numbers) > _NUMBERS or not all(0 <= number <= _LONGEST for number in numbers):
        return NapTimes()
    return NapTimes(*numbers)


class Settings:
    """The settings of one run. `path` is that of the socket, `headers` are sent with the request for the endpoint."""

    def __init__(
        self,
        name: bytes,
        path: bytes,
        headers: "list[tuple[bytes, bytes]] | None" = None,
        wait: float = WAIT,
    ) -> None:
        self.name = name
        self.path = path
        self.headers = headers or []
        # How long to wait for a daemon (seconds).
        self.wait = wait

    @property
    def opening(self) -> bytes:
        """Return the request for the endpoint of the server."""
        return opening(self.name, [*directory_headers(), *self.headers])

    @property
    def shown_name(self) -> str:
        """Return the name of the server as text."""
        return self.name.decode("utf-8", "backslashreplace")

    @property
    def shown_path(self) -> str:
        """Return the path of the socket as text."""
        return self.path.decode("utf-8", "backslashreplace")
