"""Names are completed in real shells, with a real daemon."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ..support.bridge_process import EXAMPLE, PROGRAM, REPOSITORY
from ..support.daemon_process import Daemon, daemon, write_config

# Offers what a shell offers after the words "$@", one on each line.
BASH = """
source completions/mcp-bridge
COMP_WORDS=(mcp-bridge "$@") COMP_CWORD=$#
_mcp_bridge
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compadd() { shift; print -l -- "$@" }
compdef() { }
_files() { }
source completions/_mcp-bridge
words=(mcp-bridge "$@") CURRENT=$(( $# + 1 ))
_mcp_bridge
"""
FISH = """
source completions/mcp-bridge.fish
complete -C "mcp-bridge $argv"
"""
SHELLS = {
    "bash": ["bash", "-c", BASH, "bash"],
    "zsh": ["zsh", "-f", "-c", ZSH, "zsh"],
    "fish": ["fish", "--no-config", "-c", FISH],
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    with daemon(folder, {"example": {"command": EXAMPLE}, "other": {"command": EXAMPLE}}) as found:
        found.do("token", "new", "reader")
        yield found


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("words", "names", "others"),
    [
        (["logs", ""], {"example", "other"}, {"reader", "echo"}),
        (["call", "example", "ec"], {"echo"}, {"example"}),
        (["token", "revoke", ""], {"reader"}, {"example"}),
        (["connect", "example", "--as", ""], {"reader"}, {"example"}),
        (["help", "sess"], {"sessions"}, {"example"}),
    ],
)
def test_a_shell_offers_the_names_of_the_position(running, shell, words, names, others):
    command, *rest = words
    found = offered_after(running, shell, command, rest)
    assert names <= found
    assert not others & found


def offered_after(running, shell, command, rest):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    arguments = [command, "--config", str(running.config), *rest]
    line = [*SHELLS[shell], *arguments] if shell != "fish" else [*SHELLS[shell], " ".join(arguments)]
    done = subprocess.run(
        line,
        cwd=REPOSITORY,
        env={**running.variables, "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return {one.split("\t")[0] for one in done.stdout.splitlines()}


def test_without_a_daemon_the_servers_of_the_file_are_offered(tmp_path):
    write_config(tmp_path / "config.toml", {"filed": {"command": EXAMPLE}})
    stopped = Daemon.__new__(Daemon)
    stopped.folder, stopped.config = tmp_path, tmp_path / "config.toml"
    assert "filed" in offered_after(stopped, "bash", "logs", [""])
