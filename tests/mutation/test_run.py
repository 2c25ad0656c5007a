"""Samples: how many mutants are run, and which outcomes end a run."""

import pytest

from . import run
from .mutant import Key, Mutant
from .pool import Job, Outcome
from .reach import BaselineFailedError
from .report import Report
from .run import Sample, confirm


class SamePlan:
    """Gives each mutant the same test, except for those of a line that no test runs."""

    def source(self, module):
        return "source"

    def job(self, number, mutant):
        return Job(number, "name", "source", (("f.py::one", "f.py::two"),), 11) if mutant.row else None


class Pool:
    """Ends every job with the same outcome."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.jobs = []

    def run(self, take):
        while (job := take()) is not None:
            self.jobs.append(job)
            yield job, self.outcome


def mutants(rows):
    return [
        Mutant(Key("a/b.py", f"line {number}", "AddNot"), row, 0, 0, "") for number, row in enumerate(rows)
    ]


def sample(rows, wanted):
    report = Report(1, wanted, 99, {}, {}, {})
    return Sample(mutants(rows), SamePlan(), report), report


def test_a_mutant_that_cannot_be_imported_is_replaced():
    some, report = sample([1, 2, 3, 4], 2)
    first, second = some.take(), some.take()
    assert some.take() is None
    some.done(first, Outcome("invalid", "TypeError"))
    third = some.take()
    assert (first.number, second.number, third.number) == (0, 1, 2)
    some.done(second, Outcome("survived"))
    some.done(third, Outcome("killed", "f.py::one[x]"))
    assert some.take() is None
    assert [one.status for one in report.results] == ["survived", "killed"]
    assert report.invalid == 1


def test_a_sample_is_used_up_when_its_last_mutant_has_ended():
    some, _ = sample([1, 2], 9)
    first, second = some.take(), some.take()
    some.done(first, Outcome("killed", "f.py::one"))
    assert not some.is_used_up()
    some.done(second, Outcome("survived"))
    assert some.is_used_up()


def test_a_sample_with_further_mutants_is_not_used_up():
    some, _ = sample([1, 2], 1)
    some.done(some.take(), Outcome("survived"))
    assert not some.is_used_up()


def test_no_mutant_is_run_after_the_end_of_the_time():
    report = Report(1, 5, 99, {}, {}, {})
    assert Sample(mutants([1, 2]), SamePlan(), report, until=0).take() is None


def test_a_line_that_no_test_runs_is_a_survivor(capsys):
    some, report = sample([0, 0, 5], 3)
    assert some.take().number == 2
    assert [(one.status, one.by) for one in report.results] == 2 * [("survived", "no test runs the line")]
    assert "survived: a/b.py:0: line 0" in capsys.readouterr().out


def test_an_accepted_survivor_is_not_printed_and_counts(capsys):
    some, report = sample([1], 1)
    report.accepted = {Key("a/b.py", "line 0", "AddNot"): "equivalent: no"}
    some.done(some.take(), Outcome("survived"))
    assert capsys.readouterr().out == ""
    assert report.score() == 0


def test_a_run_that_did_not_test_the_mutant_is_no_result():
    some, _ = sample([1], 1)
    with pytest.raises(BaselineFailedError, match="pytest ended"):
        some.done(some.take(), Outcome("broken", "pytest ended with 4"))


def killed_by(by):
    some, _ = sample([1], 1)
    some.done(some.take(), Outcome("killed", by))
    return some


@pytest.mark.parametrize(
    ("by", "tests"),
    [("f.py::one[x]", ("f.py::one",)), ("f.py::two", ("f.py::two",)), ("f.py", ("f.py::one", "f.py::two"))],
)
def test_tests_that_have_killed_run_once_more_without_a_mutant(by, tests):
    pool = Pool(Outcome("survived"))
    confirm(pool, killed_by(by), SamePlan())
    assert [job.stages for job in pool.jobs] == [(tests,)]
    assert pool.jobs[0].source == "source"


def test_a_test_that_fails_without_a_mutant_too_is_no_result():
    with pytest.raises(BaselineFailedError, match="without a change"):
        confirm(Pool(Outcome("killed", "f.py::one")), killed_by("f.py::one"), SamePlan())


def test_without_the_library_nothing_is_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "_PYTHON", tmp_path / "missing")
    monkeypatch.setattr("sys.argv", ["run"])
    assert run.main() == 77
    assert capsys.readouterr().out.startswith("NOT RUN")
