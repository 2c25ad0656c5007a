"""Make mutants with the operators of Cosmic Ray: `python -m tests.mutation.generate SEED MOST MODULE...`.

Prints JSON: the number of places, of places that no rule leaves out, entries of accepted.toml that name no mutant, and the first
MOST mutants in the order of the sample. Needs Cosmic Ray, and nothing of this program.
"""

import ast
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from .accepted import FILE, accepted
from .modules import ROOT
from .mutant import Key, Mutant, change, family, short
from .places import Skipped, rows_of


@dataclass(frozen=True)
class _Place:
    """A place and an operator. `occurrence` is the number of the place in its statement of the module, for Cosmic Ray."""

    key: Key
    operator: str
    statement: range
    occurrence: int
    start: tuple[int, int]
    end: tuple[int, int]


def _places(module: str, source: str) -> Iterator[_Place]:
    nodes = [*ast_nodes(get_ast(source))]
    lines = source.splitlines()
    statements = [rows_of(statement) for statement in ast.parse(source).body]
    for name in operator_names():
        # Operators with arguments need the names of variables.
        if get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        numbers: Counter[str] = Counter()
        occurrences: Counter[range] = Counter()
        # Some operators give the node as well.
        for start, end, *_ in (place for node in nodes for place in operator.mutation_positions(node)):
            line = lines[start[0] - 1].strip()
            rows = next(rows for rows in statements if start[0] in rows)
            key = Key(module, line, short(name), numbers[line])
            yield _Place(key, name, rows, occurrences[rows], start, end)
            numbers[line] += 1
            occurrences[rows] += 1


def _mutated(place: _Place, source: str) -> str | None:
    """Return the changed source. Only one statement of it is given to Cosmic Ray, because to parse takes time."""
    lines = source.splitlines(keepends=True)
    rows = place.statement
    statement = "".join(lines[rows.start - 1 : rows.stop - 1])
    changed = mutate_code(statement, get_operator(place.operator)(), place.occurrence)
    if changed is None:
        return None
    return "".join(lines[: rows.start - 1]) + changed + "".join(lines[rows.stop - 1 :])


def _mutant(place: _Place, source: str) -> Mutant | None:
    """Return the mutant of a place, or None if it has another syntax than Python, or the meaning of the source."""
    mutated = _mutated(place, source)
    if mutated is None:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(mutated)
            compile(mutated, place.key.module, "exec", dont_inherit=True)
    except SyntaxError:
        return None
    if ast.dump(tree) == ast.dump(ast.parse(source)):
        return None
    return change(place.key, place.start[0], source, mutated)


def main() -> None:
    seed, most = map(int, sys.argv[1:3])
    kept: dict[tuple[str, tuple[int, int], tuple[int, int], str], _Place] = {}
    sources = {module: (ROOT / module).read_text(encoding="utf-8") for module in sys.argv[3:]}
    unknown = {key for key in accepted(FILE.read_text(encoding="utf-8")) if key.module in sources}
    left_out: Counter[str] = Counter()
    for module, source in sources.items():
        skipped = Skipped(source)
        for place in _places(module, source):
            unknown.discard(place.key)
            site = (module, place.start, place.end, family(place.key.operator))
            if rule := skipped.rule(place.key.operator, place.start):
                left_out[rule] += 1
            elif site not in kept or place.key.rank(seed) < kept[site].key.rank(seed):
                kept[site] = place
    mutants: list[Mutant] = []
    for place in sorted(kept.values(), key=lambda one: one.key.rank(seed)):
        if len(mutants) == most:
            break
        if (mutant := _mutant(place, sources[place.key.module])) is not None:
            mutants.append(mutant)
    found = {
        "versions": {name: version(name) for name in ("cosmic-ray", "parso")},
        "places": len(kept),
        "left_out": left_out,
        "unknown": [str(key) for key in sorted(unknown)],
        "mutants": [mutant.to_json() for mutant in mutants],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
