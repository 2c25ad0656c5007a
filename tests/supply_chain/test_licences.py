"""Licences are read from each form of metadata, and only those of the lists are allowed."""

from email.message import Message

import pytest

from .licences import ALLOWED, ALLOWED_FOR_TOOLS, faults, licence, permitted, spdx
from .lock import LOCKS

HASH = f"--hash=sha256:{'0' * 64}"


def metadata(expression=None, text=None, *classifiers):
    made = Message()
    if expression:
        made["License-Expression"] = expression
    if text:
        made["License"] = text
    for classifier in classifiers:
        made["Classifier"] = f"License :: OSI Approved :: {classifier}"
    made["Classifier"] = "Framework :: Trio"
    return made


@pytest.mark.parametrize(
    ("found", "expression"),
    [
        (metadata("MIT OR Apache-2.0"), "MIT OR Apache-2.0"),
        (metadata("GPL-3.0-only", "MIT"), "GPL-3.0-only"),
        (metadata(None, "MIT License"), "MIT"),
        (metadata(None, "bsd-3-clause"), "BSD-3-Clause"),
        (metadata(None, "a long text of a licence", "MIT License"), "MIT"),
        (metadata(None, None, "MIT License", "GNU General Public License (GPL)"), "MIT AND GPL-3.0-or-later"),
        (metadata(None, None, "MIT License", "Other/Proprietary License"), ""),
        (metadata(None, "UNKNOWN"), ""),
        (metadata(), ""),
    ],
)
def test_a_licence_is_read_from_the_most_precise_member(found, expression):
    assert licence("any", found) == expression


def test_an_unknown_text_has_no_spdx_expression():
    assert spdx("Do what you want") == ""


@pytest.mark.parametrize("expression", ["MIT", "GPL-3.0-only OR MIT", "MIT AND BSD-2-Clause", "MPL-2.0"])
def test_a_permissive_alternative_is_enough(expression):
    assert permitted(expression, ALLOWED)


@pytest.mark.parametrize(
    "expression",
    ["GPL-3.0-only", "AGPL-3.0-only", "LGPL-3.0-only", "MIT AND GPL-3.0-only", "SSPL-1.0", "MITX"],
)
def test_other_conditions_are_not_allowed_at_run_time(expression):
    assert not permitted(expression, ALLOWED)


def test_agpl_is_not_allowed_for_tools_either():
    assert permitted("GPL-3.0-only", ALLOWED_FOR_TOOLS)
    assert not permitted("AGPL-3.0-only", ALLOWED_FOR_TOOLS)


def test_an_expression_with_parentheses_is_not_guessed():
    with pytest.raises(ValueError, match="parentheses"):
        permitted("MIT AND (GPL-3.0-only OR MIT)", ALLOWED)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "requirements").mkdir()
    for name in LOCKS:
        (tmp_path / f"requirements/{name}.txt").write_text(f"good==1 {HASH}\n")
    return tmp_path


KNOWN = {"good": metadata("MIT"), "copyleft": metadata("GPL-3.0-only"), "silent": metadata()}


def test_allowed_licences_are_no_finding(folder):
    assert faults(folder, KNOWN) == []


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        (
            "copyleft",
            "requirements/runtime.txt: copyleft has the licence GPL-3.0-only, which is not allowed there",
        ),
        ("silent", "requirements/runtime.txt: silent has metadata without a licence that is known here"),
        ("missing", "requirements/runtime.txt: missing is not installed, so that its licence is unknown"),
    ],
)
def test_each_fault_is_reported(folder, name, finding):
    (folder / "requirements/runtime.txt").write_text(f"{name}==1 {HASH}\n")
    assert faults(folder, KNOWN) == [finding]


def test_a_package_for_another_python_is_not_examined(folder):
    (folder / "requirements/runtime.txt").write_text(f"copyleft==1 ; python_version < '3' {HASH}\n")
    assert faults(folder, KNOWN) == []


def test_a_tool_may_have_what_the_program_may_not(folder):
    (folder / "requirements/lint.txt").write_text(f"copyleft==1 {HASH}\n")
    assert faults(folder, KNOWN) == []
