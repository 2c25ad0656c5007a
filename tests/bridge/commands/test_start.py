"""The entry point of the program, which loads as little as it can."""

import json
import subprocess
import sys

import pytest

from mcpbridged.bridge.commands import start
from mcpbridged.bridge.commands.start import is_name

from ...support.bridge_process import PROGRAM
from ...support.pipe_peer import Peer, connect, peer

# Prints the names of all modules that are loaded where `connect` has made its first connection.
_MODULES = """
import sys
sys.argv = ["mcp-bridge", *sys.argv[1:]]
from mcpbridged.bridge.commands import start
from mcpbridged.bridge.commands.pump import program
def report(self):
    print(" ".join(sys.modules), file=sys.stderr)
    return 0
program.Program.run = report
start.main()
"""
# Modules of CPython in C, those of every start without `site`, and ours.
_ALLOWED = {
    "_socket",
    "select",
    "posix",
    "_signal",
    "_collections",
    "time",
    "errno",
    "marshal",
    "sys",
    "builtins",
}


@pytest.mark.parametrize(
    ("word", "is_one"), [("one", True), ("a b", True), ("-h", False), ("", False), ("ws://x", False)]
)
def test_a_word_is_a_name_unless_it_is_an_option_or_a_url(word, is_one):
    assert is_name(word) is is_one


def test_connect_loads_modules_in_c_only(tmp_path):
    before = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; print(*sys.modules)"], capture_output=True, check=True
    )
    path = json.dumps(sys.path)
    code = f"import sys; sys.path = {path}\n{_MODULES}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, "connect", "one"],
        env=Peer(tmp_path).variables,
        capture_output=True,
        check=True,
    )
    found = set(done.stderr.decode().split()) - set(before.stdout.decode().split())
    assert {name for name in found - _ALLOWED if not name.startswith("mcpbridged")} == set()


def test_connect_with_a_name_alone_needs_no_parser(tmp_path):
    with peer(tmp_path) as listening, connect(listening) as client:
        connection = listening.accept()
        assert "GET /servers/one/pipe HTTP/1.1" in connection.head.decode()
        client.close_input()
        assert connection.line() == b""
        connection.close()
        assert client.wait() == 0


@pytest.mark.parametrize("words", [("--wait", "5"), ("--config", "CONFIG")])
def test_connect_with_options_runs_the_same_program(tmp_path, words):
    file = tmp_path / "other.toml"
    file.write_text(f"[listen]\nunix = '{tmp_path}/run/mcp-bridge/mcp-bridge.sock'\n")
    file.chmod(0o600)
    given = [str(file) if word == "CONFIG" else word for word in words]
    with peer(tmp_path) as listening, connect(listening, *given) as client:
        connection = listening.accept()
        assert client.process.args[0] == PROGRAM
        with open(f"/proc/{client.process.pid}/cmdline", "rb") as file:
            line = file.read().split(b"\0")
        assert line[1:4] == [b"-I", b"-S", b"-c"]
        client.close_input()
        connection.line()
        connection.close()
        assert client.wait() == 0


def test_a_configuration_that_names_another_socket_is_read(tmp_path):
    folder = tmp_path / "config/mcp-bridge"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        f"[listen]\nunix = '{tmp_path}/other/run/mcp-bridge/mcp-bridge.sock'\n"
    )
    (folder / "config.toml").chmod(0o600)
    usual = Peer(tmp_path)
    with peer(tmp_path / "other") as listening, connect(usual) as client:
        connection = listening.accept()
        client.close_input()
        connection.line()
        connection.close()
        assert client.wait() == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--version"], 0, "mcp-bridge"),
        (["connect", "--help"], 0, "NAME|URL"),
        (["connect"], 64, "NAME|URL"),
        (["connect", ""], 69, ""),
        (["nonsense"], 64, "unknown command"),
        ([], 64, "`mcp-bridge init`, `mcp-bridge add NAME -- CMD ARG...` and `mcp-bridge serve`"),
    ],
)
def test_all_other_words_are_those_of_the_parser(tmp_path, words, code, text):
    done = subprocess.run(
        [PROGRAM, *words],
        env=Peer(tmp_path).variables,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert (done.returncode, text in done.stdout + done.stderr) == (code, True)


@pytest.mark.parametrize("system", ["darwin", "win32", "freebsd14"])
def test_another_system_than_linux_is_refused(monkeypatch, capsys, system):
    monkeypatch.setattr("sys.platform", system)
    with pytest.raises(SystemExit) as caught:
        start.main()
    assert caught.value.code == 69
    assert f"needs Linux, and this system is {system}; run it in WSL 2" in capsys.readouterr().err


def test_the_package_is_a_program_as_well():
    for words in ([sys.executable, "-m", "mcpbridged"], [PROGRAM.with_name("mcpbridged")]):
        done = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("mcp-bridge ")
