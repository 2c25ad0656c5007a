"""The revisions of MCP."""

import pytest

from mcpbridged.validators import revisions
from mcpbridged.validators.rejection import Rejection


def test_a_version_header_is_absent_or_a_legacy_revision():
    revisions.check_version_header(None)
    revisions.check_version_header("2025-03-26")
    with pytest.raises(Rejection, match="2025-11-25"):
        revisions.check_version_header("2030-01-01")


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("2024-10-07", "2024-11-05"),
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-17", "2025-03-26"),
        ("2025-11-25", "2025-11-25"),
        ("2030-01-01", "2025-11-25"),
        ("DRAFT-2026-v1", "2025-11-25"),
        ("", "2024-11-05"),
    ],
)
def test_an_unknown_version_has_the_rules_of_the_revision_before_it(version, known):
    assert revisions.known_revision(version) == known


@pytest.mark.parametrize(
    ("requested", "latest", "negotiated"),
    [
        ("2024-10-07", "2025-11-25", "2024-10-07"),
        ("2025-06-18", "2025-11-25", "2025-06-18"),
        ("2025-11-25", "2025-06-18", "2025-06-18"),
        ("2030-01-01", "2025-11-25", "2025-11-25"),
        ("0.1", "2025-11-25", "2025-11-25"),
        ("", "2025-11-25", "2025-11-25"),
    ],
)
def test_the_earlier_of_two_versions_is_negotiated(requested, latest, negotiated):
    assert revisions.negotiated_version(requested, latest) == negotiated
