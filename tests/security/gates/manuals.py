"""Manual pages with unknown macros, wrong order or text that is not displayed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..plants import appended, replaced
from ..result import Result, checked, not_run
from ..tools import files, lines, version

CLASS: Final = "documents"
TOOL: Final = "mandoc, groff"
SPEED: Final = "fast"
MAY_NOT_RUN: Final = "mandoc and groff are programs of the system, of which one is enough"


def run(root: Path) -> Result:
    """Set each page with the programs that are there."""
    commands = []
    if shutil.which("mandoc"):
        commands.append(["mandoc", "-T", "lint", "-W", "warning"])
    if shutil.which("groff"):
        commands.append(["groff", "-man", "-ww", "-T", "utf8", "-z"])
    if not commands:
        return not_run("neither mandoc nor groff is installed")
    versions = [version("groff")] if shutil.which("groff") else []
    return checked(
        _findings(root, commands), ", ".join([*versions, *(["mandoc"] if shutil.which("mandoc") else [])])
    )


def _findings(root: Path, commands: list[list[str]]) -> Iterator[str]:
    for command in commands:
        for page in files(root, "man/*.[1-8]"):
            # mandoc exits with 2 for a warning and 3 or 4 for an error, groff with 0.
            for line in lines([*command, page], root, found=(1, 2, 3, 4)):
                yield line.removeprefix("mandoc: ").removeprefix("troff:")


PLANTS: Final = (
    replaced("an unknown macro", "man/mcp-bridge.1", ".SH NAME", ".SG NAME", "man/mcp-bridge.1", "SG"),
    appended("an escape that is not closed", "man/mcp-bridge.toml.5", "\\fB\\[nosuchglyph]\n", "man/mcp-bridge.toml.5", "nosuchglyph"),
)  # fmt: skip
