"""Find the log events that the sources write, with the names of their fields."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = ("debug", "info", "warning", "error", "add")


def calls() -> Iterator[tuple[str, frozenset[str] | None, str]]:
    """Yield event, field names (None if they are not literal) and place of each log call with a literal event."""
    for folder in ("bridge", "transports"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from _calls_in(ast.parse(path.read_text()), str(path.relative_to(ROOT)))


def _calls_in(tree: ast.AST, path: str) -> Iterator[tuple[str, frozenset[str] | None, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=attribute), args=args, keywords=keywords):
                at = 0 if attribute in LEVELS else 1 if attribute == "always" else None
                if at is None or len(args) <= at:
                    continue
                match args[at]:
                    case ast.Constant(str(event)):
                        names = [keyword.arg for keyword in keywords]
                        if attribute == "add" and not names:
                            continue
                        # `CountedEvents` adds it.
                        names += ["count"] if attribute == "add" else []
                        found = None if None in names else frozenset(name for name in names if name)
                        yield event, found, f"{path}:{node.lineno}"
