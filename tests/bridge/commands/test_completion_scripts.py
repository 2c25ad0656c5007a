"""Completion scripts: generated from the grammar, equal to the installed files, and right at each position."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mcpbridged.bridge.commands import command_options, wrapper_options
from mcpbridged.bridge.commands.completion_scripts import SHELLS, completion_script

ROOT = Path(__file__).parents[3]
FILES = {"bash": "mcp-bridge", "zsh": "_mcp-bridge", "fish": "mcp-bridge.fish"}
ERAS = ["auto", "legacy", "modern", "dual"]


def script(shell):
    return completion_script(shell, command_options.commands_parser(), wrapper_options.options_parser())


@pytest.mark.parametrize("shell", SHELLS)
def test_the_installed_script_is_the_printed_script(shell):
    assert (ROOT / "completions" / FILES[shell]).read_text() == f"{script(shell)}\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["sta"], ["status"]),
        (["--era", ""], ERAS),
        (["--stdio", "x", "--logLevel", "e"], ["error"]),
        (
            ["config", ""],
            [
                "check",
                "show",
                "fmt",
                "import",
                "schema",
                "-h",
                "--help",
                "--config",
                "--json",
                "--effective",
                "--check",
                "--all",
                "--write",
                "--client",
                "--project",
            ],
        ),
        (["status", "--config", ""], []),  # a file, which the shell itself completes
        (["--port", ""], []),
        (["logs", "--f"], ["--follow"]),
    ],
)
def test_bash_offers_the_choices_of_the_position(words, offered):
    asked = f'{script("bash")}\nCOMP_WORDS=(mcp-bridge "$@") COMP_CWORD=$#; _mcp_bridge; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", asked, "bash", *words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mcp-bridge sta", ["status"]),
        ("mcp-bridge --era ", ERAS),
        ("mcp-bridge client-config cu", ["cursor"]),
    ],
)
def test_fish_offers_the_choices_of_the_position(tmp_path, line, offered):
    asked = f"{script('fish')}\ncomplete -C {line!r}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", asked],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(done.stdout.split()) == sorted(offered)
