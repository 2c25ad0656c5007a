"""The conversion of other clients' configurations."""

import contextlib
import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.config.child_environment import LOADERS
from mcpbridged.bridge.config.import_clients import BadImport, Import, Origin, import_servers
from mcpbridged.bridge.config.import_sources import CLIENTS
from mcpbridged.bridge.config.import_variables import Surroundings
from mcpbridged.bridge.config.schema import NAME
from mcpbridged.bridge.config.tables import parse

TIME = {"command": "/usr/bin/time-server", "args": ["--zone", "UTC"]}
HOME = "/home/me"


def imported(servers, into=None, **around):
    into = Import() if into is None else into
    surroundings = Surroundings(**{"home": HOME, **around})
    import_servers(json.dumps({"mcpServers": servers}), into, Origin(None, ".json", surroundings))
    return into


def tables(found):
    parse(found.toml.encode())
    return tomllib.loads(found.toml).get("servers", {})


def one(entry, **around):
    """The only server's table, and all notes and problems as one text."""
    found = imported({"x": entry}, **around)
    return tables(found).get("x"), "\n".join([*found.notes, *found.problems])


# ---- commands


def test_a_plain_server_is_converted_without_a_note():
    found = imported({"time": {**TIME, "type": "stdio", "cwd": "/srv", "env": {"LEVEL": "info", "PORT": 8}}})
    assert found.toml == (
        "[servers.time]\n"
        '# imported from claude-desktop: "time"\n'
        'command = ["/usr/bin/time-server", "--zone", "UTC"]\n'
        'cwd = "/srv"\n'
        "\n"
        "[servers.time.env]\n"
        'LEVEL = "info"\n'
        'PORT = "8"\n'
    )
    assert (found.notes, found.problems, found.files) == ([], [], [])
    assert found.added == ["time"]


def test_a_number_is_an_argument_and_null_is_an_empty_list():
    assert one({"command": "a", "args": ["--port", 8080, 0.5]})[0] == {
        "command": ["a", "--port", "8080", "0.5"]
    }
    assert one({"command": "a", "args": None, "env": None})[0] == {"command": ["a"]}


@pytest.mark.parametrize(
    ("entry", "project", "command"),
    [
        ({"command": ["npx", "-y", "a@1"]}, "", ["npx", "-y", "a@1"]),
        ({"command": ["a"], "args": ["b"]}, "", ["a", "b"]),
        ({"command": "${HOME}/bin/x"}, "", [f"{HOME}/bin/x"]),
        ({"command": "~/bin/x"}, "", [f"{HOME}/bin/x"]),
        ({"command": "./bin/../x"}, "/p", ["/p/x"]),
        ({"command": "../../../x"}, "/p", ["/x"]),
        ({"command": "a", "args": ["${workspaceFolder}/b"]}, "/p", ["a", "/p/b"]),
        ({"command": "/opt/My App/run"}, "", ["/opt/My App/run"]),
        ({"command": "a", "args": ["$HOME", "{env:HOME}", ""]}, "", ["a", "$HOME", "{env:HOME}", ""]),
    ],
)
def test_a_command_gets_the_values_of_its_variables(entry, project, command):
    assert one(entry, project=project) == ({"command": command}, "")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ([], "not an object"),
        ("npx", "not an object"),
        ({}, "no command"),
        ({"command": ""}, "no command"),
        ({"command": "  "}, "no command"),
        ({"command": []}, "no command"),
        ({"command": [1]}, "no command"),
        ({"command": "a | b"}, "shell syntax"),
        ({"command": "a;b"}, "shell syntax"),
        ({"command": "$(a)"}, "shell syntax"),
        ({"command": "${NONE}/a"}, "its command needs the variable NONE"),
        ({"command": "npx -y a"}, "args to its arguments"),
        ({"command": "./a"}, "relative path"),
        ({"command": "a", "args": "-x"}, "args are not an array"),
        ({"command": "a", "args": ["x", True]}, "argument 2 is neither"),
        ({"command": "a", "args": [None]}, "argument 1 is neither"),
        ({"command": "a", "args": ["\0"]}, "argument 1 holds a zero byte"),
        ({"command": "a", "args": ["\ud800"]}, "argument 1 is not Unicode"),
        ({"command": "a", "args": ["x" * 4097]}, "argument 1 has more than 4096 characters"),
        ({"command": "a", "args": ["${LONG}${LONG}"]}, "argument 1 has more than 4096 characters"),
        ({"command": "a", "args": ["x"] * 256}, "256 arguments, and the limit is 255"),
        ({"command": "a", "args": ["x"] * 300}, "300 arguments, and the limit is 255"),
        ({"command": "a", "args": ["${workspaceFolder}"]}, "name the project with --project"),
        ({"command": "a" * 4097}, "its command has more than 4096"),
        ({"command": "a", "env": ["A=b"]}, "env is not an object"),
        ({"command": "a", "type": "sse"}, "remote server"),
    ],
)
def test_an_unsupported_server_is_left_out_with_the_reason(entry, reason):
    found = imported({"X y": entry}, environment={"LONG": "x" * 3000})
    [problem] = found.problems
    assert found.toml == ""
    assert problem.startswith("'X y' is left out: ")
    assert reason in problem


def test_the_other_servers_are_converted_when_one_is_left_out():
    found = imported({"far": {"url": "e"}, "time": TIME})
    assert set(tables(found)) == {"time"}
    assert len(found.problems) == 1


def test_the_largest_command_is_accepted():
    assert len(one({"command": "a", "args": ["x" * 4096] * 255})[0]["command"]) == 256


# ---- arguments with secrets and variables


@pytest.mark.parametrize(
    ("args", "number", "secret", "line"),
    [
        (["--api-key", "hunter2"], 2, "hunter2", 'exec docker --api-key "$ARGUMENT_2"'),
        (["--token=hunter2"], 1, "--token=hunter2", 'exec docker "$ARGUMENT_1"'),
        (["-e", "GITHUB_TOKEN=hunter2"], 2, "GITHUB_TOKEN=hunter2", 'exec docker -e "$ARGUMENT_2"'),
        (["a b", "p://me:hunter2@h/d"], 2, "p://me:hunter2@h/d", "exec docker 'a b' \"$ARGUMENT_2\""),
    ],
)
def test_a_secret_among_the_arguments_is_kept_in_a_file(args, number, secret, line):
    found = imported({"x": {"command": "docker", "args": args}})
    assert tables(found)["x"] == {
        "command": ["/bin/sh", "-c", line],
        "secrets": {f"ARGUMENT_{number}": f"x.ARGUMENT_{number}"},
    }
    assert [(file.name, file.value) for file in found.files] == [(f"x.ARGUMENT_{number}", secret)]
    assert f"x: argument {number} looks like a secret" in "\n".join(found.notes)
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    "args", [["--token", "--verbose"], ["-e", "GITHUB_TOKEN"], ["--key="], ["--key=", "x"], ["--token", ""]]
)
def test_an_option_without_its_value_is_no_secret(args):
    assert one({"command": "docker", "args": args}) == ({"command": ["docker", *args]}, "")


def test_an_unknown_variable_among_the_arguments_is_inserted_by_a_shell():
    table, note = one({"command": "a", "args": ['--x="$`\\${NONE}', "${input:My Key}", "b c"]})
    assert table == {
        "command": ["/bin/sh", "-c", 'exec a "--x=\\"\\$\\`\\\\$${NONE}" "$${INPUT_My_Key}" \'b c\''],
        "pass_env": ["NONE"],
        "secrets": {"INPUT_My_Key": "x.INPUT_My_Key"},
    }
    assert "the input My Key is not known here; put it into x.INPUT_My_Key" in note
    assert "NONE must be set in the environment of the bridge" in note


def test_a_secret_variable_among_the_arguments_stays_a_reference():
    table, note = one({"command": "a", "args": ["${API_TOKEN}"]}, environment={"API_TOKEN": "hunter2"})
    assert table == {"command": ["/bin/sh", "-c", 'exec a "$${API_TOKEN}"'], "pass_env": ["API_TOKEN"]}
    assert "hunter2" not in note


@pytest.mark.parametrize("name", sorted(LOADERS)[:2])
def test_a_loader_variable_among_the_arguments_is_not_passed(name):
    table, note = one({"command": "a", "args": [f"${{{name}}}"]})
    assert "pass_env" not in table
    assert f"a variable is left out: {name}" in note


@pytest.mark.parametrize(
    ("command", "args", "number"),
    [
        ("npx", ["-y", "pkg"], 2),
        ("/usr/bin/npx", ["-y", "@1password/pkg"], 2),
        ("npx", ["-y", "-p", "pkg", "bin@1"], 3),
        ("uvx", ["--from", "git+https://example.com/a", "bin"], 2),
    ],
)
def test_a_package_without_a_version_is_noted(command, args, number):
    note = f"x: package version not pinned (argument {number}): each start may run another version."
    assert one({"command": command, "args": args}) == ({"command": [command, *args]}, note)


@pytest.mark.parametrize(
    ("command", "args"), [("npx", ["-y", "pkg@1.2.3"]), ("npx", []), ("python", ["-m", "pkg"])]
)
def test_a_pinned_package_or_none_has_no_note(command, args):
    assert one({"command": command, "args": args})[1] == ""


# ---- directories and files


@pytest.mark.parametrize(
    ("cwd", "project", "found"),
    [
        ("/srv/x", "", "/srv/x"),
        ("~", "", "~"),
        ("~/src", "", "~/src"),
        ("${HOME}/src", "", f"{HOME}/src"),
        ("src", "/p", "/p/src"),
        ("./", "/p/", "/p"),
        ("${workspaceFolder}", "/p", "/p"),
    ],
)
def test_a_working_directory_is_absolute(cwd, project, found):
    assert one({**TIME, "cwd": cwd}, project=project) == ({**one(TIME)[0], "cwd": found}, "")


@pytest.mark.parametrize(
    ("cwd", "reason"),
    [
        ("src", "it is relative to the project of the client; name it with --project"),
        ("~nobody/x", "it is relative to the project"),
        ("${workspaceFolder}", "it needs the value of ${workspaceFolder}"),
        ("/a\0", "it holds a zero byte"),
        (5, "it is not a text"),
    ],
)
def test_a_server_whose_directory_is_not_known_is_written_as_disabled(cwd, reason):
    table, note = one({**TIME, "cwd": cwd})
    assert table == {**one(TIME)[0], "enabled": False}
    assert note.startswith(f"x: its cwd is ignored: {reason}")
    assert note.endswith("; it is written with enabled = false.")


def test_an_environment_file_is_named():
    table, note = one({**TIME, "envFile": "${workspaceFolder}/.env"}, project="/p")
    assert table["env_file"] == "/p/.env"
    assert "'/p/.env' must have mode 0600" in note
    assert one({**TIME, "envFile": ""})[1] == ""


# ---- variables


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("GITHUB_TOKEN", "hunter2"),
        ("apiKey", "hunter2"),
        ("DB_PASSWORD", "hunter2"),
        ("DATABASE_URL", "postgres://me:hunter2@localhost/db"),
        ("HEADER", "Bearer hunter2"),
        ("PEM", "-----BEGIN PRIVATE hunter2"),
    ],
)
def test_a_secret_goes_into_a_file_and_is_shown_nowhere(key, value):
    found = imported({"x": {**TIME, "env": {key: value}}})
    assert tables(found)["x"] == {**one(TIME)[0], "secrets": {key: f"x.{key}"}}
    assert found.notes == [f"x: {key} goes into x.{key} beside the configuration, mode 0600."]
    assert [(file.name, file.value) for file in found.files] == [(f"x.{key}", value)]
    assert "hunter2" not in repr(found)


def test_an_empty_secret_is_an_empty_variable():
    assert one({**TIME, "env": {"API_KEY": ""}})[0]["env"] == {"API_KEY": ""}


@pytest.mark.parametrize(
    ("value", "what"),
    [("${input:key}", "the input key"), ("Bearer ${env:OTHER}", "the variable OTHER"), ("${x.y}", "${x.y}")],
)
def test_a_value_that_is_not_known_is_one_that_the_user_writes(value, what):
    found = imported({"x": {**TIME, "env": {"ANY": value}}})
    assert tables(found)["x"]["secrets"] == {"ANY": "x.ANY"}
    assert [file.value for file in found.files] == [None]
    assert what in found.notes[0]
    assert "is not known here; put it into x.ANY beside the configuration, mode 0600." in found.notes[0]


@pytest.mark.parametrize("key", ["PATH", "AUTHOR", "COMPASS", "PATTERN", "LANG", "URL"])
def test_what_only_resembles_a_secret_is_written(key):
    assert one({**TIME, "env": {key: "https://example.com/a:b@c"}}) == (
        {**one(TIME)[0], "env": {key: "https://example.com/a:b@c"}},
        "",
    )


@pytest.mark.parametrize("value", ["${env:API_TOKEN}", "${API_TOKEN}"])
def test_a_variable_that_names_itself_is_passed_even_if_it_is_a_secret(value):
    assert one({**TIME, "env": {"API_TOKEN": value}}, environment={"API_TOKEN": "hunter2"}) == (
        {**one(TIME)[0], "pass_env": ["API_TOKEN"]},
        "x: API_TOKEN must be set in the environment of the bridge, which passes it to the server.",
    )


def test_another_variable_is_replaced_by_its_present_value():
    here = {"URL": "http://h", "MY_TOKEN": "hunter2"}
    table, note = one(
        {**TIME, "env": {"A": "${URL}/x", "B": "${MY_TOKEN}", "C": "${D:-e}"}}, environment=here
    )
    assert table["env"] == {"A": "http://h/x", "C": "e"}
    assert table["secrets"] == {"B": "x.B"}
    assert "x: A gets the present value of URL." in note
    assert "hunter2" not in note


def test_a_value_that_becomes_too_long_is_left_out():
    table, note = one({**TIME, "env": {"A": "${L}${L}"}}, environment={"L": "x" * 3000})
    assert table == one(TIME)[0]
    assert "A is left out: it has more than 4096 characters" in note


@pytest.mark.parametrize("key", sorted(LOADERS))
@pytest.mark.parametrize("form", ["hunter2", "${{env:{}}}", "${{input:{}}}"])
def test_a_loader_variable_is_left_out_whatever_its_value_is(key, form):
    table, note = one({**TIME, "env": {key: form.format(key)}})
    assert table == one(TIME)[0]
    assert key in note
    assert "hunter2" not in note


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("", "hunter2", "not a name"),
        ("A-B", "hunter2", "not a name"),
        ("A\n[servers.y]", "hunter2", "not a name"),
        ("A", "hunter2\0", "zero byte"),
        ("A", "\ud800hunter2", "not Unicode"),
        ("A", "hunter2" * 1000, "more than 4096 characters"),
        ("A", None, "neither a text nor a number"),
        ("A", True, "neither a text nor a number"),
        ("A_TOKEN", ["hunter2"], "neither a text nor a number"),
    ],
)
def test_a_variable_that_no_server_can_get_is_left_out_with_the_reason(key, value, reason):
    table, note = one({**TIME, "env": {key: value, "OK": "1"}})
    assert table == {**one(TIME)[0], "env": {"OK": "1"}}
    assert reason in note
    assert "hunter2" not in note


# ---- restrictions


def test_lists_of_tools_become_allow_and_deny():
    table, note = one({**TIME, "includeTools": ["a(x)", "b*"], "excludeTools": ["c[1]?"]})
    assert table["tools"] == {"allow": ["a", "b[*]"], "deny": ["c[[]1][?]", "c[1]?"]}
    assert note == ""


@pytest.mark.parametrize(
    ("keys", "tools"),
    [
        ({"includeTools": []}, {"allow": []}),
        ({"tools": ["*"]}, None),
        ({"disabledTools": []}, None),
        ({"excludeTools": ""}, None),
    ],
)
def test_an_empty_list_of_allowed_tools_allows_none(keys, tools):
    assert one({**TIME, **keys})[0].get("tools") == tools


@pytest.mark.parametrize("keys", [{"includeTools": "a"}, {"excludeTools": [1]}, {"excludeTools": ["a\0"]}])
def test_a_list_of_tools_that_cannot_be_read_disables_the_server(keys):
    table, note = one({**TIME, **keys})
    assert table == {**one(TIME)[0], "enabled": False}
    assert "tools is not a list of names; it is written with enabled = false." in note


def test_a_restriction_without_a_counterpart_disables_the_server():
    found = imported({"x": {**TIME, "sandboxEnabled": True}})
    assert tables(found)["x"]["enabled"] is False
    assert found.problems == [
        "x: the restriction 'sandboxEnabled' is not supported; it is written with enabled = false."
    ]


def test_a_time_limit_becomes_a_limit_of_calls():
    assert one({**TIME, "timeout": 30000})[0]["limits"] == {"call_seconds": 30}
    assert one({**TIME, "timeout": 1500})[0]["limits"] == {"call_seconds": 1.5}
    assert "time limit of the connection is ignored" in one({**TIME, "connectionTimeout": 5})[1]


# ---- names and servers that are there already


@pytest.mark.parametrize(
    ("was", "name"),
    [
        ("My  Server!", "My-Server"),
        ("-x-", "x"),
        ("", "server"),
        ("???", "server"),
        ("Ünïcode", "n-code"),
        ("a.b/c", "a-b-c"),
        ("x" * 40, "x" * 32),
        ("a\n", "a"),
        ("aggregate", "aggregate-2"),
    ],
)
def test_an_invalid_name_becomes_a_valid_one(was, name):
    found = imported({was: TIME})
    [arrived] = tables(found)
    assert arrived in (name, name.lower())
    assert re.match(NAME, arrived)
    assert found.notes[0].startswith(f"{was!r} is renamed to {arrived}: ")


def test_the_note_about_an_invalid_name_has_the_form_of_a_name():
    [note] = imported({"-x-": TIME}).notes
    assert note == "'-x-' is renamed to x: a name is [A-Za-z0-9][A-Za-z0-9_-]{0,31}."


def test_a_valid_name_is_kept_when_another_would_become_the_same():
    entries = {
        name: {"command": f"/bin/{number}"} for number, name in enumerate(["git hub", "git-hub", "git.hub"])
    }
    assert list(tables(imported(entries))) == ["git-hub", "git-hub-2", "git-hub-3"]


def test_the_same_file_adds_nothing_the_second_time():
    servers = {"time": TIME, "My Server": {"command": "a"}, "far": {"url": "https://e.com/mcp"}}
    first = imported(servers)
    again = imported(servers, Import(tables=dict(first.tables), origins=dict(first.origins)))
    assert again.toml == ""
    assert again.problems == []
    assert [note.partition(" is already there as ")[0] for note in again.notes] == [
        "'time'",
        "'far'",
        "'My Server'",
    ]


def test_the_same_server_is_found_under_another_name():
    first = imported({"gh": {"command": "npx", "args": ["-y", "@x/github@1.0"]}})
    again = imported({"github": {"command": "npx", "args": ["@x/github@2.0"]}}, Import(tables=first.tables))
    assert again.notes[-1] == "'github' is already there as gh, and is kept as it is."


def test_a_renamed_and_changed_server_is_found_by_the_comment_about_its_origin():
    first = imported({"db": {"command": "npx", "args": ["db@1", "/a"]}})
    table = {"command": ["npx", "db@2", "/b"], "env": {"X": "1"}}
    into = Import(tables={"renamed": table}, origins=dict.fromkeys(first.origins, "renamed"))
    assert imported({"db": {"command": "npx", "args": ["db@1", "/a"]}}, into).added == []


def account(token):
    return {"command": "npx", "args": ["gh"], "env": {"GITHUB_TOKEN": token}}


def remote_account(token):
    return {"url": "https://e.com/mcp", "headers": {"Authorization": f"Bearer {token}"}}


@pytest.mark.parametrize("entry", [account, remote_account])
def test_two_accounts_of_one_server_stay_two_servers(entry):
    found = imported({"work": entry("one"), "home": entry("two"), "again": entry("one")})
    assert found.added == ["work", "home"]
    assert "'again' is already there as work, and is kept as it is." in found.notes
    present = {file.name: file.value for file in found.files}.get
    later = imported(
        {"other": entry("two"), "third": entry("3")}, Import(tables=found.tables, present=present)
    )
    assert later.added == ["third"]
    assert "'other' is already there as home, and is kept as it is." in later.notes


def test_the_servers_of_two_projects_with_one_name_are_both_added_and_found_again():
    text = json.dumps(
        {"projects": {f"/{n}": {"mcpServers": {"db": {"command": "npx", "args": ["db", n]}}} for n in "ab"}}
    )
    first, again = Import(), Import()
    import_servers(text, first, Origin(CLIENTS["claude-code"]))
    assert first.added == ["db", "db-2"]
    again.tables, again.origins = dict(first.tables), dict(first.origins)
    import_servers(text, again, Origin(CLIENTS["claude-code"]))
    assert (again.added, again.problems) == ([], [])


@pytest.mark.parametrize(
    ("entry", "other"),
    [
        ({"args": ["pkg", "/b"]}, "it has other arguments"),
        ({"env": {"MODE": "2"}}, "it has other variables"),
        ({"args": ["pkg", "/a", "--read-only"]}, "it lacks the argument --read-only"),
        ({"env": {"MODE": "1", "READ_ONLY": "1"}}, "it lacks the variable READ_ONLY"),
    ],
)
def test_a_server_with_the_same_name_that_differs_is_a_problem(entry, other):
    known = {"command": ["npx", "pkg", "/a"], "env": {"MODE": "1"}}
    given = {"command": "npx", "args": ["pkg", "/a"], "env": {"MODE": "1"}} | entry
    found = imported({"one": given}, Import(tables={"one": known}))
    assert found.problems == [f"'one' is already there as one, and is kept as it is; {other}."]


def test_no_secret_is_written_into_the_file_of_another():
    present = {"one.TOKEN": "other", "two.TOKEN": "same", "three.TOKEN": ""}.get
    entries = {
        name: {"command": name, "env": {"TOKEN": value}}
        for name, value in [("one", "mine"), ("two", "same"), ("three", "x"), ("four", "y")]
    }
    found = imported(entries, Import(present=present))
    assert [file.name for file in found.files] == ["one.TOKEN-2", "two.TOKEN", "three.TOKEN-2", "four.TOKEN"]
    headers = {"url": "https://e.com", "headers": {"X-Api-Key": "a", "X_Api_Key": "b"}}
    assert [file.name for file in imported({"h": headers}).files] == ["h.x-api-key", "h.x-api-key-2"]


def test_another_server_with_the_same_name_is_added_with_a_number():
    into = Import(tables={"time": {"command": ["/other"]}, "x" * 32: {"command": ["/other"]}})
    found = imported({"time": TIME, "x" * 32: TIME | {"args": []}}, into)
    assert found.added == ["time-2", "x" * 30 + "-2"]
    assert "'time' is renamed to time-2: the name is in use." in found.notes


def test_a_restriction_that_the_known_server_lacks_is_a_problem():
    into = Import(tables={"time": {"command": [TIME["command"], *TIME["args"]]}})
    found = imported({"time": {**TIME, "disabledTools": ["a"], "includeTools": [], "disabled": True}}, into)
    assert found.problems == [
        (
            "'time' is already there as time, and is kept as it is; "
            "it lacks tools.deny a, tools.allow (none), enabled = false."
        )
    ]


def test_a_server_of_this_bridge_is_left_out():
    found = imported(
        {
            "a": {"command": "/x/mcp-bridge", "args": ["connect", "git"]},
            "b": {"url": "http://127.0.0.1:8808/servers/git/mcp"},
        }
    )
    assert (found.toml, found.problems) == ("", [])
    assert found.notes == [f"{name!r} is left out: it is a server of this bridge." for name in "ab"]


def test_a_very_long_name_is_cut_in_a_note():
    [problem] = imported({"x" * 5000: {}}).problems
    assert len(problem) < 120


def test_a_server_that_the_configuration_refuses_is_left_out():
    url = {"url": "https://e.com/mcp", "oauth": {"clientId": "a", "scopes": ["b c"]}}
    found = imported({"x": url})
    assert found.toml == ""
    assert "each of scopes is a scope token" in found.problems[0]


def test_a_keyring_and_passed_variables():
    goose = {"type": "stdio", "cmd": "a", "env_keys": ["KEY", "LD_PRELOAD", "B"], "envs": {"B": "1"}}
    into = Import()
    text = json.dumps({"extensions": {"x": goose}})
    import_servers(text, into, Origin(CLIENTS["goose"], "", Surroundings({"KEY": "hunter2"})))
    assert tables(into)["x"] == {"command": ["a"], "env": {"B": "1"}, "secrets": {"KEY": "x.KEY"}}
    assert [(file.name, file.value) for file in into.files] == [("x.KEY", "hunter2")]
    assert "KEY (kept in the keyring of the client) goes into x.KEY" in into.notes[0]
    entry = {
        "command": "a",
        "env_vars": ["A", {"name": "B", "source": "local"}, {"name": 5}, 7, "LD_PRELOAD", "A"],
    }
    assert one(entry)[0] == {"command": ["a"], "pass_env": ["A", "B"]}


# ---- everything


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0$~"), max_size=40)
variables = st.dictionaries(st.from_regex(r"X[A-Z0-9_]{0,8}\Z"), texts, max_size=4)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), st.tuples(st.lists(texts), variables), min_size=1), st.booleans())
def test_arguments_and_variables_stay_unchanged(servers, ascii_only):
    entries = {
        name: {"command": f"/run/{number}", "args": args, "env": env}
        for number, (name, (args, env)) in enumerate(servers.items())
    }
    into = Import()
    import_servers(json.dumps({"servers": entries}, ensure_ascii=ascii_only), into, Origin())
    arrived = tables(into)
    assert all(re.match(NAME, name) for name in arrived)
    for table in arrived.values():
        plain = table["command"][0] != "/bin/sh"
        number = int(re.search(r"/run/(\d+)", table["command"][0 if plain else 2])[1])
        args, env = list(servers.values())[number]
        assert not plain or table["command"][1:] == args
        assert table.get("env", {}).items() <= env.items()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    [
        "command",
        "args",
        "env",
        "cwd",
        "type",
        "disabled",
        "url",
        "headers",
        "other",
        "tools",
        "timeout",
        "envFile",
        "includeTools",
        "excludeTools",
        "oauth",
        "requestOptions",
        "env_vars",
        "scopes",
        "connectionTimeout",
    ]
)
urls = st.sampled_from(["https://example.com/mcp", "http://e", "ws://e", "http://localhost/"])
kinds = st.sampled_from(["http", "sse", "ws", "stdio", ""])
remote = st.fixed_dictionaries(
    {"url": urls},
    optional={"headers": st.dictionaries(st.text(max_size=6), anything), "type": kinds, "oauth": anything},
)
local = st.fixed_dictionaries({"command": st.just("a")}).flatmap(
    lambda entry: st.dictionaries(keys, anything).map(lambda more: {**more, **entry})
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), anything | st.dictionaries(keys, anything) | remote | local, min_size=1))
def test_every_result_is_a_valid_configuration(servers):
    found = imported(servers)
    arrived = tables(found)
    told = [*found.notes, *found.problems]
    assert len(arrived) + sum("is left out: " in note or "is already there" in note for note in told) >= len(
        servers
    )
    assert all(note.endswith(".") and note.isprintable() for note in told)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=6), anything, max_size=4))
def test_every_object_has_servers_or_an_error(top):
    into = Import()
    with contextlib.suppress(BadImport):
        import_servers(json.dumps(top), into, Origin())
    tables(into)


# ---- files of real shapes


FIXTURES = Path(__file__).with_name("fixtures")


def read_fixture(name, client, **around):
    into = Import()
    path = FIXTURES / name
    surroundings = Surroundings(**{"home": HOME, **around})
    import_servers(path.read_text(), into, Origin(CLIENTS[client], path.suffix, surroundings))
    return tables(into), into


def test_a_project_of_claude_code_is_the_directory_of_its_servers():
    found, into = read_fixture("claude.json", "claude-code")
    assert found["db"]["cwd"] == "/home/user/src/shop"
    assert set(found) == {"context7", "playwright", "db", "sentry"}
    assert "'playwright' is already there as playwright, and is kept as it is." in into.notes


def test_opencode_has_files_and_switches_for_tools():
    found, _ = read_fixture("opencode.jsonc", "opencode", environment={"REGION": "eu"})
    assert found["everything"]["secrets"] == {"API_TOKEN": "~/.secrets/everything"}
    assert found["everything"]["tools"] == {"deny": ["echo"]}
    assert found["everything"]["pass_env"] == ["REGION"]
    assert found["tavily"]["enabled"] is False


@pytest.mark.parametrize("path", sorted(FIXTURES.iterdir()), ids=lambda path: path.name)
def test_each_file_is_read_without_the_name_of_its_client(path):
    into = Import()
    import_servers(path.read_text(), into, Origin(around=Surroundings(home=HOME, project="/p")))
    assert tables(into)
    assert not re.search(r"ghp_0|pa55word|ctx7sk|hf_0|xyzxyz|abcdefghijklmnop", into.toml + str(into.notes))
