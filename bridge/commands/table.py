"""Format tables for a terminal. Text of a server is escaped, so that it cannot control the terminal."""

from collections.abc import Sequence

from ..log import escaped


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return lines of aligned columns. Columns of numbers are aligned to the right."""
    cells = [[escaped(str(value)) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    right = [
        bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(columns))
    ]
    lines = [list(columns), *cells]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if on_right else cell.ljust(width)
            for cell, width, on_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )
