"""The score, and the figures of the document."""

import json

import pytest

from .mutant import Key, Mutant
from .report import Report, Result

LISTED = Key("validators/names.py", "return a | `b`", "AddNot")


def report(killed, timeouts, survived):
    results = [
        Result(Mutant(Key("bridge/core/link.py", f"return {number}", "AddNot"), number, 0, 0, ""), "", status)
        for status, count in (("killed", killed), ("timeout", timeouts), ("survived", survived - 1))
        for number in range(count)
    ]
    if survived:
        results.append(Result(Mutant(LISTED, 3, 0, 0, ""), "return a", "survived"))
    reasons = {LISTED: "equivalent: a is b"}
    return Report(1, 100, 5000, {"identity": 7}, {"cosmic-ray": "8.7.0"}, reasons, results, 2, 125)


@pytest.mark.parametrize(
    ("counts", "passes"),
    [((84, 1, 15), True), ((84, 0, 16), False), ((99, 0, 0), False), ((100, 0, 0), True), ((0, 0, 0), False)],
)
def test_85_of_100_must_be_killed_also_if_a_survivor_has_a_reason(counts, passes):
    assert report(*counts).passes() == passes


def test_without_mutants_there_is_no_score():
    with pytest.raises(ValueError, match="no mutant"):
        report(0, 0, 0).score()


def test_the_figures_replace_the_former_ones(tmp_path):
    file = tmp_path / "MUTATION.md"
    file.write_text("# Head\n<!-- figures -->\nold\n<!-- end of figures -->\nTail\n")
    report(8, 1, 2).document(file)
    text = file.read_text()
    assert text.startswith(
        "# Head\n<!-- figures -->\nOf 5,000 places, 11 (of 100: the time was over) with the seed 1: **81.8 %** in 2 minutes."
    )
    assert text.endswith("<!-- end of figures -->\nTail\n")
    assert "old" not in text
    assert "| `bridge/core` | 10 | 8 | 1 | 1 | 90 % |" in text
    assert "| `validators` | 1 | 0 | 0 | 1 | 0 % |" in text
    assert "| `AddNot` | 11 | 8 | 1 | 2 | 82 % |" in text
    assert "| `validators/names.py` | `` return a \\| `b` `` | `return a` | equivalent: a is b |" in text
    assert "| `bridge/core/link.py` | `return 0` | `` | to kill |" not in text
    assert "| `bridge/core/link.py` | `return 0` | (removed) | to kill |" in text
    assert "cosmic-ray 8.7.0" in text


def test_the_file_has_each_survivor_with_its_reason(tmp_path):
    file = tmp_path / "report.json"
    report(8, 1, 2).write(file)
    found = json.loads(file.read_text())
    assert found["score"] == 81.82
    assert found["mutants"] == 11
    assert [one["reason"] for one in found["survivors"]] == ["", "equivalent: a is b"]
    assert len(found["killed"]) == 9
