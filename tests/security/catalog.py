"""The gates: the modules of tests/security/gates.

A gate is a module with
- CLASS: the class of faults that it finds,
- TOOL: the name of its tool,
- SPEED: "fast" (run by .ci/run) or "slow",
- PLANTS: the planted faults that it must report (tests/security/plants.py),
- run(root): checks the files below a folder and returns a Result,
- MAY_NOT_RUN, if it needs a network or a program that no package has: the reason. It then may return NOT RUN without a fault,
- fix(root), if it can repair what it finds without a change of meaning.
"""

import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from .result import Result, not_run
from .tools import ToolFailed, ToolMissing

GATES: Final = Path(__file__).with_name("gates")
SPEEDS: Final = ("fast", "slow")


@dataclass(frozen=True)
class Gate:
    """A gate and its name, which is that of its module."""

    name: str
    module: ModuleType

    @property
    def fast(self) -> bool:
        return self.module.SPEED == "fast"

    @property
    def may_not_run(self) -> str:
        return getattr(self.module, "MAY_NOT_RUN", "")

    def run(self, root: Path) -> tuple[Result, float]:
        """Run the gate and return its result and the time (seconds). A missing tool is NOT RUN, and so is a failure."""
        begun = time.monotonic()
        try:
            result = self.module.run(root)
        except ToolMissing as error:
            result = not_run(str(error))
        except ToolFailed as error:
            result = not_run(f"the tool failed: {error}", failed=True)
        except Exception as error:  # noqa: BLE001 - the boundary of one gate: the others run, and the exit status tells
            result = not_run(f"the gate failed: {type(error).__name__}: {error}", failed=True)
        return result, time.monotonic() - begun


def gates() -> list[Gate]:
    """Return all gates, sorted by name."""
    names = sorted(path.stem for path in GATES.glob("*.py") if path.stem != "__init__")
    return [Gate(name, importlib.import_module(f"{__package__}.gates.{name}")) for name in names]
