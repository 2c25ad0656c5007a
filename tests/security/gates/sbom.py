"""An SBOM that cannot be made, is not valid, or does not have the packages that are locked."""

import tempfile
from pathlib import Path
from typing import Final

from ..plants import appended
from ..result import Result
from ..supply import check, versions

CLASS: Final = "dependencies"
TOOL: Final = "cyclonedx-py"
SPEED: Final = "slow"


def run(root: Path) -> Result:
    """Make the SBOM of the wheel with its locked packages, validate it by the schema of CycloneDX, and compare it with the lock file."""
    with tempfile.TemporaryDirectory() as folder:
        return check("sbom", root, folder, version=versions("cyclonedx-bom", "cyclonedx-python-lib"))


PLANTS: Final = (
    # The hash is that of a file which no interpreter here installs, so that the package is locked and not in the environment.
    appended(
        "a locked package that is not installed",
        "requirements/extras.txt",
        f"planted==1.0 ; sys_platform == 'linux' and python_full_version < '3' --hash=sha256:{'0' * 64}\n",
        "planted is missing",
    ),
)
