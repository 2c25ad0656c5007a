"""Changes of the configuration by commands: checked before they are written, one after the other, and applied."""

import os
import subprocess

from ...support.bridge_process import EXAMPLE, PROGRAM
from ...support.daemon_process import Daemon, write_config


def do(running, *words):
    return subprocess.run(
        [PROGRAM, *words], env=running.variables, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_running_daemon_applies_each_change(tmp_path):
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE}})
    with Daemon(tmp_path) as running:
        config = ("--config", str(running.config))
        done = do(running, "add", *config, "two", "--", *EXAMPLE)
        assert (done.returncode, "added: two" in done.stdout) == (0, True), done
        assert "the running daemon reloads its configuration" in done.stderr
        assert "two" in do(running, "status", *config).stdout
        done = do(running, "disable", *config, "two")
        assert (done.returncode, "removed: two" in done.stdout) == (0, True), done
        done = do(running, "enable", *config, "two")
        assert (done.returncode, "added: two" in done.stdout) == (0, True), done
        done = do(running, "remove", *config, "two")
        assert (done.returncode, "removed: two" in done.stdout) == (0, True), done
        other = tmp_path / "other.toml"
        done = do(running, "add", "--config", str(other), "x", "--", "true")
        assert done.returncode == 0, done
        assert (
            "no daemon is running" in done.stderr
            or f"the running daemon uses {running.config}" in done.stderr
        )


def test_changes_at_the_same_time_are_all_kept(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "none")}
    config = ("--config", str(tmp_path / "config.toml"))
    subprocess.run([PROGRAM, "init", *config], env=environment, check=True, capture_output=True)
    names = [f"server-{number}" for number in range(6)]
    running = [
        subprocess.Popen(
            [PROGRAM, "add", *config, name, "--", "true"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in names
    ]
    assert [process.wait(60) for process in running] == [0] * len(names)
    text = (tmp_path / "config.toml").read_text()
    assert [f"[servers.{name}]" in text for name in names] == [True] * len(names)
