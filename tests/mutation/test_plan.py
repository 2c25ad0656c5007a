"""The tests of a mutant and their order."""

import pytest

from .mutant import Key, Mutant
from .plan import Plan, importers
from .reach import Reach

SOURCE = "LIMIT = 3\n\ndef below(number):\n    return number < LIMIT\n"
SECONDS = {
    "tests/validators/test_low.py::test_slow": 2.0,
    "tests/validators/test_low.py::test_fast": 0.1,
    "tests/validators/test_low_bounds.py::test_bound": 0.5,
    "tests/validators/test_other.py::test_fast": 0.05,
    "tests/bridge/test_user.py::test_user": 0.2,
}
LOW_SLOW, LOW_FAST, BOUND, OTHER, USER = SECONDS


@pytest.fixture
def root(tmp_path):
    for name in ("bridge/core", "validators"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "validators/low.py").write_text(SOURCE)
    (tmp_path / "validators/unused.py").write_text(SOURCE)
    (tmp_path / "bridge/core/user.py").write_text("from ...validators.low import LIMIT\n")
    (tmp_path / "bridge/core/neighbour.py").write_text("from . import user\n")
    return tmp_path


def plan(root, seconds=SECONDS):
    lines = {
        "validators/low.py": {4: frozenset({LOW_SLOW, LOW_FAST, BOUND, OTHER})},
        "bridge/core/user.py": {1: frozenset({USER})},
    }
    return Plan(Reach(seconds, lines), root)


def mutant(row, module="validators/low.py"):
    return Mutant(Key(module, "", "NumberReplacer"), row, 8, 9, "4")


def test_a_line_of_a_function_is_tested_by_what_runs_it_its_own_files_first(root):
    job = plan(root).job(7, mutant(4))
    assert job.stages == ((LOW_FAST, BOUND, LOW_SLOW), (OTHER,))
    assert job.number == 7
    assert job.name == "mcpbridged.validators.low"
    assert job.source == SOURCE.replace("3", "4")


def test_a_constant_is_tested_by_what_runs_its_module_and_those_that_import_it(root):
    assert plan(root).job(7, mutant(1)).stages == ((LOW_FAST, BOUND, LOW_SLOW), (OTHER,), (USER,))


def test_a_constant_is_also_tested_by_the_files_that_import_it(root):
    """They may read it without a line of the module that they run."""
    file = root / USER.partition("::")[0]
    file.parent.mkdir(parents=True)
    file.write_text("from mcpbridged.validators.unused import LIMIT\n")
    assert plan(root).job(7, mutant(1, "validators/unused.py")).stages == ((USER,),)
    assert plan(root).job(7, mutant(4, "validators/unused.py")) is None


def test_a_line_that_no_test_runs_has_no_job(root):
    assert plan(root).job(7, mutant(4, "validators/unused.py")) is None
    assert plan(root).job(7, mutant(1, "validators/unused.py")) is None


def test_a_function_that_runs_at_import_is_tested_like_a_constant(root):
    lines = {
        "validators/low.py": {4: frozenset(), 2: frozenset({OTHER})},
        "bridge/core/user.py": {1: frozenset({USER})},
    }
    assert Plan(Reach(SECONDS, lines), root).job(7, mutant(4)).stages == ((OTHER, USER),)


def test_other_tests_of_the_own_file_are_last(root):
    """The result of a cached function is only computed for the first test that needs it."""
    lines = {"validators/low.py": {4: frozenset({LOW_FAST}), 2: frozenset({LOW_SLOW, BOUND, OTHER})}}
    assert Plan(Reach(SECONDS, lines), root).job(7, mutant(4)).stages == ((LOW_FAST,), (BOUND, LOW_SLOW))


def test_a_stage_is_limited_and_has_a_test_at_least(root):
    assert plan(root, SECONDS | {LOW_SLOW: 14.5}).job(7, mutant(4)).stages[0] == (LOW_FAST, BOUND)
    assert plan(root, SECONDS | {OTHER: 99}).job(7, mutant(4)).stages[1] == (OTHER,)


def test_the_limit_of_time_grows_with_the_longest_stage(root):
    assert plan(root).job(7, mutant(4)).processor == 18
    assert plan(root, SECONDS | {OTHER: 99}).job(7, mutant(4)).processor == 307


def test_without_a_file_of_its_own_the_file_with_most_tests_is_first(root):
    lines = {"validators/unused.py": {4: frozenset({LOW_SLOW, LOW_FAST, OTHER})}}
    job = Plan(Reach(SECONDS, lines), root).job(7, mutant(4, "validators/unused.py"))
    assert job.stages == ((LOW_FAST, LOW_SLOW), (OTHER,))


def test_importers(root):
    assert importers(root) == {
        "validators/low.py": {"bridge/core/user.py"},
        "bridge/core/user.py": {"bridge/core/neighbour.py"},
        "bridge/core/__init__.py": {"bridge/core/neighbour.py"},
    }
