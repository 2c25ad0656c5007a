"""The manual says what the program does: every option and every limit, and nothing else."""

import re
from pathlib import Path

import attrs

from mcpbridged.bridge.cli import options_parser
from mcpbridged.validators.limits import Limits

ROOT = Path(__file__).parent.parent.parent
MANUAL = (ROOT / "man" / "mcp-bridge.1").read_text()


def options():
    return {
        option
        for action in options_parser()._actions
        if action.help != "==SUPPRESS=="
        for option in action.option_strings
        if option.startswith("--")
    }


def test_the_manual_has_every_option_and_no_other():
    written = {option.replace("\\", "") for option in re.findall(r"\\-\\-[A-Za-z][A-Za-z\\-]*", MANUAL)}
    assert written == options()


def test_the_manual_has_every_limit_with_its_default():
    table = MANUAL.split(".nf\n")[1].split(".fi")[0]
    written = {name: float(value) for name, value in (line.split() for line in table.splitlines())}
    assert written == {field.name: float(field.default) for field in attrs.fields(Limits)}


def test_the_readme_names_no_option_that_is_not_there():
    text = (ROOT / "README.md").read_text()
    known = options() | {"--header", "--transport", "--repository"}  # other programs'
    assert set(re.findall(r"--[A-Za-z][A-Za-z-]*", text)) <= known


def test_every_path_in_the_documents_exists():
    for document in ("README.md", "ARCHITECTURE.md"):
        text = (ROOT / document).read_text()
        for path in re.findall(r"`((?:bridge|transports|validators|tests|benchmarks|man)/[\w/.]*)`", text):
            assert (ROOT / path).exists(), path
