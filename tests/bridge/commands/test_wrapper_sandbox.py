"""The options of the wrapper for a sandbox."""

import os
import subprocess

import pytest

from mcpbridged.bridge.commands.wrapper import read_arguments
from mcpbridged.transports.options import WORKING_DIRECTORY
from mcpbridged.transports.process import confinement

from ...support.bridge_process import EXAMPLE, PROGRAM

HERE = {"PATH": os.environ["PATH"], "HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/me"}
HAS_LANDLOCK = confinement.landlock_abi() >= confinement.FILES_ABI


def sandbox(*options):
    [server] = read_arguments([*options, "--stdio", "--", "true"], HERE).servers
    return server.launch.sandbox


def refused(capsys, *options):
    with pytest.raises(SystemExit) as exited:
        read_arguments([*options, "--stdio", "--", "true"], HERE)
    return exited.value.code, capsys.readouterr().err


def test_without_an_option_there_is_no_sandbox():
    assert sandbox().is_default
    assert sandbox("--sandbox", "basic").is_default


def test_without_network_no_other_option_is_needed():
    found = sandbox("--no-network")
    assert (found.level, found.network) == ("basic", False)


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock")
def test_the_options_are_the_keys_of_the_configuration(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    found = sandbox(
        "--sandbox", "landlock", "--read", "data", "--write", "cwd", "--token-file", "/secret/token"
    )
    assert (found.level, found.read, found.write) == ("landlock", (f"{tmp_path}/data",), (WORKING_DIRECTORY,))
    # The files of the bridge, also those that the command line names.
    assert {"/secret/token", "/home/me/.config/mcp-bridge", "/run/me/mcp-bridge"} <= {*found.hidden}


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--read", "/"), 78, '--read: needs sandbox = "landlock" or "bwrap"'),
        (("--sandbox", "landlock", "--no-network", "--connect", "1"), 78, "--connect: network = false permits no connection"),
        (("--connect", "0"), 64, "a port is a number from 1 to 65535, not '0'"),
        (("--connect", "x"), 64, "a port is a number from 1 to 65535, not 'x'"),
        (("--sandbox", "none"), 64, "invalid choice: 'none'"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_sandbox_prevents_the_start(capsys, options, code, text):
    found, stderr = refused(capsys, *options)
    assert found == code
    assert text in stderr


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock")
def test_a_path_that_is_missing_prevents_the_start(capsys):
    code, stderr = refused(capsys, "--sandbox", "landlock", "--write", "/no/such/path")
    assert code == 78
    assert "--write: there is no /no/such/path" in stderr


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock")
@pytest.mark.parametrize("permitted", [True, False])
def test_the_server_reads_what_the_options_permit(tmp_path, permitted):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("the content")
    # A file that the command names could be a part of its installation.
    script = f"cat $KEPT >&2; exec {' '.join(EXAMPLE)}"
    options = ["--read", str(kept)] if permitted else []
    options += ["--env", f"KEPT={kept}/file"]
    options += [word for path in (*EXAMPLE, os.path.dirname(EXAMPLE[-1])) for word in ("--read", path)]
    tmp_path.chmod(0o700)
    with subprocess.Popen(
        [PROGRAM, "--allow-root", "--port", "0", "--no-auth", "--sandbox", "landlock", *options, "--stdio", "--", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**HERE, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    ) as process:  # fmt: skip
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "ready on" in line:
                url = line.split("ready on ")[1].strip()
                body = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}'
                accept = "Accept: application/json, text/event-stream"
                subprocess.run(
                    ["curl", "-s", "-m", "10", url, "-H", accept, "-H", "Content-Type: application/json", "-d", body],
                    check=False,
                    capture_output=True,
                )  # fmt: skip
                process.terminate()
        assert process.wait(20) == 0
    text = "".join(lines)
    assert ("the content" in text) is permitted
    assert ("Permission denied" in text) is not permitted
