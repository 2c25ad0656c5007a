"""Libraries that are imported and not declared, or declared and not imported."""

from pathlib import Path
from typing import Final

from ..plants import new_file, replaced
from ..result import Result, checked
from ..tools import lines, version

CLASS: Final = "dependencies"
TOOL: Final = "deptry"
SPEED: Final = "fast"


def run(root: Path) -> Result:
    """Run deptry; a finding is a line `path:line:column: code text`."""
    printed = lines(["deptry", "--no-ansi", "bridge", "entry", "transports", "validators"], root)
    return checked((line for line in printed if ": DEP" in line), version("deptry"))


PLANTS: Final = (
    new_file("a library that is not declared", "bridge/planted_undeclared.py", "import planted_library\n", "planted_library", "DEP001"),
    new_file("a library that comes with another", "bridge/planted_transitive.py", "import outcome\n", "outcome", "DEP00"),
    new_file("a library of the tests", "bridge/planted_tests.py", "import pytest\n", "pytest", "DEP004"),
    replaced("a library that is declared and not imported", "pyproject.toml", '"trio>=', '"anyio>=4", "trio>=', "anyio", "DEP002"),
)  # fmt: skip
