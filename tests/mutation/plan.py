"""Which tests are run for a mutant, in which order, and for how long."""

import ast
import math
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from .modules import PACKAGE, ROOT, import_name, mirror, sources
from .mutant import Mutant
from .places import reached
from .pool import Job
from .reach import Reach

# The tests of one stage take at most this long together (seconds), unless the first one alone takes longer. Tests that are
# left out can only make a mutant survive.
_STAGE_SECONDS: Final = 15
# A mutant is killed by its time when its tests take this many times longer than without it, and these seconds more.
_TIMES: Final = 3
_MORE_SECONDS: Final = 10


class Plan:
    """The tests for mutants of a checkout."""

    def __init__(self, reach: Reach, root: Path = ROOT) -> None:
        self._reach = reach
        self._root = root
        self._source = cache(lambda module: (root / module).read_text(encoding="utf-8"))
        self._tree = cache(lambda module: ast.parse(self._source(module)))
        self._importers = importers(root)
        self._imported = cache(
            lambda file: imported(root / file, sources(root)) if (root / file).exists() else set()
        )

    def source(self, module: str) -> str:
        return self._source(module)

    def job(self, number: int, mutant: Mutant) -> Job | None:
        """Return what is run for a mutant, or None if no test runs its lines."""
        module = mutant.key.module
        found = reached(self._tree(module), mutant.row)
        own = self._reach.tests(module, found.lines)
        all_of_module = self._reach.tests(module, None)
        at_import = found.at_import or (not own and self._reach.ran(module, found.lines))
        if not own and not at_import:
            return None
        first = _first_file(module, own or all_of_module)
        others = {test for test in all_of_module - own if at_import or test.startswith(first)}
        others |= (self._of_importers(module) | self._of_files(module)) - own if at_import else set()
        stages = [
            self._quickest(test for test in own if test.startswith(first)),
            self._quickest(test for test in own if not test.startswith(first)),
            self._quickest(others),
        ]
        chosen = tuple(stage for stage in stages if stage)
        if not chosen:
            return None
        longest = max(sum(self._reach.seconds[test] for test in stage) for stage in chosen)
        processor = math.ceil(longest * _TIMES) + _MORE_SECONDS
        return Job(number, import_name(module), mutant.applied(self.source(module)), chosen, processor)

    def _quickest(self, tests: Iterable[str]) -> tuple[str, ...]:
        left = float(_STAGE_SECONDS)
        chosen = []
        for test in sorted(tests, key=lambda test: (self._reach.seconds[test], test)):
            left -= self._reach.seconds[test]
            if left < 0 and chosen:
                break
            chosen.append(test)
        return tuple(chosen)

    def _of_importers(self, module: str) -> set[str]:
        found = (self._reach.tests(importer, None) for importer in self._importers.get(module, ()))
        return set().union(*found)

    def _of_files(self, module: str) -> set[str]:
        """Return the tests of the files that import a module themselves."""
        return {test for test in self._reach.seconds if module in self._imported(test.partition("::")[0])}


def _first_file(module: str, tests: set[str]) -> str:
    """Return the beginning of the path of the test file of a module, or the file that has most of the tests."""
    own = mirror(module)
    if any(test.startswith(own) for test in tests):
        return own
    files = Counter(test.partition("::")[0] for test in sorted(tests))
    return files.most_common(1)[0][0] if files else own


def imported(file: Path, modules: Iterable[str]) -> set[str]:
    """Return the modules that a test file imports."""
    names = {import_name(path): path for path in modules}
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                found |= {names[name]} if name in names else set()
    return found


def importers(root: Path) -> dict[str, set[str]]:
    """Return the modules that import a module of the program."""
    modules = {import_name(path): path for path in sources(root)}
    found: dict[str, set[str]] = {}
    for name, path in modules.items():
        for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                # A module in a package: one level is the package.
                parts = name.split(".") + (["__init__"] if path.endswith("/__init__.py") else [])
                base = parts[: -node.level] if node.level else []
                origin = ".".join([*base, *([node.module] if node.module else [])])
                for imported in (origin, *(f"{origin}.{alias.name}" for alias in node.names)):
                    if imported in modules and imported != PACKAGE:
                        found.setdefault(modules[imported], set()).add(path)
    return found
