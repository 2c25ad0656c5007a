"""Every official client with every server over every transport, through the bridge; writes docs/COMPATIBILITY.md.

A client that can do a step and gets the words that must be in the answer has passed it. Exit code 1 if any has not, and
then the document says which and why. install.sh installs the servers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from sections import write_main  # noqa: E402 - here
from servers import FEATURE_SERVERS, FEATURES, PAGE, Server, Step, furnish, servers  # noqa: E402 - here

from tests.support.bridge_process import Bridge  # noqa: E402

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
# Limit on all steps of a client (seconds). The driver limits each step to 20 s.
TIMEOUT = 150


@attrs.frozen
class Client:
    command: tuple[str, ...]
    transports: tuple[str, ...]
    # Whether the client tries the modern era first. HTTP+SSE does not support it.
    tries_modern: bool = False

    def era(self, transport: str) -> str:
        return "modern" if self.tries_modern and transport == "http" else "legacy"


TYPESCRIPT = ("node", str(HERE / "clients/typescript.mjs"))
PYTHON_1 = (str(REPOSITORY / ".deps/py1/bin/python"), str(HERE / "clients/python1.py"))
PYTHON_2 = (sys.executable, str(HERE / "clients/python2.py"))
EVERYWHERE, OVER_HTTP = ("http", "sse", "ws"), ("http", "sse")
CLIENTS = {
    "Python 1.30": Client(PYTHON_1, EVERYWHERE),
    "Python 2.3, legacy": Client((*PYTHON_2, "legacy"), OVER_HTTP),
    "Python 2.3, auto": Client((*PYTHON_2, "auto"), OVER_HTTP, tries_modern=True),
    "TypeScript 1.32": Client((*TYPESCRIPT, "v1"), EVERYWHERE),
    "TypeScript 2.4, legacy": Client((*TYPESCRIPT, "v2"), OVER_HTTP),
    "TypeScript 2.4, auto": Client((*TYPESCRIPT, "v2-auto"), OVER_HTTP, tries_modern=True),
}
TRANSPORTS = {"http": "Streamable HTTP", "sse": "HTTP+SSE", "ws": "WebSocket"}


@attrs.frozen
class Outcome:
    """The outcome of one step: the text of the response or the reason of the failure, and what is wrong with it."""

    text: str
    wrong: str = ""


@attrs.frozen
class Cell:
    """One client with one server over one transport: the connection's outcome, then one for each step."""

    server: str
    client: str
    transport: str
    outcomes: tuple[Outcome, ...]

    @property
    def revision(self) -> str:
        return self.outcomes[0].text.partition(" ")[0]

    @property
    def passed(self) -> bool:
        return not any(outcome.wrong for outcome in self.outcomes)


# ---- verdicts


def judge(line: dict[str, str], expected: str) -> Outcome:
    if "fault" in line:
        return Outcome(line["fault"], wrong=line["fault"])
    said = line["said"]
    return Outcome(said, wrong="" if expected in said else f"{expected!r} is not in {said!r}")


def outcomes_of(lines: list[dict[str, str]], expected: list[str]) -> tuple[Outcome, ...]:
    missing = [{"fault": "the client ended before this"}] * (len(expected) - len(lines))
    return tuple(judge(line, words) for line, words in zip(lines + missing, expected, strict=True))


def expected_of(client: Client, transport: str, steps: tuple[Step, ...]) -> list[str]:
    revision = MODERN if client.era(transport) == "modern" else LEGACY
    return [revision, *(step.expected for step in steps)]


# ---- runs


def run_client(
    bridge: Bridge, client: Client, transport: str, steps: tuple[Step, ...]
) -> tuple[Outcome, ...]:
    url = {"http": bridge.mcp, "sse": bridge.sse, "ws": bridge.ws}[transport]
    try:
        done = subprocess.run(
            [*client.command, transport, url],
            input=json.dumps([step.as_json() for step in steps]),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        output, said = done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        output, said = (late.stdout or b"").decode(), f"no end within {TIMEOUT} s"
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if len(lines) <= len(steps) and said:
        lines.append({"fault": said.strip().splitlines()[-1]})
    return outcomes_of(lines, expected_of(client, transport, steps))


@contextmanager
def bridge(*command: str) -> Iterator[Bridge]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Bridge(Path(folder) / "run", command, "--no-auth") as running,
    ):
        yield running


@attrs.frozen
class Choice:
    """The cells that --only selects: their names contain these words."""

    words: str

    def has(self, server: str, client: str, transport: str) -> bool:
        return self.words in f"{server}, {client}, {transport}"

    def of(self, server: str) -> list[tuple[str, str]]:
        return [
            (name, transport)
            for name, client in CLIENTS.items()
            for transport in client.transports
            if self.has(server, name, transport)
        ]


def run_server(name: str, server: Server, choice: Choice) -> list[Cell]:
    chosen = choice.of(name)
    if not chosen:
        return []
    cells = []
    with bridge(*server.command) as running:
        for client, transport in chosen:
            outcomes = run_client(running, CLIENTS[client], transport, server.steps)
            cells.append(show(Cell(name, client, transport, outcomes)))
    return cells


def features_of(era: str) -> str:
    return f"features of a {era} server"


def run_features(era: str, choice: Choice) -> list[Cell]:
    """Run each step with a client of its own. Messages on the pipe of the server belong to that step."""
    name = features_of(era)
    chosen = choice.of(name)
    if not chosen:
        return []
    cells = []
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.touch()
        tap = (sys.executable, str(HERE / "tap.py"), str(notes), *FEATURE_SERVERS[era])
        with bridge(*tap) as running:
            for client, transport in chosen:
                outcomes = []
                for feature in FEATURES.values():
                    before = Counter(notes.read_text().splitlines())
                    connected, outcome = run_client(running, CLIENTS[client], transport, (feature.step,))
                    outcomes[:0] = [connected] * (not outcomes)
                    must = feature.passes(era)
                    if not outcome.wrong and not noted(notes, must, before[must]):
                        outcome = attrs.evolve(outcome, wrong=f"the server has not {must}")
                    outcomes.append(outcome)
                cells.append(show(Cell(name, client, transport, tuple(outcomes))))
    return cells


def noted(notes: Path, line: str, already: int) -> bool:
    """Return whether the notes contain that line more often than before, within five seconds."""
    end = time.monotonic() + 5
    while (more := Counter(notes.read_text().splitlines())[line] > already) is False:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return more


def show(cell: Cell) -> Cell:
    wrong = "; ".join(outcome.wrong for outcome in cell.outcomes if outcome.wrong)
    print(
        f"{'ok' if cell.passed else 'FAILED':7}{cell.server}, {cell.client}, {cell.transport}"
        f"{': ' * bool(wrong)}{wrong[:600]}",
        flush=True,
    )
    return cell


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def page() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/page.html"
        server.shutdown()


# ---- the document

PREFACE = """\
# Compatibility

Generated by `make matrix`, and the sections at the end by `make differential`, `make proxies`, `make clients`,
`make restarts` and `make remote`; do not edit. Every official client used every server over each of its transports,
through `mcp-bridge --no-auth --stdio -- SERVER`. A *legacy* client opens with the handshake. An *auto* client tries
revision 2026-07-28 first, and the handshake over HTTP+SSE. The SDKs of the first generation support the handshake only.
The second generation has no WebSocket client.
"""
FEATURES_PREFACE = """\
## Features

The bundled `examples/server.py` speaks the handshake revisions, `tests/matrix/modern.mjs` revision 2026-07-28 only;
they have the same tools. A cell has the number of clients and transports that used the feature, and the message that
must have passed on the server's pipe meanwhile.
"""
STEPS_PREFACE = """\
## Calls and results

A step passes if the result contains the expected words. The result is that of the first client in the table above,
shortened; `{folder}` is a folder of the run, and `{page}` a page on the loopback.
"""


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def code(text: str, most: int = 160) -> str:
    """The text as code in a cell of a table: on one line, not too long, without what ends a cell or code."""
    words = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{words if len(words) <= most else words[: most - 1] + '…'}`"


def entry(cells: list[Cell]) -> str:
    """One client with one server: the transports that passed, by the revision that was agreed upon; then the others."""
    revisions = dict.fromkeys(cell.revision for cell in cells if cell.passed)
    groups = [
        f"{revision}: "
        + ", ".join(cell.transport for cell in cells if cell.passed and cell.revision == revision)
        for revision in revisions
    ]
    failed = [cell.transport for cell in cells if not cell.passed]
    return "<br>".join(groups + [f"**failed: {', '.join(failed)}**"] * bool(failed))


def cells_table(cells: list[Cell], known: dict[str, Server]) -> str:
    rows = [
        [f"{name} ({server.made_of})"]
        + [
            entry([cell for cell in cells if (cell.server, cell.client) == (name, client)])
            for client in CLIENTS
        ]
        for name, server in known.items()
    ]
    return table(["server", *CLIENTS], rows)


def features_table(cells: list[Cell]) -> str:
    pairs = [(client, server) for server in FEATURE_SERVERS for client in ("legacy", "modern")]
    rows = []
    for number, (name, feature) in enumerate(FEATURES.items(), 1):
        row = [name]
        for client, server in pairs:
            tried = [
                cell.outcomes[number]
                for cell in cells
                if cell.server == features_of(server) and CLIENTS[cell.client].era(cell.transport) == client
            ]
            passed = sum(not outcome.wrong for outcome in tried)
            row.append(f"{passed} of {len(tried)}; the server {code(feature.passes(server))}")
        rows.append(row)
    return table(["feature", *(f"{client} client, {server} server" for client, server in pairs)], rows)


def steps_table(cells: list[Cell], known: dict[str, Server], folder: Path, url: str) -> str:
    rows = []
    for name, server in known.items():
        cell = next(cell for cell in cells if cell.server == name)
        for step, outcome in zip(server.steps, cell.outcomes[1:], strict=True):
            called = " ".join(filter(None, [step.do, step.name, step.uri]))
            if step.arguments:
                called += " " + json.dumps(step.arguments)
            shown = [
                text.replace(str(folder), "{folder}").replace(url, "{page}")
                for text in (called, outcome.text)
            ]
            rows.append([name, code(shown[0]), code(step.expected), code(shown[1])])
    return table(["server", "step", "must be in the answer", "what came back"], rows)


def failures(cells: list[Cell]) -> str:
    lines = [
        f"- {cell.server}, {cell.client}, {TRANSPORTS[cell.transport]}: {code(outcome.wrong, 300)}\n"
        for cell in cells
        for outcome in cell.outcomes
        if outcome.wrong
    ]
    return "## What failed\n\n" + "".join(lines) if lines else ""


def document(cells: list[Cell], known: dict[str, Server], folder: Path, url: str) -> str:
    abbreviations = ", ".join(f"*{short}* is {name}" for short, name in TRANSPORTS.items())
    return (
        "\n".join(
            part
            for part in (
                PREFACE,
                f"## Clients and servers\n\nThe revision that was agreed upon, and over which transports: {abbreviations}.\n",
                cells_table(cells, known),
                FEATURES_PREFACE,
                features_table(cells),
                STEPS_PREFACE,
                steps_table(cells, known, folder, url),
                failures(cells),
            )
            if part
        ).rstrip()
        + "\n"
    )


# ---- main ----


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="WORDS", default="", help="the cells whose name contains this; writes no document"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many servers at once (default 2)")
    given = parser.parse_args()
    choice = Choice(given.only)
    with tempfile.TemporaryDirectory() as name, page() as url, ThreadPoolExecutor(given.jobs) as pool:
        folder = Path(name)
        furnish(folder)
        known = servers(folder, url)
        work = [pool.submit(run_server, name, server, choice) for name, server in known.items()]
        work += [pool.submit(run_features, era, choice) for era in FEATURE_SERVERS]
        cells = [cell for done in work for cell in done.result()]
    if not cells:
        parser.error("there is no such cell; a name is SERVER, CLIENT, TRANSPORT")
    if not given.only:
        write_main(document(cells, known, folder, url))
    failed = [cell for cell in cells if not cell.passed]
    print(f"{len(cells) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
