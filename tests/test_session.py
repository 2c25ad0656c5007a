"""docs/SESSION.md has the commands of the recorder, and lines that fit into the terminal."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEPS = runpy.run_path(str(ROOT / "tests/session/steps.py"))
DOCUMENT = (ROOT / "docs/SESSION.md").read_text()
SECTIONS = [(title, steps, width) for width in STEPS["WIDTHS"] for title, steps in STEPS["SESSIONS"]]


def screens(title, width):
    """Return the lines of each screen of a section."""
    section = DOCUMENT.split(f"## {title}, {width} columns\n")[1].split("\n## ")[0]
    return [
        screen.split("\n")
        for screen in re.findall(r"^```text\n(.*?)\n```$", section, re.MULTILINE | re.DOTALL)
    ]


@pytest.mark.parametrize(("title", "steps", "width"), SECTIONS)
def test_the_recorded_session_has_the_commands_of_the_recorder(title, steps, width):
    typed = [STEPS["typed"](step) for step in steps]
    assert [shown[: len(lines)] for shown, lines in zip(screens(title, width), typed, strict=True)] == typed


@pytest.mark.parametrize(("title", "steps", "width"), SECTIONS)
def test_no_line_of_the_recorded_session_is_wider_than_its_terminal(title, steps, width):
    assert [line for screen in screens(title, width) for line in screen if len(line) > width] == []


def test_the_recorded_session_has_no_path_of_the_machine_that_recorded():
    assert re.findall(r"/tmp/\S*|/root\b\S*", DOCUMENT) == []
