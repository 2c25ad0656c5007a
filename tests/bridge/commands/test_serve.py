"""The start of `mcp-bridge serve`: the offer to write a file, and what it prints."""

import json
import os
import pty
import signal
import subprocess

import pytest

from ...support.bridge_process import EXAMPLE, PROGRAM
from ...support.daemon_process import Daemon, write_config


def variables(home):
    return {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}


def read_until(descriptor, marks):
    """Return the output of a terminal until it has one of the texts, or the program has ended."""
    output = b""
    while not any(mark in output for mark in marks):
        try:
            output += os.read(descriptor, 4096)
        except OSError:
            break
    return output


@pytest.mark.parametrize("answer", ["\n", "y\n", "n\n"])
def test_a_terminal_is_offered_a_new_file(tmp_path, answer):
    tmp_path.chmod(0o700)
    file = tmp_path / "c.toml"
    ours, theirs = pty.openpty()
    words = [PROGRAM, "serve", "--allow-root", "--config", str(file)]
    process = subprocess.Popen(words, stdin=theirs, stderr=theirs, env=variables(tmp_path))
    os.close(theirs)
    output = read_until(ours, [b"[Y/n] "])
    assert b"c.toml: there is no such file. Write a new configuration?" in output
    os.write(ours, answer.encode())
    output = read_until(ours, [b"ready on", b"`mcp-bridge init` writes one"])
    if answer == "n\n":
        assert (process.wait(20), file.exists()) == (78, False)
    else:
        assert file.read_text().startswith("# Configuration of mcp-bridge")
        # The usual port may be in use on this machine.
        assert b"no server is configured; add one with" in output or process.wait(20) == 75
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    os.close(ours)


def test_without_a_terminal_the_command_that_writes_a_file_is_named(tmp_path):
    done = subprocess.run(
        [PROGRAM, "serve", "--allow-root"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=variables(tmp_path),
        timeout=30,
        check=False,
    )
    assert done.returncode == 78
    assert (
        "there is no such file; `mcp-bridge init` writes one, and `mcp-bridge add NAME -- COMMAND` adds a server"
        in done.stderr
    )


def test_the_file_and_the_address_of_each_server_are_printed(tmp_path):
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}, "Two_2": {"command": EXAMPLE}})
    with Daemon(tmp_path) as running:
        text = "\n".join(running.lines)
    base = next(line.partition("ready on ")[2] for line in text.splitlines() if "ready on http" in line)
    assert f"mcp-bridge: configuration: {running.config}" in text
    assert f"mcp-bridge: server one: {base}/servers/one/mcp" in text
    assert f"mcp-bridge: server Two_2: {base}/servers/Two_2/mcp" in text
    assert text.index("server Two_2: ") < text.index("ready on http")


IS_ROOT = os.geteuid() == 0


def refused_as_root(folder, *words):
    return subprocess.run(
        [PROGRAM, "serve", "--config", str(folder / "config.toml"), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=variables(folder),
        timeout=30,
        check=False,
    )


@pytest.mark.skipif(not IS_ROOT, reason="only root is refused")
@pytest.mark.parametrize("form", ["text", "json"])
def test_root_is_refused_before_anything_is_read_or_written(tmp_path, form):
    marker = tmp_path / "ran"
    listen = {"token": f"exec:touch {marker}", "http": "127.0.0.1:0"}
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}}, listen=listen)
    done = refused_as_root(tmp_path, "--log-format", form)
    assert (done.returncode, done.stdout) == (78, "")
    [line] = done.stderr.splitlines()
    if form == "json":
        event = json.loads(line)
        assert (event["event"], event["code"]) == ("cannot_start", 78)
        line = event["reason"]
    assert "root (uid 0)" in line
    assert "each server would run as root too" in line
    assert "--allow-root" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml"]


def test_an_ordinary_user_needs_no_option(tmp_path):
    # In a namespace of its own the program has the user id of nobody and the files of the tests.
    user = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if IS_ROOT else []
    probe = [*user, PROGRAM, "--version"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("the kernel permits no user namespaces")
    tmp_path.chmod(0o700)
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}}, listen={"http": "127.0.0.1:0"})
    with subprocess.Popen(
        [*user, PROGRAM, "serve", "--config", str(tmp_path / "config.toml")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=variables(tmp_path),
    ) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "ready on" in line:
                break
        process.send_signal(signal.SIGTERM)
        lines += process.stderr.readlines()
        assert process.wait(20) == 0, lines
    assert "ready on" in "".join(lines)
    assert "root" not in "".join(lines).replace(str(tmp_path), "")
