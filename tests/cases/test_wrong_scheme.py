"""Answer a request without TLS at a port with TLS, and the reverse, with the reason (W8)."""

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from ..support.admission import open_session, raw
from ..support.bridge_process import EXAMPLE, Bridge
from ..support.tls import tls_client_context, tls_options

ON_TLS = "this port is served with TLS; use https:// or wss://"
WITHOUT_TLS = "this port is served without TLS; use http:// or ws://"


@pytest.fixture(scope="module")
def tls(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    with Bridge(folder / "run", EXAMPLE, *tls_options(authority, folder)) as running:
        yield running


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with Bridge(tmp_path_factory.mktemp("plain"), EXAMPLE) as running:
        yield running


def everything(sock):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


def logged(bridge, reason):
    end = time.monotonic() + 10
    while not any("refused" in line and f"reason={reason} " in line for line in tuple(bridge.lines)):
        assert time.monotonic() < end, bridge.lines[-20:]
        time.sleep(0.01)


HEAD = "Host: 127.0.0.1\r\n\r\n"
REQUESTS = {
    "GET": f"GET /mcp HTTP/1.1\r\n{HEAD}",
    "POST": "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + "x" * 100_000,
    "DELETE": f"DELETE /mcp HTTP/1.1\r\n{HEAD}",
    "OPTIONS": f"OPTIONS /mcp HTTP/1.1\r\n{HEAD}",
    "CONNECT": f"CONNECT example.org:443 HTTP/1.1\r\n{HEAD}",
    "PATCH": f"PATCH / HTTP/1.0\r\n{HEAD}",
    "upgrade": f"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{HEAD}",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an empty line before": f"\r\nGET / HTTP/1.1\r\n{HEAD}",
    "one letter": "G",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_w8_a_request_without_tls_gets_400_with_the_reason(tls, name):
    with raw(tls.address) as sock:
        sock.sendall(REQUESTS[name].encode())
        head, _, body = everything(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Connection: close" in head
    assert b"no-store" in head
    assert json.loads(body)["error"]["message"] == ON_TLS
    assert f"Content-Length: {len(body)}".encode() in head
    logged(tls, "plain_http_on_tls_port")


def test_w8_an_http_client_reads_the_answer(tls):
    with contextlib.closing(http.client.HTTPConnection(*tls.address, timeout=10)) as client:
        client.request("POST", "/mcp", b"x" * 200_000, {"Authorization": f"Bearer {tls.token}"})
        response = client.getresponse()
        assert response.status == 400
        assert json.loads(response.read())["error"]["message"] == ON_TLS


def test_w8_the_events_are_few_and_the_counts_exact(authority, tmp_path):
    with Bridge(tmp_path / "run", EXAMPLE, *tls_options(authority, tmp_path)) as running:
        for _ in range(100):
            with raw(running.address) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                everything(sock)
        assert open_session(running.address, running.token, tls_client_context(authority))
        running.stop()
    events = [line for line in running.lines if "reason=plain_http_on_tls_port" in line]
    assert 1 <= len(events) < 50
    assert sum(int(line.partition("count=")[2].split()[0]) for line in events) == 100


@pytest.mark.parametrize("first", [b"\x16", b"\x80\x2e\x01", b"\0\0", b"\xff" * 100])
def test_w8_bytes_that_are_neither_http_nor_tls_are_a_failed_handshake(tls, first):
    with raw(tls.address) as sock:
        sock.sendall(first)
        sock.shutdown(socket.SHUT_WR)
        assert b"HTTP/" not in everything(sock)
    logged(tls, "tls_handshake")


def test_w8_a_tls_handshake_at_a_port_without_tls_gets_400_with_the_reason(plain):
    client = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(*client, server_hostname="localhost").do_handshake()
    with raw(plain.address) as sock:
        sock.sendall(client[1].read())
        head, _, body = everything(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(body)["error"]["message"] == WITHOUT_TLS
    logged(plain, "tls_on_plain_port")


def test_w8_a_tls_client_fails_at_once(plain):
    context = ssl.create_default_context()
    with (
        raw(plain.address) as sock,
        pytest.raises(ssl.SSLError, match=r"(?i)wrong.version.number|record layer"),
    ):
        context.wrap_socket(sock, server_hostname="localhost")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_w8_curl_shows_the_reason(tls, plain):
    port = tls.address[1]
    done = subprocess.run(
        ["curl", "-sS", "-i", "--max-time", "10", f"http://127.0.0.1:{port}/mcp"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("HTTP/1.1 400")
    assert ON_TLS in done.stdout
    port = plain.address[1]
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "10", f"https://127.0.0.1:{port}/mcp"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 35
