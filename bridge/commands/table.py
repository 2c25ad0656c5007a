"""Format tables for a terminal of any width. Text of a server is escaped, so that it cannot control the terminal.

A table that is too wide for its terminal gets its short titles, then narrower texts, widest column first, and then fewer
columns. A number is never cut.
"""

from collections.abc import Sequence
from typing import Final

import attrs

from ..log import escaped
from .terminal import PLAIN, Terminal
from .text_width import cut, normal, width

_GAP: Final = 2
# Without a limit on the terminal a text is still cut here: a description may be as long as a message (characters).
_LONGEST: Final = 4096


@attrs.frozen
class Column:
    """A column. `short` is the title where `title` has no room.

    `least` is the width below which its texts are cut only if nothing else helps (cells). Columns with the highest `leave` are
    left out first where the table is too wide; 0 is never left out. `keep_end` cuts the beginning of a text, as for a path.
    """

    title: str
    short: str = ""
    right: bool = False
    least: int = 12
    leave: int = 0
    keep_end: bool = False


@attrs.frozen
class Cell:
    """A text in a style (`terminal.Terminal.style`)."""

    text: str
    style: str = ""


Value = Cell | str | int | float


def table(
    columns: Sequence[Column | str], rows: Sequence[Sequence[Value]], terminal: Terminal = PLAIN
) -> str:
    """Return lines of aligned columns that fit the terminal. Columns of numbers are aligned to the right."""
    described = [Column(one) if isinstance(one, str) else one for one in columns]
    cells = [[_cell(value, terminal) for value in row] for row in rows]
    numeric = [
        bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(columns))
    ]
    layout = _Layout(described, cells, numeric)
    if terminal.width is not None:
        layout.fit(terminal.width)
    heads = [Cell(title, "bold") for title in layout.titles]
    return "\n".join(_line(layout, cells, terminal) for cells in [heads, *cells])


def _cell(value: Value, terminal: Terminal) -> Cell:
    found = value if isinstance(value, Cell) else Cell(str(value))
    return Cell(terminal.shown(normal(escaped(found.text[:_LONGEST]))), found.style)


class _Layout:
    """The titles and widths of the columns. `kept` are the columns that are shown, by number."""

    def __init__(self, columns: list[Column], cells: list[list[Cell]], numeric: list[bool]) -> None:
        self.columns = columns
        self.titles = [column.title for column in columns]
        self.right = [number or column.right for number, column in zip(numeric, columns, strict=True)]
        self.kept = list(range(len(columns)))
        self._contents = [max((width(row[at].text) for row in cells), default=0) for at in self.kept]
        self.widths = self._natural()

    def fit(self, room: int) -> None:
        """Make the table at most this wide (cells)."""
        if self._excess(room) > 0:
            self.titles = [column.short or column.title for column in self.columns]
            self.widths = self._natural()
        while not self._narrow(room, [self.columns[at].least for at in range(len(self.columns))]):
            leave = max(self.kept, key=lambda at: self.columns[at].leave)
            if not self.columns[leave].leave:
                self._narrow(room, [1] * len(self.columns))
                return
            self.kept.remove(leave)
            self.widths = self._natural()

    def _natural(self) -> list[int]:
        return [max(width(title), size) for title, size in zip(self.titles, self._contents, strict=True)]

    def _excess(self, room: int) -> int:
        return sum(self.widths[at] for at in self.kept) + _GAP * (len(self.kept) - 1) - room

    def _narrow(self, room: int, least: list[int]) -> bool:
        """Take cells from the widest texts, none below its least width. Return whether that is enough."""
        texts = [at for at in self.kept if not self.right[at]]
        for _ in range(max(0, self._excess(room))):
            wide = [at for at in texts if self.widths[at] > least[at]]
            if not wide:
                return False
            self.widths[max(wide, key=self.widths.__getitem__)] -= 1
        return True


def _line(layout: _Layout, cells: Sequence[Cell], terminal: Terminal) -> str:
    shown: list[str] = []
    blank = 0
    for at in layout.kept:
        column, cell, size = layout.columns[at], cells[at], layout.widths[at]
        text = cut(cell.text, size, terminal.ellipsis, keep_end=column.keep_end)
        spaces = " " * (size - width(text))
        before, after = (spaces, "") if layout.right[at] else ("", spaces)
        lead = " " * blank + before
        if text:
            shown.append(lead + terminal.style(text, cell.style))
            blank = len(after) + _GAP
        else:
            blank += len(before + after) + _GAP
    return "".join(shown)
