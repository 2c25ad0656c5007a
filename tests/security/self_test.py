"""The self-test of a gate: it reports each planted fault, and does not report it where there is none."""

from collections.abc import Iterable

from .catalog import Gate
from .plants import Copy, Plant
from .result import NOT_RUN, Result


def self_test(gate: Gate, copy: Copy) -> tuple[list[str], str]:
    """Return the faults of a gate, and the reason if it could not run. A gate that fails has a fault."""
    faults = []
    try:
        before, _ = gate.run(copy.root)
        if before.state == NOT_RUN:
            return ([f"{gate.name}: {before.reason}"], "") if before.failed else ([], before.reason)
        together = [plant for plant in gate.module.PLANTS if not plant.alone]
        for group in ([together] if together else []) + [
            [plant] for plant in gate.module.PLANTS if plant.alone
        ]:
            faults += _planted(gate, copy, group, before)
    finally:
        copy.restore()
    return faults, ""


def _planted(gate: Gate, copy: Copy, group: list[Plant], before: Result) -> Iterable[str]:
    for plant in group:
        plant.change(copy.root)
    result, _ = gate.run(copy.root)
    copy.restore()
    for plant in group:
        if result.state == NOT_RUN:
            yield f"{gate.name}: {plant.name}: did not run: {result.reason}"
        elif not _names(result, plant):
            yield f"{gate.name}: {plant.name}: not reported (no finding has {' and '.join(map(repr, plant.expected))})"
        elif _names(before, plant):
            yield f"{gate.name}: {plant.name}: also reported without the fault"


def _names(result: Result, plant: Plant) -> bool:
    return any(all(text in finding for text in plant.expected) for finding in result.findings)
