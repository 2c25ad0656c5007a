"""Markdown that is displayed differently from what it says: broken tables and lists, empty links, repeated headings."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..plants import new_file
from ..result import Result, checked
from ..tools import files, lines, version

CLASS: Final = "documents"
TOOL: Final = "pymarkdown"
SPEED: Final = "fast"

# Key: a rule that is off. Value: the reason.
_OFF: Final = {
    "MD013": "a table has long lines; tests/test_documents.py limits those of the README",
    "MD014": "a recorded session shows its prompts",
    "MD031": "a comment for the tests stands directly before a block",
    "MD036": "the forms of issues have short lines in bold",
    "MD041": "a form of an issue begins with its fields",
    "MD046": "commands are indented, files are fenced",
}
# Documents that programs write in parts: blank lines may repeat, and cells of tables have <br> and lines of Python.
_WRITTEN: Final = ("docs/COMPATIBILITY.md", "docs/MUTATION.md", "benchmarks/RESULTS.md")
_OFF_IN_WRITTEN: Final = ("MD001", "MD011", "MD012", "MD022", "MD032", "MD033")
_FINDING: Final = re.compile(r"(.*?):(\d+):\d+: (MD\d+): (.*)")


def run(root: Path) -> Result:
    """Check all Markdown files."""
    paths = files(root, "*.md")
    command = [
        "pymarkdown",
        "--disable-rules",
        ",".join(_OFF),
        "--enable-extensions",
        "front-matter",
        "scan",
        *paths,
    ]
    return checked(_findings(lines(command, root), root), version("pymarkdown", "version"))


def _findings(printed: list[str], root: Path) -> Iterator[str]:
    for line in printed:
        match = _FINDING.match(line)
        if match is None:
            yield line
            continue
        path, number, rule, what = match.groups()
        path = path.removeprefix(f"{root}/")
        if path not in _WRITTEN or rule not in _OFF_IN_WRITTEN:
            yield f"{path}:{number}: {rule}: {what}"


PLANTS: Final = (
    new_file("a link without a target", "docs/planted-link.md", "# Title\n\nSee [the guide]().\n", "docs/planted-link.md", "MD042"),
    new_file("a heading that skips a level", "docs/planted-level.md", "# Title\n\n### Part\n\nText.\n", "docs/planted-level.md", "MD001"),
    new_file("HTML in a document", "docs/planted-html.md", '# Title\n\n<script src="x"></script>\n', "docs/planted-html.md", "MD033"),
    new_file("a list that is a part of a paragraph", "docs/planted-list.md", "# Title\n\nText:\n- one\n- two\n", "docs/planted-list.md", "MD032"),
)  # fmt: skip
