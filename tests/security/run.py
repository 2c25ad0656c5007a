"""Run the security gates: python -m tests.security.run [GATE...] [--all|--fast|--list|--report|--self-test|--fix|--target NAME].

Exit status: 0 without findings, 1 with findings (or a self-test that failed), 2 for wrong usage, and 3 if no gate has findings
but one could not run that should. A gate whose module has MAY_NOT_RUN counts for 3 with --strict only, or if it failed.
"""

import argparse
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from .catalog import Gate, gates
from .document import DOCUMENT, document, table
from .plants import Copy, copy_of
from .report import summary, write
from .result import FINDINGS, NOT_RUN, Result
from .self_test import self_test
from .targets import TARGETS
from .tools import ROOT

Results = list[tuple[Gate, Result, float]]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = _parser().parse_args(arguments)
    every = gates()
    chosen = _chosen(every, options)
    if options.list:
        DOCUMENT.write_text(document(every, TARGETS))
        print(table(every), end="")
        return 0
    if options.self_test:
        return _self_test(chosen, options.jobs)
    if options.fix:
        return _fix(chosen, options.root)
    if options.target:
        print(f"make {options.target}: {TARGETS[options.target].note or 'runs the tool'}")
        if not chosen:
            return 0
    results = _run(chosen, options.root, options.jobs)
    if options.report:
        write(ROOT / "build/security", options.root, results)
        print("wrote report.md, report.json and report.sarif into build/security")
    return status(results, strict=options.strict)


def status(results: Results, *, strict: bool) -> int:
    """Return the exit status of results."""
    if any(result.state == FINDINGS for _, result, _ in results):
        return 1
    return 3 if any(_must_run(gate, result, strict=strict) for gate, result, _ in results) else 0


def _must_run(gate: Gate, result: Result, *, strict: bool) -> bool:
    """Return whether a gate did not run that should have."""
    return result.state == NOT_RUN and (strict or result.failed or not gate.may_not_run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.security.run", description=__doc__)
    parser.add_argument("gates", nargs="*", metavar="GATE", help="names of gates; all without any")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="run all gates (the default)")
    what.add_argument("--fast", action="store_true", help="run the fast gates")
    what.add_argument("--list", action="store_true", help="write docs/SECURITY-GATES.md and print the gates")
    what.add_argument("--report", action="store_true", help="run all gates and write build/security/report.*")
    what.add_argument(
        "--self-test", action="store_true", help="plant faults and check that they are reported"
    )
    what.add_argument(
        "--fix", action="store_true", help="repair what can be repaired without a change of meaning"
    )
    what.add_argument(
        "--target", choices=sorted(TARGETS), metavar="NAME", help="run the gates of a make target"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 3 for each gate that could not run")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="the folder to check (default: this checkout)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="gates that run at once (default: 2)")
    return parser


def _chosen(every: list[Gate], options: argparse.Namespace) -> list[Gate]:
    names = set(TARGETS[options.target].gates) if options.target else set(options.gates)
    if unknown := names - {gate.name for gate in every}:
        sys.exit(
            f"there is no gate {', '.join(sorted(unknown))}; the gates are {', '.join(g.name for g in every)}"
        )
    if options.fast:
        return [gate for gate in every if gate.fast and (not names or gate.name in names)]
    if options.target:
        return [gate for gate in every if gate.name in names]
    return [gate for gate in every if not names or gate.name in names]


def _run(chosen: list[Gate], root: Path, jobs: int) -> Results:
    results: Results = []
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for gate, (result, seconds) in zip(
            chosen, pool.map(lambda gate: gate.run(root), chosen), strict=True
        ):
            results.append((gate, result, seconds))
            _print(gate, result, seconds)
    print(summary(results))
    for gate, result, _ in results:
        if result.state == NOT_RUN:
            print(f"NOT RUN: {gate.name} ({gate.module.TOOL}): {result.reason}")
    return results


def _print(gate: Gate, result: Result, seconds: float) -> None:
    count = f" ({len(result.findings)})" if result.findings else ""
    print(
        f"{gate.name}: {result.state}{count}, {seconds:.1f} s, {result.version or gate.module.TOOL}",
        flush=True,
    )
    for finding in result.findings:
        print(f"  {finding}")


def _self_test(chosen: list[Gate], jobs: int) -> int:
    code = 0
    # Each gate has a copy of its own at a time.
    copies: SimpleQueue[Copy] = SimpleQueue()

    def test(gate: Gate) -> tuple[list[str], str]:
        copy = copies.get()
        try:
            return self_test(gate, copy)
        finally:
            copies.put(copy)

    with ExitStack() as stack:
        for _ in range(max(1, jobs)):
            copies.put(stack.enter_context(copy_of(ROOT)))
        pool = stack.enter_context(ThreadPoolExecutor(max(1, jobs)))
        for gate, (faults, reason) in zip(chosen, pool.map(test, chosen), strict=True):
            if reason:
                print(f"NOT RUN: {gate.name} ({gate.module.TOOL}): {reason}", flush=True)
                code = code or (0 if gate.may_not_run else 3)
            else:
                print(
                    f"{gate.name}: {len(gate.module.PLANTS)} planted faults, {len(faults)} missed", flush=True
                )
            for fault in faults:
                print(f"  {fault}")
                code = 1
    return code


def _fix(chosen: Iterable[Gate], root: Path) -> int:
    for gate in chosen:
        if hasattr(gate.module, "fix"):
            print(f"{gate.name}: repairing", flush=True)
            gate.module.fix(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
