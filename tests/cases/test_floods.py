"""A client with a credential opens its session beside each of ten floods without a credential (R2).

`benchmarks/floods.py` does the same with 20 attempts each, and prints the times.
"""

import contextlib
import socket

import pytest

from ..support.admission import (
    KINDS,
    OVER_TLS,
    flooded,
    open_session,
    raw,
    read_response,
)
from ..support.bridge_process import EXAMPLE, Bridge
from ..support.tls import tls_client_context, tls_options

ATTEMPTS = 2
# How long a refused connection may stay, in seconds: one after the refusal, and what a machine under load needs.
REFUSED_SECONDS = 5


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with Bridge(tmp_path_factory.mktemp("floods") / "run", EXAMPLE) as bridge:
        yield bridge


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Yield a bridge that gets no flood, so that its limit of wrong credentials in a second is not used up."""
    with Bridge(tmp_path_factory.mktemp("no floods") / "run", EXAMPLE) as bridge:
        yield bridge


@pytest.fixture(scope="module")
def tls(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("floods over TLS")
    with Bridge(folder / "run", EXAMPLE, *tls_options(authority, folder)) as bridge:
        yield bridge


@pytest.mark.parametrize("kind", KINDS)
def test_r02_a_client_with_a_token_gets_in_beside_a_flood(request, authority, kind):
    bridge = request.getfixturevalue("tls" if kind in OVER_TLS else "plain")
    trust = tls_client_context(authority) if kind in OVER_TLS else None
    with flooded(kind, bridge.address):
        for _ in range(ATTEMPTS):
            open_session(bridge.address, bridge.token, trust)


def test_r02_a_connection_that_has_a_session_is_not_evicted(plain):
    with contextlib.closing(raw(plain.address)) as ours:
        request = (
            f"GET /nothing HTTP/1.1\r\nHost: {':'.join(map(str, plain.address))}\r\n"
            f"Authorization: Bearer {plain.token}\r\n\r\n"
        ).encode()
        ours.sendall(request)
        assert read_response(ours).startswith(b"HTTP/1.1 404")
        with flooded("silent", plain.address):
            for _ in range(20):
                ours.sendall(request)
                assert read_response(ours).startswith(b"HTTP/1.1 404")


REFUSALS = {
    "no credential": (b"", 401),
    "a wrong one": (b"Authorization: Bearer mcpb_" + b"x" * 43 + b"\r\n", 401),
    "a foreign page": (b"Origin: http://evil.example\r\n", 403),
    "an upgrade": (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", 401),
    "a body": (b"Content-Length: 4000000\r\n", 401),
    "a body in chunks": (b"Transfer-Encoding: chunked\r\n", 401),
    "a body, if it is wanted": (b"Content-Length: 4000000\r\nExpect: 100-continue\r\n", 401),
}


@pytest.mark.parametrize("fields", REFUSALS)
def test_r02_a_refusal_before_the_credential_is_sent_whole_and_closes(quiet, fields):
    more, status = REFUSALS[fields]
    host = ":".join(map(str, quiet.address)).encode()
    with contextlib.closing(raw(quiet.address)) as sock:
        sock.sendall(b"POST /mcp HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (host, more))
        reply = read_response(sock)
        assert reply.startswith(b"HTTP/1.1 %d" % status)
        assert b"\r\nConnection: close\r\n" in reply
        sock.settimeout(REFUSED_SECONDS)
        # The sending side of the bridge is closed.
        assert sock.recv(1) == b""
        # The connection is closed soon, even if the client goes on sending.
        with contextlib.suppress(ConnectionError):
            while True:
                sock.sendall(b"x" * 65536)


@pytest.mark.parametrize("kind", ["silent", "answered", "half a head"])
def test_r02_the_oldest_connection_without_a_head_loses_its_place(tmp_path, kind):
    with Bridge(tmp_path / "run", EXAMPLE, "--limit=connections_unauthenticated=2") as bridge:
        host = ":".join(map(str, bridge.address)).encode()
        first, second, third = (
            b"GET /healthz HTTP/1.1\r\nHost: %b\r\n\r\n" % host if kind == "answered" else b"",
            b"GET /healthz HT" if kind == "half a head" else b"",
            b"GET /healthz HTTP/1.1\r\nHost: %b\r\n\r\n" % host,
        )
        with contextlib.ExitStack() as stack:
            socks = []
            for data in (first, second, third):
                sock = stack.enter_context(contextlib.closing(raw(bridge.address)))
                sock.sendall(data)
                if data.endswith(b"\r\n\r\n"):
                    assert read_response(sock).startswith(b"HTTP/1.1 200")
                socks.append(sock)
            assert socks[0].recv(1) == b""
            socks[1].settimeout(0.1)
            with pytest.raises(TimeoutError):
                socks[1].recv(1)


def test_r02_a_refused_connection_is_closed_before_a_silent_connection(tmp_path):
    with Bridge(tmp_path / "run", EXAMPLE, "--limit=connections_unauthenticated=2") as bridge:
        with contextlib.ExitStack() as stack:
            silent, refused = (stack.enter_context(contextlib.closing(raw(bridge.address))) for _ in range(2))
            refused.sendall(b"nonsense\r\n\r\n")
            assert read_response(refused).startswith(b"HTTP/1.1 400")
            with contextlib.closing(raw(bridge.address)):
                refused.settimeout(REFUSED_SECONDS)
                assert refused.recv(1) == b""
                silent.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    silent.recv(1)


def test_r02_a_flood_on_tcp_does_not_block_the_unix_socket_nor_the_reverse(tmp_path):
    unix = str(tmp_path / "s")
    options = ("--unix", unix, "--limit=connections_unauthenticated=2")
    with Bridge(tmp_path / "run", EXAMPLE, *options) as bridge, contextlib.ExitStack() as stack:
        for _ in range(5):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(unix)
        open_session(bridge.address, bridge.token)
        sock.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_response(sock).startswith(b"HTTP/1.1 404")
