"""What one run of the program needs to be told: where the daemon is, which server, and how long to wait."""

from .daemon_socket import directory_headers, opening

# How long a daemon is waited for by default (seconds).
WAIT = 30.0


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
