"""Runs of mutants in processes, in a small project. The pool has a process of its own, because it forks."""

import json
import os
import subprocess
import sys
from textwrap import dedent

import pytest

from .modules import ROOT

SOURCE = dedent(
    """\
    LIMIT = 3

    def below(number):
        return number < LIMIT
    """
)
TESTS = dedent(
    """\
    import pytest
    from counted import LIMIT, below

    def test_first(): assert below(1)

    @pytest.mark.parametrize("number", [3, 4])
    def test_second(number): assert not below(number)

    class TestThird:
        def test_itself(self): assert LIMIT == 3
    """
)
# Key: a name. Value: what is replaced in the source, by what, the tests in stages, the status, and what it is killed by.
FIRST, SECOND, THIRD = (
    f"test_counted.py::{name}" for name in ("test_first", "test_second", "TestThird::test_itself")
)
MUTANTS = {
    "none": ("", "", [[FIRST], [SECOND, THIRD]], "survived", ""),
    "not found by the first test": ("<", "!=", [[FIRST]], "survived", ""),
    "found by the second stage": ("<", "!=", [[FIRST], [SECOND, THIRD]], "killed", f"{SECOND}[4]"),
    "the order of the tests": ("= 3", "= 1", [[THIRD, FIRST]], "killed", THIRD),
    "no import": ("= 3", "= 3 + ''", [[FIRST]], "invalid", "TypeError: unsupported operand"),
    "no such name": ("LIMIT", "LIMITS", [[FIRST]], "killed", "test_counted.py"),
    "no end": ("return", "while True: pass;", [[FIRST]], "timeout", "no end within 1 seconds"),
    "waits for no end": (
        "return",
        "import time; time.sleep(60); return",
        [[FIRST]],
        "timeout",
        "no end within 1",
    ),
    "a crash": ("return", "import os; os.abort(); return", [[FIRST]], "killed", "SIGABRT"),
    "an end without a result": (
        "return",
        "import os; os._exit(0); return",
        [[FIRST]],
        "broken",
        "a process has",
    ),
    "no such test": ("<", "!=", [["test_counted.py::test_fourth"]], "broken", "pytest ended with"),
    "no such file": ("<", "!=", [["test_other.py::test_first"]], "broken", "pytest ended with"),
}
PROGRAM = """
import json, sys
from pathlib import Path
from tests.mutation.pool import Job, Pool

jobs = [Job(number, *rest) for number, rest in enumerate(json.load(sys.stdin))]
outcomes = Pool(Path("work"), 2).run(lambda: jobs.pop() if jobs else None)
print(json.dumps({job.number: [outcome.status, outcome.by] for job, outcome in outcomes}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "work").mkdir()
    (folder / "counted.py").write_text(SOURCE)
    (folder / "test_counted.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    return folder


@pytest.fixture(scope="module")
def outcomes(project):
    jobs = []
    for before, after, stages, _, _ in MUTANTS.values():
        source = SOURCE.replace(before, after, 1) if before else SOURCE
        jobs.append(["counted", source, stages, 1])
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{project}", "CI": "true"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=project,
        env=environment,
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_has_its_outcome(name, outcomes):
    *_, status, by = MUTANTS[name]
    found = outcomes[str([*MUTANTS].index(name))]
    assert found[0] == status
    assert found[1].startswith(by)
    assert by or not found[1]


def test_the_source_is_not_touched(project, outcomes):
    assert len(outcomes) == len(MUTANTS)
    assert (project / "counted.py").read_text() == SOURCE
    # Byte code of a mutant would be used instead of the source by a later run.
    assert [*project.glob("__pycache__/counted.*")] == []
