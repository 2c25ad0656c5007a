"""Compare the bytes of every payload of real servers on their own pipe and behind the bridge.

Each server has the same conversation twice on its pipe, and once over each transport of the bridge, `mcp-bridge connect`
and the aggregate; in both eras, where it has them. What is the same on both pipes must be the same behind the bridge, in
both directions. Exit code 1 if a byte differs. install.sh installs the servers; they run without a network if this
system lets us take it away (unshare(1)).
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import trio

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(HERE)]

import carriers  # noqa: E402 - here
from compare import (  # noqa: E402 - here
    LISTS,
    Check,
    Direct,
    Expected,
    Others,
    Record,
    compare,
    compare_across,
    compare_arguments,
    compare_at_once,
    compare_declared,
    compare_input,
    compare_shared_input,
    compare_shown,
    how_many_items,
    unescaped,
)
from conversation import TIMEOUT as STEP_TIMEOUT  # noqa: E402 - here
from conversation import Conversation, Step, script  # noqa: E402 - here
from fault import FAULTS, INPUT  # noqa: E402 - here
from servers import UI, UI_TYPE, Call, Server, furnish, servers, tool, tool_with_progress  # noqa: E402 - here

from tests.support.daemon_process import Daemon, daemon  # noqa: E402 - of the repository

DOCUMENT = REPOSITORY / "docs/ZOO.md"
MARK = "MCP_BRIDGE_ZOO_WITHOUT_NETWORK"
# For all of one conversation, the start of its server included (seconds).
TIMEOUT = 120
# Copies the stdin of the server into a file of its process; the server itself is the process that the bridge starts.
TEE = ("bash", "-c", 'exec "$@" < <(exec tee "$0.$$")')
CARRIERS: Mapping[str, Callable[..., contextlib.AbstractAsyncContextManager[carriers.Carrier]]] = {
    "H": carriers.over_http,
    "S": carriers.over_sse,
    "W": carriers.over_websocket,
    "C": carriers.over_connect,
}
WAYS = {
    "H": "Streamable HTTP",
    "S": "HTTP+SSE",
    "W": "WebSocket",
    "C": "`mcp-bridge connect`",
    "A": "the aggregate",
}
# HTTP+SSE is of the handshake revisions.
COLUMNS = {"legacy": ("H", "S", "W", "C", "A"), "modern": ("H", "W", "C", "A")}
# The name of the server behind the aggregate, and the transport by which each era reaches the aggregate.
BEHIND = "behind"
THROUGH = {"legacy": "H", "modern": "W"}
# Differences that are decided: by server and check, what must be in the bytes behind the bridge, and the reason.
KNOWN: Mapping[tuple[str, str], tuple[bytes, str]] = {}
# The same for a process that several clients share. The bridge initializes it on behalf of all of them.
OUTSIDE = "a request of the server outside of any call belongs to no client"
DECLARES = "the server has more tools, because every capability of clients is declared to it"
AMBIGUOUS = "a client of the aggregate had a call in the last two seconds"
KNOWN_SHARED: Mapping[tuple[str, str], tuple[bytes, str]] = {
    **{
        (name, "request roots/list"): (b"(none)", OUTSIDE)
        for name in ("everything-2025", "filesystem", "firecrawl", "pdf")
    },
    ("everything-2025", "notification notifications/message"): (b"no call is in progress", OUTSIDE),
    ("everything-2025", "notification notifications/message, which the server has not sent"): (
        b"no call is in progress",
        OUTSIDE,
    ),
    ("everything-2025", "aggregate: tools/call sampleLLM"): (b"calls of several clients", AMBIGUOUS),
    ("everything", "aggregate: tools/call trigger-sampling-request"): (
        b"calls of several clients",
        AMBIGUOUS,
    ),
    ("everything", "aggregate: tools/call trigger-elicitation-request"): (
        b"calls of several clients",
        AMBIGUOUS,
    ),
    ("everything", "tools/list"): (b"trigger-url-elicitation", DECLARES),
    ("everything", "notification notifications/tools/list_changed, which the server has not sent"): (
        b"(no params)",
        DECLARES,
    ),
    ("everything", "aggregate: how many tools"): (b"19", DECLARES),
    ("everything", "aggregate: an item of tools"): (b'"name":"trigger-', DECLARES),
    ("sequential-thinking", "aggregate: tools/call sequentialthinking"): (
        b"thoughtHistoryLength",
        "the server counts the calls of all clients",
    ),
}
# Values of `share` with which a process serves several clients, so that the bridge itself sends `initialize`.
SHARED = ("principal", "server")
# How often the copy of the stdin of a server is read until what is missing is lost (every 0.05 s).
ARRIVAL_CHECKS = 40


@attrs.frozen
class Cell:
    """One server over one way in one era."""

    server: str
    era: str
    way: str
    checks: Sequence[Check]
    # Whether several clients can share its process.
    is_shared: bool = False

    def reason(self, check: Check) -> str:
        """Return why the difference is known, or an empty text."""
        known = {**KNOWN, **KNOWN_SHARED} if self.is_shared else KNOWN
        mark, reason = known.get((self.server, check.name), (b"", ""))
        return reason if mark in check.actual else ""

    @property
    def known(self) -> list[str]:
        """The reasons of the differences that are decided."""
        return [self.reason(check) for check in self.checks if not check.is_equal and self.reason(check)]

    @property
    def wrong(self) -> list[Check]:
        return [check for check in self.checks if not check.is_equal and not self.reason(check)]

    def __str__(self) -> str:
        return f"{sum(check.is_equal for check in self.checks)}/{len(self.checks)}"


@attrs.define
class Outcome:
    """The findings about one server."""

    name: str
    sdk: str
    cells: list[Cell] = attrs.field(factory=list)
    # Differences between two conversations on the pipe, and lines that are not messages.
    own: list[str] = attrs.field(factory=list)
    # Reason why the server cannot be compared, "" otherwise.
    failed: str = ""
    seconds: float = 0
    # Largest resident memory of the bridge (KiB).
    memory: int = 0

    @property
    def wrong(self) -> int:
        return sum(len(cell.wrong) for cell in self.cells) + bool(self.failed)


# ---- one server


@attrs.frozen
class Place:
    """Where a server runs, with which fault between the bridge and it, if any."""

    folder: Path
    server: Server
    fault: str = ""
    # Whether all lines are sent without waiting for any answer.
    at_once: bool = False
    # Value of the key `share` behind the bridge, "" for that of the server.
    shared: str = ""

    @property
    def share(self) -> str:
        return self.shared or self.server.share

    def steps(self, era: str) -> list[Step]:
        steps = script(self.server, modern=era == "modern")
        # The step at which a server ends would leave all others without an answer.
        return [step for step in steps if step.timeout == STEP_TIMEOUT or not self.at_once]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG")}
        return {**kept, **self.server.environment}

    def entry(self, name: str) -> dict[str, object]:
        """Return the configuration of the server under this name, with its stdin copied."""
        fault = [sys.executable, str(HERE / "fault.py"), self.fault] if self.fault else []
        command = [*fault, *TEE, str(self.folder / f"stdin-{name}"), *self.server.command]
        environment = {"HOME": os.environ["HOME"], **self.server.environment}
        share = {"share": self.share} if self.share else {}
        return {"command": command, "env": environment, "cwd": str(self.folder), **share}

    def processes(self, name: str) -> list[list[bytes]]:
        """Return the lines that have arrived at each process of that name."""
        return [path.read_bytes().splitlines() for path in self.folder.glob(f"stdin-{name}.*")]

    def taken(self, name: str) -> list[bytes]:
        """Return the lines that have arrived at the processes of that name."""
        return [line for lines in self.processes(name) for line in lines]


async def talk(
    way: contextlib.AbstractAsyncContextManager[carriers.Carrier],
    steps: Sequence[Step],
    expected: Expected | None = None,
    *,
    at_once: bool = False,
) -> tuple[Record, bool]:
    """Have the conversation; return it, and whether its messages were on one stream."""
    with trio.fail_after(TIMEOUT):
        async with way as carrier:
            conversation = Conversation(carrier)
            await (conversation.take_at_once if at_once else conversation.take)(steps, expected)
            record = conversation.record
            if carrier.escapes:
                record.arrived = list(map(unescaped, record.arrived))
                record.answers = {step: unescaped(answer) for step, answer in record.answers.items()}
            return record, carrier.ordered


async def on_the_pipe(place: Place, era: str) -> Direct | None:
    """Have the conversation twice; return None where the server does not speak the era."""
    records = []
    opening = "server/discover" if era == "modern" else "initialize"
    for _ in range(2):
        log = place.folder / "stderr"
        way = carriers.pipe(place.server.command, place.environment, place.folder, log)
        record, _ = await talk(way, place.steps(era), at_once=place.at_once)
        if opening not in record.answers or record.answers[opening].kind != "result":
            return None
        records.append(record)
    return Direct(*records)


def memory_of(pid: int) -> int:
    """Return the largest resident memory of the process so far (KiB)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


async def examine(place: Place) -> dict[str, Direct]:
    """Return the conversations on the pipe by era."""
    found = {era: await on_the_pipe(place, era) for era in COLUMNS}
    return {era: direct for era, direct in found.items() if direct is not None}


async def examine_bridge(
    place: Place, direct: Mapping[str, Direct], outcome: Outcome, ways: Sequence[str]
) -> None:
    names = {
        (era, way): f"{era}-{way.lower()}"
        for era in (COLUMNS if place.server.extensions else direct)
        for way in COLUMNS[era]
        if way in ways and way != "A"
    }
    entries = {name: place.entry(name) for name in [*names.values(), BEHIND]}
    with daemon(place.folder, entries, aggregate={"servers": [BEHIND]}) as running:
        for (era, way), name in names.items():
            own = era in direct
            checks = (over_the_bridge if own else across_the_eras)(place, running, direct, way, name)
            outcome.cells.append(await cell_of(place, outcome.name, era, way, checks))
        for era in COLUMNS if "A" in ways else ():
            outcome.cells.append(
                await cell_of(place, outcome.name, era, "A", over_the_aggregate(place, running, direct, era))
            )
        outcome.memory = memory_of(running.process.pid)


async def cell_of(place: Place, server: str, era: str, way: str, checks: Awaitable[list[Check]]) -> Cell:
    """Return the cell; a conversation that fails is a difference."""
    try:
        return Cell(server, era, way, await checks, place.share in SHARED)
    except (OSError, trio.TooSlowError, AssertionError, BaseExceptionGroup) as fault:
        return Cell(server, era, way, [Check("the conversation", b"", repr(fault).encode())])


async def over_the_bridge(
    place: Place, running: Daemon, known: Mapping[str, Direct], way: str, name: str
) -> list[Check]:
    era = name.partition("-")[0]
    direct = known[era]
    steps = place.steps(era)
    record, ordered = await talk(CARRIERS[way](running, name), steps, direct.expected, at_once=place.at_once)
    arrived = await all_arrived(lambda: list(at_stdin(place, record, name)))
    if place.at_once:
        in_turn = await on_the_pipe(attrs.evolve(place, at_once=False), era)
        return [*compare_at_once(direct, in_turn or direct, record), *arrived]
    shown = compare_shown(place.server.must_show, record)
    ordered = ordered and place.share not in SHARED
    return [*compare(direct, record, ordered=ordered), *shown, *arrived]


def at_stdin(place: Place, record: Record, name: str) -> Iterator[Check]:
    """Compare what the client has sent with what has arrived. Several clients share a process that the bridge has opened."""
    server, taken = place.server, place.taken(name)
    is_shared = place.share in SHARED and name.startswith("legacy")
    yield from (compare_shared_input if is_shared else compare_input)(record, taken)
    yield from compare_declared(server.extensions, place.processes(name))


async def across_the_eras(
    place: Place, running: Daemon, known: Mapping[str, Direct], way: str, name: str
) -> list[Check]:
    """The client speaks an era that the server does not speak."""
    server = place.server
    steps = [step for step in script(server, modern=name.startswith("modern")) if is_passed_on(step.name)]
    record, _ = await talk(CARRIERS[way](running, name), steps, Expected(Others(), Others()))
    arrived = await all_arrived(
        lambda: [
            *compare_arguments(record, place.taken(name)),
            *compare_declared(server.extensions, place.processes(name)),
        ]
    )
    [direct] = known.values()
    return [*compare_across(direct, record), *compare_shown(server.must_show, record), *arrived]


async def over_the_aggregate(
    place: Place, running: Daemon, direct: Mapping[str, Direct], era: str
) -> list[Check]:
    """The aggregate speaks 2026-07-28 to the daemon, so a server of both eras does as well, whatever the client speaks."""
    prefix = f"{BEHIND}__"
    steps = script(place.server, modern=era == "modern", prefix=prefix)
    through = CARRIERS[THROUGH[era]]
    passed_on = [step for step in steps if is_passed_on(step.name)]
    behind = direct.get("modern") or direct["legacy"]
    whole = {step.name: how_many_items(step.name, behind) for step in passed_on if step.name in LISTS}
    record, _ = await talk(through(running, "aggregate"), passed_on, Expected(Others(), Others(), whole))
    arrived = await all_arrived(
        lambda: [
            *compare_arguments(record, place.taken(BEHIND)),
            *compare_declared(place.server.extensions, place.processes(BEHIND)),
        ]
    )
    shown = compare_shown(place.server.must_show, record)
    return [*compare_across(behind, record, prefix), *shown, *arrived]


async def all_arrived(look: Callable[[], list[Check]]) -> list[Check]:
    """Wait until the copy of the stdin of the server is written; what is missing after that time is lost."""
    checks = look()
    for _ in range(ARRIVAL_CHECKS):
        if all(check.is_equal for check in checks):
            break
        await trio.sleep(0.05)
        checks = look()
    return checks


def is_passed_on(step: str) -> bool:
    """Return whether the aggregate passes the step on, or needs it to begin."""
    own = ("ping", "logging/setLevel", "completion/complete", "zoo/unknown", "server/discover")
    return step not in own and "no such tool" not in step


def run_server(name: str, place: Place, ways: Sequence[str]) -> Outcome:
    server = place.server
    outcome = Outcome(name, server.sdk)
    begun = time.monotonic()
    place.folder.mkdir(exist_ok=True)
    try:
        direct = trio.run(examine, place)
        if "legacy" in direct:
            trio.run(examine_bridge, place, direct, outcome, ways)
        else:
            outcome.failed = "it does not answer initialize on its own pipe"
    except (OSError, RuntimeError, AssertionError, trio.TooSlowError, BaseExceptionGroup) as failure:
        outcome.failed = repr(failure)
        return outcome
    for era, found in direct.items():
        outcome.own += [f"{step} ({era})" for step in found.unstable]
        if found.one.noise:
            outcome.own.append(f"{found.one.noise} lines on stdout that are no messages ({era})")
    outcome.seconds = time.monotonic() - begun
    return outcome


# ---- the self-test


EXAMPLE = Server(
    (sys.executable, str(REPOSITORY / "examples/server.py")),
    "no SDK",
    (
        tool("echo", text="which \u00fc"),
        tool_with_progress("slow", "p", seconds=0.05, steps=2),
        tool("ask", question="which?"),
        Call("prompts/get", {"name": "greet", "arguments": {"name": "\u00fc"}}),
    ),
)


UNDECLARED = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{"extensions":{}}}}',
    b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"a"}}',
)


def self_test(folder: Path, jobs: int, share: str) -> bool:
    """Plant each fault between the bridge and the bundled example server; return whether all are found."""
    direct = trio.run(examine, Place(folder, EXAMPLE))

    def is_found(fault: str) -> bool:
        place = Place(folder / (fault or "none"), EXAMPLE, fault, shared=share)
        outcome = Outcome("example", EXAMPLE.sdk)
        place.folder.mkdir()
        trio.run(examine_bridge, place, direct, outcome, "HW")
        if not fault:
            show_differences([outcome])
        return bool(outcome.cells) and all(bool(cell.wrong) == bool(fault) for cell in outcome.cells)

    kinds = ["", *FAULTS]
    with ThreadPoolExecutor(jobs) as pool:
        found = dict(zip(kinds, pool.map(is_found, kinds), strict=True))
    found |= {
        "an extension that is not declared": is_missed(compare_declared(UI, [UNDECLARED])),
        "an extension that is declared to no process": is_missed(compare_declared(UI, [])),
        "a page that is not shown": is_missed(compare_shown([UI_TYPE], Record())),
    }
    for fault, good in found.items():
        where = "to the server" if fault in INPUT else "from the server"
        print(
            f"{'ok' if good else 'WRONG':10}{f'{fault}, {where}' if fault in FAULTS else fault or 'no fault'}"
        )
    print(f"self-test: {sum(found.values())} of {len(found)} as they should be")
    return all(found.values())


def is_missed(checks: Iterable[Check]) -> bool:
    return any(not check.is_equal for check in checks)


# ---- the report


def rows(outcomes: Sequence[Outcome]) -> Iterator[list[str]]:
    columns = [(era, way) for era, ways in COLUMNS.items() for way in ways]
    yield ["server", "SDK", *(f"{era} {way}" for era, way in columns), "s", "MiB"]
    for outcome in outcomes:
        cells = {(cell.era, cell.way): str(cell) for cell in outcome.cells}
        numbers = [f"{outcome.seconds:.0f}", f"{outcome.memory / 1024:.0f}"]
        yield [outcome.name, outcome.sdk, *(cells.get(column, "-") for column in columns), *numbers]


def show_table(outcomes: Sequence[Outcome]) -> None:
    lines = list(rows(outcomes))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def show_differences(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.failed:
            print(f"{outcome.name}: {outcome.failed}")
        for cell in outcome.cells:
            for reason in dict.fromkeys(cell.known):
                print(f"known: {outcome.name}, {cell.era}, {WAYS[cell.way]}: {reason}")
            for check in cell.wrong:
                print(f"DIFFERENT {outcome.name}, {cell.era}, {WAYS[cell.way]}: {check}")


def summary(outcomes: Sequence[Outcome]) -> str:
    checks = [check for outcome in outcomes for cell in outcome.cells for check in cell.checks]
    return f"{sum(check.is_equal for check in checks)} of {len(checks)} byte-equal"


PREFACE = """\
# Real servers, byte for byte

Written by `make zoo`; do not edit. Each server has had the same conversation twice on its own pipe, and once over each
transport of the bridge: H is Streamable HTTP, S is HTTP+SSE, W is WebSocket, C is `mcp-bridge connect`, A is the
aggregate. A cell counts the payloads (`params`, `result`, `error`, in both directions) and ids that have the same bytes.
Behind the aggregate, items of lists are compared without the prefix of their names, and results without the members that
differ between the eras. *Legacy* are the handshake revisions, *modern* is 2026-07-28; a server without modern cells does
not speak it. The last columns are the duration (seconds) and the largest resident memory of the bridge (MiB).
"""


def document(outcomes: Sequence[Outcome]) -> str:
    head, *body = rows(outcomes)
    lines = [head, ["---"] * len(head), *body]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    own = "".join(f"- {outcome.name}: {', '.join(outcome.own)}\n" for outcome in outcomes if outcome.own)
    return f"{PREFACE}\n{table}\n{summary(outcomes)}.\n\n## What is the server's own\n\nNot compared, because it differs between two conversations on the pipe, or is no message:\n\n{own}"


# ---- main


def leave_the_network() -> None:
    """Run this program again in a network namespace without any network, where the system allows it."""
    if MARK in os.environ or shutil.which("unshare") is None:
        return
    command = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        os.environ[MARK] = "1"
        os.execvp(command[0], [*command, sys.executable, *sys.argv])


def raise_loopback() -> None:
    """Bring up the loopback interface of a new network namespace (netdevice(7))."""
    get_flags, set_flags, up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(sock, get_flags, request))
        fcntl.ioctl(sock, set_flags, struct.pack("16sh14x", b"lo", flags | up))


def isolate(folder: Path) -> None:
    """Leave only what every program may have in the environment, and give it an empty HOME."""
    home = folder / "home"
    home.mkdir()
    os.environ.pop(MARK, None)
    kept = {name: os.environ[name] for name in ("PATH", "MCP_BRIDGE") if name in os.environ}
    os.environ.clear()
    os.environ.update({**kept, "HOME": str(home), "LANG": "C.UTF-8"})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", default="", help="the servers whose name contains this")
    parser.add_argument("--ways", default="HSWCA", help="which of H, S, W, C and A (default HSWCA)")
    parser.add_argument(
        "--at-once", action="store_true", help="send all lines without waiting (S, W and C of the handshake)"
    )
    parser.add_argument("--small", action="store_true", help="the servers of `make zoo-small`")
    parser.add_argument(
        "--share", choices=SHARED, default="", help="put every server behind a process that clients share"
    )
    parser.add_argument("--fault", choices=FAULTS, default="", help="plant this fault, and exit with 1")
    parser.add_argument("--jobs", type=int, default=2, help="how many servers at once (default 2)")
    parser.add_argument("--document", action="store_true", help=f"write {DOCUMENT.relative_to(REPOSITORY)}")
    parser.add_argument("--self-test", action="store_true", help="plant faults, and see that they are found")
    given = parser.parse_args()
    leave_the_network()
    without_network = MARK in os.environ
    if without_network:
        raise_loopback()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zoo-") as name, ThreadPoolExecutor(given.jobs) as pool:
        folder = Path(name)
        isolate(folder)
        if given.self_test:
            return 0 if self_test(folder, given.jobs, given.share) else 1
        furnish(folder)
        found = {
            key: server
            for key, server in servers(folder).items()
            if given.only in key and (server.small or not given.small)
        }
        if not found:
            parser.error("there is no such server")
        network = "without a network" if without_network else "with the network of this machine"
        print(f"{len(found)} servers, {given.jobs} at once, {network}", flush=True)
        ways = "SWC" if given.at_once else given.ways
        places = {
            key: Place(folder / key, server, given.fault, given.at_once, given.share)
            for key, server in found.items()
        }
        work = [pool.submit(run_server, key, place, ways) for key, place in places.items()]
        outcomes = []
        for done in work:
            outcomes.append(outcome := done.result())
            print(f"{'ok' if not outcome.wrong else 'DIFFERENT':10}{outcome.name}", flush=True)
    for outcome in outcomes:
        if outcome.own:
            print(f"{outcome.name}, the server's own: {', '.join(outcome.own)}")
    show_table(outcomes)
    show_differences(outcomes)
    memory = max(outcome.memory for outcome in outcomes) / 1024
    print(f"{summary(outcomes)}; {time.monotonic() - begun:.0f} s; at most {memory:.0f} MiB in one bridge")
    if given.document:
        DOCUMENT.write_text(document(outcomes))
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
