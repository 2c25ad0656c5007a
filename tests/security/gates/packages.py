"""An sdist or a wheel that lacks a tracked file, has another one, or differs between two builds of a commit."""

import tempfile
from pathlib import Path
from typing import Final

from ..plants import Plant, git, replaced
from ..result import Result, checked
from ..supply import check, versions

CLASS: Final = "packages"
TOOL: Final = "tests/supply_chain/build.py"
SPEED: Final = "slow"


def run(root: Path) -> Result:
    """Build twice, in different environments, compare the builds, and compare their contents with the tracked files."""
    version = versions("build", "setuptools")
    with tempfile.TemporaryDirectory() as name:
        built = check("build", root, name, "--twice", version=version)
        files = sorted(str(path) for path in Path(name).iterdir())
        contents = check("contents", root, *(name for name in reversed(files)), version=version)
    return checked([*built.findings, *contents.findings], version)


def _tracked(path: str) -> Plant:
    def change(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("planted\n")
        git(root, "add", path)

    return Plant(f"a tracked file that no package has: {path}", change, (path, "missing"))


PLANTS: Final = (
    _tracked("planted/file.txt"),
    _tracked("man/planted.1"),
    replaced(
        "the time of the build in the metadata",
        "setup.py",
        'encoding="utf-8"), _PROJECT',
        'encoding="utf-8") + str(__import__("time").time_ns()), _PROJECT',
        "METADATA differs between two builds",
    ),
    replaced("a module in a package that is not found", "setup.py", '"validators")', ")", "validators", "is missing", alone=True),
)  # fmt: skip
