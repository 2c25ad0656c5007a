"""The default token is kept until it is rotated and valid for processes of the same user ID. Each client can have a token."""

import http.client
import json
import os
import socket
import subprocess
import time
import tomllib
import urllib.error
import urllib.request

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM, Bridge
from ..support.daemon_process import daemon
from ..support.raw_http import BOTH, INITIALIZE

NOBODY = 65534
BODY = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}).encode()
OPERATORS = "mcpb_0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def status_of(url, token):
    """Return the status of the response to an initialize with this token."""
    headers = {"Accept": BOTH, "Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, BODY, headers), timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as fault:
        with fault:
            return fault.code
    except http.client.RemoteDisconnected:
        # Requests in flight end when their token is removed.
        return 0


def as_another_user(work):
    """Return the text that `work` returns in a process of another user ID, or the error that it raises."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writing, work().encode())
        except OSError as fault:
            os.write(writing, repr(fault).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return answer


def answer_to(address, token, *, leave=False):
    """Return the first bytes of the response to an initialize. A client that disconnects at once gets no bytes."""
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(
            f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nAuthorization: Bearer {token}\r\n"
            f"Accept: {BOTH}\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
            + BODY
        )
        return "" if leave else sock.recv(65536).decode()


def tokens_in(path):
    return tomllib.loads(path.read_text()).get("tokens", {})


def test_t15_the_default_token_is_kept_across_starts_and_shared(tmp_path):
    with Bridge(tmp_path / "run") as first:
        token = first.token
        with Bridge(tmp_path / "run") as second:
            assert second.token == token
            assert status_of(second.mcp, token) == 200
    # Files of the former boot no longer exist.
    (tmp_path / "other").mkdir(mode=0o700)
    state = {"XDG_STATE_HOME": str(tmp_path / "run/state")}
    with Bridge(tmp_path / "other", environment=state) as third:
        assert status_of(third.mcp, token) == 200
    assert (tmp_path / "run/state/mcp-bridge/token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "run/state/mcp-bridge").stat().st_mode & 0o777 == 0o700


def test_t15_a_rotated_token_is_refused_at_once_by_the_daemon_and_soon_by_a_wrapper(tmp_path):
    with daemon(tmp_path) as running, Bridge(tmp_path / "run") as wrapper:
        url, before = running.url("example"), running.token
        assert status_of(url, before) == 200
        done = running.do("token", "rotate")
        assert running.token != before
        assert running.token not in done.stdout + done.stderr
        assert status_of(url, before) == 401
        assert status_of(url, running.token) == 200
        end = time.monotonic() + 20
        while status_of(wrapper.mcp, before) != 401:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert status_of(wrapper.mcp, running.token) == 200


def test_t15_a_token_can_be_rotated_without_a_daemon_and_not_where_the_operator_keeps_it(tmp_path):
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    environment["XDG_STATE_HOME"] = str(tmp_path / "state")

    def rotate(*words):
        return subprocess.run(
            [PROGRAM, "token", "rotate", *words], env=environment, capture_output=True, text=True, check=False
        )

    kept = tmp_path / "state/mcp-bridge/token"
    assert rotate().returncode == 0
    first = kept.read_text()
    assert rotate().returncode == 0
    assert kept.read_text() != first
    assert [file.name for file in kept.parent.iterdir()] == ["token"]
    assert rotate("name").returncode == 78
    (tmp_path / "mcp-bridge").mkdir(mode=0o700)
    config = tmp_path / "mcp-bridge/config.toml"
    config.write_text('[listen]\ntoken = "somewhere"\n')
    config.chmod(0o600)
    refused = rotate()
    assert refused.returncode == 78
    assert "listen: token" in refused.stderr
    config.write_text('[listen]\ntoken = "boot"\n')
    before = kept.read_text()
    assert rotate().returncode == 0
    assert kept.read_text() == before
    assert (tmp_path / "mcp-bridge/token").stat().st_mode & 0o777 == 0o600


def test_t15_with_token_boot_each_boot_has_its_own_token(tmp_path):
    with daemon(tmp_path, listen={"token": "boot"}) as running:
        token = (tmp_path / "run/mcp-bridge/token").read_text().strip()
        assert status_of(running.url("example"), token) == 200
        assert not (tmp_path / "run/state/mcp-bridge/token").exists()


@needs_root
def test_t15_the_default_token_is_refused_for_processes_of_other_users(tmp_path):
    with Bridge(tmp_path / "run") as running:
        token = running.token
        answer = as_another_user(lambda: answer_to(running.address, token))
        assert " 401 " in answer.partition("\r\n")[0]
        # A peer that has disconnected is refused too, because its request would still be carried out.
        assert as_another_user(lambda: answer_to(running.address, token, leave=True)) == ""
        assert status_of(running.mcp, running.token) == 200
        assert not running.children()[1:]
    assert [line for line in running.lines if "default_token_refused" in line]


@needs_root
def test_t15_a_token_of_the_operator_is_valid_for_every_process(tmp_path):
    file = tmp_path / "operators"
    file.write_text(OPERATORS)
    file.chmod(0o600)
    with Bridge(tmp_path / "run", EXAMPLE, "--token-file", str(file)) as running:
        assert " 200 " in as_another_user(lambda: answer_to(running.address, OPERATORS)).partition("\r\n")[0]


@needs_root
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_t15_a_port_that_another_user_holds_is_reported_with_a_fix(tmp_path, host):
    bound = socket.create_server((host, 0))
    port = str(bound.getsockname()[1])
    os.fchown(bound.fileno(), NOBODY, NOBODY)
    with bound:
        done = subprocess.run(
            [PROGRAM, "--allow-root", "--port", port, "--stdio", "cat"],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 75
    assert f"uid {NOBODY}" in done.stderr
    assert "mcp-bridge token rotate" in done.stderr


def test_t15_each_client_gets_a_token_of_its_own(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    servers = {"one": {"command": EXAMPLE}, "two": {"command": EXAMPLE}}
    with daemon(tmp_path, servers, listen={"http": f"127.0.0.1:{port}"}) as running:

        def pasted(client, server):
            table = json.loads(running.do("client-config", client, server, "--http").stdout)
            entry = next(iter(table.values()))[server]
            header = entry["headers"]["Authorization"]
            return next(value for key, value in entry.items() if "url" in key.lower()), header.split(" ")[1]

        url, first = pasted("cursor", "one")
        assert status_of(url, first) == 200
        assert first != running.token
        assert status_of(running.url("two"), first) == 403
        _, other = pasted("windsurf", "one")
        two, _ = pasted("cursor", "two")
        assert set(tokens_in(running.config)) == {"cursor-one", "windsurf-one", "cursor-two"}
        # The second paste for a client replaces the first paste of this client. Additions of the operator stay.
        text = running.config.read_text().replace(
            "[tokens.cursor-one]", "[tokens.cursor-one]\nfeatures.deny = ['roots']"
        )
        running.config.write_text(text)
        _, second = pasted("cursor", "one")
        assert [status_of(url, token) for token in (first, second, other)] == [401, 200, 200]
        assert tokens_in(running.config)["cursor-one"]["features"] == {"deny": ["roots"]}
        assert two.endswith("/servers/two/mcp")
        assert first not in running.config.read_text()


def test_t15_no_token_is_made_for_a_client_that_takes_none(tmp_path):
    with daemon(tmp_path) as running:
        before = running.config.read_text()
        assert running.do("client-config", "claude", "example", "--http", check=False).returncode != 0
        running.do("client-config", "cursor", "example")
        assert running.config.read_text() == before
