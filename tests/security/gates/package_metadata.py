"""Metadata that a package index shows wrongly or not at all."""

from pathlib import Path
from typing import Final

from ..plants import Plant, replaced
from ..result import Result
from ..supply import check, versions

CLASS: Final = "packages"
TOOL: Final = "pyroma"
SPEED: Final = "fast"


def run(root: Path) -> Result:
    """Require 10 of 10 of pyroma, absolute links, a description that is rendered, and classifiers that are true."""
    return check("metadata", root, version=versions("pyroma", "readme_renderer"))


def _untyped(root: Path) -> None:
    (root / "entry/py.typed").unlink()


PLANTS: Final = (
    Plant("a package without the marker of types", _untyped, ("entry/py.typed is missing",)),
    replaced("a relative link in the description", "setup.py", "{source}/blob/main/{link[1]}", "{link[1]}", "relative link docs/ACCESS.md"),
    replaced("no keywords", "pyproject.toml", '\nkeywords = ["mcp", ', "\nkeywords = [] # ", "keywords"),
    replaced("no address of the changelog", "pyproject.toml", "\nChangelog = ", "\nPlanted = ", "no address Changelog"),
    replaced("a classifier that does not exist", "pyproject.toml", '"Framework :: Trio"', '"Framework :: Planted"', "setuptools cannot make it", alone=True),
    replaced("a first version of Python that is not the required one", "pyproject.toml", '  "Programming Language :: Python :: 3.11",\n', "", "the first classifier is"),
)  # fmt: skip
