"""The script of all gates, with a make that does nothing: each failure fails it, and the time of each gate is printed."""

import os
import re
import shutil
import subprocess

import pytest

from ..support.bridge_process import REPOSITORY

MAKE = '#!/bin/sh\necho "output of $2"\n[ "$2" != "$FAILING" ]\n'
GATES = re.findall(r"^(?:gate|together) (.+)$", (REPOSITORY / ".ci/run").read_text(), re.MULTILINE)
NAMES = [name for line in GATES for name in line.split()]


def run(folder, failing):
    (folder / ".ci").mkdir()
    script = shutil.copy(REPOSITORY / ".ci/run", folder / ".ci/run")
    (folder / "make").write_text(MAKE)
    (folder / "make").chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "FAILING": failing}
    return subprocess.run([script], env=environment, capture_output=True, text=True, check=False)


def times_of(done):
    return re.findall(r"^ +\d+ s  (\S+)$", done.stdout.partition("=== time by gate\n")[2], re.MULTILINE)


def test_the_time_of_each_gate_and_of_all_is_printed(tmp_path):
    done = run(tmp_path, "")
    assert done.returncode == 0
    found = times_of(done)
    assert sorted(found[:-1]) == sorted(NAMES)
    assert found[-1] == "total"


@pytest.mark.parametrize("name", NAMES)
def test_a_gate_that_fails_ends_the_run_with_its_output_and_time(tmp_path, name):
    done = run(tmp_path, name)
    assert done.returncode == 1
    assert f"output of {name}\n" in done.stdout
    assert {name, "total"} <= set(times_of(done))
    (line,) = [line for line in GATES if name in line.split()]
    later = [other for after in GATES[GATES.index(line) + 1 :] for other in after.split()]
    assert not set(later) & set(times_of(done))
