"""Pin every file that a command executes, in every spelling of the command."""

import json
import os
import shlex
import shutil
import venv
from pathlib import Path

import attrs
import pytest

from mcpbridged.bridge.commands import dispatch
from mcpbridged.bridge.config.command_files import find_command_files
from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.runtime.pinning import PinChecker, PinMismatch
from mcpbridged.transports.options import Launch

from ..support.bridge_process import EXAMPLE
from ..support.daemon_process import daemon


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a directory with scripts of many kinds, and with programs that only have a name."""
    work, programs = tmp_path / "work", tmp_path / "bin"
    for file in ("s.py", "s.js", "s.sh", "hook.mjs", "pkg/__init__.py", "pkg/__main__.py", "pkg/deep/more.py",
                 "app/__main__.py", "web/index.js", "lib.jar", "s.json", "part/__init__.py", "part/one.py"):  # fmt: skip
        (work / file).parent.mkdir(parents=True, exist_ok=True)
        (work / file).write_text("# first\n")
    (work / "data.db").write_bytes(b"anything")
    (work / "state").write_bytes(b"SQLite format 3\0and more")
    programs.mkdir()
    for name in (
        "env",
        "python3",
        "node",
        "sh",
        "bash",
        "uv",
        "npx",
        "uvx",
        "nice",
        "timeout",
        "java",
        "docker",
        "npm",
        "tool",
    ):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    (work / "link.py").symlink_to("s.py")
    monkeypatch.chdir(work)
    return work


def launch(place, *words, cwd=""):
    return Launch(words, {"PATH": str(place.parent / "bin")}, cwd or None)


PINNED = {
    "python3 -u s.py": ["s.py"],
    "python3 s.py": ["s.py"],
    "python3 -W ignore -X dev s.py --port 5": ["s.py"],
    "python3 ./link.py": ["link.py"],
    "python3 -m pkg": ["pkg/__init__.py", "pkg/__main__.py", "pkg/deep/more.py"],
    "python3 -m part.one --flag": ["part/__init__.py", "part/one.py"],
    "python3 -um s": ["s.py"],
    "python3 -ms": ["s.py"],
    "python3 app": ["app/__main__.py"],
    "env python3 s.py": ["s.py"],
    "env -i A=b python3 -m pkg": ["pkg/__main__.py"],
    "env -u X -S 'python3 -u s.py'": ["s.py"],
    "env '-Spython3 s.py'": ["s.py"],
    "env --split-string='python3 -m s'": ["s.py"],
    "nice -n 5 timeout 10 env python3 s.py": ["s.py"],
    "node --no-warnings s.js": ["s.js"],
    "node --import=./hook.mjs s.js": ["hook.mjs", "s.js"],
    "node -r ./hook.mjs s": ["hook.mjs", "s.js"],
    "node web": ["web/index.js"],
    "sh s.sh": ["s.sh"],
    "bash -eu s.sh": ["s.sh"],
    "sh -c 'exec python3 s.py'": ["s.py"],
    "uv run s.py": ["s.py"],
    "uv run --directory {place} python3 s.py": ["s.py"],
    "uv run --with x python3 -m pkg": ["pkg/__main__.py"],
    "java -jar lib.jar": ["lib.jar"],
    "java -cp /nothing:lib.jar Main": ["lib.jar"],
    "tool --config=s.json": ["s.json"],
}


@pytest.mark.parametrize("with_cwd", [True, False])
@pytest.mark.parametrize("command", PINNED)
def test_r18_every_word_that_is_a_file_or_a_module_is_pinned(place, command, with_cwd):
    words = shlex.split(command.format(place=place))
    config = ServerConfig("one", launch(place, *words, cwd=str(place) if with_cwd else ""))
    found = find_command_files(config.launch)
    assert found.files[0] == str(place.parent / "bin" / words[0])
    pinned = attrs.evolve(config, pin=PinChecker().subject(config).pin)
    PinChecker().check(pinned)
    for name in PINNED[command]:
        assert str(place / name) in found.files
        text = (place / name).read_text()
        (place / name).write_text("# another\n")
        with pytest.raises(PinMismatch):
            PinChecker().check(pinned)
        (place / name).write_text(text)
    PinChecker().check(pinned)
    if " -c " not in command:
        assert not found.unknown


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("bash -c 'node $X'", "bash -c"),
        ("sh -euc true", "sh -c"),
        ("python3 -c 'import x'", "python3 -c"),
        ("python3 -Ic 'import x'", "python3 -Ic"),
        ("python3 -m nothing.there", "nothing.there"),
        ("python3", "only the interpreter"),
        ("env python3 not-there.py", "only the interpreter"),
        ("node -e 1", "node -e"),
        ("npx -y some-server", "npx"),
        ("uvx some-server", "uvx"),
        ("uv run some-server", "uv"),
        ("npm exec some-server", "npm"),
        ("docker run -i image", "docker"),
    ],
)
def test_r18_a_command_that_may_execute_more_files_is_reported(place, command, expected):
    found = find_command_files(launch(place, *shlex.split(command)))
    assert any(expected in reason for reason in found.unknown), found


def test_r18_data_and_arguments_of_a_script_are_no_part_of_a_pin(place):
    found = find_command_files(
        launch(place, "python3", "s.py", "--db", "data.db", "--state=state", "web", "app")
    )
    assert found.files == (str(place.parent / "bin/python3"), str(place / "s.py"))
    assert found.data == (str(place / "data.db"), str(place / "state"))
    assert not found.unknown


def test_r18_a_link_that_leads_elsewhere_and_a_script_that_has_come_are_changes(place):
    for command, change in (
        (
            ("python3", "link.py"),
            lambda: ((place / "link.py").unlink(), (place / "link.py").symlink_to("s.js")),
        ),
        (("python3", "later.py"), lambda: (place / "later.py").write_text("")),
        (("env", "python3", "s.py"), lambda: (place.parent / "bin/python3").write_text("#!/bin/false\n")),
    ):
        (place / "s.js").write_text("# second\n")
        config = ServerConfig("one", launch(place, *command))
        pinned = attrs.evolve(config, pin=PinChecker().subject(config).pin)
        change()
        with pytest.raises(PinMismatch):
            PinChecker().check(pinned)


def test_r18_a_module_is_found_where_the_interpreter_looks(tmp_path):
    """Find a module in a virtual environment, in a directory of a .pth file, and in the standard library, without importing it."""
    venv.create(tmp_path / "venv", symlinks=True)
    program = str(tmp_path / "venv/bin/python")
    [site] = (tmp_path / "venv").glob("lib/python3*/site-packages")
    trap = f"open({str(tmp_path / 'imported')!r}, 'w')\n"
    for folder in (site / "installed", tmp_path / "added/by_path"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(trap)
        (folder / "__main__.py").write_text(trap)
    (site / "more.pth").write_text(f"# comment\nimport sys\n{tmp_path / 'added'}\n")
    for module, file in {
        "installed": site / "installed/__main__.py",
        "by_path": tmp_path / "added/by_path/__main__.py",
        "http.server": Path(os.__file__).with_name("http") / "server.py",
    }.items():
        found = find_command_files(Launch((program, "-Im", module), {"PATH": os.defpath}, str(tmp_path)))
        assert os.path.realpath(file) in map(os.path.realpath, found.files)
        assert not found.unknown
    assert not (tmp_path / "imported").exists()


def test_r18_approve_warns_loudly(tmp_path, capsys, place):
    path = tmp_path / "config.toml"
    path.write_text(
        "[servers.a]\ncommand = ['npx', 'x']\n[servers.b]\ncommand = ['python3', 's.py', 'data.db']\n"
    )
    here = {"PATH": str(place.parent / "bin"), "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    assert dispatch.run(["approve", "a", "b", "--config", str(path)], here) == 0
    stderr = capsys.readouterr().err
    assert "warning: a: the program that npx executes is not known" in stderr
    assert f"b: {place / 'data.db'} is treated as data" in stderr
    assert f"resolved in {place}" in stderr


def test_approve_prints_json(tmp_path, capsys, place):
    path = tmp_path / "config.toml"
    path.write_text("[servers.b]\ncommand = ['python3', 's.py', 'data.db']\n")
    here = {"PATH": str(place.parent / "bin"), "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    assert dispatch.run(["approve", "b", "--json", "--config", str(path)], here) == 0
    [shown] = json.loads(capsys.readouterr().out)
    assert (shown["server"], shown["cwd"]) == ("b", None)
    assert shown["command"][1:] == ["s.py", "data.db"]
    assert str(place / "s.py") in [one["file"] for one in shown["files"]]
    assert f'pin = "{shown["pin"]}"' in path.read_text()


def test_r18_a_changed_script_is_not_started(tmp_path):
    script = tmp_path / "server.py"
    shutil.copy(EXAMPLE[1], script)
    command = ["env", EXAMPLE[0], "-u", str(script)]
    with daemon(tmp_path, {"one": {"command": command}}) as running:
        running.do("approve", "one")
        running.reload()
        assert "echo" in running.do("tools", "one").stdout
        running.restart("one")
        script.write_text(script.read_text() + "\n# changed\n")
        refused = running.do("tools", "one", check=False)
        assert refused.returncode == 1
        assert "not approved" in refused.stderr
