"""Rights and forms of the Containerfile and of the examples for Compose and Kubernetes, by tests/container/lint.py."""

from pathlib import Path
from typing import Final

from tests.container import lint

from ..plants import Plant, replaced
from ..result import Result, checked
from ..tools import FOLDERS, ToolMissing

CLASS: Final = "containers"
TOOL: Final = "hadolint, trivy, kubernetes-validate, check-jsonschema"
SPEED: Final = "slow"

lint.TOOLS = FOLDERS[0]


def run(root: Path) -> Result:
    """Check the files with the tools of the dependency group."""
    try:
        return checked(lint.findings(root), lint.version())
    except lint.NotRun as error:
        raise ToolMissing(str(error)) from None


PLANTS: Final[tuple[Plant, ...]] = tuple(
    replaced(plant.name, plant.path, plant.old, plant.new, *plant.expected, alone=plant.alone)
    for plant in lint.PLANTS
)
