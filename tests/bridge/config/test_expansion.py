"""`~` and `${NAME}` in the words of a command and in its directory."""

import os
import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.config import expansion, load
from mcpbridged.bridge.config.expansion import EXPANDED, BadExpansion, NotSet, expanded, literal
from mcpbridged.bridge.config.schema import Server
from mcpbridged.bridge.config.tables import BadConfig

from ...support.config_file import HERE, write_config_file


def words(*given, args=(), environment=HERE):
    return expanded(Server(command=given if len(given) > 1 else given[0], args=args), environment).words


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("~", "/home/me"),
        ("~/bin/x", "/home/me/bin/x"),
        ("${HOME}/bin/${HOME}", "/home/me/bin//home/me"),
        ("--dir=${HOME}", "--dir=/home/me"),
        ("${XDG_RUNTIME_DIR}/x", "/run/me/x"),
        ("${XDG_CONFIG_HOME}", "/home/me/.config"),
        ("${XDG_DATA_HOME}", "/home/me/.local/share"),
        ("${XDG_STATE_HOME}", "/home/me/.local/state"),
        ("${XDG_CACHE_HOME}", "/home/me/.cache"),
        # Literal.
        ("$HOME", "$HOME"),
        ("a$", "a$"),
        ("$$", "$$"),
        ("$(x)", "$(x)"),
        ("{HOME}", "{HOME}"),
        ("$${HOME}", "${HOME}"),
        ("$$${HOME}", "$${HOME}"),
        ("$${", "${"),
        ("$~", "~"),
        ("$~/x", "~/x"),
        ("$$~/${HOME}", "$~//home/me"),
        ("a$~", "a$~"),
        ("a~", "a~"),
        ("--dir=~/x", "--dir=~/x"),
        ("~root", "~root"),
        ("~root/x", "~root/x"),
        ("", ""),
    ],
)
def test_a_word_is_expanded(word, found):
    assert words("p", word) == ("p", found)
    assert words("p", args=(word,)) == ("p", found)


def test_the_program_and_the_directory_may_be_those_of_another_user():
    home = pwd.getpwuid(os.geteuid())
    assert words(f"~{home.pw_name}/x") == (f"{home.pw_dir}/x",)
    server = expanded(Server(command="p", cwd=f"~{home.pw_name}/x"), HERE)
    assert server.cwd == f"{home.pw_dir}/x"
    assert expanded(Server(command="p", cwd="~/${USER}"), {**HERE, "USER": "me"}).cwd == "/home/me/me"


def test_all_words_are_in_the_command():
    server = expanded(Server(command="~/p", args=("a", "~")), HERE)
    assert (server.command, server.args) == (("/home/me/p", "a", "/home/me"), ())
    server = expanded(Server(command=("p", "~"), args=("b",)), HERE)
    assert server.words == ("p", "/home/me", "b")


def test_a_value_is_not_expanded_again():
    assert words("p", "~/x", environment={"HOME": "/${USER}"}) == ("p", "/${USER}/x")
    assert words("${USER}", environment={"USER": "~"}) == ("~",)


@pytest.mark.parametrize("key", ["command", "args", "cwd"])
@pytest.mark.parametrize("word", ["${API_KEY}", "~/${PATH}", "${home}"])
def test_a_variable_that_may_be_secret_is_refused_with_the_list(key, word):
    server = {
        "command": Server(command=("p", word)),
        "args": Server(command="p", args=(word,)),
        "cwd": Server(command="p", cwd=word),
    }
    with pytest.raises(BadExpansion) as caught:
        expanded(server[key], {**HERE, "API_KEY": "x", "home": "y"})
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{key}: ${{")
    assert ", ".join(EXPANDED) in str(caught.value)


@pytest.mark.parametrize("word", ["${", "${}", "${HOME", "${HOME:-x}", "${env:HOME}", "${1}", "a${ HOME }"])
def test_another_form_of_reference_is_refused(word):
    with pytest.raises(BadExpansion, match=r"a literal \$\{ is written \$\$\{"):
        words("p", word)


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    def unknown(_):
        raise KeyError

    monkeypatch.setattr(expansion.pwd, "getpwuid", unknown)
    monkeypatch.setattr(expansion.os, "geteuid", lambda: 4294967294)
    for name in ("HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR"):
        with pytest.raises(NotSet, match=f"args: the variable {name} is not set"):
            words("p", args=(f"${{{name}}}",), environment={})
    with pytest.raises(NotSet, match="variable HOME is not set"):
        words("~/p", environment={"HOME": "relative"})


def test_the_account_has_what_the_environment_lacks():
    entry = pwd.getpwuid(os.geteuid())
    assert words("~/x", "${USER}", "${LOGNAME}", environment={}) == (
        f"{entry.pw_dir}/x",
        entry.pw_name,
        entry.pw_name,
    )


@given(st.lists(st.text(), min_size=1), st.lists(st.text()))
def test_every_word_is_expanded_or_refused(command, args):
    try:
        found = words(*command, args=tuple(args), environment=HERE)
    except (BadExpansion, NotSet, load.BadCredential):
        return
    assert len(found) == len(command) + len(args)


@given(st.text("$~{}/aH") | st.text())
def test_every_word_has_a_literal_spelling(word):
    assert words(literal(word), literal(word), environment={}) == (word, word)


def test_a_server_without_a_variable_fails_and_the_others_serve(tmp_path, monkeypatch):
    monkeypatch.setattr(expansion.os, "geteuid", lambda: 4294967294)
    text = '[servers.a]\ncommand = "/bin/true"\nargs = ["${XDG_RUNTIME_DIR}"]\n[servers.b]\ncommand = "/bin/true"\nargs = ["~"]\n'
    path = write_config_file(tmp_path, text)
    monkeypatch.undo()
    environment = {key: value for key, value in HERE.items() if key != "XDG_RUNTIME_DIR"}
    monkeypatch.setattr(expansion.Path, "is_dir", lambda _: False)
    a, b = load.plan(path, {**environment}).servers
    assert a.fault == "args: the variable XDG_RUNTIME_DIR is not set in the environment of the daemon"
    assert b.launch.argv == ("/bin/true", "/home/me")


def test_the_line_of_a_bad_reference_is_named(tmp_path):
    path = write_config_file(tmp_path, '[servers.a]\ncommand = "p"\nargs = ["${TOKEN}"]\n')
    with pytest.raises(BadConfig, match=r"config.toml:3:8: servers\.a: args: \$\{TOKEN\} is not expanded"):
        load.plan(path, HERE)
