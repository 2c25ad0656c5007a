"""Regular expressions whose time can double with each character of their input (CWE-1333)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..plants import new_file
from ..repetition import ambiguous
from ..result import Result, checked
from ..tools import OWN, files

CLASS: Final = "insecure code"
TOOL: Final = "rules of this project"
SPEED: Final = "fast"

_SOURCES: Final = ("bridge/*.py", "entry/*.py", "transports/*.py", "validators/*.py")
_TAKE_PATTERNS: Final = {"compile", "match", "search", "fullmatch", "sub", "split", "findall", "finditer"}
# A part that comes from elsewhere.
_OTHER: Final = "x"


def run(root: Path) -> Result:
    """Check each pattern that is written in the sources."""
    trees = {path: ast.parse((root / path).read_text()) for path in files(root, *_SOURCES)}
    constants = {name: value for tree in trees.values() for name, value in _constants(tree)}
    return checked(_findings(trees, constants), OWN)


def _findings(trees: dict[str, ast.Module], constants: dict[str, str]) -> Iterator[str]:
    for path, tree in trees.items():
        known = constants | dict(_constants(tree))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            if node.func.attr in _TAKE_PATTERNS and ast.unparse(node.func.value) == "re":
                text = _text(node.args[0], known)
                if text is not None and _is_bad(text):
                    yield f"{path}:{node.lineno}: {text!r} repeats a repetition; make the inner one possessive"


def _is_bad(text: str) -> bool:
    try:
        return ambiguous(text)
    # A part comes from elsewhere and is more than a word.
    except re.error:
        return False


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the constants of a module that are texts."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Constant):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name) and isinstance(node.value.value, str | bytes):
                yield target.id, _decoded(node.value.value)


def _text(node: ast.expr, constants: dict[str, str]) -> str | None:
    """Return the text of an expression, None if no part of it is written here."""
    match node:
        case ast.Constant(value=str() | bytes() as value):
            return _decoded(value)
        case ast.Name(id=name):
            return constants.get(name)
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, constants) or _OTHER for part in parts)
        case ast.FormattedValue(value=value):
            return _text(value, constants)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return (_text(left, constants) or _OTHER) + (_text(right, constants) or _OTHER)
        case ast.Call(func=ast.Attribute(value=value, attr="encode")):
            return _text(value, constants)
        case _:
            return None


def _decoded(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


PLANTS: Final = (
    new_file("a repetition of a repetition", "validators/planted_nested.py", 'import re\n\nNAME = re.compile(r"(?:[a-z]+)*!")\n', "validators/planted_nested.py"),
    new_file("one with an alternative for the same letters", "validators/planted_branch.py", 'import re\n\nNAME = re.compile(rb"(?:[ \\t]|#[^\\n]*)*\\Z")\n', "validators/planted_branch.py"),
    new_file("one in a constant", "validators/planted_parts.py", 'import re\n\n_WORDS = r"(?:\\w+\\s?)*"\nNAME = re.compile(rf"{_WORDS}\\Z")\n', "validators/planted_parts.py"),
)  # fmt: skip
