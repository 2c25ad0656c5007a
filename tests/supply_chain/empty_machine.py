"""Install from an sdist on an empty machine and test there: `python -m tests.supply_chain.empty_machine SDIST`.

The sdist is unpacked into an empty home. The environment has no variable but PATH, HOME and LANG, and there is no repository of git
above. make sets the rest up, as README.md describes, and runs a part of the tests.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from .report import report

# Without the daemons' tests, that would take minutes; with two calls of an official client.
TESTS: Final = (
    "tests/validators",
    "tests/test_documents.py",
    "tests/test_mirror.py",
    "tests/test_posture.py",
    "tests/test_sources.py",
    "tests/supply_chain",
    "tests/e2e/test_aggregate.py::test_an_official_client_in_front_of_all",
    "tests/e2e/test_connect.py::test_an_official_client_over_stdio",
)


def run(sdist: Path) -> int:
    """Unpack, install and test. Returns the status of the command that failed, or 0."""
    with tempfile.TemporaryDirectory(prefix="empty-machine-") as name:
        home = Path(name)
        with tarfile.open(sdist) as archive:
            archive.extractall(home, filter="data")
        (source,) = home.iterdir()
        # The program python3 of this Python, and the system's programs.
        (home / "bin").mkdir()
        (home / "bin/python3").symlink_to(os.path.realpath(sys.base_prefix + "/bin/python3"))
        environment = {"PATH": f"{home / 'bin'}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
        if not shutil.which("make", path=environment["PATH"]):
            return report(["empty machine: there is no make"], "")
        for command in (
            ["make", "--no-print-directory", ".venv/.test"],
            [".venv/bin/python", "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *TESTS],
        ):
            done = subprocess.run(command, cwd=source, env=environment, stdin=subprocess.DEVNULL, check=False)
            if done.returncode:
                return report([f"empty machine: {' '.join(command[:4])} exited with {done.returncode}"], "")
    return report([], f"{sdist.name} installs and passes tests on an empty machine")


def main(arguments: list[str]) -> int:
    (sdist,) = arguments
    return run(Path(sdist))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
