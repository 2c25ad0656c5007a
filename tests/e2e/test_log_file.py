"""The log of a daemon in a file."""

import os
import signal
import sys

import pytest
import trio

from ..support.bridge_process import EXAMPLE
from ..support.daemon_process import Daemon, daemon, write_config

pytestmark = pytest.mark.anyio
LOUD = [
    sys.executable,
    "-c",
    "import sys; print('from the server', file=sys.stderr, flush=True); sys.stdin.read()",
]


async def wait_for(file, text):
    with trio.fail_after(20):
        while not (file.exists() and text in file.read_text()):
            await trio.sleep(0.02)


async def test_the_log_goes_to_a_private_file_that_sighup_opens_again(tmp_path):
    file = tmp_path / "daemon.log"
    servers = {"one": {"command": EXAMPLE}, "loud": {"command": LOUD, "start": "eager", "era": "legacy"}}
    with daemon(tmp_path, servers, log={"file": "daemon.log"}) as running:
        await wait_for(file, "from the server")
        assert file.stat().st_mode & 0o777 == 0o600
        assert " info: ready " in file.read_text()
        # The line that others wait for is on stderr as well, and nothing of the servers.
        assert any("ready on" in line for line in running.lines)
        assert not any("from the server" in line for line in running.lines)
        file.rename(tmp_path / "daemon.log.1")
        running.process.send_signal(signal.SIGHUP)
        await wait_for(file, " reloaded ")
        assert " reloaded " not in (tmp_path / "daemon.log.1").read_text()
        assert "from the server" in running.do("logs", "loud").stdout
    assert file.read_text().endswith(" info: stopped\n")


async def test_a_full_disk_stops_nothing(tmp_path):
    with daemon(tmp_path, {"one": {"command": EXAMPLE}}, log={"file": "/dev/full"}) as running:
        for _ in range(3):
            assert running.do("call", "one", "echo", "text=hello").returncode == 0
        lost = [line for line in running.lines if "log_file_lost_lines" in line]
        assert len(lost) == 1
        assert "No space left on device" in lost[0]


async def test_another_file_needs_a_restart(tmp_path):
    with daemon(tmp_path, {"one": {"command": EXAMPLE}}, log={"file": "a.log"}) as running:
        running.config.write_text(running.config.read_text().replace("a.log", "b.log"))
        assert "log" in running.do("reload").stderr
        await wait_for(tmp_path / "a.log", "restart_needed tables=log")
    assert not (tmp_path / "b.log").exists()


@pytest.mark.parametrize("file", ["missing/daemon.log", "link", "audit.jsonl"])
def test_a_file_that_cannot_be_used_is_an_error_of_the_start_and_of_the_check(tmp_path, file):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    tables = {"log": {"file": file}, "audit": {"file": "audit.jsonl"}}
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}}, **tables)
    running = Daemon.__new__(Daemon)
    running.folder, running.config = tmp_path, tmp_path / "config.toml"
    os.makedirs(tmp_path / "run", mode=0o700)
    for command in (["serve", "--allow-root"], ["config", "check"]):
        done = running.do(*command, check=False)
        assert done.returncode == 78, done
        assert "log: file: " in done.stderr
    assert not (tmp_path / "elsewhere").exists()
