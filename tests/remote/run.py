"""Every official client over stdio through `mcp-bridge connect` to remote servers; writes a section of docs/COMPATIBILITY.md.

The servers are real ones over HTTP, HTTP+SSE and WebSocket, one of them behind nginx with a path prefix and a certificate of
a private authority. Each client makes the same steps three times: alone (where it has the transport), through `connect URL`, and
over HTTP through a daemon that has the server as `[servers.NAME] url`. The last server is a local one of that daemon, which
`connect NAME` reaches. A step has passed if the words are in the answer and, where the client alone passed it, the answers
are equal. Exit code 1 if a step has failed. With --way mcp-remote that peer is used instead of `connect URL`.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import trustme

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(HERE.parent / "matrix")]

from run import CLIENTS, Client, Outcome, code, judge, table  # noqa: E402 - of the matrix
from sections import write_section  # noqa: E402 - of the matrix
from servers import Step, tool, tools  # noqa: E402 - of the matrix

from tests.support.bridge_process import EXAMPLE, PROGRAM  # noqa: E402 - of the repository
from tests.support.daemon_process import Daemon, write_config  # noqa: E402 - of the repository

DEPS = REPOSITORY / ".deps"
PYTHON = str(HERE / "servers/python.py")
DAMAGE = str(HERE / "damage.py")
PYTHON_1 = (str(DEPS / "py1/bin/python"), PYTHON, "mcp1")
PYTHON_2 = (sys.executable, PYTHON, "mcp2")
FASTMCP = (str(DEPS / "remote/python/bin/python"), PYTHON, "fastmcp")
TYPESCRIPT = ("node", str(HERE / "servers/typescript.mjs"))
INSPECTOR = ("node", str(DEPS / "inspector/node_modules/.bin/inspector"), "--cli")
MCP_REMOTE = ("node", str(DEPS / "remote/node/node_modules/mcp-remote/dist/proxy.js"))
# Limit on all steps of a client (seconds).
TIMEOUT = 150
ODD = 'line\nbreak "quotes" \\ \t \u2028 é 🦀 \u0001'


@attrs.frozen
class Server:
    command: tuple[str, ...]
    # The name of the transport in the drivers of the clients.
    transport: str
    path: str = "/mcp"
    # Whether it has tools that request a sample of a model, and resources that change.
    samples: bool = True
    subscribes: bool = False
    # Whether responses are event streams, on which progress and requests of the server can come.
    streams: bool = True
    # Whether nginx is in front of it, with TLS and a prefix.
    proxied: bool = False
    # The eras of the server.
    eras: tuple[str, ...] = ("legacy",)


SERVERS = {
    "TypeScript 1.32": Server((*TYPESCRIPT, "v1", "http"), "http", subscribes=True),
    "TypeScript 1.32, JSON": Server((*TYPESCRIPT, "v1", "json"), "http", streams=False),
    "TypeScript 2.4": Server((*TYPESCRIPT, "v2", "http"), "http", subscribes=True, eras=("legacy", "modern")),
    "Python 1.30": Server((*PYTHON_1, "http"), "http"),
    "Python 1.30, JSON": Server((*PYTHON_1, "json"), "http", streams=False),
    "Python 2.3": Server((*PYTHON_2, "http"), "http", samples=False, eras=("legacy", "modern")),
    "Python 2.3, JSON": Server(
        (*PYTHON_2, "json"), "http", streams=False, samples=False, eras=("legacy", "modern")
    ),
    "fastmcp 4.1": Server((*FASTMCP, "http"), "http", samples=False, eras=("legacy", "modern")),
    "TypeScript 1.32, HTTP+SSE": Server((*TYPESCRIPT, "v1", "sse"), "sse", "/sse", subscribes=True),
    "Python 1.30, HTTP+SSE": Server((*PYTHON_1, "sse"), "sse", "/sse"),
    "Python 1.30, WebSocket": Server((*PYTHON_1, "ws"), "ws", "/ws"),
    "TypeScript 1.32 behind nginx": Server(
        (*TYPESCRIPT, "v1", "http"), "http", "/some/prefix/mcp", subscribes=True, proxied=True
    ),
}
LOCAL = Server(EXAMPLE, "", subscribes=True)
NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
{temporary}
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/certificate.pem;
    location /some/prefix/ {{
      proxy_pass http://127.0.0.1:{server}/;
      proxy_http_version 1.1;
      proxy_buffering off;
    }}
  }}
}}
"""


def steps_of(server: Server, client: Client | None) -> tuple[Step, ...]:
    """Return the steps for a server that a client can make."""
    steps = [
        tools("echo"),
        tool("echo", ODD, text=ODD),
        tool("echo", "yyyy", text="y" * 300_000),
        tool("add", "1.5", a=-0.5, b=2),
        tool("big", "xxxx" if server is LOCAL else "éééé", size=100_000),
    ]
    if server is not LOCAL:
        steps.append(tool("fail", "error: ", text="wrong é"))
    if not server.streams:
        return tuple(steps)
    steps += [
        tool("ask", "accept: blue", question="which colour?"),
        Step("progress", "0/4 1/4 2/4 3/4", "slow", {"seconds": 0.4, "steps": 4}),
    ]
    if server.samples:
        steps.append(tool("think", "loud: HELLO", prompt="hello"))
    if client is None or not client.tries_modern:
        # A request of 2026-07-28 must name a log level, and these clients do not.
        steps.append(Step("log", "a line", "log", {"text": "a line"}))
    if server.subscribes:
        steps.append(
            Step("subscription", "example://greeting has changed", "touch", uri="example://greeting")
        )
    steps.append(Step("cancel", "cancelled", "slow", {"seconds": 10, "steps": 100}))
    return tuple(steps)


def names_of(steps: Sequence[Step]) -> list[str]:
    """Return a name for the connection and for each step; no two are equal."""
    names = ["connect"]
    for step in steps:
        name = f"{step.do} {step.name or ''}".strip()
        names.append(name if name not in names else f"{name} ({len(names)})")
    return names


# ---- servers


@attrs.frozen
class Running:
    server: Server
    url: str


@contextmanager
def serving(server: Server, folder: Path) -> Iterator[Running]:
    """Run a server, with nginx in front of it where that is wanted."""
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(server.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        )
        stack.callback(process.kill)
        port = int(process.stdout.readline())
        scheme = "ws" if server.transport == "ws" else "http"
        if server.proxied:
            port, scheme = stack.enter_context(nginx(port, folder)), "https"
        wait_for(port)
        # The name of the certificate, and in the other cases the address.
        host = "localhost" if server.proxied else "127.0.0.1"
        yield Running(server, f"{scheme}://{host}:{port}{server.path}")


def wait_for(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > end:
            raise RuntimeError(f"no server listens on port {port}")
        time.sleep(0.05)


@contextmanager
def nginx(server: int, folder: Path) -> Iterator[int]:
    """Run nginx with TLS in front of a port. Yield its own port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = folder / "nginx"
    place.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(place / "certificate.pem")
    temporary = "".join(
        f"  {name}_temp_path {place}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    words = {"folder": place, "port": port, "server": server, "temporary": temporary}
    user = "user root;\n" if os.getuid() == 0 else ""
    (place / "configuration").write_text(user + NGINX.format(**words))
    command = ["nginx", "-c", str(place / "configuration"), "-e", "stderr"]
    with (folder / "nginx.log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield port
        finally:
            process.terminate()


# ---- clients


def run_client(
    client: str, transport: str, url: str | Sequence[str], steps: tuple[Step, ...], variables: dict[str, str]
) -> tuple[Outcome, ...]:
    """Make all steps. Return the outcome of the connection and of each step."""
    target = url if isinstance(url, str) else json.dumps(url)
    try:
        done = subprocess.run(
            [*CLIENTS[client].command, transport, target],
            input=json.dumps([step.as_json() for step in steps]),
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        output, errors = done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        output, errors = (late.stdout or b"").decode(), f"no end within {TIMEOUT} s"
    # Of the last line only a part may be there.
    lines = [json.loads(line) for line in output.split("\n")[:-1] if line.startswith("{")]
    fault = {"fault": (errors.strip().splitlines() or ["the client ended before this"])[-1]}
    lines += [fault] * (len(steps) + 1 - len(lines))
    return tuple(
        judge(line, words) for line, words in zip(lines, ["", *(s.expected for s in steps)], strict=True)
    )


def inspect(command: Sequence[str], variables: dict[str, str]) -> Outcome:
    """Let the Inspector call a tool through a stdio command."""
    call = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=as sent"]
    try:
        done = subprocess.run(
            [*INSPECTOR, *call, "--format", "json", "-q", "--", *command],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome("", wrong=f"no end within {TIMEOUT} s")
    if done.returncode:
        text = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        return Outcome(text, wrong=text)
    return judge({"said": " ".join(done.stdout.split())}, '"text":"as sent"')


@attrs.frozen
class Cell:
    server: str
    client: str
    way: str
    # Names of the steps, and what is wrong with each, or "".
    faults: dict[str, str]

    @property
    def passed(self) -> bool:
        return not any(self.faults.values())

    @property
    def entry(self) -> str:
        wrong = [name for name, fault in self.faults.items() if fault]
        return f"**{', '.join(wrong)}**" if wrong else f"{len(self.faults)}"


def compared(
    outcomes: Sequence[Outcome], alone: Sequence[Outcome] | None, names: Sequence[str]
) -> dict[str, str]:
    """Return what is wrong with each step, also if the answer differs from that of the client alone."""
    faults = {}
    for i, (name, outcome) in enumerate(zip(names, outcomes, strict=True)):
        faults[name] = outcome.wrong
        # The first is the connection: its revision may be another one.
        same = i == 0 or alone is None or bool(alone[i].wrong) or outcome.text == alone[i].text
        # Not every SDK finds the callback of a notification that comes together with the response.
        same = same or name.startswith("progress")
        if not outcome.wrong and not same:
            faults[name] = f"{outcome.text[:200]!r} instead of {alone[i].text[:200]!r}"
        if alone is not None and alone[i].wrong:
            # The bridge need not do more than the client alone does, and the text is in the log of the run.
            faults[name] = ""
    return faults


def show(cell: Cell) -> Cell:
    wrong = "; ".join(f"{name}: {fault}" for name, fault in cell.faults.items() if fault)
    print(
        f"{'ok' if cell.passed else 'FAILED':7}{cell.server}, {cell.client}, {cell.way}{': ' * bool(wrong)}{wrong[:900]}",
        flush=True,
    )
    return cell


# ---- ways


def connect_url(url: str, folder: Path) -> list[str]:
    """Return `connect URL`, with a configuration that names the authority of the certificate."""
    command = [str(PROGRAM), "connect", url]
    return [*command, "--ca-file", str(folder / "ca.pem")] if url.startswith("https") else command


def mcp_remote(url: str, _folder: Path) -> list[str]:
    return [
        *MCP_REMOTE,
        url,
        "--transport",
        "sse-only" if url.endswith("/sse") else "http-only",
        "--allow-http",
    ]


WAYS: dict[str, Callable[[str, Path], list[str]]] = {"connect": connect_url, "mcp-remote": mcp_remote}


def damaged(kind: str) -> Callable[[str, Path], list[str]]:
    """Return a way with a planted fault: `connect URL` behind a program that damages its output."""
    return lambda url, folder: [sys.executable, DAMAGE, kind, *connect_url(url, folder)]


# Planted faults (damage.py), and a step that each must fail.
FAULTS = {
    "another letter": "call echo",
    "no elicitation": "call ask",
    "no sampling": "call think",
    "no progress": "progress slow",
    "no log message": "log log",
    "no change": "subscription",
    "no error": "call fail",
}
WAYS |= {kind: damaged(kind) for kind in FAULTS}


def self_test() -> int:
    """Plant each fault, and return 1 unless a cell fails for it."""
    missed = 0
    for kind, step in FAULTS.items():
        cells = run_server("TypeScript 1.32", Choice("TypeScript 1.32, Python 1", (kind,)))
        found = any(fault and name.startswith(step) for cell in cells for name, fault in cell.faults.items())
        print(f"{'found' if found else 'MISSED':7}{kind}", flush=True)
        missed += not found
    return 1 if missed else 0


def variables_of(folder: Path) -> dict[str, str]:
    """Return variables for programs that store nothing in the home of a user, and trust the authority of the run."""
    places = {name: str(folder) for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME")}
    authority = {"SSL_CERT_FILE": str(folder / "ca.pem"), "NODE_EXTRA_CA_CERTS": str(folder / "ca.pem")}
    return {
        **places,
        "MCP_REMOTE_CONFIG_DIR": str(folder),
        **(authority if (folder / "ca.pem").exists() else {}),
    }


@attrs.frozen
class Choice:
    words: str
    ways: tuple[str, ...]

    def has(self, *names: str) -> bool:
        return self.words in ", ".join(names)


def run_server(name: str, choice: Choice) -> list[Cell]:
    server = SERVERS[name]
    if not any(
        choice.has(name, client, way) for client in (*CLIENTS, "Inspector 2.12") for way in choice.ways
    ):
        return []
    cells = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(serving(server, folder))
        variables = variables_of(folder)
        daemon = remote_daemon(folder / "daemon", running, stack) if "daemon" in choice.ways else None
        way = next((way for way in choice.ways if way in WAYS), None)
        command = WAYS[way](running.url, folder) if way else []
        for client, about in CLIENTS.items():
            if not any(choice.has(name, client, each) for each in choice.ways):
                continue
            steps = steps_of(server, about)
            names = names_of(steps)
            alone = None
            if server.transport in about.transports:
                alone = run_client(client, server.transport, running.url, steps, variables)
                if choice.has(name, client, "alone"):
                    cells.append(show(Cell(name, client, "alone", compared(alone, None, names))))
            if way and choice.has(name, client, way):
                outcomes = run_client(client, "stdio", command, steps, variables)
                cells.append(show(Cell(name, client, way, compared(outcomes, alone, names))))
            if daemon and choice.has(name, client, "daemon"):
                outcomes = run_client(
                    client, "http", daemon.url("remote"), steps, {**variables, **token_of(daemon)}
                )
                cells.append(show(Cell(name, client, "daemon", compared(outcomes, alone, names))))
        if way and choice.has(name, "Inspector 2.12", way):
            outcome = inspect(command, variables)
            cells.append(show(Cell(name, "Inspector 2.12", way, {"call echo": outcome.wrong})))
    return cells


def token_of(daemon: Daemon) -> dict[str, str]:
    return {"MCP_TOKEN": daemon.token}


def remote_daemon(folder: Path, running: Running, stack: ExitStack) -> Daemon:
    """Run a daemon that has the server as `[servers.remote] url`."""
    keys = {"url": running.url}
    if running.url.startswith("https"):
        keys["ca_file"] = str(folder.parent / "ca.pem")
    write_config(folder / "config.toml", {"remote": keys})
    return stack.enter_context(Daemon(folder))


def run_local(choice: Choice) -> list[Cell]:
    """Run the clients through `connect NAME` to a server of a daemon."""
    name = "local daemon"
    if "connect" not in choice.ways:
        return []
    cells = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_config(folder / "config.toml", {"example": {"command": EXAMPLE}})
        with Daemon(folder) as daemon:
            command = [str(PROGRAM), "connect", "example", "--config", str(daemon.config)]
            variables = {
                key: value for key, value in daemon.variables.items() if os.environ.get(key) != value
            }
            for client, about in CLIENTS.items():
                if not choice.has(name, client, "connect"):
                    continue
                steps = steps_of(LOCAL, about)
                names = names_of(steps)
                alone = run_client(client, "stdio", EXAMPLE, steps, {})
                outcomes = run_client(client, "stdio", command, steps, variables)
                cells.append(show(Cell(name, client, "connect", compared(outcomes, alone, names))))
            if choice.has(name, "Inspector 2.12", "connect"):
                # The Inspector passes few variables on.
                given = [f"{key}={value}" for key, value in variables.items()]
                outcome = inspect(["env", *given, *command], variables)
                cells.append(show(Cell(name, "Inspector 2.12", "connect", {"call echo": outcome.wrong})))
    return cells


# ---- the document

PREFACE = """\
## Remote servers

Generated by `make remote`. Each client made the same steps (list, odd and large arguments and results, progress, logging,
elicitation, sampling, errors, cancellation, subscriptions; as many as client and server support) alone, over stdio through
`mcp-bridge connect URL`, and over HTTP through a daemon with the server as `[servers.NAME] url`. A cell has the number of
steps that passed; where the client alone passed a step, the answers are equal. The last row is `mcp-bridge connect NAME`.
"""


def document(cells: Sequence[Cell]) -> str:
    found = {(cell.server, cell.client, cell.way): cell for cell in cells}
    names = dict.fromkeys(cell.server for cell in cells)
    clients = [*CLIENTS, "Inspector 2.12"]
    parts = [PREFACE]
    for way, title in (("connect", "Over stdio through `connect`"), ("daemon", "Over HTTP through a daemon")):
        rows = [
            [
                name,
                *(found[key].entry if (key := (name, client, way)) in found else "–" for client in clients),
            ]
            for name in names
            if any((name, client, way) in found for client in clients)
        ]
        parts += [f"### {title}\n", table(["server", *clients], rows)]
    failed = [cell for cell in cells if not cell.passed and cell.way != "alone"]
    lines = [
        f"- {cell.server}, {cell.client}, {cell.way}: {name}: {code(fault, 300)}"
        for cell in failed
        for name, fault in cell.faults.items()
        if fault
    ]
    return "\n".join(parts + (["### Failed\n", *lines] if lines else []))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="WORDS", default="", help="the cells whose name contains this; writes no document"
    )
    parser.add_argument(
        "--way", action="append", choices=["connect", "mcp-remote", "daemon", "alone"], help="only this way"
    )
    parser.add_argument(
        "--self-test", action="store_true", help="run only planted faults, each of which must be found"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many servers at once (default 2)")
    given = parser.parse_args()
    if given.self_test:
        return self_test()
    choice = Choice(given.only, tuple(given.way or ("connect", "daemon")))
    if shutil.which("nginx") is None:
        print("nginx is not installed; its server is NOT RUN", file=sys.stderr)
        del SERVERS["TypeScript 1.32 behind nginx"]
    with ThreadPoolExecutor(given.jobs) as pool:
        work = [pool.submit(run_server, name, choice) for name in SERVERS]
        work.append(pool.submit(run_local, choice))
        cells = [cell for done in work for cell in done.result()]
    if not cells:
        parser.error("there is no such cell; a name is SERVER, CLIENT, WAY")
    if not given.only and not given.way:
        write_section("remote", document(cells))
    failed = [cell for cell in cells if not cell.passed and cell.way != "alone"]
    print(f"{len(cells) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
