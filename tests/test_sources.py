"""Rules for the sources as a whole: docstrings of public names, and imports that are dependencies."""

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("bridge", "entry", "transports", "validators")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Names of modules that differ from that of their distribution.
MODULES = {"trio-websocket": "trio_websocket", "pyyaml": "yaml"}


@cache
def trees():
    return {file: ast.parse(file.read_text()) for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")}


def public_names(tree):
    """Yield the public classes, functions and methods of a module."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.name[0] != "_":
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_names(node)


def top_level(requirements):
    names = [re.split(r"[<>=]", requirement)[0] for requirement in requirements]
    return {MODULES.get(name, name.partition("-")[0]) for name in names}


def test_95_of_100_public_names_have_a_docstring():
    names = [node for tree in trees().values() for node in public_names(tree)]
    documented = [node for node in names if ast.get_docstring(node)]
    assert len(names) > 1000
    assert len(documented) / len(names) >= 0.95


def test_every_module_has_a_docstring():
    assert [file for file, tree in trees().items() if tree.body and not ast.get_docstring(tree)] == []


def test_each_imported_library_is_a_dependency():
    imported = set()
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.partition(".")[0])
    # The keeper is a script and imports its neighbour by name.
    imported -= {*sys.stdlib_module_names, "mcpbridged", "confinement"}
    declared = top_level(PROJECT["dependencies"])
    optional = top_level(
        requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra
    )
    assert imported == declared | optional
