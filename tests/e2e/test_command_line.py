"""What scripts rely on: exit codes, the ready line, the token file, and what a server finds in its environment."""

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
import trustme

from ..support.bridge_process import EXAMPLE, PROGRAM, Bridge
from ..support.raw_http import Session, connect

Start = Callable[..., Bridge]


def run(runtime_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program with arguments that end it at once."""
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
def test_wrong_usage_is_64_and_says_why(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 64
    assert done.stderr.startswith("mcp-bridge: ")
    assert done.stdout == ""


def test_a_server_that_is_not_there_is_69(tmp_path: Path) -> None:
    done = run(tmp_path, "--port", "0", "--stdio", "--", str(tmp_path / "no-such-server"))
    assert done.returncode == 69
    assert "no-such-server" in done.stderr
    assert "ready on" not in done.stderr


@pytest.mark.parametrize(
    ("mode", "told"), [(0o644, "other users have access"), (0o660, "others could change it")]
)
def test_a_key_that_others_can_use_is_78(tmp_path: Path, mode: int, told: str) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    key.chmod(mode)
    done = run(
        tmp_path, "--port", "0", "--tls-cert", str(certificate), "--tls-key", str(key), "--stdio", "cat"
    )
    assert done.returncode == 78
    assert f"{key} has mode {mode:04o}" in done.stderr
    assert told in done.stderr


def test_a_port_in_use_is_75(tmp_path: Path, start_bridge: Start) -> None:
    port = str(start_bridge().address[1])
    done = run(tmp_path, "--port", port, "--stdio", "--", *EXAMPLE)
    assert done.returncode == 75
    assert port in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_only_loopback_is_served_without_more_ado(tmp_path: Path, host: str) -> None:
    done = run(tmp_path, "--host", host, "--no-auth", "--stdio", "--", *EXAMPLE)
    assert done.returncode in (64, 78)
    assert "ready on" not in done.stderr


def test_a_token_file_that_others_can_read_is_78(tmp_path: Path) -> None:
    token = tmp_path / "token.txt"
    token.write_text("x" * 43)
    token.chmod(0o644)
    done = run(tmp_path, "--token-file", str(token), "--stdio", "--", *EXAMPLE)
    assert done.returncode == 78
    assert "token.txt" in done.stderr
    assert "x" * 43 not in done.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_questions_are_answered_on_stdout(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mcp-bridge" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_peace(start_bridge: Start, number: signal.Signals) -> None:
    bridge = start_bridge()
    assert bridge.stop(number) in (0, 130)
    assert bridge.wait_until_alone(5) == []


def test_one_line_says_that_it_is_ready(start_bridge: Start) -> None:
    bridge = start_bridge()
    ready = f"mcp-bridge: ready on http://127.0.0.1:{bridge.address[1]}/mcp"
    bridge.stop()
    assert bridge.lines.count(ready) == 1


def answer_on(unix: Path, request: bytes) -> bytes:
    """The beginning of the answer, as soon as somebody listens there."""
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


def test_it_serves_and_ends_in_peace_where_nothing_can_be_said(tmp_path: Path) -> None:
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


def test_the_minted_token_is_the_owners_and_is_never_shown(start_bridge: Start, tmp_path: Path) -> None:
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
    secret.write_text("from a file\n")
    secret.chmod(0o600)
    monkeypatch.setenv("SOME_API_KEY", "not for everybody")
    monkeypatch.setenv("HANDED_ON", "on purpose")
    bridge = start_bridge(EXAMPLE, "--env", "HANDED_ON", "--env", f"FROM_FILE={secret}")
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
