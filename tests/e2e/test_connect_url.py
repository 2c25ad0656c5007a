"""`mcp-bridge connect URL`: use a bridge at a TCP port as a stdio server, with its token and over TLS."""

import json
import os
import secrets
import socket
import subprocess
import threading
from contextlib import contextmanager

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM, Bridge
from ..support.stateless_requests import request
from ..support.tls import tls_options


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with Bridge(tmp_path_factory.mktemp("plain")) as bridge:
        yield bridge


def list_tools(*words, environment=None):
    return subprocess.run(
        [PROGRAM, "connect", *words],
        input=json.dumps(request("tools/list")) + "\n",
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def token_file(folder, token):
    path = folder / "token-for-it"
    path.write_text(token)
    path.chmod(0o600)
    return str(path)


def names(done):
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    return {tool["name"] for tool in json.loads(line)["result"]["tools"]}


@pytest.mark.parametrize("at", ["mcp", "ws"])
def test_a_bridge_at_a_port_serves_connect_with_its_token(plain, at, tmp_path):
    assert "echo" in names(list_tools(getattr(plain, at), "--token-file", token_file(tmp_path, plain.token)))


def test_over_tls_only_a_trusted_certificate_is_accepted(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with Bridge(tmp_path / "run", EXAMPLE, *tls_options(authority, tmp_path)) as bridge:
        words = (bridge.mcp, "--token-file", token_file(tmp_path, bridge.token))
        assert "echo" in names(
            list_tools(*words, environment={"SSL_CERT_FILE": str(tmp_path / "authority.pem")})
        )
        done = list_tools(*words)
    assert done.returncode == 69
    assert done.stderr.startswith(
        f"mcp-bridge: cannot connect to {bridge.mcp}: its TLS certificate is not trusted: "
    )
    assert "certificate verify failed" in done.stderr


@pytest.mark.parametrize("words", [(), (secrets.token_urlsafe(32),)], ids=["none", "wrong"])
def test_without_the_token_the_error_names_it(plain, words, tmp_path):
    options = ("--token-file", token_file(tmp_path, *words)) if words else ()
    done = list_tools(plain.mcp, *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"mcp-bridge: {plain.mcp}: 401 Unauthorized: missing or wrong token; pass --token-file FILE\n"
    )


def test_a_missing_server_is_named(plain, tmp_path):
    url = plain.mcp.replace("/mcp", "/servers/nobody/mcp")
    done = list_tools(url, "--token-file", token_file(tmp_path, plain.token))
    assert (done.returncode, done.stderr) == (1, f"mcp-bridge: there is no server at {url}\n")


@contextmanager
def server_that_sends(data):
    """Yield the URL of a server that sends these bytes on its first connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(data)

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"


@pytest.fixture(scope="module", autouse=True)
def waiting():
    """Start `connect` to a server that does not speak HTTP. Its timeout passes while the other tests run."""
    with (
        server_that_sends(b"SSH-2.0-OpenSSH_9.2\r\n") as url,
        subprocess.Popen([PROGRAM, "connect", url], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        yield url, process


def test_a_peer_without_websocket_is_named():
    with server_that_sends(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n") as url:
        done = list_tools(url)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr == f"mcp-bridge: {url} returned HTTP 302; it is not a WebSocket endpoint of mcp-bridge\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["http://example.com/mcp"], 64, "is not encrypted; use wss:// or https://"),
        (["ftp://localhost/mcp"], 64, "a URL must be http(s):// or ws(s)://HOST[:PORT]/PATH"),
        (["http://user@localhost/mcp"], 64, "without user"),
        (["http://localhost:0/mcp"], 64, "a URL must be"),
        (["http://localhost/mcp?token=x"], 64, "without user and query"),
        ([f"https://{'x' * 64}.localhost/mcp"], 69, "cannot connect to https://xxx"),
        (["http://localhost:99999/mcp"], 64, "is not a URL: Port out of range"),
        (["http://localhost/a%2fb"], 64, "a path must begin with /"),
        (["git", "--token-file", "FILE"], 64, "the Unix socket is authenticated by your user ID"),
        (
            ["http://localhost/mcp", "--token-file", "/dev/null"],
            78,
            "the token file /dev/null is not a regular file",
        ),
        (["http://127.0.0.1:1/mcp"], 69, "127.0.0.1', 1): Connection refused"),
    ],
)
def test_unusable_urls_and_options_are_refused(words, code, reason, tmp_path):
    words = [token_file(tmp_path, secrets.token_urlsafe(32)) if word == "FILE" else word for word in words]
    done = list_tools(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_peer_that_does_not_answer_is_closed(waiting):
    url, process = waiting
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr.decode()) == (1, f"mcp-bridge: {url} is not a WebSocket server\n")
