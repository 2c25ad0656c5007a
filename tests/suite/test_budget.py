"""The budget of `make quick`."""

import re
import shutil
import subprocess
import sys

import pytest

from ..support.bridge_process import REPOSITORY
from .budget import main

SLOW_STEP = [sys.executable, "-c", "import time; time.sleep(0.2)"]


def test_a_planted_slow_step_fails(capfd):
    assert main(["0.1", *SLOW_STEP]) == 1
    assert "took longer than its budget" in capfd.readouterr().err


def test_a_command_within_its_budget_passes_and_its_time_is_printed(capfd):
    assert main(["600", *SLOW_STEP]) == 0
    assert re.search(r": \d+ s of 600 s\n", capfd.readouterr().out)


@pytest.mark.parametrize("budget", ["0", "600"])
def test_the_status_of_a_command_that_fails_is_kept(budget):
    assert main([budget, sys.executable, "-c", "raise SystemExit(7)"]) == 7


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_quick_fails_for_a_step_above_the_budget_and_passes_below():
    def quick(seconds):
        # The recipe with another inner target, which is slow.
        return subprocess.run(
            [
                "make",
                "--old-file=.venv/.lint",
                "quick",
                "QUICK_STEPS=slow-step",
                f"QUICK_SECONDS={seconds}",
                "--eval=slow-step: ; sleep 0.2",
            ],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )

    over, under = quick(0.1), quick(600)
    assert over.returncode == 2, over.stderr
    assert "took longer than its budget" in over.stderr
    assert under.returncode == 0, under.stderr
