"""The modules that are mutated: those whose branch coverage `make test` requires to be 100 %, without generated ones."""

import fnmatch
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "mcpbridged"
FOLDERS: Final = ("bridge", "transports", "validators")
# The tests that are run for a mutant. They need no daemon and no program.
TESTS: Final = (
    "tests/validators",
    "tests/bridge/core",
    "tests/bridge/eras",
    "tests/bridge/events",
    "tests/bridge/aggregate",
    "tests/bridge/config",
    "tests/bridge/commands/test_client_snippets.py",
    "tests/bridge/runtime/test_placement.py",
    "tests/transports/process/test_lines.py",
    "tests/transports/endpoints/test_sse_codec.py",
    "tests/fuzz/test_corpus.py",
    "tests/test_documents.py",
)
_INCLUDED: Final = re.compile(r"coverage report --fail-under=100 --include='([^']+)'")
_GENERATED: Final = "validators/message_schemas/"


def pure_modules(root: Path = ROOT) -> list[str]:
    """Return the paths of the modules. Raises ValueError if the Makefile does not list them."""
    found = _INCLUDED.search((root / "Makefile").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError("the Makefile has no list of modules with a coverage of 100 %")
    patterns = found[1].split(",")
    return [
        path
        for path in sources(root)
        if any(fnmatch.fnmatchcase(f"/{path}", pattern) for pattern in patterns)
        and not path.startswith(_GENERATED)
        and not path.endswith("/__init__.py")
    ]


def sources(root: Path = ROOT) -> list[str]:
    """Return the paths of all modules of the program."""
    return sorted(str(file.relative_to(root)) for folder in FOLDERS for file in (root / folder).rglob("*.py"))


def import_name(module: str) -> str:
    """Return the name by which Python imports the module of a path."""
    return f"{PACKAGE}.{module.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"


def mirror(module: str) -> str:
    """Return the beginning of the paths of the test files of a module."""
    path = Path("tests") / module
    return str(path.with_name(f"test_{path.stem}"))
