"""The manuals say what the program does: every option, command, key and limit, and nothing else."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args, get_type_hints

import attrs
import msgspec
import pytest

from mcpbridged.bridge import config, door
from mcpbridged.bridge.cli import COMMANDS, options_parser
from mcpbridged.bridge.status import ServerStatus, Status
from mcpbridged.validators.limits import Limits

ROOT = Path(__file__).parent.parent.parent
MANUAL = (ROOT / "man" / "mcp-bridge.1").read_text()
FORMAT = (ROOT / "man" / "mcp-bridge.toml.5").read_text()
SECTIONS = {
    "Top level": config.File,
    "[listen]": config.Listen,
    "[log]": config.Log,
    "[servers.NAME]": config.Server,
    "[tokens.NAME]": config.Token,
    "[aggregate]": config.Aggregate,
}


def commands():
    [action] = [action for action in door.parser()._actions if isinstance(action.choices, dict)]
    return action.choices


def options_of(parser: argparse.ArgumentParser):
    return {
        option
        for action in parser._actions
        if action.help != "==SUPPRESS=="
        for option in action.option_strings
        if option.startswith("--")
    }


def options():
    return options_of(options_parser()).union(*map(options_of, commands().values()))


def plain(text):
    return text.replace("\\-", "-").replace("\\(dq", '"').replace("\\(aq", "'").replace("\\e", "\\")


def test_the_manual_has_every_option_and_no_other():
    written = set(re.findall(r"(?<![\w-])--[A-Za-z][A-Za-z-]*", plain(MANUAL)))
    assert written == options()


def test_the_manual_has_every_command():
    section = plain(MANUAL).split(".SH COMMANDS\n")[1].split(".SH ")[0]
    heads = re.findall(r"^\.TP\n\.B[RI]? \"?([a-z-]+)", section, re.MULTILINE)
    assert sorted(heads) == sorted(COMMANDS)
    assert set(commands()) == set(COMMANDS)


def test_the_manual_has_every_limit_with_its_default():
    table = MANUAL.split(".nf\n")[1].split(".fi")[0]
    written = {name: float(value) for name, value in (line.split() for line in table.splitlines())}
    assert written == {field.name: float(field.default) for field in attrs.fields(Limits)}


def test_the_manual_has_every_member_of_the_status():
    section = MANUAL.split(".SH STATUS\n")[1].split(".SH ")[0]
    written = set(re.findall(r"^\.I ([a-z_]+)", section, re.MULTILINE))
    assert written == {*Status.__struct_fields__, *ServerStatus.__struct_fields__}


def default_of(field):
    if field.default is attrs.NOTHING:
        return "required"
    if isinstance(field.default, attrs.Factory):
        return "default empty"
    if field.default is None:
        return "default none"
    return "default " + msgspec.json.encode(field.default).decode()


@pytest.mark.parametrize("section", SECTIONS)
def test_the_manual_of_the_configuration_has_every_key_with_its_default_and_meaning(section):
    cls = SECTIONS[section]
    text = plain(FORMAT).split(f".SS {section}\n")[1].split(".SS ")[0].split(".SH ")[0]
    entries = re.findall(r'^\.TP\n\.BR (\w+) " \((.*); ([^;]*)\)"\n(.*)$', text, re.MULTILINE)
    hints = get_type_hints(cls, include_extras=True)
    for name, _, default, meaning in entries:
        [described] = [meta.description for meta in get_args(hints[name])[1:] if meta.description]
        assert meaning == described
        assert default == default_of(attrs.fields_dict(cls)[name])
    assert [name for name, *_ in entries] == [field.name for field in attrs.fields(cls)]


def test_the_example_of_the_manual_is_a_good_configuration():
    example = plain(FORMAT.split(".nf\n")[1].split(".fi")[0])
    assert set(config.read_file(example.encode()).servers) == {"git", "search"}


@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man")
@pytest.mark.parametrize("page", ["mcp-bridge.1", "mcp-bridge.toml.5"])
def test_a_manual_is_set_without_a_warning(page):
    done = subprocess.run(
        ["man", "--warnings", "-l", str(ROOT / "man" / page)],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    if shutil.which("mandoc"):
        subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(ROOT / "man" / page)], check=True)


def test_the_readme_names_no_option_that_is_not_there():
    text = (ROOT / "README.md").read_text()
    known = options() | {"--header", "--transport", "--repository", "--user", "--now"}  # other programs'
    assert set(re.findall(r"--[A-Za-z][A-Za-z-]*", text)) <= known


def test_the_configuration_in_the_readme_is_a_good_one():
    text = (
        (ROOT / "README.md")
        .read_text()
        .split("    # ~/.config/mcp-bridge/config.toml\n")[1]
        .split("\nThen ")[0]
    )
    lines = [line.removeprefix("    ") for line in text.splitlines()]
    assert set(config.read_file("\n".join(lines).encode()).servers) == {"git", "search"}


def test_every_path_in_the_documents_exists():
    for document in ("README.md", "ARCHITECTURE.md"):
        text = (ROOT / document).read_text()
        for path in re.findall(
            r"(?:`|\()((?:bridge|transports|validators|tests|benchmarks|man|docs|systemd)/[\w/.-]*)[`)]", text
        ):
            assert (ROOT / path).exists(), path
