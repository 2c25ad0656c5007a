"""A request whose body differs from its Content-Length ends its own stream only (RFC 9113 section 8.1.1).

HAProxy ends a body at once if the response comes first, for example a 401, and carries requests of several clients on one
connection: the end of the connection would end the calls of all others.
"""

import contextlib
import json
import socket

import h2.config
import h2.connection
import h2.events
import pytest

from ..support.admission import INITIALIZE
from ..support.bridge_process import EXAMPLE, Bridge
from ..support.tls import tls_client_context

PATIENCE = 20
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()


@pytest.fixture(scope="module")
def bridge(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bodies")
    certificate = folder / "both.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    certificate.chmod(0o600)
    files = ("--tls-cert", str(certificate), "--tls-key", str(certificate))
    with Bridge(folder / "run", EXAMPLE, *files) as running:
        yield running


class Connection:
    """A connection with a request of a client that has the token."""

    def __init__(self, bridge, sock):
        self._sock = sock
        self._bridge = bridge
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        # The kind of each event, by stream.
        self.events: dict[int, list[type]] = {}
        self.status: dict[int, int] = {}
        self.ask(INITIALIZE.encode())

    def begin(self, length, token):
        number = self._h2.get_next_available_stream_id()
        host, port = self._bridge.address
        head = {
            ":method": "POST",
            ":scheme": "https",
            ":authority": f"{host}:{port}",
            ":path": "/mcp",
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "content-length": str(length),
        }
        self._h2.send_headers(number, list(head.items()))
        self._flush()
        return number

    def send(self, number, data, *, end=True):
        self._h2.send_data(number, data, end_stream=end)
        self._flush()

    def ask(self, body):
        number = self.begin(len(body), self._bridge.token)
        self.send(number, body)
        self.read_until(number, h2.events.StreamEnded)
        return self.status[number]

    def read_until(self, number, *kinds):
        """Read until one of these events of the stream."""
        while not set(kinds) & set(self.events.get(number, ())):
            data = self._sock.recv(65536)
            assert data, f"the connection was closed after {self.events.get(number)}"
            for event in self._h2.receive_data(data):
                assert not isinstance(event, h2.events.ConnectionTerminated), event
                if isinstance(event, h2.events.ResponseReceived):
                    self.status[event.stream_id] = int(dict(event.headers)[b":status"])
                if getattr(event, "stream_id", None):
                    self.events.setdefault(event.stream_id, []).append(type(event))
            self._flush()

    def _flush(self):
        if data := self._h2.data_to_send():
            self._sock.sendall(data)


@pytest.fixture
def connection(bridge, authority):
    context = tls_client_context(authority, "h2")
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection(bridge.address, PATIENCE))
        yield Connection(bridge, stack.enter_context(context.wrap_socket(sock, server_hostname="127.0.0.1")))


def test_a_body_that_ends_early_behind_a_refusal_leaves_the_refusal_and_the_connection(connection):
    number = connection.begin(len(BODY), "x" * 43)
    connection.read_until(number, h2.events.ResponseReceived)
    connection.send(number, b"")
    connection.read_until(number, h2.events.StreamEnded, h2.events.StreamReset)
    assert connection.status[number] == 401
    assert h2.events.DataReceived in connection.events[number]
    assert h2.events.StreamEnded in connection.events[number]
    assert connection.ask(INITIALIZE.encode()) == 200


@pytest.mark.parametrize(
    ("sent", "end"),
    [(b"", True), (BODY[:-1], True), (BODY + b" ", True), (BODY + b" ", False), (BODY * 3, False)],
)
def test_a_body_of_another_length_ends_its_own_stream_only(connection, bridge, sent, end):
    other = connection.begin(len(INITIALIZE), bridge.token)
    number = connection.begin(len(BODY), bridge.token)
    connection.send(number, sent, end=end)
    connection.read_until(number, h2.events.StreamReset)
    assert number not in connection.status
    connection.send(other, INITIALIZE.encode())
    connection.read_until(other, h2.events.StreamEnded)
    assert connection.status[other] == 200
