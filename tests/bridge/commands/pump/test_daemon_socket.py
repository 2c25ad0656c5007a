"""Where the socket of the daemon is, and what is sent to it first."""

import os
import socket
import threading
from pathlib import Path

import pytest

from mcpbridged.bridge.commands.pump import daemon_socket
from mcpbridged.bridge.commands.pump.daemon_socket import (
    Refused,
    Unreachable,
    Upgrade,
    connect,
    opening,
    usual_socket,
)
from mcpbridged.bridge.config import xdg
from mcpbridged.validators.limits import Limits


@pytest.mark.parametrize(
    "names",
    [
        ("XDG_RUNTIME_DIR",),
        ("XDG_RUNTIME_DIR", "HOME"),
        ("XDG_STATE_HOME",),
        ("HOME",),
        ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "HOME"),
        (),
    ],
)
@pytest.mark.parametrize("relative", [False, True])
def test_the_usual_socket_is_that_of_all_commands(tmp_path, monkeypatch, names, relative):
    # No directory of the system may be in the way.
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    monkeypatch.setattr(daemon_socket.posix, "geteuid", lambda: 4_000_000)
    values = {name: f"relative/{name}" if relative else f"{tmp_path}/{name}" for name in names}
    encoded = {name.encode(): value.encode() for name, value in values.items()}
    assert usual_socket(encoded) == os.fsencode(xdg.default_socket(values))


@pytest.mark.parametrize(("owner", "mode"), [(0, 0o40700), (1, 0o40700), (0, 0o100600), (None, 0)])
def test_the_directory_of_the_login_is_used_without_a_variable_if_it_is_ours(monkeypatch, owner, mode):
    """The official SDKs start a server with HOME, LOGNAME, PATH, SHELL, TERM and USER only."""

    real = os.stat

    def found(path, **more):
        if os.fsencode(path) != b"/run/user/4000000":
            return real(path, **more)
        if owner is None:
            raise FileNotFoundError
        return os.stat_result((mode, 1, 1, 1, 4_000_000 + owner, 0, 0, 0, 0, 0))

    for module in (os, daemon_socket.posix):
        monkeypatch.setattr(module, "geteuid", lambda: 4_000_000)
    monkeypatch.setattr(daemon_socket.posix, "stat", found)
    monkeypatch.setattr(Path, "stat", found)
    login, state = (
        "/run/user/4000000/mcp-bridge/mcp-bridge.sock",
        "/h/.local/state/mcp-bridge/mcp-bridge.sock",
    )
    expected = login if owner == 0 and mode == 0o40700 else state
    assert usual_socket({b"HOME": b"/h"}) == expected.encode()
    assert str(xdg.default_socket({"HOME": "/h"})) == expected


CONFIGURED = [
    ("", True),
    ("[servers.one]\ncommand = ['x']\n", True),
    ("# unix = '/elsewhere'\n  # unix\n[listen]\nhttp = false\n", True),
    ("[listen]\nunix = '/elsewhere'\n", False),
    ("[listen]\n'unix' = '/elsewhere'\n", False),
    ("listen = {http = false, unix = false} # comment\n", False),
    ('[listen]\n"\\u0075nix" = false\n', False),
    ('[listen]\n"\\U00000075nix" = false\n', False),
    ("#" * 2_000_000, False),
]


@pytest.mark.parametrize(("text", "is_usual"), CONFIGURED)
def test_a_configuration_that_may_name_another_socket_is_left_to_the_parser(tmp_path, text, is_usual):
    file = tmp_path / "mcp-bridge/config.toml"
    file.parent.mkdir()
    file.write_text(text)
    found = usual_socket({b"XDG_CONFIG_HOME": bytes(tmp_path), b"XDG_RUNTIME_DIR": b"/run/x/"})
    assert found == (b"/run/x/mcp-bridge/mcp-bridge.sock" if is_usual else None)


def test_a_configuration_that_cannot_be_read_is_left_to_the_parser(tmp_path):
    (tmp_path / "mcp-bridge/config.toml").mkdir(parents=True)
    assert usual_socket({b"XDG_CONFIG_HOME": bytes(tmp_path), b"XDG_RUNTIME_DIR": b"/run/x"}) is None


def test_the_request_names_the_server_and_carries_the_headers():
    assert opening("a b/\u00fc%~".encode(), [(b"X-A", b"1"), (b"X-B", b"")]) == (
        b"GET /servers/a%20b%2F%C3%BC%25~/pipe HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        b"Upgrade: mcp-pipe\r\nX-A: 1\r\nX-B: \r\n\r\n"
    )


def test_the_directory_is_named_as_the_daemon_reads_it(tmp_path, monkeypatch):
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/100% \xc3\xbc \xff\n"))
    folder.mkdir()
    monkeypatch.chdir(folder)
    expected = bytes(tmp_path) + b"/100%25%20%C3%BC%20%FF%0A"
    assert daemon_socket.directory_headers() == [(b"Mcp-Cwd", expected)]
    folder.rmdir()
    assert daemon_socket.directory_headers() == []


def test_a_directory_that_does_not_fit_in_a_header_is_not_named(monkeypatch):
    """The request would be refused, also for a server that does not run in the directory of its client."""
    for path, sent in ((b"/" + b"\xe7" * 2666, True), (b"/" + b"\xe7" * 2667, False)):
        monkeypatch.setattr(daemon_socket.posix, "getcwdb", lambda found=path: found)
        headers = daemon_socket.directory_headers()
        assert bool(headers) is sent
        (field,) = [name + b": " + value for name, value in headers] or [b""]
        assert len(field) < Limits().header_field


# ---- the connection


def test_a_missing_socket_is_named_with_what_starts_the_daemon(tmp_path):
    with pytest.raises(Unreachable, match="No such file or directory; start it with `mcp-bridge serve`"):
        connect(bytes(tmp_path) + b"/none")


def test_a_socket_without_a_listener_and_one_that_is_full_are_unreachable(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        with pytest.raises(Unreachable, match="Connection refused"):
            connect(path.encode())
        listener.listen(0)
        first = connect(path.encode())
        with pytest.raises(Unreachable, match="temporarily unavailable"):
            connect(path.encode())
        first.close()


def test_a_path_that_is_too_long_is_unreachable():
    with pytest.raises(Unreachable, match="too long"):
        connect(b"/" + b"x" * 200)


@pytest.mark.skipif(os.geteuid() != 0, reason="another uid needs root")
def test_nothing_is_sent_to_a_process_of_another_user(tmp_path):
    path = str(tmp_path / "s")
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        # The credentials of a listener are those of listen(2).
        os.setuid(12345)
        listener.listen()
        os.write(ready[1], b"x")
        sock, _ = listener.accept()
        os.write(done[1], sock.recv(1) or b"nothing")
        os._exit(0)
    os.read(ready[0], 1)
    try:
        with pytest.raises(
            Refused, match=r"a process of uid 12345 listens on .*, not of uid 0; nothing was sent to it"
        ):
            connect(path.encode())
        assert os.read(done[0], 10) == b"nothing"
    finally:
        os.waitpid(pid, 0)
        for descriptor in (*ready, *done):
            os.close(descriptor)


# ---- the response


def fed(text, body=b"", *, pieces=1):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if body:
            thread = threading.Thread(target=theirs.sendall, args=(body,))
            thread.start()
            thread.join()
        theirs.shutdown(socket.SHUT_WR)
        upgrade, found = Upgrade("one"), None
        size = max(1, len(text) // pieces)
        for at in range(0, len(text), size):
            assert found is None
            found = upgrade.feed(ours, text[at : at + size])
        return found


ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: mcp-pipe\r\n\r\n"


def test_what_follows_the_response_is_returned():
    assert fed(ACCEPTED + b"#drain\n") == b"#drain\n"
    assert fed(ACCEPTED, pieces=len(ACCEPTED)) == b""
    assert fed(ACCEPTED[:-1]) is None


@pytest.mark.parametrize(
    ("text", "body", "reason", "again"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"", "there is no server 'one'", False),
        (
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            b'{"error":{"message":"there is no server of this name; there are: once"}}',
            "there is no server 'one'; there are: once",
            False,
        ),
        (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 48\r\n\r\n",
            b'{"error":{"message":"the bridge\\n is stopping"}}and more',
            "the bridge is stopping",
            True,
        ),
        (
            b"HTTP/1.1 403 Forbidden\r\n\r\n<html>",
            b"no",
            "one: the daemon responded HTTP/1.1 403 Forbidden: <html>no",
            False,
        ),
        (b"HTTP/1.1 400 Bad\r\n\r\n", b"[" * 5000, f"HTTP/1.1 400 Bad: {'[' * 4096}", False),
        (
            b"HTTP/1.1 426 Upgrade Required\r\n\r\n",
            b'{"error":[]}',
            '426 Upgrade Required: {"error":[]}',
            False,
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", b"", "HTTP/1.0 200 OK", False),
        (
            b"220 smtp.example.com ESMTP\r\n",
            b"",
            "did not respond as a daemon of mcp-bridge: 220 smtp",
            False,
        ),
        (b"\x15\x03\x03", b"", "did not respond as a daemon of mcp-bridge", False),
        (b"HTTP/1.1 101 x\r\nX: " + b"y" * 20_000, b"", "did not respond as a daemon of mcp-bridge", False),
    ],
)
def test_any_other_response_is_refused_with_the_reason(text, body, reason, again):
    with pytest.raises(Refused) as caught:
        fed(text, body)
    assert reason in str(caught.value)
    assert caught.value.again is again


@pytest.mark.parametrize(
    ("status", "field", "is_timed"),
    [
        ("503 X", "Retry-After: 1", True),
        ("503 X", "retry-after:1", True),
        ("503 X", "X-Retry-After: 1", False),
        ("429 X", "Retry-After: 1", False),
    ],
)
def test_only_a_busy_daemon_names_a_time(status, field, is_timed):
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Refused) as caught:
        text = f"HTTP/1.1 {status}\r\n{field}\r\nContent-Length: 0\r\n\r\n"
        Upgrade("one").feed(ours, text.encode())
    assert caught.value.is_timed is is_timed


def test_a_connection_that_ends_before_the_response_may_be_made_again():
    with pytest.raises(Unreachable, match="one closed the connection before it responded"):
        Upgrade("one").feed(None, b"")
