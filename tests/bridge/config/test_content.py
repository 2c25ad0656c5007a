"""The tables of the checks of content."""

import pytest

from mcpbridged.bridge.config import load
from mcpbridged.bridge.config.content import check_content, content_modes, is_installed
from mcpbridged.bridge.config.schema import Content, File, Server
from mcpbridged.bridge.config.tables import BadConfig, Reading
from mcpbridged.bridge.core.content_policy import ContentModes
from mcpbridged.bridge.core.text_checks import TextModes
from mcpbridged.validators.script_addresses import DEFAULT_SCHEMES


@pytest.mark.parametrize(
    ("server", "common", "modes"),
    [
        (Content(), Content(), ContentModes("off", "off")),
        (Content(), Content("warn", "refuse"), ContentModes("warn", "refuse")),
        (Content("refuse"), Content("warn", "warn"), ContentModes("refuse", "warn")),
        (Content("off", "off"), Content("refuse", "refuse"), ContentModes("off", "off")),
    ],
)
def test_the_table_of_a_server_has_priority_key_by_key(server, common, modes):
    assert content_modes(server, common) == modes


@pytest.mark.parametrize(
    ("server", "common", "modes"),
    [
        ({}, {}, TextModes("off", "off", "off", DEFAULT_SCHEMES)),
        (
            {},
            {"mime": "warn", "schemes": "refuse", "characters": "rewrite", "refused_schemes": ("file",)},
            TextModes("warn", "refuse", "rewrite", ("file",)),
        ),
        (
            {"mime": "off", "characters": "warn", "refused_schemes": ("data",)},
            {"mime": "warn", "schemes": "refuse", "characters": "rewrite", "refused_schemes": ("file",)},
            TextModes("off", "refuse", "warn", ("data",)),
        ),
    ],
)
def test_the_checks_of_texts_of_a_server_have_priority_key_by_key(server, common, modes):
    assert content_modes(Content(**server), Content(**common)).texts == modes


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("mime", '"rewrite"', "rewrite"),
        ("characters", '"remove"', "remove"),
        (
            "refused_schemes",
            '["JavaScript:"]',
            "a scheme in lower case such as javascript, or data:TYPE/SUBTYPE",
        ),
        ("refused_schemes", '"javascript"', "refused_schemes"),
    ],
)
def test_other_values_of_the_checks_of_texts_are_refused(tmp_path, key, value, reason):
    path = tmp_path / "config.toml"
    path.write_text(f'[content]\n{key} = {value}\n[servers.one]\ncommand = "/bin/true"\n')
    path.chmod(0o600)
    with pytest.raises(BadConfig) as failed:
        load.plan(path, {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert f"content: {key}" in str(failed.value) or f"content.{key}" in str(failed.value)
    assert reason in str(failed.value)


def faults(file, installed):
    reading = Reading(file, "")
    check_content(reading, lambda: installed)
    return [(fault.text, fault.path) for fault in reading.faults]


def test_without_the_extra_each_key_that_needs_it_is_an_error():
    servers = {
        "one": Server(command="true", content=Content("warn")),
        "off": Server(command="true", content=Content("off")),
        "disabled": Server(command="true", enabled=False, content=Content("warn")),
    }
    file = File(content=Content(output="refuse"), servers=servers)
    missing = "the extra is not installed; install it with `pip install 'mcpbridged[schemas]'`"
    assert faults(file, installed=False) == [
        (f"content: output: {missing}", ("content", "output")),
        (f"servers.one.content: arguments: {missing}", ("servers", "one", "content", "arguments")),
    ]
    assert faults(file, installed=True) == []
    assert faults(File(), installed=False) == []
    assert is_installed()


def test_the_settings_have_the_checks_of_local_and_remote_servers_and_not_of_the_aggregate(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(
        """
        [content]
        arguments = "warn"
        [servers.one]
        command = "/bin/true"
        content.output = "refuse"
        [servers.far]
        url = "http://127.0.0.1:9/"
        content.arguments = "refuse"
        [aggregate]
        servers = ["one", "far"]
        """
    )
    path.chmod(0o600)
    found = {one.name: one.content for one in load.plan(path, {"XDG_RUNTIME_DIR": str(tmp_path)}).servers}
    assert found == {
        "one": ContentModes("warn", "refuse"),
        "far": ContentModes("refuse", "off"),
        "aggregate": ContentModes(),
    }


@pytest.mark.parametrize("table", ["content", "servers.one.content"])
@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('arguments = "block"', "arguments: .*off.*block"),
        ("output = true", "output: .*off.*true"),
        ('argument = "off"', "argument.*arguments"),
    ],
)
def test_anything_else_is_refused_with_the_place(tmp_path, table, line, text):
    path = tmp_path / "config.toml"
    path.write_text(f'servers.one.command = "/bin/true"\n[{table}]\n{line}\n')
    path.chmod(0o600)
    with pytest.raises(BadConfig, match=f"config.toml:3:.*{table}.*{text}"):
        load.plan(path, {})
