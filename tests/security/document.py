"""The text of docs/SECURITY-GATES.md: the table of gates and the table of make targets."""

from pathlib import Path
from typing import Final

from .catalog import Gate
from .targets import Target

DOCUMENT: Final = Path(__file__).parents[2] / "docs/SECURITY-GATES.md"
_HEAD: Final = """# Security gates

Each gate checks the sources for one class of faults. `make security-self-test` plants each fault of the third column in a copy
of the sources, and fails if the gate does not report it, or reports it without the fault. `.ci/run` runs the fast gates.

| command | what it does |
|---|---|
| `make security` | run the fast gates |
| `make security-all` | run all gates |
| `make security-self-test` | plant each fault and check that its gate reports it |
| `make security-report` | run all gates and write `report.md`, `report.json` and `report.sarif` into `build/security` |
| `make security-fix` | repair what can be repaired without a change of meaning |
| `make security-list` | write this document and print its table of gates |

Exit status: 0 if no gate has a finding, 1 if a gate has one, 3 if none has but a gate could not run. A gate with a reason in the
column "may not run" needs a network or a program that no package has; its `NOT RUN` is printed and counted, and changes the exit
status only with `--strict` (`make security-all STRICT=1`), or if the tool itself failed. The result of a gate that could not run is never "clean".

`make security-list` writes this document from the modules in `tests/security/gates`.

"""


def document(gates: list[Gate], targets: dict[str, Target]) -> str:
    """Return the text of the document."""
    faults = sum(len(gate.module.PLANTS) for gate in gates)
    return (
        f"{_HEAD}## Gates\n\n{len(gates)} gates with {faults} planted faults.\n\n{table(gates)}\n"
        "## Make targets named after tools\n\n"
        "A target runs the gates in its row, which do the work of the tool that gives it its name.\n\n"
        f"{_targets(targets)}"
    )


def table(gates: list[Gate]) -> str:
    """Return the table of gates."""
    rows = "".join(
        f"| {gate.module.CLASS} | {gate.name} | {gate.module.TOOL} | {gate.module.SPEED} |"
        f" {_cell('; '.join(plant.name for plant in gate.module.PLANTS))} | {_cell(gate.may_not_run)} |\n"
        for gate in sorted(gates, key=lambda gate: (gate.module.CLASS, gate.name))
    )
    return f"| class | gate | tool | speed | planted faults that it reports | may not run |\n|---|---|---|---|---|---|\n{rows}"


def _targets(targets: dict[str, Target]) -> str:
    rows = "".join(
        f"| `make {name}` | {', '.join(target.gates)} | {_cell(target.note)} |\n"
        for name, target in sorted(targets.items())
    )
    return f"| target | gates | tool that does the work |\n|---|---|---|\n{rows}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
