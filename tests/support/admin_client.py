"""A client of the page at /admin that sends exactly the headers that a test names."""

import contextlib
import http.client
import json
import time

from .daemon_process import Daemon
from .known_secrets import remember

TOKEN_HEADER = "Mcp-Bridge-Page"


class AdminClient:
    """Requests to the page of one daemon. After `sign_in` it has the secrets of a session."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.host, self.port = daemon.address
        self.origin = f"http://{self.host}:{self.port}"
        self.cookie = self.token = ""

    def new_code(self) -> str:
        """Return the code of a new link."""
        url = self.daemon.control("POST", "admin-link")["url"]
        assert url.startswith(f"{self.origin}/admin/open#"), url
        return url.partition("#")[2]

    def send(self, method, path, headers=None, body=None):
        """Return the status, the headers and the body of a response."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def exchange(self, code, **headers):
        """Send the code of a link."""
        wanted = {"Origin": self.origin, "Content-Type": "application/json", **headers}
        return self.send("POST", "/admin/session", wanted, json.dumps({"code": code}))

    def sign_in(self) -> "AdminClient":
        """Use a new link."""
        status, headers, body = self.exchange(self.new_code())
        assert status == 200, body
        self.cookie = remember(headers["Set-Cookie"].partition(";")[0])
        self.token = remember(json.loads(body)["token"])
        return self

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the page sends with each request."""
        return {"Cookie": self.cookie, TOKEN_HEADER: self.token}

    @contextlib.contextmanager
    def stream(self, query="", headers=None):
        """Open an event stream. Yield a response that was not read."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", f"/admin/api/events?{query}", headers=headers or self.headers)
            yield connection.getresponse()


def events(response, seconds=60):
    """Yield the kind and the data of each event of a stream, until it ends. Fails after this time (seconds)."""
    end = time.monotonic() + seconds
    for line in response:
        assert time.monotonic() < end, "the stream has not ended"
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            yield event["kind"], event["data"]
