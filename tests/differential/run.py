"""The differential table: the same client and the same server, on a bare pipe and over each way of the bridge.

Each variant is one input: lines of a client, and what the server does. It is had once on the pipe in each era, and over
every way; what client and server have received must be the same, byte for byte where nothing is translated. A cell is
`same`, `refused: REASON`, `n/a: WHY` or `differs: WHAT`. Exit code 1 if a cell is not as expected. Python only.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import trio

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(HERE), str(HERE.parent / "zoo")]
sys.set_int_max_str_digits(0)

import carriers  # noqa: E402 - here
from compare import Seen  # noqa: E402 - here
from fault_carriers import FAULTS  # noqa: E402 - here
from judge import Cell, Evidence, judge, segments  # noqa: E402 - here
from rows import groups, main  # noqa: E402 - here
from transcript import Transcript, converse  # noqa: E402 - here
from variants import BASE, WAYS, Column, Face, Group, NotApplicable, Refused, Variant  # noqa: E402 - here

from tests.matrix.sections import write_section  # noqa: E402 - of the repository
from tests.support.daemon_process import Daemon, daemon  # noqa: E402 - of the repository

SERVER = (sys.executable, "-I", "-S", str(HERE / "server.py"))
CARRIERS: Mapping[str, Callable[[Daemon, str], contextlib.AbstractAsyncContextManager[carriers.Carrier]]] = {
    "H": carriers.over_http,
    "S": carriers.over_sse,
    "W": carriers.over_websocket,
    "L": carriers.over_lines,
    "C": carriers.over_connect,
}
# Messages that the client and the server have received of each variant.
Both = tuple[dict[str, Transcript], dict[str, list[Seen]]]
# The variants of the self-test.
TRIED = (
    *("id-2", "number-0", "number-7", "character-4", "arguments-4", "arguments-5", "arguments-6"),
    *("token-1", "log", "error-0", "result-7", "ask-4"),
)
# For one conversation (seconds), and how many there are at once.
TIMEOUT = 170
AT_ONCE = 6
# The servers behind the aggregate, by era.
BEHIND = {"legacy": "old", "modern": "new"}


@attrs.frozen
class Workspace:
    """The directory of the servers of a run."""

    folder: Path

    @property
    def script(self) -> Path:
        return self.folder / "script.json"

    def prepare(self, found: Sequence[Group]) -> None:
        scripts: dict[str, object] = {"*": BASE}
        for group in found:
            eras: dict[str, dict[str, object]] = {era: {} for era in BASE}
            for era, reactions in eras.items():
                for variant in group.variants:
                    reactions.update(variant.reactions.get(era, {}))
                reactions.update(group.reactions.get(era, {}))
            scripts[group.name] = eras
        self.script.write_text(json.dumps(scripts))

    def command(self, group: Group, era: str, journal: str, delay: float = 0) -> list[str]:
        return [*SERVER, era, str(self.script), str(self.folder / journal), group.name, str(delay)]

    def at_server(self, journal: str) -> dict[str, list[Seen]]:
        """Return the messages that the processes of the server have received for each variant."""
        found: dict[str, list[Seen]] = {}
        for path in sorted(self.folder.glob(f"{journal}.*")):
            found.update(segments(path.read_bytes().splitlines()))
        return found


def variants_of(group: Group, column: Column) -> list[tuple[Variant, Face, int | None]]:
    """Return the variants of a column, and the number of errors that are expected instead of responses."""
    found: list[tuple[Variant, Face, int | None]] = []
    for variant in group.of(column.era):
        expected = variant.expected(column)
        if not isinstance(expected, NotApplicable):
            refusals = len(expected.ids) + expected.others if isinstance(expected, Refused) else None
            found.append((variant, variant.faces[column.era], refusals))
    return found


async def on_the_pipe(workspace: Workspace, group: Group, era: str) -> Both:
    journal = f"direct-{era}-{zlib.crc32(group.name.encode()):08x}"
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    way = carriers.pipe(
        workspace.command(group, era, journal), environment, workspace.folder, workspace.folder / "log"
    )
    every = [(variant, variant.faces[era], None) for variant in group.of(era)]
    with trio.fail_after(TIMEOUT):
        async with way as carrier:
            transcripts = await converse(carrier, group.opening[era], every, era, None)
    ended = [name for name, transcript in transcripts.items() if transcript.ended]
    if ended:
        raise RuntimeError(f"{group.name}, {era}, on the pipe: {ended[0]}: {transcripts[ended[0]].ended}")
    return transcripts, workspace.at_server(journal)


@attrs.frozen
class Way:
    """One column of one group: the name of its server, and its variants."""

    group: Group
    column: Column
    fault: str = ""

    @property
    def server(self) -> str:
        if self.column.way == "A":
            return "aggregate"
        number = zlib.crc32((self.group.name + self.fault).encode())
        return f"{self.column.era}-{self.column.way}-{number:08x}".replace(" ", "-").lower()

    @property
    def journal(self) -> str:
        return BEHIND[self.column.pair] if self.column.way == "A" else self.server

    @property
    def prefix(self) -> str:
        return f"{BEHIND[self.column.pair]}__" if self.column.way == "A" else ""

    def entry(self, workspace: Workspace) -> dict[str, object]:
        command = workspace.command(self.group, self.column.pair, self.journal, self.column.delay)
        return {
            "command": command,
            "era": self.column.pair,
            "cwd": str(workspace.folder),
            **self.column.table,
        }


@contextlib.asynccontextmanager
async def carrier_of(way: Way, running: Daemon) -> AsyncIterator[carriers.Carrier]:
    async with CARRIERS[way.column.carrier](running, way.server) as carrier:
        if not way.fault:
            yield carrier
            return
        async with FAULTS[way.fault](carrier) as faulty:
            yield faulty


async def over_the_bridge(
    workspace: Workspace, running: Daemon, way: Way, direct: Mapping[str, Both]
) -> list[Cell]:
    every = variants_of(way.group, way.column)
    expected = direct[way.column.era][0]
    transcripts: dict[str, Transcript] = {}
    fault = ""
    try:
        with trio.fail_after(TIMEOUT):
            async with carrier_of(way, running) as carrier:
                opening = way.group.opening[way.column.era]
                transcripts = await converse(carrier, opening, every, way.column.era, expected, way.prefix)
    except (OSError, trio.TooSlowError, AssertionError, BaseExceptionGroup) as error:
        fault = repr(error)
    at_server = workspace.at_server(way.journal)
    cells = []
    opened = Variant("", "openings", way.group.opening, {}, way.group.expect)
    for variant in [opened, *way.group.of(way.column.era)]:
        if not variant.name and (
            not way.column.exact or way.column.table or not way.group.opening[way.column.era].fenced
        ):
            continue
        if variant.name not in transcripts and not isinstance(variant.expected(way.column), NotApplicable):
            transcripts[variant.name] = Transcript(ended=fault or "the conversation had ended before")
        sides = {
            era: Evidence(found[variant.name], received.get(variant.name, ()))
            for era, (found, received) in direct.items()
            if variant.name in found
        }
        evidence = Evidence(transcripts.get(variant.name, Transcript()), at_server.get(variant.name, ()))
        cells.append(judge(variant, way.column, sides, evidence))
    return cells


async def run(
    workspace: Workspace, found: Sequence[Group], ways: Sequence[str], faults: Sequence[str] = ("",)
) -> list[tuple[Way, Cell]]:
    """Run all conversations, each with every fault. Return the cells."""
    workspace.prepare(found)
    every = [
        Way(group, column, fault)
        for fault in faults
        for group in found
        for column in group.columns()
        if not ways or column.name in ways
    ]
    entries = {way.server: way.entry(workspace) for way in every if way.column.way != "A"}
    behind = next((way.group for way in every if way.column.way == "A"), None)
    tables = {}
    if behind is not None:
        for era, name in BEHIND.items():
            entries[name] = {
                "command": workspace.command(behind, era, name),
                "era": era,
                "cwd": str(workspace.folder),
            }
        tables["aggregate"] = {"servers": list(BEHIND.values())}
    directs: dict[str, dict[str, Both]] = {}
    cells: list[tuple[Way, Cell]] = []
    limit, alone = trio.CapacityLimiter(AT_ONCE), trio.CapacityLimiter(1)

    async def direct(group: Group, era: str) -> None:
        async with limit:
            directs.setdefault(group.name, {})[era] = await on_the_pipe(workspace, group, era)

    async def bridge(running: Daemon, way: Way) -> None:
        # All clients of the aggregate share a process. While two of them have calls, log messages are dropped.
        async with alone if way.column.way == "A" else limit:
            found_here = await over_the_bridge(workspace, running, way, directs[way.group.name])
            cells.extend((way, cell) for cell in found_here)

    async with trio.open_nursery() as nursery:
        for group in found:
            for era in group.opening:
                nursery.start_soon(direct, group, era)
    with daemon(workspace.folder, entries, **tables) as running:
        async with trio.open_nursery() as nursery:
            # The longest first.
            for way in sorted(every, key=lambda one: -len(one.group.variants) - 1000 * one.column.delay):
                nursery.start_soon(bridge, running, way)
    return cells


# ---- the report


def kinds(cells: Sequence[tuple[Way, Cell]]) -> dict[str, dict[str, list[Cell]]]:
    """Return the cells by kind and by the name of the column."""
    found: dict[str, dict[str, list[Cell]]] = {}
    for way, cell in cells:
        kind = cell.variant.kind
        found.setdefault(kind, {}).setdefault(way.column.name, []).append(cell)
    return found


def text_of(cells: Sequence[Cell], reasons: list[str]) -> str:
    """Return the outcomes of several cells: how many are the same, and the others with the numbers of their reasons."""
    if not cells:
        return "–"
    count = Counter(cell.outcome.partition(":")[0] for cell in cells)
    parts = []
    for outcome in ("same", "refused", "n/a", "differs"):
        if not count[outcome]:
            continue
        numbers = set()
        for cell in cells:
            what, _, why = cell.outcome.partition(": ")
            if what == outcome and why:
                if why not in reasons:
                    reasons.append(why)
                numbers.add(reasons.index(why) + 1)
        notes = f" [{', '.join(map(str, sorted(numbers)))}]" if numbers else ""
        parts.append(f"{outcome} {count[outcome]}{notes}")
    return ", ".join(parts)


def table(cells: Sequence[tuple[Way, Cell]], era: str) -> Iterator[str]:
    named = {way.column.way: way.column for way, _ in cells if way.column.era == era}
    columns = [named[way] for way in WAYS if way in named]
    reasons: list[str] = []
    yield f"| kind of message | {' | '.join(column.way for column in columns)} |"
    yield "| --- |" + " --- |" * len(columns)
    for kind, found in sorted(kinds(cells).items()):
        if any(column.name in found for column in columns):
            texts = [text_of(found.get(column.name, []), reasons) for column in columns]
            yield f"| {kind} | {' | '.join(texts)} |"
    yield ""
    for number, reason in enumerate(reasons, 1):
        yield f"{number}. {reason}"


def section(cells: Sequence[tuple[Way, Cell]]) -> str:
    count = Counter(cell.outcome.partition(":")[0] for _, cell in cells)
    names = "; ".join(f"*{way}*: {name}" for way, name in WAYS.items())
    lines = [
        "## As on a bare pipe",
        "",
        "Written by `make differential`. The same lines of a client were sent to the same server once on its pipe and once over each way of",
        "the bridge, and what client and server have received was compared: as bytes where nothing is translated, as JSON values through a",
        "translation and through the aggregate. A number is how many inputs of a kind are *same*, are *refused* by a rule, or cannot be compared",
        f"(*n/a*); the reasons are below each table. {count.total()} cells: {', '.join(f'{number} {outcome}' for outcome, number in count.most_common())}.",
        "",
        f"{names}.",
        "",
        "### Clients of the handshake revisions",
        "",
        *table(cells, "legacy"),
        "",
        "### Clients of 2026-07-28",
        "",
        *table(cells, "modern"),
    ]
    return "\n".join(lines)


def show(cells: Sequence[tuple[Way, Cell]]) -> None:
    for way, cell in cells:
        if not cell.is_good:
            name = cell.variant.name or "the opening"
            print(
                f"NOT AS EXPECTED {way.group.name}, {name} ({cell.variant.kind}), {way.column.name}: {cell.outcome}"
            )
    count = Counter(cell.outcome.partition(":")[0] for _, cell in cells)
    print(f"{count.total()} cells: {dict(count)}")


# ---- the self-test


def self_test() -> bool:
    """Require that each fault in a carrier is found, and that all cells are as expected without a fault."""
    columns, faults = ("legacy W", "legacy C", "legacy H", "modern W"), ("", *FAULTS)
    group = main()
    group = attrs.evolve(group, variants=tuple(one for one in group.variants if one.name in TRIED))
    with tempfile.TemporaryDirectory(prefix="differential-") as name:
        cells = trio.run(run, Workspace(Path(name)), [group], columns, faults)
    good = True
    for fault in faults:
        wrong = [way.column.name for way, cell in cells if way.fault == fault and not cell.is_good]
        is_right = set(wrong) == (set(columns) if fault else set())
        good &= is_right
        where = f"in {len(set(wrong))} of {len(columns)} ways, {len(wrong)} cells"
        print(f"{'ok' if is_right else 'WRONG':10}{fault or 'no fault'}: {where}")
    return good


def main_program() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="TEXT", default="", help="the groups whose name contains this")
    parser.add_argument(
        "--ways", metavar="ERA WAY", nargs="*", default=(), help='columns, such as "legacy H"'
    )
    parser.add_argument("--document", action="store_true", help="write the section of docs/COMPATIBILITY.md")
    parser.add_argument("--self-test", action="store_true", help="plant faults, and see that they are found")
    given = parser.parse_args()
    begun = time.monotonic()
    if given.self_test:
        good = self_test()
        print(f"{time.monotonic() - begun:.0f} s")
        return 0 if good else 1
    found = [group for group in groups() if given.only in group.name]
    with tempfile.TemporaryDirectory(prefix="differential-") as name:
        cells = trio.run(run, Workspace(Path(name)), found, given.ways)
    show(cells)
    print(f"{time.monotonic() - begun:.0f} s")
    if given.document:
        write_section("differential", section(cells))
    return 0 if all(cell.is_good for _, cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main_program())
