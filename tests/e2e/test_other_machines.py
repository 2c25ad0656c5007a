"""Listeners that other machines can reach, trusted reverse proxies, and a root path.

The address of this machine stands for another one: requests from it are not from a loopback address.
"""

import hashlib
import re
import socket
import subprocess

import pytest

from mcpbridged.bridge.config.credentials import new_token

from ..support.bridge_process import EXAMPLE, PROGRAM
from ..support.client_certificates import Authority
from ..support.credential_client import TRANSPORTS, Target, bearer
from ..support.daemon_process import daemon, write_config

SERVERS = {"one": {"command": EXAMPLE}, "two": {"command": EXAMPLE}}
TOKEN = new_token()
TOKENS = {"tokens.box": {"sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "servers": ["one"]}}


def own_address():
    """Return an address of this machine that is not loopback, or an empty text."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # Nothing is sent.
            sock.connect(("192.0.2.1", 9))
            found = sock.getsockname()[0]
        except OSError:
            return ""
    return "" if found.startswith("127.") else found


ADDRESS = own_address()
needs_address = pytest.mark.skipif(not ADDRESS, reason="this machine has a loopback address only")


def refusal(folder, listen, **tables):
    """Return what `config check` writes about these tables."""
    config = folder / "config.toml"
    write_config(config, SERVERS, listen=listen, **tables)
    done = subprocess.run(
        [PROGRAM, "config", "check", "--config", str(config)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("listen", "tables", "missing"),
    [
        ({}, {}, ["TLS (tls_cert", "a credential that is valid on other machines", "hosts, the names"]),
        ({"hosts": ["h"]}, TOKENS, ["TLS (tls_cert"]),
        ({"hosts": ["h"], "trusted_proxies": ["10.0.0.1"]}, {}, ["a credential that is valid"]),
        ({"trusted_proxies": ["10.0.0.1"]}, TOKENS, ["hosts, the names"]),
        (
            {"hosts": ["h"], "trusted_proxies": ["10.0.0.1"], "authenticate": False},
            TOKENS,
            ["authenticate = true"],
        ),
    ],
)
def test_the_refusal_of_a_wildcard_names_what_is_missing(tmp_path, listen, tables, missing):
    code, text = refusal(tmp_path, {"http": "0.0.0.0:0", **listen}, **tables)
    assert code == 78
    parts = text.partition("which needs ")[2].split("\n")[0]
    assert len(parts.split("; ")) - parts.count("; the token") == len(missing), text
    assert all(one in parts for one in missing), text


@pytest.fixture
def tls(tmp_path):
    ours = Authority()
    certificate, key = ours.issue(tmp_path, "IP:127.0.0.1", *[f"IP:{ADDRESS}"] * bool(ADDRESS), server=True)
    return ours, {"tls_cert": str(certificate), "tls_key": str(key)}


@needs_address
@pytest.mark.parametrize("transport", ["http", "sse", "ws"])
def test_another_machine_is_served_with_tls_and_a_token_of_its_own(tmp_path, tls, transport):
    ours, files = tls
    port = free_port()
    listen = {"http": f"{ADDRESS}:{port}", **files}
    with daemon(tmp_path, SERVERS, listen=listen, **TOKENS) as running:
        target = Target((ADDRESS, port), ours.context())
        sock, reply = target.open(transport, "one", bearer(TOKEN))
        with sock:
            assert reply.status in (200, 101)
        assert target.initialize("two", bearer(TOKEN)).status == 403
        assert target.initialize("one", bearer(running.token)).status == 401
        assert target.initialize("one").status == 401
        # The pipe endpoint and the page are for this machine.
        assert target.exchange("GET", "/admin", bearer(TOKEN)).status == 404
        sock, reply = target.open("pipe", "one", bearer(TOKEN))
        sock.close()
        assert reply.status == 400


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@needs_address
def test_the_token_of_the_owner_in_a_file_is_refused_from_other_machines_too(tmp_path, tls):
    ours, files = tls
    file = tmp_path / "owner"
    file.write_text(new_token())
    file.chmod(0o600)
    port = free_port()
    listen = {"http": f"0.0.0.0:{port}", "hosts": [f"{ADDRESS}:{port}"], "token": str(file), **files}
    with daemon(tmp_path, SERVERS, listen=listen, **TOKENS):
        token = file.read_text()
        assert Target((ADDRESS, port), ours.context()).initialize("one", bearer(token)).status == 401
        assert Target(("127.0.0.1", port), ours.context()).initialize("one", bearer(token)).status == 200


@needs_address
def test_without_tls_only_a_trusted_proxy_that_has_it_is_served(tmp_path):
    port = free_port()
    listen = {"http": f"0.0.0.0:{port}", "hosts": [f"{ADDRESS}:{port}"], "trusted_proxies": [f"{ADDRESS}/32"]}
    with daemon(tmp_path, SERVERS, listen=listen, **TOKENS) as running:
        proxied = Target((ADDRESS, port), source=ADDRESS)
        forwarded = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"}
        assert proxied.initialize("one", {**bearer(TOKEN), **forwarded}).status == 200
        for headers in ({}, {**forwarded, "X-Forwarded-Proto": "http"}, {"X-Forwarded-For": "198.51.100.7"}):
            reply = proxied.initialize("one", {**bearer(TOKEN), **headers})
            assert (reply.status, b"TLS only" in reply.body) == (403, True)
        # The token of the owner is for this machine, and the client of the proxy is on another one.
        assert proxied.initialize("one", {**bearer(running.token), **forwarded}).status == 401
        # A process of this machine is served without TLS.
        assert Target(("127.0.0.1", port)).initialize("one", bearer(TOKEN)).status == 200
    listen["trusted_proxies"] = ["192.0.2.1"]
    with daemon(tmp_path, SERVERS, listen=listen, **TOKENS):
        assert proxied.initialize("one", {**bearer(TOKEN), **forwarded}).status == 403


@pytest.mark.parametrize("trusted", [["127.0.0.1"], []])
def test_the_forwarded_address_decides_for_the_owner_only_from_a_trusted_proxy(tmp_path, trusted):
    with daemon(tmp_path, SERVERS, listen={"trusted_proxies": trusted}) as running:
        target = Target(running.address)
        for value, is_here in [
            ("127.0.0.1", True),
            ("198.51.100.7", False),
            ("127.0.0.1, 198.51.100.7", False),
            ("198.51.100.7, 127.0.0.1", False),
            ("nonsense", False),
        ]:
            status = target.initialize("one", {**bearer(running.token), "X-Forwarded-For": value}).status
            assert status == (200 if is_here or not trusted else 401)


def test_an_address_of_a_loopback_listener_is_not_changed_by_the_wrapper(tmp_path):
    done = subprocess.run(
        [PROGRAM, "--allow-root", "--host", "0.0.0.0", "--stdio", "cat"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 78
    assert "with a configuration only" in done.stderr


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("prefix", ["", "/bridge"])
def test_below_a_root_path_every_endpoint_is_served(tmp_path, transport, prefix):
    with daemon(tmp_path, SERVERS, listen={"root_path": "/bridge"}, **TOKENS) as running:
        target = Target(running.address)

        class Below(Target):
            def send(self, sock, method, path, headers, body=b""):
                super().send(sock, method, prefix + path, headers, body)

        below = Below(running.address)
        sock, reply = below.open(transport, "one", bearer(TOKEN))
        with sock:
            assert reply.status in (200, 101)
            if transport == "sse":
                event = reply.body or sock.recv(4096)
                found = re.search(rb"data: (\S+)", event)
                assert found[1].startswith(b"messages?")
        assert below.initialize("two", bearer(TOKEN)).status == 403
        assert below.initialize("one").status == 401
        assert below.exchange("GET", "/healthz").status == 200
        assert target.initialize("one", bearer(TOKEN), "/bridge/bridge/servers/one/mcp").status == 404
