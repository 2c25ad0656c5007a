"""Locked packages with a published advisory."""

from pathlib import Path
from typing import Final

from ..plants import Plant
from ..result import Result
from ..supply import check, versions

CLASS: Final = "dependencies"
TOOL: Final = "pip-audit"
SPEED: Final = "slow"
MAY_NOT_RUN: Final = "needs a database of advisories: that of OSV, or that of an index which has one"


def run(root: Path) -> Result:
    """Look up each locked package. A package that was skipped was not looked up, and makes the run NOT RUN."""
    return check("advisories", root, version=versions("pip-audit"))


def _vulnerable(root: Path) -> None:
    file = root / "requirements/runtime.txt"
    file.write_text(file.read_text().replace("h11==0.16.0", "h11==0.14.0", 1))


# With a database that can be reached. tests/supply_chain/test_advisories.py has one of its own.
PLANTS: Final = (Plant("a version with a published advisory", _vulnerable, ("h11 0.14.0", "CVE-2025-43859")),)
