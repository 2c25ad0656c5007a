"""Run the fuzzer: `python -m tests.fuzz.run [--seconds N] [--self-test | --document] [TARGET...]`.

Each target runs for its share of the time, first with its seeds and the stored inputs. Exits with 1 for a finding, whose input is
then in build/fuzz/TARGET, and with 77 and the line NOT RUN without atheris. New inputs that reach more code are in
build/fuzz/new/TARGET; `--keep` adds the smallest of them to the stored inputs.
"""

import argparse
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from .catalog import CORPUS, TARGETS, inputs, stored
from .planted import PLANTS
from .target import Target

ROOT: Final = Path(__file__).parents[2]
BUILD: Final = ROOT / "build/fuzz"
DOCUMENT: Final = ROOT / "docs/FUZZING.md"
NOT_RUN: Final = 77
# An input that runs longer than this (seconds) ends the run, also if it never returns.
_HANGS: Final = 20
# The stored inputs of one target (bytes).
_MOST_KEPT: Final = 12 * 1024
# The time for one planted fault (seconds).
_PLANT_SECONDS: Final = 60
_FIGURES: Final = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_DONE: Final = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_BEGIN: Final = "<!-- figures -->\n"
_END: Final = "<!-- end of figures -->\n"


@dataclass(frozen=True)
class Outcome:
    """The run of one target. `finding` is empty, or the end of its output."""

    target: str
    executions: int
    edges: int
    features: int
    new: int
    finding: str = ""


def fuzz(target: Target, seconds: int, plant: str = "") -> Outcome:
    """Run one target in a process of its own."""
    found, artifacts = BUILD / "new" / target.name, BUILD / target.name
    if not plant:
        shutil.rmtree(found, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first"
        new = Path(folder) / "new" if plant else found
        artifacts = Path(folder) / "artifacts" if plant else artifacts
        for directory in (first, new, artifacts):
            directory.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs(target)):
            (first / f"{number:04}").write_bytes(data[: target.longest])
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.one",
            *(["--plant", plant] if plant else []),
            target.name,
            f"-max_total_time={seconds}",
            f"-max_len={target.longest}",
            f"-timeout={_HANGS}",
            f"-artifact_prefix={artifacts}/",
            "-print_final_stats=1",
            "-seed=1",
            str(new),
            str(first),
        ]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False
        )
        output = done.stdout + done.stderr
        last = ([(0, 0, 0)] + [tuple(map(int, match)) for match in _FIGURES.findall(output)])[-1]
        executions = _DONE.search(output)
        return Outcome(
            target.name,
            int(executions[1]) if executions else 0,
            last[0],
            last[1],
            len(list(new.iterdir())),
            "" if done.returncode == 0 and executions else _shortened(output),
        )


def _shortened(output: str) -> str:
    """Return the traceback of a finding, or the end of the output."""
    lines = [
        line
        for line in output.splitlines()
        if not line.startswith(("#", "INFO", "stat::", "MS:", "artifact"))
    ]
    begin = next((number for number, line in enumerate(lines) if "Uncaught Python exception" in line), None)
    shown = lines[-30:] if begin is None else lines[begin : begin + 40]
    return "\n".join(line[:2000] for line in shown) or "the fuzzer ended without a result"


def keep(target: Target) -> None:
    """Add new inputs to the stored inputs, the smallest first, as long as there is room."""
    kept = {*stored(target.name)}
    room = _MOST_KEPT - sum(map(len, kept))
    for data in sorted((file.read_bytes() for file in (BUILD / "new" / target.name).iterdir()), key=len):
        room -= 0 if data in kept else len(data)
        if room < 0:
            break
        kept.add(data)
    lines = (base64.b64encode(data).decode() for data in sorted(kept, key=lambda data: (len(data), data)))
    (CORPUS / f"{target.name}.txt").write_text("".join(f"{line}\n" for line in lines))


def _self_test(seconds: int) -> int:
    missed = 0
    for name, plant in PLANTS.items():
        outcome = fuzz(TARGETS[plant.target], seconds, name)
        found = re.search(plant.finding, outcome.finding) is not None
        missed += not found
        print(
            f"{'found' if found else 'MISSED'}: {name} ({plant.target}), {outcome.executions} executions",
            flush=True,
        )
        if not found and outcome.finding:
            print(outcome.finding)
    print(f"{len(PLANTS) - missed} of {len(PLANTS)} planted faults are found")
    return 1 if missed else 0


def _document(outcomes: list[Outcome], seconds: int) -> None:
    head, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    rows = "".join(
        f"| `{one.target}` | {one.executions:,} | {one.edges:,} | {one.features:,} | {'1' if one.finding else '0'} |\n"
        for one in outcomes
    )
    table = (
        f"`make fuzz FUZZ_SECONDS={seconds}`, CPython {sys.version.split()[0]}:\n\n"
        f"| target | executions | branches | features | findings |\n|---|---|---|---|---|\n{rows}"
    )
    DOCUMENT.write_text(f"{head}{_BEGIN}{table}{_END}{tail}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="the time of all targets together")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--document", action="store_true", help="write the figures to docs/FUZZING.md")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    given = parser.parse_args()
    if find_spec("atheris") is None:
        print("NOT RUN: atheris is not installed (make .deps/fuzz/.installed names the reason)")
        return NOT_RUN
    os.environ["PYTHONHASHSEED"] = "0"
    if given.self_test:
        return _self_test(min(given.seconds, _PLANT_SECONDS))
    targets = [TARGETS[name] for name in given.targets or TARGETS]
    outcomes = []
    for target in targets:
        one = fuzz(target, max(1, given.seconds // len(targets)))
        outcomes.append(one)
        print(
            f"{one.target}: {one.executions} executions, {one.edges} branches, {one.features} features,"
            f" {one.new} new inputs, {'A FINDING' if one.finding else 'no finding'}",
            flush=True,
        )
        if one.finding:
            print(one.finding)
        elif given.keep:
            keep(target)
    if given.document:
        _document(outcomes, given.seconds)
    failed = [one.target for one in outcomes if one.finding]
    if failed:
        print(f"findings: {', '.join(failed)}; the inputs are in {BUILD.relative_to(ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
