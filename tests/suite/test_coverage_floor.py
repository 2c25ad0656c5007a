"""The floor of the coverage of the whole code in `make test`: a planted function that no test calls fails it."""

import re
import subprocess
import sys

import pytest

from ..support.bridge_process import REPOSITORY

MAKEFILE = (REPOSITORY / "Makefile").read_text()
FLOOR = re.search(r"^COVERAGE_FLOOR := (\d+)$", MAKEFILE, re.MULTILINE)[1]
(OPTIONS,) = re.findall(r"^\t@\$\(BIN\)/coverage report (.*\$\(COVERAGE_FLOOR\))$", MAKEFILE, re.MULTILINE)
CODE = "def called(x):\n    if x:\n        return 1\n    return 2\ncalled(0)\ncalled(1)\n"
PLANTED = "def planted():\n" + "    print()\n" * 5


@pytest.mark.parametrize(
    ("code", "status"), [(CODE, 0), (CODE + PLANTED, 2)], ids=["all is called", "planted"]
)
def test_code_that_no_test_calls_fails_below_the_floor(tmp_path, code, status):
    (tmp_path / "module.py").write_text(code)

    def coverage(*words):
        command = [sys.executable, "-m", "coverage", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert coverage("run", "--branch", "--source=.", "module.py").returncode == 0
    done = coverage("report", *OPTIONS.replace("$(COVERAGE_FLOOR)", FLOOR).split())
    assert done.returncode == status, done.stdout + done.stderr
