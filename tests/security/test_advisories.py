"""Each advisory has a test of its number, and each such test an advisory."""

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs/advisories/README.md"


def test_the_document_and_the_tests_name_the_same_advisories():
    rows = re.findall(r"^\| MCPB-(\d{4})-(\d+) \|.*\| `(.+)` \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert rows
    assert all(path == f"tests/security/test_advisory_{year}_{number}.py" for year, number, path in rows)
    files = sorted(file.name for file in HERE.glob("test_advisory_*.py"))
    assert files == sorted(path.rpartition("/")[2] for _, _, path in rows)


def test_each_test_begins_with_the_id_of_its_advisory():
    for file in HERE.glob("test_advisory_*.py"):
        year, number = file.stem.removeprefix("test_advisory_").split("_")
        assert file.read_text().startswith(f'"""MCPB-{year}-{number}: '), file.name
