"""The decision records: each is in the index, has the same parts, and names tests that exist."""

import re

import pytest

from .posture.table import ROOT, exists

RECORDS = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
PARTS = ["Context", "Decision", "Consequences", "Tests"]


def faults(name, text, number):
    """Return what is wrong with a record."""
    found = []
    title = re.match(r"# (\d+)\. (.+)\n\n(Accepted|Replaced by \d+)\. Boundary: .+\.\n", text)
    if title is None or int(title[1]) != number or not name.startswith(f"{number:04}-"):
        found.append("the title, the number or the state")
    if re.findall(r"^## (.+)$", text, re.MULTILINE) != PARTS:
        found.append("the parts")
    tests = re.findall(r"^- `(.+)`$", text.partition("## Tests")[2], re.MULTILINE)
    return [*found, *(f"{test} does not exist" for test in tests or ["a test"] if not exists(test))]


@pytest.mark.parametrize("number", range(1, len(RECORDS) + 1))
def test_a_record_has_its_parts_and_names_tests(number):
    file = RECORDS[number - 1]
    assert faults(file.name, file.read_text(), number) == []


def test_the_index_has_every_record_with_its_title_and_its_boundary():
    rows = re.findall(
        r"^\| (\d+) \| \[(.+)\]\((.+)\) \| (.+) \|$", (ROOT / "docs/adr/README.md").read_text(), re.MULTILINE
    )
    expected = []
    for file in RECORDS:
        number, title = re.match(r"# (\d+)\. (.+)", file.read_text()).groups()
        boundary = re.search(r"Boundary: (.+)\.$", file.read_text(), re.MULTILINE)[1]
        expected.append((number, title, file.name, boundary))
    assert rows == expected


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("# 1. ", "# 2. ", "the title, the number or the state"),
        ("Accepted. ", "", "the title, the number or the state"),
        ("## Consequences\n", "", "the parts"),
        ("::test_", "::tests_", "does not exist"),
        ("\n- `", "\n- ", "a test does not exist"),
    ],
)
def test_a_record_that_lacks_something_is_found(old, new, fault):
    file = RECORDS[0]
    assert any(found.endswith(fault) for found in faults(file.name, file.read_text().replace(old, new), 1))
