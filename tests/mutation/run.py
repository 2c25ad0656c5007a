"""Run a sample of mutants: `python -m tests.mutation.run [--mutants N] [--seed N] [--workers N] [--minutes N] [MODULE...]`.

Exits with 1 if tests find less than 85 % of them, if the time (minutes) ends before the sample does, or if accepted.toml names a
mutant that does not exist; with 2 if the tests fail without a change, so that there is no result; and with 77 and the line NOT RUN
without Cosmic Ray. The results are in build/mutation/report.json and, for a sample of all modules, in docs/MUTATION.md.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from .accepted import FILE, accepted
from .modules import ROOT, TESTS, import_name, pure_modules
from .mutant import Mutant
from .one import BROKEN, INVALID, KILLED, SURVIVED
from .plan import Plan
from .pool import Job, Outcome, Pool
from .reach import BaselineFailedError, load
from .report import FLOOR, Report, Result

BUILD: Final = ROOT / "build/mutation"
NOT_RUN: Final = 77
NO_RESULT: Final = 2
_PYTHON: Final = ROOT / ".deps/mutation/bin/python"
# Mutants that cannot be imported are replaced by others of the sample, as far as these suffice.
_SPARE: Final = 1.3
_PROGRESS: Final = 50


class Sample:
    """Hands out the mutants of a sample, and keeps their results."""

    def __init__(self, mutants: list[Mutant], plan: Plan, report: Report, until: float = math.inf) -> None:
        """Use the mutants as long as the monotonic clock is before `until` (seconds)."""
        self._until = until
        self._mutants = mutants
        self._plan = plan
        self._report = report
        self._next = 0
        self._running = 0
        self.tests: defaultdict[str, set[str]] = defaultdict(set)
        self.jobs: dict[str, Job] = {}

    def take(self) -> Job | None:
        """Return the next job, as long as the sample needs one."""
        while self._next < len(self._mutants) and self._missing() > 0 and time.monotonic() < self._until:
            number = self._next
            self._next += 1
            mutant = self._mutants[number]
            job = self._plan.job(number, mutant)
            if job is not None:
                self._running += 1
                return job
            self._keep(mutant, Outcome(SURVIVED, "no test runs the line"))
        return None

    def done(self, job: Job, outcome: Outcome) -> None:
        """Keep an outcome. Raises BaselineFailedError if it is not one of the mutant."""
        self._running -= 1
        mutant = self._mutants[job.number]
        if outcome.status == BROKEN:
            raise BaselineFailedError(f"{mutant.key}: {outcome.by}; see build/mutation/work/{job.number}.log")
        if outcome.status == INVALID:
            self._report.invalid += 1
            return
        self._keep(mutant, outcome)
        module = mutant.key.module
        self.jobs.setdefault(module, job)
        if outcome.status == KILLED:
            failed = outcome.by.partition("[")[0]
            tests = [test for stage in job.stages for test in stage]
            self.tests[module].update(test for test in tests if failed in (test, test.partition("::")[0]))

    def is_used_up(self) -> bool:
        """Return whether every mutant of the sample was run."""
        return self._next == len(self._mutants) and not self._running

    def _missing(self) -> int:
        return self._report.wanted - len(self._report.results) - self._running

    def _keep(self, mutant: Mutant, outcome: Outcome) -> None:
        shown = mutant.shown(self._plan.source(mutant.key.module))
        self._report.results.append(Result(mutant, shown, outcome.status, outcome.by))
        if outcome.status == SURVIVED and mutant.key not in self._report.accepted:
            print(
                f"survived: {mutant.key.module}:{mutant.row}: {mutant.key.line}  ->  {shown}"
                f"  ({mutant.key.operator} {mutant.key.number}{'; ' + outcome.by if outcome.by else ''})",
                flush=True,
            )
        if len(self._report.results) % _PROGRESS == 0:
            print(f"{len(self._report.results)} mutants, {self._report.score():.1f} % killed", flush=True)


def confirm(pool: Pool, sample: Sample, plan: Plan) -> None:
    """Run the tests that have found mutants without any change. Raises BaselineFailedError if one fails."""
    waiting = [
        Job(number, import_name(module), plan.source(module), (tuple(sorted(tests)),), job.processor * 10)
        for number, (module, tests) in enumerate(sample.tests.items())
        for job in [sample.jobs[module]]
        if tests
    ]
    for job, outcome in pool.run(lambda: waiting.pop() if waiting else None):
        if outcome.status != SURVIVED:
            raise BaselineFailedError(f"without a change of {job.name}: {outcome.status}, {outcome.by}")


def generated(seed: int, most: int, modules: list[str]) -> dict[str, Any]:
    """Return what `generate` prints."""
    command = [str(_PYTHON), "-m", "tests.mutation.generate", str(seed), str(most), *modules]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def sampled(given: argparse.Namespace, build: Path) -> Report:
    """Run a sample. Raises BaselineFailedError."""
    begin = time.monotonic()
    modules = given.modules or pure_modules()
    (build / "work").mkdir(parents=True, exist_ok=True)
    reach = load(build, given.workers, paths=given.tests)
    print(f"{len(reach.seconds)} tests, {sum(reach.seconds.values()):.0f} seconds", flush=True)
    most = round(given.mutants * _SPARE)
    found = generated(given.seed, most, modules)
    report = Report(
        given.seed,
        given.mutants,
        found["places"],
        found["left_out"],
        found["versions"],
        accepted(FILE.read_text(encoding="utf-8")),
    )
    print(f"{report.places} places in {len(modules)} modules", flush=True)
    if found["unknown"]:
        raise ValueError("accepted.toml names mutants that do not exist:\n" + "\n".join(found["unknown"]))
    plan, pool = Plan(reach), Pool(build / "work", given.workers)
    mutants = [Mutant.from_json(one) for one in found["mutants"]]
    sample = Sample(mutants, plan, report, begin + given.minutes * 60)
    for job, outcome in pool.run(sample.take):
        sample.done(job, outcome)
    if len(mutants) < most and sample.is_used_up():
        # There are no more places than these.
        report.wanted = len(report.results)
    confirm(pool, sample, plan)
    report.seconds = time.monotonic() - begin
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.run")
    parser.add_argument("--mutants", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=int, default=120)
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    given = parser.parse_args()
    if not _PYTHON.exists():
        print("NOT RUN: Cosmic Ray is not installed (make .deps/mutation/.installed names the reason)")
        return NOT_RUN
    # The same examples, and the same order of sets, each time. Examples are kept outside of the checkout.
    os.environ.update(CI="true", HYPOTHESIS_STORAGE_DIRECTORY=str(BUILD / "hypothesis"))
    try:
        report = sampled(given, BUILD)
    except BaselineFailedError as error:
        print(f"NO RESULT: the tests fail without a mutant, or did not run:\n{error}")
        return NO_RESULT
    except ValueError as error:
        print(error)
        return 1
    report.write(BUILD / "report.json")
    if not given.modules and report.results:
        report.document()
    if not report.results:
        print("no mutant was run")
        return 1
    if len(report.results) < report.wanted:
        print(f"only {len(report.results)} of {report.wanted} mutants were run")
    unlisted = [one for one in report.survivors() if one.mutant.key not in report.accepted]
    print(
        f"{len(report.results)} mutants, {report.score():.1f} % killed (at least {FLOOR} %), {len(report.survivors())} survived"
        f" ({len(unlisted)} without a reason), {report.invalid} could not be imported, {report.seconds:.0f} seconds"
    )
    return 0 if report.passes() else 1


if __name__ == "__main__":
    sys.exit(main())
