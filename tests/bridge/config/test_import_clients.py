"""The conversion of other clients' configurations."""

import json
import re
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.config.child_environment import LOADERS
from mcpbridged.bridge.config.expansion import expanded
from mcpbridged.bridge.config.import_clients import BadImport, Imported, import_servers
from mcpbridged.bridge.config.schema import NAME, Server
from mcpbridged.bridge.config.tables import parse

TIME = {"command": "/usr/bin/time-server", "args": ["--zone", "UTC"]}


def imported(servers, known=()):
    return import_servers(json.dumps({"mcpServers": servers}), known)


def tables(found):
    parse(found.toml.encode())
    return tomllib.loads(found.toml).get("servers", {})


def one(entry):
    """The only server's table, and all notes as one text."""
    found = imported({"x": entry})
    return tables(found)["x"], "\n".join(found.notes)


# ---- what is taken over


def test_a_plain_server_is_converted_without_a_note():
    found = imported({"time": {**TIME, "type": "stdio", "cwd": "/srv", "env": {"LEVEL": "info", "PORT": 8}}})
    assert found == Imported(
        "[servers.time]\n"
        'command = ["/usr/bin/time-server", "--zone", "UTC"]\n'
        'cwd = "/srv"\n'
        "\n"
        "[servers.time.env]\n"
        'LEVEL = "info"\n'
        'PORT = "8"\n',
        (),
    )


@pytest.mark.parametrize(
    "form",
    [
        {"mcpServers": {"time": TIME}},
        {"servers": {"time": TIME}, "inputs": [{"id": "token", "type": "promptString"}]},
        {"mcp": {"servers": {"time": TIME}}},
        {"editor.fontSize": 12, "mcp": {"inputs": [], "servers": {"time": TIME}}},
        {"mcpServers": {}, "servers": {"time": TIME}},
    ],
)
def test_each_client_has_its_own_form(form):
    assert tables(import_servers(json.dumps(form))) == {
        "time": {"command": ["/usr/bin/time-server", "--zone", "UTC"]}
    }


def test_comments_and_trailing_commas_are_allowed_and_strings_keep_theirs():
    text = r"""
    // the servers, "quoted"
    {
      "mcpServers": { /* one
                         of them */
        "a": {"command": "a", "args": ["//x", "/*", "*/", ",]", ", }", "\\", "\"// \",}", "https://b/c",],},
      }, // the end
    }"""
    assert tables(import_servers("\ufeff" + text)) == {
        "a": {"command": ["a", "//x", "/*", "*/", ",]", ", }", "\\", '"// ",}', "https://b/c"]}
    }


@pytest.mark.parametrize("keys", [{"disabled": True}, {"enabled": False}])
def test_a_disabled_server_stays_disabled(keys):
    assert one({**TIME, **keys})[0]["enabled"] is False


@pytest.mark.parametrize("keys", [{"disabled": False}, {"enabled": True}, {"disabled": "yes"}, {}])
def test_an_enabled_server_has_no_key_enabled(keys):
    assert one({**TIME, **keys}) == (one(TIME)[0], "")


def test_a_number_is_an_argument_and_null_is_an_empty_list():
    assert one({"command": "a", "args": ["--port", 8080, 0.5]})[0]["command"] == [
        "a",
        "--port",
        "8080",
        "0.5",
    ]
    assert one({"command": "a", "args": None, "env": None})[0] == {"command": ["a"]}


@pytest.mark.parametrize("cwd", ["/srv/x", "~", "~/src"])
def test_a_working_directory_is_kept_if_it_is_absolute(cwd):
    assert one({**TIME, "cwd": cwd}) == ({**one(TIME)[0], "cwd": cwd}, "")


@pytest.mark.parametrize("cwd", ["src", "./src", "~nobody/x", "${workspaceFolder}", "/${x}", "/a\0", 5])
def test_a_working_directory_that_is_not_absolute_is_left_out(cwd):
    assert one({**TIME, "cwd": cwd}) == (one(TIME)[0], "x: its cwd is ignored: it is not an absolute path.")


def test_unsupported_keys_are_listed():
    assert one({**TIME, "timeout": 5, "autoApprove": ["all"], "disabledTools": []}) == (
        one(TIME)[0],
        "x: ignored unsupported keys: 'autoApprove', 'disabledTools', 'timeout'.",
    )


# ---- what is refused


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"type": "sse", "command": "a"}, "remote server"),
        ({"type": ["stdio"], "command": "a"}, "remote server"),
        ([], "not an object"),
        ("npx", "not an object"),
        ({}, "no command"),
        ({"command": ""}, "no command"),
        ({"command": "  "}, "no command"),
        ({"command": ["npx"]}, "no command"),
        ({"command": "a | b"}, "shell syntax"),
        ({"command": "a;b"}, "shell syntax"),
        ({"command": "$(a)"}, "shell syntax"),
        ({"command": "${userHome}/a"}, "placeholder"),
        ({"command": "npx -y a"}, "args to its arguments"),
        ({"command": "./a"}, "relative path"),
        ({"command": "~/a"}, "relative path"),
        ({"command": "a", "args": "-x"}, "args are not an array"),
        ({"command": "a", "args": ["x", True]}, "argument 2 is neither"),
        ({"command": "a", "args": [None]}, "argument 1 is neither"),
        ({"command": "a", "args": ["\0"]}, "argument 1 holds a zero byte"),
        ({"command": "a", "args": ["\ud800"]}, "argument 1 is not Unicode"),
        ({"command": "a", "args": ["x" * 4097]}, "argument 1 has more than 4096 characters"),
        ({"command": "a", "args": ["x"] * 256}, "256 arguments, and the limit is 255"),
        ({"command": "a" * 4097}, "its command has more than 4096"),
        ({"command": "a", "env": ["A=b"]}, "env is not an object"),
    ],
)
def test_an_unsupported_server_is_left_out_with_the_reason(entry, reason):
    found = imported({"X y": entry})
    (note,) = found.notes
    assert found.toml == ""
    assert note.startswith("'X y' is left out: ")
    assert reason in note


def test_the_other_servers_are_converted_when_one_is_left_out():
    assert set(tables(imported({"far": {"url": "e"}, "time": TIME}))) == {"time"}


def test_a_program_whose_path_has_a_space_is_no_shell_syntax():
    assert one({"command": "/opt/My App/run"}) == ({"command": ["/opt/My App/run"]}, "")


def test_the_largest_command_is_accepted():
    assert len(one({"command": "a", "args": ["x" * 4096] * 255})[0]["command"]) == 256


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1, column 1"),
        ('{"mcpServers": {}\n  oops}', "line 2, column 3"),
        ('// a\n/* b\nc */ {"mcpServers" 1}', "line 3, column 20"),
        ('{"a": "b', "not valid JSON"),
        ('{"a": 1} /', "not valid JSON"),
        ("[]", "not an object"),
        ("null", "not an object"),
        ("{}", "no servers"),
        ('{"mcpServers": {}}', "no servers"),
        ('{"mcpServers": [{"command": "a"}]}', "no servers"),
        ('{"mcp": []}', "no servers"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "too many digits"),
    ],
)
def test_a_text_without_servers_is_refused_with_the_position(text, reason):
    with pytest.raises(BadImport, match=reason):
        import_servers(text)


@pytest.mark.parametrize("text", ['"' + '\\"' * 300_000, "/*" * 300_000, ", " * 300_000, '{"' * 300_000])
def test_a_long_unterminated_text_is_refused_at_once(text):
    with pytest.raises(BadImport):
        import_servers(text)


# ---- variables


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("GITHUB_TOKEN", "hunter2"),
        ("apiKey", "hunter2"),
        ("CLIENT_SECRET", "hunter2"),
        ("DB_PASSWORD", "hunter2"),
        ("MY_CREDENTIALS", "hunter2"),
        ("GITLAB_PAT", "hunter2"),
        ("SENTRY_DSN", "hunter2"),
        ("DATABASE_URL", "postgres://me:hunter2@localhost/db"),
        ("REDIS", "redis://:hunter2@localhost"),
        ("HEADER", "Bearer hunter2"),
        ("PEM", "-----BEGIN PRIVATE hunter2"),
        ("OPENAI", "sk-hunter2"),
        ("ANYTHING", "${input:hunter2}"),
        ("OTHER_TOKEN", "${env:hunter2}"),
    ],
)
def test_a_secret_goes_into_a_file_and_is_shown_nowhere(key, value):
    found = imported({"x": {**TIME, "env": {key: value}}})
    assert tables(found)["x"] == {**one(TIME)[0], "env_file": "x.env"}
    assert found.notes == (
        f"x: secrets are not written to the configuration; put {key} as KEY=VALUE lines into x.env beside it, mode 0600.",
    )
    assert "hunter2" not in repr(found)


def test_the_secrets_of_one_server_share_a_file_of_its_new_name():
    found = imported({"My Server": {**TIME, "env": {"A_TOKEN": "1", "B_TOKEN": "2"}}})
    assert tables(found)["My-Server"]["env_file"] == "My-Server.env"
    assert "put A_TOKEN, B_TOKEN as KEY=VALUE lines into My-Server.env" in found.notes[1]


@pytest.mark.parametrize("key", ["PATH", "AUTHOR", "COMPASS", "PATTERN", "LANG", "URL"])
def test_what_only_resembles_a_secret_is_written(key):
    assert one({**TIME, "env": {key: "https://example.com/a:b@c"}}) == (
        {**one(TIME)[0], "env": {key: "https://example.com/a:b@c"}},
        "",
    )


@pytest.mark.parametrize("value", ["${env:API_TOKEN}", "${API_TOKEN}"])
def test_a_variable_that_names_itself_is_passed_even_if_it_is_a_secret(value):
    assert one({**TIME, "env": {"API_TOKEN": value}}) == (
        {**one(TIME)[0], "pass_env": ["API_TOKEN"]},
        "x: API_TOKEN must be set in the environment of the bridge, which passes it to the server.",
    )


@pytest.mark.parametrize("value", ["${env:OTHER}", "a${env:URL}", "${workspaceFolder}/x", "${URL:-x}"])
def test_any_other_placeholder_is_left_out(value):
    assert one({**TIME, "env": {"URL": value}}) == (
        one(TIME)[0],
        "x: URL is left out: placeholders are not supported.",
    )


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


# ---- arguments


@pytest.mark.parametrize(
    ("args", "number"),
    [
        (["--api-key", "hunter2"], 2),
        (["--token=hunter2"], 1),
        (["run", "-e", "GITHUB_TOKEN=hunter2"], 3),
        (["postgres://me:hunter2@localhost/db"], 1),
        (["--header", "Authorization: Bearer hunter2"], 2),
    ],
)
def test_a_secret_among_the_arguments_is_noted_but_not_repeated(args, number):
    note = one({"command": "docker", "args": args})[1]
    assert note.startswith(f"x: argument {number} looks like a secret")
    assert "hunter2" not in note


@pytest.mark.parametrize(
    "args", [["--token", "--verbose"], ["-e", "GITHUB_TOKEN"], ["--key="], ["--key=", "x"]]
)
def test_an_option_without_its_value_is_no_secret(args):
    assert one({"command": "docker", "args": args})[1] == ""


def test_a_placeholder_among_the_arguments_is_noted():
    assert one({"command": "a", "args": ["--root", "${workspaceFolder}"]}) == (
        {"command": ["a", "--root", "$${workspaceFolder}"]},
        "x: argument 2 holds a placeholder, which is not supported: replace it by its value.",
    )


@pytest.mark.parametrize(
    ("command", "args", "number"),
    [
        ("npx", ["-y", "pkg"], 2),
        ("/usr/bin/npx", ["-y", "@1password/pkg"], 2),
        ("npx", ["pkg@latest", "x@1"], 1),
        ("npx", ["-y", "-p", "pkg", "bin@1"], 3),
        ("npx", ["--package=@1password/pkg", "bin"], 1),
        ("npx", ["--registry", "https://example.com", "pkg"], 3),
        ("bunx", ["pkg"], 1),
        ("uvx", ["pkg"], 1),
        ("uvx", ["--python", "3.12", "pkg"], 3),
        ("uvx", ["--from", "git+https://example.com/a", "bin"], 2),
    ],
)
def test_a_package_without_a_version_is_noted(command, args, number):
    note = f"x: package version not pinned (argument {number}): each start may run another version."
    assert one({"command": command, "args": args}) == ({"command": [command, *args]}, note)


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("npx", ["-y", "pkg@1.2.3"]),
        ("npx", ["-y", "@scope/pkg@1", "other"]),
        ("npx", ["--package=pkg@1", "bin"]),
        ("npx", ["./local"]),
        ("npx", ["--version"]),
        ("npx", []),
        ("uvx", ["pkg==1.2"]),
        ("uvx", ["pkg@1.2"]),
        ("uvx", ["--from", "pkg==1.2", "bin"]),
        ("uvx", ["--from", "git+https://example.com/a@v1", "bin"]),
        ("uvx", ["--from", f"git+https://example.com/a@{'ab' * 20}", "bin"]),
        ("python", ["-m", "pkg"]),
    ],
)
def test_a_pinned_package_or_none_has_no_note(command, args):
    assert one({"command": command, "args": args})[1] == ""


# ---- names


@pytest.mark.parametrize(
    ("was", "name"),
    [
        ("Git.Hub", "Git-Hub"),
        ("My  Server!", "My-Server"),
        ("-x-", "x"),
        ("_", "server"),
        ("", "server"),
        ("Ünïcode", "n-code"),
        ("_my_server_", "my_server"),
        ("a.b/c", "a-b-c"),
        ("x" * 40, "x" * 32),
        ("a\n", "a"),
    ],
)
def test_an_invalid_name_becomes_a_valid_one(was, name):
    found = imported({was: TIME})
    assert set(tables(found)) == {name}
    assert found.notes == (f"{was!r} is renamed to {name}: a name is [A-Za-z0-9][A-Za-z0-9_-]{{0,31}}.",)


def test_a_valid_name_is_kept_when_another_would_become_the_same():
    found = imported(
        {
            "git hub": TIME,
            "git-hub": TIME,
            "GIT-HUB": TIME,
            "git-hub__x": TIME,
            "git-hub_": TIME,
            "a-": TIME,
            "a_b": TIME,
        }
    )
    assert list(tables(found)) == ["git-hub-4", "git-hub", "GIT-HUB-2", "git-hub-x", "git-hub-3", "a-", "a_b"]
    assert [note.partition(":")[0] for note in found.notes] == [
        "'git hub' is renamed to git-hub-4",
        "'GIT-HUB' is renamed to GIT-HUB-2",
        "'git-hub__x' is renamed to git-hub-x",
        "'git-hub_' is renamed to git-hub-3",
    ]


def test_a_name_in_use_gets_a_number():
    found = imported({"time": TIME, "x" * 32: TIME}, known=["time", "time-2", "x" * 32])
    assert set(tables(found)) == {"time-3", "x" * 30 + "-2"}
    assert found.notes[0] == "'time' is renamed to time-3: the name is in use."


def test_a_very_long_name_is_cut_in_a_note():
    (note,) = imported({"x" * 5000: {}}).notes
    assert len(note) < 120


# ---- everything


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
variables = st.dictionaries(st.from_regex(r"X[A-Z0-9_]{0,8}\Z"), texts, max_size=4)


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.tuples(st.lists(texts), variables), min_size=1), st.booleans())
def test_arguments_and_variables_stay_unchanged(servers, ascii_only):
    entries = {name: {"command": "run", "args": args, "env": env} for name, (args, env) in servers.items()}
    found = import_servers(json.dumps({"servers": entries}, ensure_ascii=ascii_only))
    arrived = tables(found)
    assert all(re.match(NAME, name) for name in arrived)
    commands = [expanded(Server(command=table["command"]), {}).words for table in arrived.values()]
    assert commands == [("run", *args) for args, _ in servers.values()]
    for table, (_, env) in zip(arrived.values(), servers.values(), strict=True):
        written = table.get("env", {})
        assert written.items() <= env.items()
        assert env.keys() == written.keys() or "env_file" in table or found.notes


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["command", "args", "env", "cwd", "type", "disabled", "url", "headers", "other"])
urls = st.sampled_from(["https://example.com/mcp", "http://e", "ws://e", "http://localhost/"])
kinds = st.sampled_from(["http", "sse", "ws", "stdio", ""])
remote = st.fixed_dictionaries(
    {"url": urls}, optional={"headers": st.dictionaries(st.text(max_size=6), anything), "type": kinds}
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), anything | st.dictionaries(keys, anything) | remote, min_size=1))
def test_every_result_is_a_valid_configuration(servers):
    found = imported(servers)
    assert len(tables(found)) + sum("is left out" in note for note in found.notes) >= len(servers)
    assert all(note.endswith(".") and note.isprintable() for note in found.notes)


@settings(deadline=None)
@given(anything)
def test_json_without_comments_stays_unchanged(value):
    text = json.dumps({"a": value, "servers": {"time": TIME}}, ensure_ascii=False)
    assert import_servers(text) == imported({"time": TIME})
