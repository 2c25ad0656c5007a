"""Parts of gates that decide: the exceptions of unused code, recipes of a Makefile, and keys that stand twice."""

from .gates.project_metadata import _unreadable
from .gates.shell_scripts import _recipes
from .gates.unused_code import ALLOWED, _findings
from .plants import git

EVERYTHING = [
    f"{path}:1: unused {kind} '{name}' (60% confidence)"
    for path, (names, _) in ALLOWED.items()
    for entry in names.split()
    for kind, name in [(entry.partition(":")[0], "anything") if entry.endswith(":*") else ("function", entry)]
]


def test_allowed_names_are_not_reported():
    assert list(_findings(EVERYTHING)) == []


def test_a_name_is_allowed_in_its_file_only():
    line = "bridge/log.py:7: unused function 'enable' (60% confidence)"
    assert list(_findings([*EVERYTHING, line])) == [line]


def test_a_kind_is_allowed_for_this_kind_only():
    line = "bridge/daemon/status.py:7: unused method 'x' (60% confidence)"
    assert list(_findings([*EVERYTHING, line])) == [line]


def test_an_entry_that_is_not_needed_is_reported():
    (found,) = _findings([line for line in EVERYTHING if "'enable'" not in line])
    assert found.startswith("bridge/commands/change_servers.py: enable is used or gone")


def test_other_output_is_reported():
    assert list(_findings([*EVERYTHING, "x.py:1: unreachable code"])) == ["x.py:1: unreachable code"]


def test_a_recipe_is_what_the_shell_gets():
    makefile = "A := 1\n\na: b\n\t@echo $(A) $$HOME \\\n\t  $(or $(A),$(shell ls)) $@\n\t-rm x\nb:\n"
    assert list(_recipes(makefile)) == [
        (4, "echo make_word $HOME \\\n  make_word make_word"),
        (6, "rm x"),
    ]


def test_files_that_cannot_be_read_are_reported(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a.json").write_text('{"a": {"b": 1, "b": 2}}')
    (tmp_path / "b.toml").write_text("a = 1\na = 2\n")
    (tmp_path / "c.json").write_text('{"a": [1]}')
    (tmp_path / "tests/x/fixtures").mkdir(parents=True)
    (tmp_path / "tests/x/fixtures/d.json").write_text("// a comment\n{}")
    first, second = _unreadable(tmp_path)
    assert first == "a.json: the key 'b' stands twice"
    assert second.startswith("b.toml: Cannot overwrite a value")
