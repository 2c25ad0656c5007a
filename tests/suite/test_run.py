"""The runner of all tests, with planted test files."""

import re
import subprocess
import sys

import pytest

from ..support.bridge_process import REPOSITORY
from .kinds import PROPERTIES, kind_of, table
from .run import ROOT, all_units, places

FILES = {
    "passes": "def test_one(): pass\ndef test_two(): pass\n",
    "fails": "def test_one(): assert 'planted' == 'fault'\n",
    "skips": "import pytest\ndef test_one(): pytest.skip('no reason')\n",
    "empty": "",
    "broken": "import no_such_module\ndef test_one(): pass\n",
    "exits": "import os\ndef test_one(): os._exit(0)\ndef test_two(): pass\n",
    "dies": "import os, signal\ndef test_one(): os.kill(os.getpid(), signal.SIGKILL)\n",
    "property": "from hypothesis import given, strategies as st\n@given(st.booleans())\ndef test_one(found): pass\n",
    "setup": "import pytest\n@pytest.fixture\ndef broken(): raise OSError\ndef test_one(broken): pass\n",
}


FAULTS = ("fails", "empty", "broken", "exits", "dies", "setup")


def run(folder, names):
    """Run planted files. Return the exit code, the output, and the numbers of all that passed, failed and were skipped."""
    files = [folder / f"test_{name}.py" for name in names]
    for name, file in zip(names, files, strict=True):
        file.write_text(FILES[name])
    done = subprocess.run(
        [sys.executable, "-m", "tests.suite.run", "--output", folder / "output", *files],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    last = re.search(r"^all +(\d+) +(\d+) +(\d+)", done.stdout, re.MULTILINE)
    return done.returncode, done.stdout, tuple(map(int, last.groups()))


def test_tests_that_pass_are_counted(tmp_path):
    code, output, counts = run(tmp_path, ("passes", "property", "skips"))
    assert code == 0
    assert counts == (3, 0, 1)
    assert re.search(rf"^{PROPERTIES} +1 +0 +0", output, re.MULTILINE)
    assert (tmp_path / "output/kinds.txt").read_text() in output


def test_each_planted_fault_is_found_and_the_output_is_shown(tmp_path):
    code, output, counts = run(tmp_path, ("passes", *FAULTS))
    assert code == 1
    assert set(re.findall(r"^FAILED: test_(\w+)\.py", output, re.MULTILINE)) == set(FAULTS)
    assert "assert 'planted' == 'fault'" in output
    assert counts == (2, 2, 0)


def test_a_file_without_tests_alone_fails_the_run(tmp_path):
    (tmp_path / "test_empty.py").touch()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.suite.run",
            "--output",
            tmp_path / "output",
            tmp_path / "test_empty.py",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no tests" in done.stdout


def test_all_test_files_are_in_one_unit_each():
    units = all_units()
    files = [file for unit in units for file in unit.files]
    assert len(files) == len(set(files))
    # Those of these folders need programs that `make test` does not install.
    elsewhere = {"page", "replicas"}
    wanted = {
        file
        for file in (ROOT / "tests").rglob("test_*.py")
        if file.relative_to(ROOT / "tests").parts[0] not in elsewhere and file.name != "test_image.py"
    }
    assert set(files) == wanted
    assert len({unit.name for unit in units}) == len(units)


def test_there_are_places_for_both_kinds_of_tests_on_every_machine():
    assert places(1) == (2, 1)
    assert places(2) == (4, 1)
    assert places(64) == (8, 8)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("bridge/core/test_x.py", "units"),
        ("chaos/test_x.py", "chaos"),
        ("test_documents.py", "documents and sources"),
        ("suite/test_run.py", "documents and sources"),
    ],
)
def test_the_kind_of_a_test_is_that_of_its_folder(path, kind):
    assert kind_of(REPOSITORY.relative_to(REPOSITORY) / path, has_examples=False) == kind
    assert kind_of(REPOSITORY.relative_to(REPOSITORY) / path, has_examples=True) == PROPERTIES


def test_the_table_has_the_sums():
    text = table([{"units": {"passed": 2, "seconds": 1.5}}, {"units": {"passed": 1}, "chaos": {"failed": 1}}])
    rows = [line.split() for line in text.splitlines()]
    assert rows[1:] == [
        ["units", "3", "0", "0", "2"],
        ["chaos", "0", "1", "0", "0"],
        ["all", "3", "1", "0", "2"],
    ]
