"""Places of a module: those that are not mutated, each with its rule, and the lines that are run with a place.

A place is a line, counted from 1, and a column, counted from 0 in characters.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

Place = tuple[int, int]

# Key: name of a rule. Value: what is not mutated, and why no test could or should fail.
RULES: Final = {
    "signature": "Annotations of a signature, and its markers `*` and `/`. The type checkers read them.",
    "annotation": "Annotations of variables outside of classes. Python does not use them.",
    "type checking": "Blocks of `if TYPE_CHECKING`. They are not run.",
    "declaration": "The arguments `frozen`, `slots` and `gc` of a class or its decorator, and `__slots__`. The type"
    " checkers find assignments to frozen objects, and the others change memory only.",
    "typing decorator": "`@override`, `@final` and `@overload`. Python does not use them.",
    "identity": "`==` for `is`, `is` for `==`, and the same with `not`. They differ only for objects that are equal and"
    " not identical, which for numbers and short texts depends on the interpreter.",
}
_DECLARATIONS: Final = {"frozen", "slots", "gc"}
_TYPING: Final = {"override", "final", "overload"}
_IDENTITY: Final = ("_Eq_Is", "_Is_Eq", "_NotEq_IsNot", "_IsNot_NotEq")


@dataclass(frozen=True)
class Range:
    """The places from `start` to `end`, which is not included."""

    start: Place
    end: Place

    def has(self, place: Place) -> bool:
        return self.start <= place < self.end


class Skipped:
    """The places of a module that are not mutated."""

    def __init__(self, source: str) -> None:
        self._lines = source.splitlines()
        self._ranges: list[tuple[Range, str]] = []
        self._mutated: list[Range] = []
        for node in ast.walk(ast.parse(source)):
            self._add(node)

    def rule(self, operator: str, place: Place) -> str:
        """Return the name of the rule for which an operator is not applied to a place, or an empty text."""
        if operator.endswith(_IDENTITY):
            return "identity"
        found = [rule for part, rule in self._ranges if part.has(place)]
        if found == ["signature"] and any(part.has(place) for part in self._mutated):
            return ""
        return found[0] if found else ""

    def _add(self, node: ast.AST) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                header = Range(self._place(node), self._place(node.body[0]))
                self._ranges.append((header, "signature"))
                defaults = (*node.args.defaults, *node.args.kw_defaults)
                self._mutated += [self._range(default) for default in defaults if default is not None]
                self._decorators(node.decorator_list)
            case ast.ClassDef():
                self._keywords(node.keywords)
                self._decorators(node.decorator_list)
                for statement in node.body:
                    if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
                        self._ranges.append((self._range(statement), "declaration"))
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                self._ranges.append((self._range(node), "type checking"))
            case ast.Module() | ast.stmt():
                pass
            case _:
                return
        # A class makes fields of the annotations in its body.
        if not isinstance(node, ast.ClassDef):
            for statement in ast.iter_child_nodes(node):
                if isinstance(statement, ast.AnnAssign):
                    self._ranges.append((self._range(statement.annotation), "annotation"))

    def _decorators(self, decorators: list[ast.expr]) -> None:
        for decorator in decorators:
            name = ast.unparse(decorator).rpartition(".")[2]
            if name in _TYPING:
                # The place of a mutant that removes a decorator is its `@`.
                line, column = self._place(decorator)
                self._ranges.append((Range((line, column - 1), self._end(decorator)), "typing decorator"))
            if isinstance(decorator, ast.Call):
                self._keywords(decorator.keywords)

    def _keywords(self, keywords: list[ast.keyword]) -> None:
        self._ranges += [(self._range(word), "declaration") for word in keywords if word.arg in _DECLARATIONS]

    def _range(self, node: ast.stmt | ast.expr | ast.keyword) -> Range:
        return Range(self._place(node), self._end(node))

    def _place(self, node: ast.stmt | ast.expr | ast.keyword) -> Place:
        return node.lineno, self._column(node.lineno, node.col_offset)

    def _end(self, node: ast.stmt | ast.expr | ast.keyword) -> Place:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return node.end_lineno, self._column(node.end_lineno, node.end_col_offset)

    def _column(self, line: int, offset: int) -> int:
        """Return the column in characters of an offset in bytes of UTF-8."""
        return len(self._lines[line - 1].encode()[:offset].decode())


@dataclass(frozen=True)
class Reached:
    """The lines of which a test must have run one, to be able to find a mutant. Without lines, any line of the module.

    `at_import`: the place is run when the module is imported, so tests of modules that import it may find the mutant as well.
    """

    lines: range | None
    at_import: bool


def reached(tree: ast.Module, line: int) -> Reached:
    """Return the lines that are run with a line."""
    inside = False
    whole: range | None = None
    lines = range(line, line + 1)
    body: list[ast.stmt | ast.excepthandler | ast.match_case] = [*tree.body]
    while (statement := next((one for one in body if line in rows_of(one)), None)) is not None:
        lines = rows_of(statement)
        body = [*_bodies(statement)]
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if body and not any(line in rows_of(one) for one in body):
                lines = range(lines.start, max(rows_of(body[0]).start, lines.start + 1))
        elif not inside:
            whole = lines
            inside = not isinstance(statement, ast.ClassDef) and any(line in rows_of(one) for one in body)
    return Reached(lines, at_import=False) if inside else Reached(whole, at_import=True)


def rows_of(node: ast.stmt | ast.excepthandler | ast.match_case) -> range:
    """Return the lines of a statement, with its decorators, or of a part of one."""
    if isinstance(node, ast.match_case):
        return range(node.pattern.lineno, rows_of(node.body[-1]).stop)
    assert node.end_lineno is not None
    decorators = getattr(node, "decorator_list", [])
    return range(min([node.lineno, *(one.lineno for one in decorators)]), node.end_lineno + 1)


def _bodies(node: ast.AST) -> Iterator[ast.stmt | ast.excepthandler | ast.match_case]:
    for name in ("body", "cases", "handlers", "orelse", "finalbody"):
        found = getattr(node, name, [])
        # The body of a lambda is an expression.
        if isinstance(found, list):
            yield from found
