"""The share of public modules, classes, functions and methods with a docstring."""

import re
from pathlib import Path
from typing import Final

from ..plants import new_file
from ..result import Result, checked
from ..tools import lines, version

CLASS: Final = "documents"
TOOL: Final = "interrogate"
SPEED: Final = "fast"

_SOURCES: Final = ("bridge", "entry", "transports", "validators")
# In percent of the public names.
_LEAST: Final = 95
# __init__, other special methods, private names, and functions in functions.
_NOT: Final = ("-i", "-m", "-p", "-s", "-n", "-O")


def run(root: Path) -> Result:
    """Report a share below the least."""
    # Types with the names of the protocol.
    generated = sorted((root / "validators/message_schemas").glob("revision_*.py"))
    without = [word for file in generated for word in ("-e", str(file))]
    words = [*_NOT, *without, f"--fail-under={_LEAST}", "-c", "pyproject.toml", *_SOURCES]
    printed = lines(["interrogate", *words], root)
    return checked((line for line in printed if re.match("RESULT: FAILED", line)), version("interrogate"))


PLANTS: Final = (
    new_file("300 functions without a docstring", "bridge/planted_plain.py", "".join(f"def f{n}():\n    return {n}\n\n\n" for n in range(300)), "RESULT: FAILED"),
)  # fmt: skip
