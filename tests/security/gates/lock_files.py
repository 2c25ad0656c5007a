"""Lock files that do not meet pyproject.toml, that name a place, or that have no hashes."""

from pathlib import Path
from typing import Final

from ..plants import appended, replaced
from ..result import Result
from ..supply import check, versions

CLASS: Final = "dependencies"
TOOL: Final = "tests/supply_chain/lock.py"
SPEED: Final = "fast"
_RUNTIME: Final = "requirements/runtime.txt"


def run(root: Path) -> Result:
    return check("lock", root, "check", version=versions("packaging"))


PLANTS: Final = (
    appended("a package without a hash", _RUNTIME, "planted==1.0\n", "planted has no SHA-256 hash"),
    appended("an index in a lock file", _RUNTIME, "--index-url https://index.example/simple\n", "--index-url names a place"),
    appended("a package of an address", _RUNTIME, "planted @ https://files.example/planted.whl\n", "planted names a place"),
    replaced("a hash that is not SHA-256", _RUNTIME, "--hash=sha256:", "--hash=md5:", "has no SHA-256 hash"),
    replaced("a range in place of a version", "requirements/test.txt", "pyte==", "pyte>=", "pyte is not pinned to one version"),
    replaced("a dependency that is not locked", "pyproject.toml", '"trio>=', '"planted>=1", "trio>=', "planted>=1", "is not met"),
    replaced("a limit that excludes the locked version", "pyproject.toml", '"h11>=0.16,<0.17"', '"h11>=0.99"', "h11>=0.99", "is not met"),
)  # fmt: skip
