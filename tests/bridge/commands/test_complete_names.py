"""The names that may follow the words of a command line."""

import pytest

from mcpbridged.bridge.commands import complete_names as module
from mcpbridged.bridge.commands.complete_names import names_after, print_names
from mcpbridged.bridge.commands.parser import COMMANDS


@pytest.fixture
def asked(monkeypatch):
    """Replace the look-up of names, and return the list of what was looked up."""
    found = []

    def look_up(kind, file, server, _environment):
        found.append((kind, file, server))
        return ["name"]

    monkeypatch.setattr(module, "_names", look_up)
    return found


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("logs", ("servers", "", "")),
        ("logs -f", ("servers", "", "")),
        ("--config X logs", ("servers", "X", "")),
        ("logs --config=X", ("servers", "X", "")),
        ("call", ("servers", "", "")),
        ("call git", ("tools", "", "git")),
        ("call --config X git", ("tools", "X", "git")),
        ("approve one", ("servers", "", "one")),
        ("token revoke", ("tokens", "", "revoke")),
        ("token new x --servers", ("servers", "", "")),
        ("token new x --servers one", ("servers", "", "")),
        ("connect", ("servers", "", "")),
        ("connect git --as", ("tokens", "", "")),
        ("client-config cursor", ("servers", "", "cursor")),
    ],
)
def test_the_kind_of_name_depends_on_the_words_before(asked, words, kind):
    assert names_after(words.split(), {}) == ["name"]
    assert asked == [kind]


@pytest.mark.parametrize(
    "words", ["", "nonsense", "status", "logs git", "logs --config", "call git echo", "config", "--stdio x"]
)
def test_no_name_follows_other_words(asked, words):
    assert names_after(words.split(), {}) == []
    assert asked == []


def test_help_takes_a_command():
    assert names_after(["help"], {}) == list(COMMANDS)


def test_a_failure_is_no_name(monkeypatch):
    def fail(*_):
        raise ConnectionError

    monkeypatch.setattr(module, "_names", fail)
    assert names_after(["logs"], {}) == []


def test_a_name_that_a_shell_would_expand_is_left_out(monkeypatch, capsys):
    evil = [
        "good",
        "$(touch x)",
        "`id`",
        "a b",
        "a;b",
        "*",
        "~",
        "-rf",
        "a\nb",
        "a'b",
        "",
        "x" * 200,
        "\x1b[2J",
        "ä",
    ]
    monkeypatch.setattr(module, "_names", lambda *_: evil)
    assert print_names(["logs"], {}) == 0
    assert capsys.readouterr().out == "good\n"
