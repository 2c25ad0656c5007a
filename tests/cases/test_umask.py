"""Files of servers have the mode that they have after a login. Files of the daemon are for its user only."""

import contextlib
import http.client
import json
import sys
import time
from pathlib import Path

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM, Bridge
from ..support.daemon_process import Daemon, write_config
from ..support.units import service

# Writes a file and a directory at its start, and runs until its input ends.
WRITES = "import os, sys; os.mkdir(sys.argv[1] + '.d'); open(sys.argv[1], 'w').close(); sys.stdin.read()"


def with_umask(umask):
    return ["sh", "-c", f'umask {umask} && exec "$@"', "sh"]


def modes(path: Path):
    """Return the modes of the file and of the directory that a server has written."""
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.02)
    return [oct(Path(name).stat().st_mode & 0o777) for name in (path, f"{path}.d")]


def writing(path: Path, **keys):
    return {
        "command": [sys.executable, "-c", WRITES, str(path)],
        "start": "eager",
        "era": "legacy",
        **keys,
    }


@pytest.mark.parametrize(
    ("umask", "file", "directory"),
    [("022", "0o644", "0o755"), ("002", "0o664", "0o775"), ("077", "0o600", "0o700")],
)
def test_t16_servers_write_files_with_the_umask_of_the_login(tmp_path, umask, file, directory):
    servers = {
        "usual": writing(tmp_path / "usual"),
        "own": writing(tmp_path / "own", umask="0027"),
        "short": writing(tmp_path / "short", umask="022"),
        "temporary": writing(tmp_path / "temporary", private_tmp=True, spare=1),
    }
    write_config(tmp_path / "config.toml", servers, listen={"token": "boot"})
    with Daemon(tmp_path, within=with_umask(umask)) as running:
        assert modes(tmp_path / "usual") == [file, directory]
        assert modes(tmp_path / "temporary") == [file, directory]
        assert modes(tmp_path / "own") == ["0o640", "0o750"]
        assert modes(tmp_path / "short") == ["0o644", "0o755"]
        # After a restart the same fork server starts the processes. Its umask is that of the daemon.
        for name in ("usual", "usual.d"):
            (tmp_path / name).rename(tmp_path / f"former-{name}")
        running.restart("usual")
        assert modes(tmp_path / "usual") == [file, directory]


@pytest.mark.parametrize("umask", ["000", "022"])
def test_t16_files_of_the_daemon_are_for_its_user_alone_whatever_the_umask_is(tmp_path, umask):
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}})
    with Daemon(tmp_path, within=with_umask(umask)) as running:
        assert running.unix.stat().st_mode & 0o777 == 0o600
        for path in [running.unix, *(tmp_path / "run/state").rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path
        running.do("token", "new", "someone")
        assert running.config.stat().st_mode & 0o777 == 0o600


def test_t16_the_server_of_the_wrapper_writes_as_it_would_on_a_pipe(tmp_path):
    command = [sys.executable, "-c", WRITES, str(tmp_path / "made")]
    wrapped = [
        PROGRAM,
        "--allow-root",
        "--port",
        "0",
        "--limit",
        "start_seconds=5",
        "--stdio",
        "--",
        *command,
    ]
    with Bridge(tmp_path / "run", program=[*with_umask("027"), *wrapped]) as bridge:
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}  # fmt: skip
        with contextlib.closing(post(bridge, body)):
            assert modes(tmp_path / "made") == ["0o640", "0o750"]


def post(bridge, body):
    """Send a request and do not wait for its response."""
    connection = http.client.HTTPConnection(*bridge.address, timeout=20)
    headers = {
        **bridge.headers,
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    connection.request("POST", "/mcp", json.dumps(body), headers)
    return connection


@pytest.mark.parametrize("name", ["mcp-bridge.service", "mcp-bridge@.service"])
def test_t16_the_units_leave_the_umask_of_the_manager(name):
    assert "UMask" not in service(name)
