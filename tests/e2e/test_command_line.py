"""The interface for scripts: exit codes, the ready line, the token file, and the environment of a server."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM, Bridge
from ..support.raw_http import Session, connect
from ..support.tls import write_certificate

Start = Callable[..., Bridge]


def run(runtime_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program with arguments that make it exit at once."""
    runtime_dir.chmod(0o700)
    return subprocess.run(
        [PROGRAM, "--allow-root", *arguments],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime_dir)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--stdio"],
        ["--stdio", ""],
        ["--stdio", "cat", "--", "cat"],
        ["--stdio", "cat", "--port", "65536"],
        ["--stdio", "cat", "--port", "eighty"],
        ["--stdio", "cat", "--no-such-flag"],
        ["--stdio", "cat", "--limit", "no_such_limit=1"],
        ["--stdio", "cat", "--tls-cert", "certificate.pem"],
        ["--stdio", "an 'unfinished quote"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_64_and_a_reason(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 64
    assert done.stderr.startswith("mcp-bridge: ")
    assert done.stdout == ""


def test_a_missing_server_exits_with_69(tmp_path: Path) -> None:
    done = run(tmp_path, "--port", "0", "--stdio", "--", str(tmp_path / "no-such-server"))
    assert done.returncode == 69
    assert "no-such-server" in done.stderr
    assert "ready on" not in done.stderr


@pytest.mark.parametrize(
    ("mode", "reason"), [(0o644, "other users have access"), (0o662, "others could change it")]
)
def test_a_private_key_that_others_can_read_exits_with_78(
    authority, tmp_path: Path, mode: int, reason: str
) -> None:
    certificate, key = write_certificate(authority, tmp_path)
    key.chmod(mode)
    done = run(
        tmp_path, "--port", "0", "--tls-cert", str(certificate), "--tls-key", str(key), "--stdio", "cat"
    )
    assert done.returncode == 78
    assert f"{key} has mode {mode:04o}" in done.stderr
    assert reason in done.stderr


def test_a_port_in_use_exits_with_75(tmp_path: Path, start_bridge: Start) -> None:
    port = str(start_bridge().address[1])
    done = run(tmp_path, "--port", port, "--stdio", "--", *EXAMPLE)
    assert done.returncode == 75
    assert port in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_only_loopback_addresses_are_served_without_further_options(tmp_path: Path, host: str) -> None:
    done = run(tmp_path, "--host", host, "--no-auth", "--stdio", "--", *EXAMPLE)
    assert done.returncode in (64, 78)
    assert "ready on" not in done.stderr


def test_a_token_file_that_others_can_read_exits_with_78(tmp_path: Path) -> None:
    token = tmp_path / "token.txt"
    token.write_text("x" * 43)
    token.chmod(0o644)
    done = run(tmp_path, "--token-file", str(token), "--stdio", "--", *EXAMPLE)
    assert done.returncode == 78
    assert "token.txt" in done.stderr
    assert "x" * 43 not in done.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_help_and_version_are_printed_on_stdout(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mcp-bridge" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_bridge_cleanly(start_bridge: Start, number: signal.Signals) -> None:
    bridge = start_bridge()
    assert bridge.stop(number) in (0, 130)
    assert bridge.wait_until_alone(5) == []


def test_one_line_reports_readiness(start_bridge: Start) -> None:
    bridge = start_bridge()
    ready = f"mcp-bridge: ready on http://127.0.0.1:{bridge.address[1]}/mcp"
    bridge.stop()
    assert bridge.lines.count(ready) == 1


def answer_on(unix: Path, request: bytes) -> bytes:
    """Return the beginning of the response, as soon as the socket accepts connections."""
    end = time.monotonic() + 20
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            try:
                client.connect(str(unix))
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.1)
            else:
                client.sendall(request)
                return client.recv(4096)


def test_the_bridge_serves_and_exits_with_0_if_its_log_cannot_be_written(tmp_path: Path) -> None:
    unix = tmp_path / "s"
    with Path("/dev/full").open("w") as full:
        running = subprocess.Popen(
            [PROGRAM, "--port", "0", "--unix", unix, "--stdio", "--", *EXAMPLE],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stderr=full,
        )
    try:
        assert answer_on(unix, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(
            b"HTTP/1.1 200 "
        )
    finally:
        running.terminate()
    assert running.wait(20) == 0


def test_the_created_token_belongs_to_its_owner_and_is_never_shown(
    start_bridge: Start, tmp_path: Path
) -> None:
    bridge = start_bridge()
    file = tmp_path / "run/state/mcp-bridge/token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(bridge.token) >= 32
    bridge.stop()
    assert not [line for line in bridge.lines if bridge.token in line]
    command_line = Path("/proc/self/cmdline").read_bytes()
    assert bridge.token.encode() not in command_line


@pytest.mark.anyio
async def test_a_server_gets_only_the_environment_it_was_given(
    start_bridge: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("FROM_FILE=from a file\n")
    secret.chmod(0o600)
    monkeypatch.setenv("SOME_API_KEY", "not for everybody")
    monkeypatch.setenv("HANDED_ON", "on purpose")
    bridge = start_bridge(EXAMPLE, "--env", "HANDED_ON", "--env-file", str(secret))
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        found = json.loads(await session.call(connection, "env"))
    assert (found["HANDED_ON"], found["FROM_FILE"]) == ("on purpose", "from a file")
    assert "PATH" in found
    assert "SOME_API_KEY" not in found
    assert bridge.token not in found.values()


@pytest.mark.anyio
async def test_a_string_is_split_and_run_by_no_shell(start_bridge: Start, tmp_path: Path) -> None:
    bridge = start_bridge((sys.executable, EXAMPLE[1], ";", "touch", str(tmp_path / "pwned"), "$(id)"))
    async with connect(bridge) as connection:
        session = await Session.begin(bridge, connection)
        assert await session.call(connection, "echo", text="hello") == "hello"
    assert not (tmp_path / "pwned").exists()
