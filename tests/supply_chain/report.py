"""The arguments, the output and the exit status that the checks of this folder have in common.

A check prints each finding on a line of standard output, and a summary on standard error. It exits with 0 without findings, with 1
with findings, and with 3 if it could not do its work; the findings are then the reasons.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).parents[2]
EX_FINDINGS: Final = 1
EX_NOT_RUN: Final = 3


def arguments_of(arguments: list[str]) -> tuple[Path, list[str]]:
    """Return the folder that is checked (`--root FOLDER`, or this checkout) and the other arguments."""
    if arguments[:1] == ["--root"]:
        return Path(arguments[1]).resolve(), arguments[2:]
    return ROOT, arguments


def report(findings: Iterable[str], summary: str) -> int:
    """Print the findings or, without any, the summary. Returns the exit status."""
    found = list(findings)
    for finding in found:
        print(finding)
    if not found:
        print(summary, file=sys.stderr)
    return EX_FINDINGS if found else 0


def not_run(reason: str) -> NoReturn:
    """End the program, because the check could not do its work."""
    print(f"NOT RUN: {reason}")
    sys.exit(EX_NOT_RUN)


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Send what libraries and their programs print to standard error, because standard output is for findings."""
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(output, 1)
        os.close(output)
