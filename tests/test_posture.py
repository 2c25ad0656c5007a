"""The table of security claims: each proof exists, and the document is that of the claims."""

import pytest

from .posture import plants
from .posture.table import CLAIMS, DOCUMENT, ROWS, Claim, document, faults, read

DONE = tuple(Claim(row, "p", "done", ("make test",)) for row in range(1, ROWS + 1))


def with_row(claim):
    return (*DONE[: claim.row - 1], claim, *DONE[claim.row :])


def test_the_claims_of_this_checkout_have_proofs_and_reasons():
    assert faults(read(CLAIMS.read_text())) == []


def test_the_document_is_the_one_that_the_claims_give():
    assert DOCUMENT.read_text() == document(read(CLAIMS.read_text())), "run make posture"


@pytest.mark.parametrize(
    ("claim", "fault"),
    [
        (Claim(7, "", "done", ("make test",)), "row 7: there is no promise"),
        (Claim(7, "p", "done"), "row 7: there is no proof"),
        (Claim(7, "p", "partly", ("make test",)), "row 7: there is no reason"),
        (Claim(7, "p", "open"), "row 7: there is no reason"),
        (Claim(7, "p", "not applicable"), "row 7: there is no reason"),
        (Claim(7, "p", "finished", ("make test",), "r"), "row 7: 'finished' is not one of"),
        (Claim(7, "p", "done", ("make tests",)), "row 7: make tests does not exist"),
        (Claim(7, "p", "done", ("docs/none.md",)), "row 7: docs/none.md does not exist"),
        (Claim(7, "p", "done", ("",)), "row 7:  does not exist"),
        (Claim(7, "p", "done", ("tests::test_none",)), "row 7: tests::test_none does not exist"),
        (
            Claim(7, "p", "done", ("tests/test_posture.py::test_none",)),
            "row 7: tests/test_posture.py::test_none",
        ),
        (
            Claim(7, "p", "done", ("tests/none.py::test_none",)),
            "row 7: tests/none.py::test_none does not exist",
        ),
    ],
)
def test_a_claim_without_proof_or_reason_is_a_fault(claim, fault):
    (found,) = faults(with_row(claim))
    assert found.startswith(fault)


def test_a_missing_row_is_a_fault():
    assert faults(DONE[:-1]) == [f"the rows are not the numbers 1 to {ROWS} in this order"]


def test_proofs_that_exist_are_no_faults():
    proofs = ("make test", "docs/threat-model.md", "tests/test_posture.py::test_a_missing_row_is_a_fault")
    assert faults(with_row(Claim(7, "p", "done", proofs))) == []


def test_the_planted_faults_fit_the_code():
    assert plants.faults(plants.read(plants.PLANTS.read_text())) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"old": "return everything"}, "occurs 0 times"),
        ({"old": "return"}, "times in bridge/core/grants.py"),
        ({"tests": ("tests/none.py",)}, "tests/none.py does not exist"),
        ({"tests": ()}, "names no test"),
    ],
)
def test_a_planted_fault_that_does_not_fit_is_reported(change, fault):
    given = {"gate": "g", "file": "bridge/core/grants.py", "new": "", "tests": ("tests/test_posture.py",)}
    plant = plants.Plant(**{**given, "old": "return ALL in self.servers or server in self.servers", **change})
    (found,) = plants.faults((plant,))
    assert fault in found


def test_the_document_of_planted_faults_has_each_of_them():
    rows = [
        line.split(" | ")[0][2:] for line in plants.DOCUMENT.read_text().splitlines() if line.startswith("| ")
    ]
    assert rows[1:] == [plant.gate for plant in plants.read(plants.PLANTS.read_text())], "run make plants"
