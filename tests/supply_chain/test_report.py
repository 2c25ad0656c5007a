"""The exit status says whether there are findings, none, or no run; standard output has findings alone."""

import subprocess
import sys

import pytest

from .report import EX_FINDINGS, EX_NOT_RUN, ROOT, arguments_of, not_run, report


def test_findings_are_printed_and_exit_with_1(capsys):
    assert report(["a", "b"], "summary") == EX_FINDINGS
    assert capsys.readouterr() == ("a\nb\n", "")


def test_a_run_without_findings_exits_with_0_and_prints_no_finding(capsys):
    assert report([], "summary") == 0
    assert capsys.readouterr() == ("", "summary\n")


def test_a_run_that_could_not_work_exits_with_another_status(capsys):
    with pytest.raises(SystemExit) as ended:
        not_run("no network")
    assert ended.value.code == EX_NOT_RUN
    assert capsys.readouterr().out == "NOT RUN: no network\n"


def test_the_folder_is_this_checkout_or_another(tmp_path):
    assert arguments_of(["check"]) == (ROOT, ["check"])
    assert arguments_of(["--root", str(tmp_path), "check"]) == (tmp_path, ["check"])


def test_the_output_of_libraries_and_programs_is_not_among_the_findings():
    code = (
        "import os; from tests.supply_chain.report import output_to_stderr\n"
        "print('before')\nwith output_to_stderr():\n    print('library')\n    os.system('echo program')\nprint('after')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "before\nafter\n"
    assert sorted(done.stderr.split()) == ["library", "program"]
