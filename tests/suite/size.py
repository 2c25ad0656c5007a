"""Report the size of the code: lines of each package, and what an installation needs: `python -m tests.suite.size`.

Lines are those with code, without comments, docstrings and empty lines. Sizes are those of the installed files (KiB).
"""

import ast
import io
import tokenize
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("validators", "transports", "bridge", "entry", "tests", "benchmarks", "examples")
_NO_CODE: Final = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """Return the number of lines with code. Raises SyntaxError."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        # A text that is a statement is a docstring.
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def lines_of(package: Path) -> Counter[str]:
    """Return the lines by folder, to the first folder below the package."""
    found: Counter[str] = Counter()
    for file in package.rglob("*.py"):
        below = file.relative_to(package.parent).parts[:-1]
        found["/".join(below[:2])] += code_lines(file.read_text(encoding="utf-8"))
    return found


def needed(name: str, found: dict[str, Distribution] | None = None) -> dict[str, Distribution]:
    """Return a distribution and all that it requires without extras, by name."""
    found = {} if found is None else found
    if name not in found:
        found[name] = distribution(name)
        for text in found[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed(requirement.name.lower(), found)
    return found


def size_of(one: Distribution) -> int:
    """Return the size of the files of a distribution without compiled modules, which are made again (bytes)."""
    files = [Path(str(one.locate_file(file))) for file in one.files or () if file.suffix != ".pyc"]
    return sum(file.stat().st_size for file in files if file.is_file())


def report(root: Path = ROOT) -> Iterable[str]:
    """Yield the lines of the report."""
    yield f"{'lines of code':40}{'':>10}"
    for package in PACKAGES:
        found = lines_of(root / package)
        yield f"{package:40}{found.total():10,}"
        if len(found) > 1:
            yield from (f"  {folder:38}{count:10,}" for folder, count in sorted(found.items()))
    yield ""
    needs = needed("mcpbridged")
    del needs["mcpbridged"]
    sizes = {f"{name} {one.version}": size_of(one) // 1024 for name, one in sorted(needs.items())}
    yield f"{f'dependencies ({len(sizes)})':40}{sum(sizes.values()):10,} KiB"
    yield from (f"  {name:38}{size:10,} KiB" for name, size in sizes.items())


def main() -> None:
    """Print the report, and write it into build/size.txt."""
    text = "\n".join(report()) + "\n"
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build/size.txt").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
