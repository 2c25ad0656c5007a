"""An SBOM that cannot be made, is not valid, or does not have the packages that are locked."""

import re
import tempfile
from pathlib import Path
from typing import Final

from ..plants import Plant
from ..result import Result
from ..supply import check, versions
from ..tools import ROOT

CLASS: Final = "dependencies"
TOOL: Final = "cyclonedx-py"
SPEED: Final = "slow"


def run(root: Path) -> Result:
    """Make the SBOM of the wheel with its locked packages, validate it by the schema of CycloneDX, and compare it with the lock file."""
    with tempfile.TemporaryDirectory() as scratch:
        # That of this checkout is kept.
        folder = str(ROOT / "build/sbom") if root == ROOT else scratch
        return check("sbom", root, folder, version=versions("cyclonedx-bom", "cyclonedx-python-lib"))


def _unlocked(root: Path) -> None:
    file = root / "requirements/extras.txt"
    before, _, rest = file.read_text().partition("priority==")
    file.write_text(before + re.sub(r"\A[^\n]*\n(    [^\n]*\n)+", "", rest))


PLANTS: Final = (Plant("a package that is needed and not locked", _unlocked, ("requires", "priority")),)
