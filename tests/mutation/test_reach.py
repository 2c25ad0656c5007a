"""The table of the lines that each test runs."""

import json

import pytest

from . import reach
from .reach import BaselineFailedError, Reach, load


@pytest.fixture
def project(tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def written(project, text):
    (project / "tests/test_some.py").write_text(text)
    return load(project / "build", 2, project, ["tests/test_some.py"])


def test_the_lines_of_each_test_are_found_once(project, monkeypatch):
    text = "from mcpbridged.validators.counted import counted\n\ndef test_one(): assert counted(1, 'byte')\n\ndef test_two(): pass\n"
    found = written(project, text)
    assert {*found.seconds} == {"tests/test_some.py::test_one", "tests/test_some.py::test_two"}
    assert found.tests("validators/counted.py", None) == {"tests/test_some.py::test_one"}
    (line,) = (line for line, tests in found.lines["validators/counted.py"].items() if tests)
    assert found.tests("validators/counted.py", range(line, line + 1)) == {"tests/test_some.py::test_one"}
    assert found.tests("validators/counted.py", range(line)) == set()
    assert found.tests("validators/names.py", None) == set()
    # The second time, nothing is run.
    monkeypatch.setattr(reach, "_measure", lambda *_: pytest.fail("the tests were run again"))
    assert written(project, text) == found
    monkeypatch.setattr(reach, "_measure", lambda *_: [])
    assert written(project, f"{text}\n# changed\n") == Reach({}, {})


@pytest.mark.parametrize(
    "text", ["def test_one(): assert False\n", "import missing_module\n", "NO_TEST = 1\n"]
)
def test_tests_that_fail_without_a_mutant_are_an_error_and_not_stored(project, text):
    with pytest.raises(BaselineFailedError):
        written(project, text)
    assert not (project / "build/reach.json").exists()


def test_the_parts_of_the_table_are_joined(project, monkeypatch):
    parts = [
        {"seconds": {"a::one": 1, "a::two": 2}, "lines": {"m.py": {"1": [0, 1], "2": [1]}}},
        {"seconds": {"b::three": 3}, "lines": {"m.py": {"2": [0]}, "n.py": {"5": [0]}}},
    ]
    monkeypatch.setattr(reach, "_measure", lambda *_: json.loads(json.dumps(parts)))
    found = written(project, "")
    assert found.seconds == {"a::one": 1, "a::two": 2, "b::three": 3}
    assert found.lines == {
        "m.py": {1: frozenset({"a::one", "a::two"}), 2: frozenset({"a::two", "b::three"})},
        "n.py": {5: frozenset({"b::three"})},
    }
