"""Command lines and socket paths that prevent a start, and files that a bridge must not change."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from mcpbridged.bridge.commands.wrapper import read_arguments

from ..support.hostile_bridge import (
    PROGRAM,
    STATE,
    await_ready,
    children_of,
    environment,
    start_refused,
    started,
)
from ..support.waiting import wait_until_empty
from ..support.wire import connect

ROOT = os.geteuid() == 0
START = ("--allow-root", "--port", "0")


@contextmanager
def starts(runtime, *options, **more):
    """Run a bridge. Yield its URL, the lines of its stderr and its process."""
    with started(runtime, *options, **more) as (process, stderr):
        yield await_ready(process, stderr), stderr, process
        process.send_signal(signal.SIGTERM)
        code = process.wait(10)
    assert code == 0, stderr
    assert "Traceback" not in "".join(stderr)


@contextmanager
def event_stream(runtime, url):
    """Open the stream of HTTP+SSE at the bridge that was started in this folder, which starts its server."""
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    token = (runtime / STATE / "token").read_text().strip()
    with connect(("127.0.0.1", port)) as connection:
        connection.send(
            f"GET /sse HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        assert connection.head().status == 200
        yield


def parse_refused(capsys, *options):
    """Return the exit code and stderr of the argument parser alone, without a start."""
    with pytest.raises(SystemExit) as exited:
        read_arguments([*options, "--stdio", "--", "true"], {})
    return exited.value.code, capsys.readouterr().err


# ---- K04


@pytest.mark.parametrize(
    "options",
    [
        ["--token", "x"], ["--token=x"], ["--token", "mcpb_0123456789"], ["--port", "65536"], ["--port", "-1"], ["--port", "x"], ["--port", ""],
        ["--port", "80 "], ["--port", "0x50"], ["--port", "1e3"], ["--port", "٨٠"], ["--port"], ["--unknown"], ["--por", "0"], ["-p", "0"], ["extra"],
        ["--host", "evil.example"], ["--host", ""], ["--host", "127.1"], ["--host", "http://127.0.0.1"], ["--limit", "x=1"], ["--limit", "body"],
        ["--limit", "body=x"], ["--limit", "body=-1"], ["--limit", "body=0"], ["--limit", "body=1e99"], ["--limit", "body=nan"], ["--limit", "head_seconds=nan"],
        ["--limit", "head_seconds=inf"], ["--cors", "*"], ["--cors", "evil.example"], ["--cors", "null"], ["--cors", "http://x/"], ["--log-level", "loud"],
        ["--log-format", "xml"], ["--share", "x"], ["--era", "x"], ["--no-auth", "--token-file", "/x"], ["--tls-cert", "/x"], ["--mcp-path", "mcp"],
        ["--mcp-path", "/sse"], ["--mcp-path", "/a?b"], ["--mcp-path", "/a b"], ["--health", "/mcp"], ["--sessionTimeout", "0"], ["--outputTransport", "stdio"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_k04_wrong_usage_exits_with_64(capsys, options):
    code, stderr = parse_refused(capsys, *options)
    assert code == 64, stderr
    assert stderr.startswith("mcp-bridge: ")
    assert len(stderr) < 2000


def test_k04_a_token_on_the_command_line_is_not_repeated(capsys):
    for option in (["--token", "canary-0123456789"], ["--token=canary-0123456789"]):
        code, stderr = parse_refused(capsys, *option)
        assert code == 64
        assert "canary" not in stderr
        assert "--token-file" in stderr


@pytest.mark.parametrize("command", [[""], ["no-such-program"], ["/etc/passwd"], ["/"]])
def test_a_server_that_cannot_be_started_exits_with_64_or_69(tmp_path, command):
    code, stderr = start_refused(tmp_path, *START, command=command)
    assert code in (64, 69), stderr


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "169.254.1.1", "fe80::1", "255.255.255.255", "::ffff:0.0.0.0"],
)
def test_k04_an_address_that_other_machines_can_reach_exits_with_78(capsys, host):
    code, stderr = parse_refused(capsys, *START, "--host", host)
    assert code == 78, stderr
    assert host in stderr


@pytest.mark.parametrize(
    ("options", "expected"), [(["--port", "65536"], 64), (["--token", "x"], 64), (["--host", "0.0.0.0"], 78)]
)
def test_k04_the_program_exits_with_that_code_and_creates_no_file(tmp_path, options, expected):
    code, stderr = start_refused(tmp_path, *options)
    assert code == expected, stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--env", "LD_PRELOAD"], ["--env", "LD_PRELOAD=/dev/null"], ["--env", "a b"], ["--env", ""], ["--env", "=x"], ["--env-file", "/no/such/file"],
                                     ["--tls-cert", "/dev/null", "--tls-key", "/dev/null"], ["--tls-cert", "/no/such", "--tls-key", "/no/such"]], ids=" ".join)  # fmt: skip
def test_unusable_values_exit_with_78(tmp_path, options):
    code, stderr = start_refused(tmp_path, *START, *options)
    assert code in (64, 78), stderr


def test_k04_a_port_in_use_exits_with_75(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, stderr = start_refused(tmp_path, "--allow-root", "--port", str(port))
    assert code == 75, stderr
    assert str(port) in stderr


def test_k04_a_second_instance_exits_with_75_and_the_first_continues(tmp_path):
    with starts(tmp_path, *START) as (url, _, _):
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        code, stderr = start_refused(tmp_path, "--allow-root", "--port", str(port))
        assert code == 75, stderr
        with connect(("127.0.0.1", port)) as connection:
            connection.send(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert connection.reply().body == b"ok"


@pytest.mark.skipif(not ROOT, reason="only root is warned of being root")
def test_k04_a_start_as_root_is_logged(tmp_path):
    with starts(tmp_path, "--port", "0") as (_, stderr, _):
        assert any("running as root" in line for line in stderr)
    with starts(tmp_path, *START) as (_, stderr, _):
        assert not any("running as root" in line for line in stderr)


def test_v9_no_auth_is_limited_to_the_loopback_and_logged(tmp_path):
    assert start_refused(tmp_path, *START, "--no-auth", "--host", "0.0.0.0")[0] == 78
    with starts(tmp_path, *START, "--no-auth") as (url, stderr, _):
        assert any("authentication is disabled" in line for line in stderr)
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        with connect(("127.0.0.1", port)) as connection:
            connection.send(
                f"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n\r\n".encode()
            )
            assert connection.reply().status == 403
    assert not (tmp_path / "mcp-bridge").exists()


def test_v29_the_child_gets_only_the_variables_that_were_passed(tmp_path):
    canaries = {"CANARY": "secret", "NOTIFY_SOCKET": "/x", "LISTEN_FDS": "1", "LISTEN_PID": "1", "CREDENTIALS_DIRECTORY": "/x", "AWS_SECRET_ACCESS_KEY": "x",
                "HTTP_PROXY": "http://u:p@x", "LD_LIBRARY_PATH": "/x", "PYTHONPATH": "/x", "NODE_OPTIONS": "-r x", "MCP_BRIDGE_TOKEN": "x"}  # fmt: skip
    with starts(tmp_path, *START, env=environment(tmp_path) | canaries) as (url, _, _):
        with event_stream(tmp_path, url):
            (pid,) = children_of(tmp_path / "journal")
            with open(f"/proc/{pid}/environ", "rb") as file:
                given = dict(entry.decode().partition("=")[::2] for entry in file.read().split(b"\0"))
            fds = sorted(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
    # The address of a proxy without its user and password.
    assert given.pop("HTTP_PROXY") == "http://x"
    assert not set(given) & set(canaries)
    assert fds[:3] == [0, 1, 2]
    # 0 to 2, and the journal of the child.
    assert len(fds) <= 4


# ---- K06


def test_k06_a_new_socket_is_ours_alone_and_removed_at_the_end(tmp_path):
    path = tmp_path / "s"
    with starts(tmp_path, *START, "--unix", str(path)):
        assert path.stat().st_mode & 0o777 == 0o600
        assert healthy(path)
    assert not path.exists()


def healthy(path):
    with connect(str(path)) as connection:
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return connection.reply().body == b"ok"


def test_k06_a_stale_socket_of_ours_is_replaced(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with starts(tmp_path, *START, "--unix", str(path)):
        assert healthy(path)


@pytest.mark.parametrize(
    "what",
    [
        "file",
        "directory",
        "symlink to a file",
        "symlink to a stale socket",
        "dangling symlink",
        "FIFO",
        "another owner's socket",
    ],
)
def test_k06_a_path_that_is_not_our_socket_is_left_alone(tmp_path, what):
    path, real = tmp_path / "s", tmp_path / "real"
    match what:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "symlink to a file":
            real.write_text("precious")
            path.symlink_to(real)
        case "symlink to a stale socket":
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(str(real))
            path.symlink_to(real)
        case "dangling symlink":
            path.symlink_to(real)
        case "FIFO":
            os.mkfifo(path)
        case _:
            if not ROOT:
                pytest.skip("only root can give a socket away")
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(str(path))
            os.chown(path, 65534, 65534)
    before = path.lstat()
    code, stderr = start_refused(tmp_path, *START, "--unix", str(path))
    assert code == 78, stderr
    assert str(path) in stderr
    assert path.lstat().st_ino == before.st_ino
    if "file" in what:
        assert path.read_text() == "precious"


@pytest.mark.parametrize("length", [108, 200, 5000])
def test_k06_a_path_that_is_too_long_exits_with_78(tmp_path, length):
    code, stderr = start_refused(tmp_path, *START, "--unix", "/" + "a" * (length - 1))
    assert code == 78, stderr
    assert "107" in stderr


@pytest.mark.parametrize("where", ["no/such/s", ""])
def test_k06_an_impossible_path_is_refused(tmp_path, where):
    code, stderr = start_refused(tmp_path, *START, "--unix", str(tmp_path / where) if where else "")
    assert code in (64, 78), stderr


def test_k06_a_socket_in_use_exits_with_75_and_is_kept(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(str(path))
        used.listen()
        code, stderr = start_refused(tmp_path, *START, "--unix", str(path))
        assert code == 75, stderr
        assert path.exists()


@pytest.mark.parametrize(
    "variables", [{"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": "x"}]
)
def test_k06_sockets_that_were_passed_to_another_process_are_ignored(tmp_path, variables):
    with starts(tmp_path, *START, env=environment(tmp_path) | variables) as (url, _, _):
        assert url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("where", ["a full disk", "a closed pipe"])
def test_g34_a_log_that_cannot_be_written_does_not_end_the_bridge(tmp_path, where):
    path = tmp_path / "s"
    if where == "a closed pipe":
        reading, stderr = os.pipe()
        os.close(reading)
    else:
        stderr = os.open("/dev/full", os.O_WRONLY)
    command = [PROGRAM, *START, "--log-level", "debug", "--unix", str(path), "--stdio", "--", "cat"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=stderr, env=environment(tmp_path)
    ) as process:
        try:
            os.close(stderr)
            assert not wait_until_empty(lambda: process.poll() is None and not path.exists(), 10)
            for _ in range(3):
                assert healthy(path)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


# ---- K05


def test_k05_a_second_signal_ends_the_drain(tmp_path):
    stubborn = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        "import signal,time; signal.signal(15, signal.SIG_IGN)\nwhile True: time.sleep(9)",
        str(tmp_path / "journal"),
    ]
    with started(tmp_path, *START, command=stubborn) as (process, stderr):
        url = await_ready(process, stderr)
        with event_stream(tmp_path, url):
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.7)
            process.send_signal(signal.SIGTERM)
            assert process.wait(2) == 0
    assert not wait_until_empty(lambda: children_of(tmp_path / "journal"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_k05_both_signals_end_the_bridge_with_0(tmp_path, number):
    with started(tmp_path, *START) as (process, stderr):
        await_ready(process, stderr)
        process.send_signal(number)
        assert process.wait(5) == 0
    assert "Traceback" not in "".join(stderr)


def test_the_version_is_printed_without_a_start(tmp_path):
    done = subprocess.run(
        [PROGRAM, "--version"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
        env=environment(tmp_path),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mcp-bridge ")
