"""Locked packages that lag by more than 30 days, or that their authors have withdrawn."""

from pathlib import Path
from typing import Final

from ..plants import Plant
from ..result import Result
from ..supply import check, versions

CLASS: Final = "dependencies"
TOOL: Final = "tests/supply_chain/age.py"
SPEED: Final = "slow"
MAY_NOT_RUN: Final = "needs a package index with dates"


def run(root: Path) -> Result:
    """Compare the lock files with those that would be written now, and their versions with the dates of the index."""
    return check("age", root, version=versions("uv"))


def _old(root: Path) -> None:
    file = root / "requirements/runtime.txt"
    text = file.read_text()
    begin = text.index("idna==")
    file.write_text(f"{text[:begin]}idna==3.10{text[text.index(' ', begin) :]}")


PLANTS: Final = (Plant("a version that was replaced long ago", _old, ("idna is 3.10", "was published on")),)
