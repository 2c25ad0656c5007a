"""Show the addresses of all sockets that a service manager has passed (W9)."""

import contextlib
import http.client
import json
import socket

import pytest

from ..support.admission import HEADERS, INITIALIZE
from ..support.bridge_process import EXAMPLE
from ..support.daemon_process import Daemon, ServiceManager, write_config

TABLES = {"servers": {"example": {"command": EXAMPLE}}}


def listening(address="127.0.0.1", port=0):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family)


def on_path(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    return sock


def url_of(sock):
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def session_at(sock, token):
    """Open a session at the address of the socket, which the Host header has then."""
    headers = {**HEADERS, "Authorization": f"Bearer {token}"}
    with contextlib.closing(http.client.HTTPConnection(*sock.getsockname()[:2], timeout=10)) as client:
        client.request("POST", "/servers/example/mcp", INITIALIZE, headers)
        return client.getresponse().headers["Mcp-Session-Id"]


def status_of(daemon):
    """Return the status from the command, which finds the control socket in the configuration."""
    return json.loads(daemon.do("status", "--json").stdout)


@contextlib.contextmanager
def running(folder, *sockets, listen=None, environment=None):
    write_config(folder / "config.toml", **TABLES, listen=listen or {})
    with contextlib.ExitStack() as stack:
        for sock in sockets:
            stack.enter_context(sock)
        yield stack.enter_context(Daemon(folder, listeners=sockets, environment=environment))


@pytest.mark.parametrize("address", ["::1", "127.0.0.1", "127.0.0.2"])
def test_w9_a_passed_socket_is_named_by_its_own_address_also_at_the_port_of_the_configuration(
    tmp_path, address
):
    with listening(address) as sock:
        port = sock.getsockname()[1]
        with running(tmp_path, sock, listen={"http": f"127.0.0.1:{port}"}) as daemon:
            assert f"mcp-bridge: ready on {url_of(sock)}" in daemon.lines
            status = status_of(daemon)
            assert status["url"] == url_of(sock)
            assert status["addresses"] == [url_of(sock), f"unix:{daemon.unix}"]
            assert status["passed"] is True
            assert f", on {url_of(sock)}" in daemon.do("status").stdout
            assert session_at(sock, daemon.token)
            pasted = daemon.do("client-config", "cursor", "example", "--http").stdout
            entry = json.loads(pasted)["mcpServers"]["example"]
            assert entry["url"] == f"{url_of(sock)}/servers/example/mcp"
            if address == "::1":
                assert f"the daemon listens on {url_of(sock)}" in daemon.do("doctor", check=False).stdout


def test_w9_all_passed_sockets_are_named(tmp_path):
    unix = str(tmp_path / "passed.sock")
    first, second, third = listening(), listening("::1"), listening("127.0.0.3")
    manager = ServiceManager(tmp_path)
    named = [url_of(first), url_of(second), url_of(third), f"unix:{unix}"]
    with running(
        tmp_path,
        on_path(unix),
        first,
        second,
        third,
        listen={"unix": unix},
        environment={"NOTIFY_SOCKET": str(manager.path)},
    ) as daemon:
        ready = [line.rpartition("ready on ")[2] for line in daemon.lines if "ready on " in line]
        assert sorted(ready) == sorted(named)
        assert daemon.lines[-1] == f"mcp-bridge: ready on {named[0]}"
        assert status_of(daemon)["addresses"] == named
        assert f", on {', '.join(named)}" in daemon.do("status").stdout
        manager.wait_for(f"STATUS=serving 1 server on {', '.join(named)}")
        for sock in (first, second, third):
            assert session_at(sock, daemon.token)
        shown = daemon.do("doctor", check=False).stdout
        assert f"the daemon listens on {', '.join(named)}, the sockets that were passed to it" in shown
        pasted = daemon.do("client-config", "cursor", "example", "--http").stdout
        assert f"{named[0]}/servers/example/mcp" in pasted


def test_w9_only_unix_sockets_were_passed(tmp_path):
    paths = [str(tmp_path / "one.sock"), str(tmp_path / "two.sock")]
    with running(
        tmp_path, *map(on_path, paths), listen={"unix": paths[0], "http": "127.0.0.1:8808"}
    ) as daemon:
        named = [f"unix:{path}" for path in paths]
        assert [line for line in daemon.lines if "ready on" in line] == [
            f"mcp-bridge: also ready on {named[1]}",
            f"mcp-bridge: ready on {named[0]}",
        ]
        assert status_of(daemon)["addresses"] == named
        # No port is open. The port of the configuration is used, because the daemon would open it without passed sockets.
        assert "http://127.0.0.1:8808/" in daemon.do("client-config", "cursor", "example", "--http").stdout


def test_w9_a_socket_in_the_abstract_namespace_is_named_as_systemd_does(tmp_path):
    name = f"mcp-bridge-{tmp_path.name}-{id(tmp_path)}"
    sock, tcp = on_path(f"\0{name}"), listening()
    unix = str(tmp_path / "named.sock")
    with running(tmp_path, tcp, sock, on_path(unix), listen={"unix": unix}) as daemon:
        status = status_of(daemon)
        assert status["addresses"] == [url_of(tcp), f"unix:@{name}", f"unix:{unix}"]
        assert status["unix"] == unix


def test_w9_sockets_that_the_daemon_has_bound_are_shown_as_before(tmp_path):
    with running(tmp_path) as daemon:
        assert [line for line in daemon.lines if "ready on" in line] == [
            f"mcp-bridge: ready on {daemon._base}"
        ]
        status = status_of(daemon)
        assert status["url"] == daemon._base
        assert status["addresses"] == [daemon._base, f"unix:{daemon.unix}"]
        assert status["passed"] is False
        assert daemon.do("status").stdout.splitlines()[0].endswith(f", on {daemon._base}")
