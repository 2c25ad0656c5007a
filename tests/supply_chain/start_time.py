"""Measure the start of an installed program: `python -m tests.supply_chain.start_time PROGRAM`.

`--help` and `--version` work with an empty environment, in an empty folder, and take less than half a second of processor time. The
time of the processor, because that of the clock depends on what else runs.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from .report import report

SECONDS: Final = 0.5
RUNS: Final = 3


def measured(program: str, option: str) -> tuple[float, str, int]:
    """Return the shortest time of some runs (seconds of the processor), the output of the last one and its status."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(RUNS):
            before = _used()
            done = subprocess.run(
                [program, option],
                cwd=folder,
                env={},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            times.append(_used() - before)
        if left := [path.name for path in Path(folder).iterdir()]:
            return min(times), f"it left {', '.join(left)} in the working directory", 1
    return min(times), done.stdout + done.stderr, done.returncode


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def faults(program: str) -> list[str]:
    """Return the options that fail or take too long."""
    found = []
    for option in ("--help", "--version"):
        seconds, output, status = measured(program, option)
        if status or not output.strip():
            found.append(f"start: {option} exits with {status}: {output.strip()[-300:] or 'no output'}")
        elif seconds >= SECONDS:
            found.append(
                f"start: {option} takes {seconds:.2f} s of the processor, and the limit is {SECONDS} s"
            )
        else:
            print(f"{option}: {seconds:.2f} s", file=sys.stderr)
    return found


def main(arguments: list[str]) -> int:
    (program,) = arguments
    return report(faults(str(Path(program).absolute())), f"the start takes less than {SECONDS} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
