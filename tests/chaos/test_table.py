"""The table of faults has the numbers of its histories."""

from .table import OTHERS, REPOSITORY, results, table


def test_each_finding_is_counted_in_its_column():
    line = {"fault": "x", "calls": 9, "results": 5, "errors": 1, "longest": 1.5}
    found = {"no end": 3, "executed more than once": 1, "ended more than once": 1, "too late": 4}
    assert table([{**line, **found}]).splitlines()[2] == "| x | 9 | 5 | 1 | 3 | 2 | 0 | 4 | 1.50 |"


def test_the_result_of_a_file_is_that_of_its_worst_test(tmp_path):
    report = tmp_path / "report.xml"
    cases = ["/>", "><skipped/></testcase>", "><failure/></testcase>"]
    for count, result in enumerate(["passed", "skipped", "failed"], 1):
        text = "".join(f'<testcase classname="tests.chaos.test_x"{case}' for case in cases[:count])
        report.write_text(f"<testsuites><testsuite>{text}</testsuite></testsuites>")
        assert results(report) == {"tests/chaos/test_x.py": result}


def test_each_further_fault_has_a_file():
    assert all((REPOSITORY / file).is_file() for file in OTHERS.values())
