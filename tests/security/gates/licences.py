"""Locked packages whose licence is unknown or not on the list of allowed licences."""

from pathlib import Path
from typing import Final

from ..plants import appended
from ..result import Result
from ..supply import check, versions

CLASS: Final = "dependencies"
TOOL: Final = "tests/supply_chain/licences.py"
SPEED: Final = "fast"
_HASH: Final = f" --hash=sha256:{'0' * 64}\n"


def run(root: Path) -> Result:
    return check("licences", root, version=versions("packaging"))


PLANTS: Final = (
    # codespell is a tool of the group security, and pyte one of the group test.
    appended("a run-time dependency under the GPL", "requirements/runtime.txt", f"codespell==2.4.3{_HASH}", "runtime.txt: codespell", "GPL"),
    appended("a dependency of an extra under the LGPL", "requirements/extras.txt", f"pyte==0.8.2{_HASH}", "extras.txt: pyte", "LGPL"),
    appended("a package without a known licence", "requirements/lint.txt", f"planted==1.0{_HASH}", "lint.txt: planted"),
)  # fmt: skip
