"""Metadata of the project that the build or an index would refuse, and TOML and JSON files that cannot be read."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..plants import new_file, replaced
from ..result import Result, checked
from ..tools import FIXTURES, files, lines, version

CLASS: Final = "configuration files"
TOOL: Final = "validate-pyproject"
SPEED: Final = "fast"


def run(root: Path) -> Result:
    """Check pyproject.toml against the specifications of Python packaging, and read all other files."""
    return checked((*_project(root), *_unreadable(root)), version("validate-pyproject"))


def _project(root: Path) -> Iterator[str]:
    printed = lines(["validate-pyproject", "pyproject.toml"], root)
    if not any(line.startswith("Valid file") for line in printed):
        yield f"pyproject.toml: {' '.join(printed)}"


def _unreadable(root: Path) -> Iterator[str]:
    for path in files(root, "*.toml", "*.json", FIXTURES):
        try:
            text = (root / path).read_text()
            if path.endswith(".toml"):
                tomllib.loads(text)
            else:
                json.loads(text, object_pairs_hook=_no_key_twice)
        except ValueError as error:
            yield f"{path}: {error}"


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        message = f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice"
        raise ValueError(message)
    return found


PLANTS: Final = (
    replaced("a key that the specification does not have", "pyproject.toml", "requires-python =", "python-requires =", "pyproject.toml", "python-requires"),
    new_file("TOML that is none", "docs/planted.toml", "a = \n"),
    new_file("JSON with a key that stands twice", "docs/planted.json", '{"a": 1, "a": 2}\n', "docs/planted.json", "stands twice"),
)  # fmt: skip
