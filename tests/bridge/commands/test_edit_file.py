"""`mcp-bridge edit`: an invalid text is never saved."""

import os
import pty
import shlex
import subprocess
import sys

import pytest

from mcpbridged.bridge.commands import dispatch

from ...support.bridge_process import PROGRAM

TEXT = '# mine\n[servers.a]\ncommand = "true"\n'


@pytest.fixture
def edit(tmp_path, capsys, monkeypatch):
    """Run `edit` with an editor that is a Python program; `path` is its file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    file = tmp_path / "config.toml"
    file.write_text(TEXT)
    file.chmod(0o600)

    def run(program, **variables):
        script = tmp_path / "an editor.py"
        script.write_text(f"import sys\npath = sys.argv[-1]\ntext = open(path).read()\n{program}\n")
        editor = shlex.join([sys.executable, str(script)])
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "EDITOR": editor, **variables}
        code = dispatch.run(["edit", "--config", str(file)], environment)
        return code, file.read_text() if file.exists() else None, capsys.readouterr().err

    return run


ADD = "open(path, 'w').write(text + '[servers.b]\\ncommand = \"true\"\\n')"
BREAK = "open(path, 'w').write(text.replace('command', 'comand'))"


def test_a_valid_text_is_saved_and_the_former_one_kept(edit, tmp_path):
    code, text, said = edit(ADD)
    assert (code, text) == (0, TEXT + '[servers.b]\ncommand = "true"\n')
    assert (tmp_path / "config.toml.bak").read_text() == TEXT
    assert "no daemon is running" in said
    assert [*(tmp_path / "tmp").iterdir()] == []


def test_an_invalid_text_is_kept_elsewhere(edit, tmp_path, monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        code, text, said = edit(BREAK)
    assert (code, text) == (78, TEXT)
    assert "servers.a: there is no key 'comand'" in said
    assert "config.toml:3:1: " in said
    [kept] = (tmp_path / "tmp").iterdir()
    assert f"the edited text is in {kept}" in said
    assert "comand" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_an_unchanged_text_or_a_failed_editor_changes_nothing(edit, tmp_path):
    assert edit("pass")[:2] == (0, TEXT)
    assert edit(f"{ADD}; sys.exit(3)")[:2] == (1, TEXT)
    code, text, said = edit("", EDITOR="/no/such/editor")
    assert (code, text) == (64, TEXT)
    assert "the editor '/no/such/editor' cannot be started: No such file" in said
    code, _, said = edit("", EDITOR="'")
    assert (code, "$EDITOR cannot be split" in said) == (64, True)
    code, _, said = edit("", EDITOR=" ", PATH=str(tmp_path))
    assert (code, "set $VISUAL or $EDITOR" in said) == (64, True)


def test_visual_is_preferred(edit):
    assert edit("pass", VISUAL="false")[0] == 1


def test_a_file_that_was_changed_in_the_meantime_stays(edit, tmp_path):
    file = tmp_path / "config.toml"
    code, text, said = edit(f"open({str(file)!r}, 'a').write('# other\\n'); {ADD}")
    assert (code, text) == (78, TEXT + "# other\n")
    assert "another program has changed the file" in said
    assert "the edited text is in" in said


def test_a_missing_file_begins_as_a_new_one(edit, tmp_path):
    (tmp_path / "config.toml").unlink()
    code, text, said = edit(ADD)
    assert (code, text.startswith("# Configuration of mcp-bridge"), "[servers.b]" in text) == (0, True, True)
    assert "wrote" in said
    (tmp_path / "config.toml").unlink()
    assert edit("pass")[:2] == (0, None)


@pytest.mark.parametrize(
    ("answers", "code", "saved"), [("e\n", 0, True), ("what\nd\n", 78, False), ("", 78, False)]
)
def test_a_user_at_a_terminal_may_edit_again(tmp_path, answers, code, saved):
    file = tmp_path / "config.toml"
    file.write_text(TEXT)
    file.chmod(0o600)
    script = tmp_path / "editor.py"
    # The second edit takes the fault back.
    script.write_text(
        "import sys\npath = sys.argv[-1]\ntext = open(path).read()\n"
        "text = text.replace('comand', 'command') + '# end\\n' if 'comand' in text else text.replace('command', 'comand')\n"
        "open(path, 'w').write(text)\n"
    )
    environment = {
        **os.environ,
        "EDITOR": shlex.join([sys.executable, str(script)]),
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
    }
    environment.pop("VISUAL", None)
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [PROGRAM, "edit", "--config", str(file)], stdin=theirs, stderr=theirs, env=environment, close_fds=True
    )
    os.close(theirs)
    # ^D is the end of the input of a terminal.
    os.write(ours, answers.encode() or b"\x04")
    output = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        output += part
        if not part:
            break
    os.close(ours)
    assert done.wait(30) == code, output
    assert file.read_text().endswith("# end\n") == saved
    assert b"Edit again (e), or discard the changes (d)?" in output
