"""`mcp-bridge doctor --checklist`: read what the checklist needs, and print its items as a table, then the lines to paste."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs

from ....validators.counted import counted
from ...config import load, tables, xdg
from ...core.exit_codes import EX_FAILED, EX_OK
from ...log import escaped
from ..invocation import Invocation
from ..output import print_json, print_line, stdout_terminal
from ..systemd_service.unit_files import SERVICE, TIMER
from ..table import Cell, Column, table
from .checklist import DONE, OPEN, STATES, Item, Surroundings, checklist

_COLUMNS: Final = (
    Column("#"),
    Column("item", least=14),
    Column("state", least=14),
    Column("why", least=20, leave=1),
)
_STYLES: Final = {OPEN: "red", DONE: "green"}
# Programs for containers create them.
_MARKS: Final = ("/run/.containerenv", "/.dockerenv")


def print_checklist(invocation: Invocation) -> int:
    """Print the checklist, and return 1 if an item is not done. Raises BadConfig."""
    source = invocation.source
    settings = load.plan(source.file.absolute(), source.environment)
    pid = source.daemon.pid if source.daemon else None
    around = surroundings(source.environment, invocation.environment, pid)
    items = checklist(tables.read(source.file), settings, around)
    if invocation.options.json:
        print_json(_as_json(items))
    else:
        rows = [(one.number, one.name, Cell(one.state, _STYLES.get(one.state, "")), one.why) for one in items]
        print_line(table(_COLUMNS, rows, stdout_terminal(invocation.environment)))
        for line in lines_of(items):
            print_line(line)
    return EX_FAILED if any(one.state == OPEN for one in items) else EX_OK


def _as_json(items: Iterable[Item]) -> dict[str, Any]:
    found = [*items]
    counts = {state: sum(one.state == state for one in found) for state in STATES}
    return {"counts": counts, "items": [*map(attrs.asdict, found)]}


def lines_of(items: Iterable[Item]) -> Iterator[str]:
    """Yield the items that are not done, each with the lines that change that, and a summary. Text of the file is escaped."""
    found = [*items]
    for item in found:
        if item.state != OPEN:
            continue
        yield ""
        yield escaped(f"{item.number} {item.name}: {item.why}")
        where = ""
        for fix in item.fixes:
            if fix.table and fix.table != where:
                yield escaped(f"    in [{fix.table}]:")
            where = fix.table
            if fix.replaces:
                yield escaped(f"    in place of {fix.replaces}:")
            yield escaped(f"        {fix.line}")
    count = sum(item.state == OPEN for item in found)
    yield ""
    yield f"{counted(count, 'item is', 'items are')} not done, of {len(found)}"


def surroundings(
    daemon: Mapping[str, str], shell: Mapping[str, str], pid: int | None, root: Path = Path("/")
) -> Surroundings:
    """Return what the checklist reads of the machine. `pid` is that of the daemon, `root` stands for / in tests."""
    units = _units(shell)
    return Surroundings(
        now=datetime.now(UTC),
        environment=daemon,
        state=xdg.state_directory(daemon),
        limited=_has_memory_limit(root, pid or os.getpid()),
        is_root=os.geteuid() == 0,
        unit=any("\nMemoryMax=" in text for text in map(_text, (unit / SERVICE for unit in units))),
        timer=any((unit / TIMER).is_file() for unit in units),
        container=any(os.path.lexists(f"{root}{mark}") for mark in _MARKS),
        writable=not os.statvfs(root).f_flag & os.ST_RDONLY,
    )


def _units(environment: Mapping[str, str]) -> list[Path]:
    home = xdg.home_in(environment) / ".config"
    return [
        place / "systemd/user" for place in {home, xdg.directory_in(environment, "XDG_CONFIG_HOME") or home}
    ]


def _has_memory_limit(root: Path, pid: int) -> bool:
    """Return whether the cgroup (version 2) of a process, or one above it, limits its memory."""
    group = next(
        (line[3:] for line in _text(root / f"proc/{pid}/cgroup").splitlines() if line.startswith("0::")), ""
    )
    place = Path(group.lstrip("/"))
    return any(
        _text(root / "sys/fs/cgroup" / one / "memory.max").strip().isdigit()
        for one in (place, *place.parents)
    )


def _text(path: Path) -> str:
    """Return the text of a file, empty without one."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
