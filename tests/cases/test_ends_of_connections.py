"""A response that closes its connection is sent together with the end of the stream.

Bun 1.3.14 keeps such a connection for its next request unless the status is 2xx, and ignores `Connection`. A request that was
sent after the response and before the end of the stream is lost. opencode then dropped servers whose token was right,
because another server of its configuration had none.
"""

import select
import socket

import pytest

from ..support.bridge_process import Bridge

PATIENCE = 20


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    with Bridge(tmp_path_factory.mktemp("ends") / "run") as running:
        yield running


def request(bridge, fields, body=b"{}"):
    """Return a POST with these header fields instead of the usual fields. None omits a field."""
    host, port = bridge.address
    usual = {"Host": f"{host}:{port}", "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{name}: {value}\r\n" for name, value in {**usual, **fields}.items() if value is not None]
    head = "".join(["POST /mcp HTTP/1.1\r\n", *lines, "\r\n"]).replace("TOKEN", bridge.token)
    return head.encode() + body


REFUSED = {
    "no token": (401, {}),
    "a wrong token": (401, {"Authorization": "Bearer " + "x" * 43}),
    "another origin": (403, {"Origin": "http://example.org"}),
    "another host": (421, {"Host": "example.org"}),
    "two lengths": (400, {"Transfer-Encoding": "chunked"}),
    "a body over the limit": (413, {"Authorization": "Bearer TOKEN", "Content-Length": "1000000000"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_end_of_the_stream_comes_with_a_refusal_that_closes(bridge, name):
    status, fields = REFUSED[name]
    with socket.create_connection(bridge.address, PATIENCE) as sock:
        sock.sendall(request(bridge, fields))
        waiting = select.poll()
        waiting.register(sock, select.POLLIN | select.POLLRDHUP)
        [(_, events)] = waiting.poll(PATIENCE * 1000)
        answer = sock.recv(65536)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
        assert b"\r\nConnection: close\r\n" in answer
        assert events & select.POLLRDHUP, "the connection was still open when the answer was there"
        assert sock.recv(65536) == b""


def test_bytes_that_are_sent_after_a_refusal_do_not_destroy_it(bridge):
    """A closed socket would answer further bytes with a reset, which can discard the response."""
    with socket.create_connection(bridge.address, PATIENCE) as sock:
        sock.sendall(request(bridge, {"Content-Length": "200000"}, body=b""))
        sock.sendall(b" " * 200_000)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 401 "), answer
