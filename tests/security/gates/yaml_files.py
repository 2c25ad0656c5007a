"""YAML with duplicate keys, values of surprising types, or a form that reads badly."""

import re
from pathlib import Path
from typing import Final

from ..plants import new_file
from ..result import Result, checked
from ..tools import FIXTURES, files, lines, version

CLASS: Final = "configuration files"
TOOL: Final = "yamllint"
SPEED: Final = "fast"

# Test rules of promtool have long lines, and no file has the mark of a document. `on` is a key of workflows. Lists may
# stand under their key at its indentation.
_RULES: Final = (
    "{extends: default, rules: {line-length: disable, document-start: disable, comments: {min-spaces-from-content: 1},"
    " truthy: {check-keys: false}, indentation: {indent-sequences: whatever}, octal-values: {forbid-implicit-octal: true}}}"
)


def run(root: Path) -> Result:
    """Check all YAML files."""
    paths = files(root, "*.yml", "*.yaml", FIXTURES)
    printed = lines(["yamllint", "--strict", "--format=parsable", "-d", _RULES, *paths], root, found=(1, 2))
    return checked((re.sub(r"^\./", "", line) for line in printed), version("yamllint"))


PLANTS: Final = (
    new_file("a key that stands twice", "docs/planted_twice.yml", "a: 1\na: 2\n", "planted_twice.yml", "key-duplicates"),
    new_file("a word that is read as a truth value", "docs/planted_yes.yml", "a: yes\n", "planted_yes.yml", "truthy"),
    new_file("a number that is read as octal", "docs/planted_octal.yml", "a: 0777\n", "planted_octal.yml", "octal-values"),
    new_file("YAML that is none", "docs/planted_bad.yml", "a: [1\n", "planted_bad.yml", "syntax error"),
)  # fmt: skip
