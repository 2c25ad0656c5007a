"""Programs of clients use the files that `client-config --write` writes; writes a section of docs/COMPATIBILITY.md.

Each program has an empty home and no network besides the loopback, as in clients.py. `client-config --write` adds a server over
stdio and one over HTTP to its file, and the program lists them or offers their tools to a model, which is a server of this
program that refuses every request. Then the program adds two servers with a command of its own, and `config import` must read
what was given. Last, `client-config --write` replaces an entry, and a token is revoked. Exit code 1 if anything differs.
"""

import argparse
import json
import re
import sys
import tempfile
import threading
import tomllib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import attrs

sys.path[:0] = [str(Path(__file__).parent)]

import clients  # noqa: E402 - below this directory
from clients import PACKAGES, Seen, World, ask_codex, inside, isolate, missing, write_config  # noqa: E402 - likewise
from run import table  # noqa: E402 - of the matrix
from sections import write_section  # noqa: E402

from tests.support.bridge_process import PROGRAM  # noqa: E402
from tests.support.daemon_process import Daemon  # noqa: E402

STDIO, HTTP = "over-stdio", "over-http"
# What each program adds by a command of its own, as far as it has an option for it.
COMMAND = ["/usr/bin/env", "-i", "/opt/a server/bin/run", "--mode", "x=y", "$5"]
ENV = {"REGION": "eu north", "LEVEL": "3"}
URL = "http://127.0.0.1:9/other/mcp"
HEADER = ("X-Api-Key", "key 0123456789abcdef")


class Model:
    """A model that refuses every request, and stores the names of the tools in each."""

    def __init__(self) -> None:
        self.tools: set[str] = set()
        tools = self.tools

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                offered = json.loads(body or b"{}").get("tools") or []
                tools.update(one.get("function", one).get("name", "") for one in offered)
                self.send_response(400)
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(404)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"


@attrs.frozen
class Program:
    """A program of a client. `seen` returns what it reports of each server, and `add` the commands that add the two servers.

    `connects` is whether it connects to the servers without an account. `headers` is whether its command takes headers.
    """

    client: str
    package: str
    listing: str
    seen: Callable[[World], dict[str, Seen]]
    add: Callable[[World], list[list[str]]] | None
    connects: bool = True
    headers: bool = True
    # Texts of files that are there before, by their paths below the home directory.
    before: dict[str, str] = attrs.field(factory=dict)


def lines_of(output: str, pattern: str, good: str) -> dict[str, Seen]:
    """Return what a list reports: the pattern has the groups `name` and `state`."""
    found = re.finditer(pattern, output, re.MULTILINE)
    return {one["name"]: Seen(bool(re.search(good, one["state"])), one[0].strip()) for one in found}


def pairs(option: str, values: dict[str, str], join: str = "=") -> list[str]:
    return [word for key, value in values.items() for word in (option, f"{key}{join}{value}")]


# ---- the programs


def claude_program(_: World) -> list[str]:
    [program] = PACKAGES.glob("@anthropic-ai/claude-code-linux-*[!l]/claude")
    return [str(program), "mcp"]


def claude_seen(world: World) -> dict[str, Seen]:
    return lines_of(
        world.run(*claude_program(world), "list"), r"^(?P<name>[\w-]+): .* - (?P<state>.*)$", "Connected"
    )


def claude_add(world: World) -> list[list[str]]:
    words = [*claude_program(world), "add"]
    return [
        [*words, "own-stdio", "--scope", "user", *pairs("-e", ENV), "--", *COMMAND],
        [*words, "--scope", "user", "--transport", "http", "own-http", URL, "--header", ": ".join(HEADER)],
    ]


def opencode_program(_: World) -> list[str]:
    [program] = PACKAGES.glob("opencode-linux-*64/bin/opencode")
    return [str(program), "mcp"]


def opencode_seen(world: World) -> dict[str, Seen]:
    quiet = {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    output = world.run(*opencode_program(world), "list", more=quiet)
    return lines_of(output, r"^●\s+\S (?P<name>[\w-]+) (?P<state>.*)$", "^connected")


def opencode_add(world: World) -> list[list[str]]:
    words = [*opencode_program(world), "add"]
    return [
        [*words, "own-stdio", *pairs("--env", ENV), "--", *COMMAND],
        [*words, "own-http", "--url", URL, "--header", "=".join(HEADER)],
    ]


def gemini_program(_: World) -> list[str]:
    return ["node", str(PACKAGES / "@google/gemini-cli/bundle/gemini.js"), "mcp"]


def qwen_program(_: World) -> list[str]:
    return ["node", str(PACKAGES / "@qwen-code/qwen-code/cli.js"), "mcp"]


def gemini_seen(program: Callable[[World], list[str]]) -> Callable[[World], dict[str, Seen]]:
    pattern = r"^\S (?P<name>[\w-]+)(?: \(from .*\))?: .* - (?P<state>.*)$"
    return lambda world: lines_of(world.run(*program(world), "list"), pattern, "^Connected")


def gemini_add(program: Callable[[World], list[str]]) -> Callable[[World], list[list[str]]]:
    def add(world: World) -> list[list[str]]:
        words = [*program(world), "add", "--scope", "user"]
        return [
            [*words, *pairs("-e", ENV), "own-stdio", COMMAND[0], "--", *COMMAND[1:]],
            [*words, "--transport", "http", "own-http", URL, "--header", ": ".join(HEADER)],
        ]

    return add


def codex_program(_: World) -> list[str]:
    [program] = PACKAGES.glob("@openai/codex-linux-*/vendor/*/bin/codex")
    return [str(program)]


def codex_seen(world: World) -> dict[str, Seen]:
    statuses, errors = ask_codex(world, *codex_program(world), {})
    return {
        name: Seen(bool(one.get("serverInfo") and one.get("tools")), errors) for name, one in statuses.items()
    }


def codex_add(world: World) -> list[list[str]]:
    words = [*codex_program(world), "mcp", "add"]
    return [[*words, "own-stdio", *pairs("--env", ENV), "--", *COMMAND], [*words, "own-http", "--url", URL]]


def copilot_program(_: World) -> list[str]:
    return ["node", str(PACKAGES / "@github/copilot/npm-loader.js"), "mcp"]


def copilot_seen(world: World) -> dict[str, Seen]:
    output = world.run(*copilot_program(world), "list")
    return lines_of(output, r"^ +(?P<name>[\w-]+) \((?P<state>.*)\)$", "^(local|http)$")


def copilot_add(world: World) -> list[list[str]]:
    words = [*copilot_program(world), "add"]
    return [
        [*words, "own-stdio", *pairs("--env", ENV), "--timeout", "5000", "--", *COMMAND],
        [*words, "--transport", "http", "own-http", URL, "--header", ": ".join(HEADER)],
    ]


def cline_program(_: World) -> list[str]:
    [program] = PACKAGES.glob("@cline/cli-linux-*/bin/cline")
    return [str(program)]


def cline_seen(world: World) -> dict[str, Seen]:
    """Return the servers whose tools are in a request to the model."""
    model = Model()
    words = cline_program(world)
    world.run(
        *words, "auth", "--provider", "openai", "--apikey", "none", "--modelid", "m", "--baseurl", model.url
    )
    output = world.run(*words, "--json", "name the tools")
    return offered(model, output)


def offered(model: Model, output: str) -> dict[str, Seen]:
    text = f"{sorted(model.tools)} tools, {output[-300:]}"
    return {
        name: Seen(any(tool.replace("_", "-").startswith(name) for tool in model.tools), text)
        for name in (STDIO, HTTP)
    }


def cline_add(world: World) -> list[list[str]]:
    words = [*cline_program(world), "mcp", "add", "--yes"]
    return [
        [*words, "own-stdio", "--", *COMMAND],
        [*words, "--transport", "http", "--header", ": ".join(HEADER), "own-http", URL],
    ]


def continue_seen(world: World) -> dict[str, Seen]:
    model = Model()
    file = world.home / ".continue/config.yaml"
    kept = file.read_text()
    try:
        file.write_text(
            "name: Local\nversion: 1.0.0\nschema: v1\nmodels:\n  - name: m\n    provider: openai\n    model: m\n"
            f"    apiBase: {model.url}\n    apiKey: none\n{kept}"
        )
        words = ["node", str(PACKAGES / "@continuedev/cli/dist/cn.js"), "--config", str(file)]
        output = world.run(*words, "-p", "name the tools")
    finally:
        file.write_text(kept)
    failed = set(re.findall(r"([\w-]+): ", output.partition("failed to load:")[2].replace("\\n", "\n")))
    text = f"{len(model.tools)} tools, {output[-300:]}"
    return {name: Seen(bool(model.tools) and name not in failed, text) for name in (STDIO, HTTP)}


PROGRAMS = {
    "Claude Code": Program(
        "claude-code", "@anthropic-ai/claude-code", "claude mcp list", claude_seen, claude_add
    ),
    "opencode": Program("opencode", "opencode-ai", "opencode mcp list", opencode_seen, opencode_add),
    "Gemini CLI": Program(
        "gemini",
        "@google/gemini-cli",
        "gemini mcp list",
        gemini_seen(gemini_program),
        gemini_add(gemini_program),
        before={
            ".gemini/settings.json": '{\n  // A comment.\n  "security": {"folderTrust": {"enabled": false}}\n}\n'
        },
    ),
    "Qwen Code": Program(
        "qwen", "@qwen-code/qwen-code", "qwen mcp list", gemini_seen(qwen_program), gemini_add(qwen_program)
    ),
    "Codex": Program("codex", "@openai/codex", "codex app-server", codex_seen, codex_add, headers=False),
    "Copilot CLI": Program(
        "copilot", "@github/copilot", "copilot mcp list", copilot_seen, copilot_add, connects=False
    ),
    "Cline CLI": Program(
        "cline",
        "cline",
        "cline PROMPT",
        cline_seen,
        cline_add,
        before={".cline/data/settings/providers.json": "{}"},
    ),
    "Continue CLI": Program("continue", "@continuedev/cli", "cn -p PROMPT", continue_seen, None),
}


# ---- inside of the network namespace


def bridge(world: World, *words: str, code: int = 0) -> str:
    """Run a command of the bridge. Raises RuntimeError for another exit code."""
    output = world.run("sh", "-c", '"$@"; echo "exit $?"', "sh", PROGRAM, *words)
    text, _, found = output.rpartition("exit ")
    if int(found) != code:
        raise RuntimeError(f"mcp-bridge {' '.join(words)}: exit code {found.strip()}: {text}")
    return text


def imported(world: World, program: Program) -> list[str]:
    """Return what differs between the servers that the program added and those that `config import` reads."""
    folder = world.home / "imported"
    folder.mkdir(mode=0o700)
    file = folder / "config.toml"
    output = bridge(world, "config", "import", program.client, "--write", "--config", str(file))
    servers = tomllib.loads(file.read_text())["servers"]
    faults = [f"{name}: {text}" for name, text in compared(folder, program, servers)]
    own = output.count("it is a server of this bridge")
    if own != len((STDIO, HTTP)):
        faults.append(f"{own} entries recognized as servers of the bridge")
    return faults


def compared(folder: Path, program: Program, servers: dict[str, dict]) -> list[tuple[str, str]]:
    faults = []
    stdio, http = servers.pop("own-stdio", {}), servers.pop("own-http", {})
    with_env = program.client != "cline"
    env = {**stdio.get("env", {}), **secrets(folder, stdio.get("secrets", {}))}
    words = stdio.get("command", [])
    if words != COMMAND:
        faults.append(("own-stdio", f"command {words}"))
    if env != (ENV if with_env else {}):
        faults.append(("own-stdio", f"env {env}"))
    found = {**http.get("headers", {}), **secrets(folder, http.get("secret_headers", {}))}
    if http.get("url") != URL:
        faults.append(("own-http", f"url {http.get('url')}"))
    if found != (dict([HEADER]) if program.headers else {}):
        faults.append(("own-http", f"headers {found}"))
    if servers:
        faults.append(("others", ", ".join(servers)))
    return faults


def secrets(folder: Path, named: dict[str, str]) -> dict[str, str]:
    return {key: (folder / name).read_text().removesuffix("\n") for key, name in named.items()}


def not_seen(program: Program, world: World, names: tuple[str, ...], when: str) -> list[str]:
    seen = program.seen(world)
    return [
        f"{when}: {name}: {' '.join(one.text.split())}"
        for name in names
        if not (one := seen.get(name, Seen(connected=False, text=f"not among {sorted(seen)}"))).connected
    ]


def run_program(name: str) -> dict:
    """Return the faults of one program by step."""
    program = PROGRAMS[name]
    steps: dict[str, list[str]] = {}
    # Not below /tmp, where Codex puts no helper programs.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as temporary:
        home = Path(temporary)
        place = home / ".config/mcp-bridge"
        place.mkdir(parents=True, mode=0o700)
        isolate(home, place / "run")
        write_config(place / "config.toml")
        with Daemon(place) as daemon:
            world = World(home, daemon.token, "")
            for path, text in program.before.items():
                (home / path).parent.mkdir(parents=True)
                (home / path).write_text(text)
            bridge(world, "client-config", program.client, STDIO, "--write")
            bridge(world, "client-config", program.client, HTTP, "--http", "--write")
            both = (STDIO, HTTP)
            steps["written"] = not_seen(program, world, both, "written")
            if program.add is not None:
                outputs = [world.run(*words) for words in program.add(world)]
                steps["imported"] = imported(world, program)
                if steps["imported"]:
                    steps["imported"].append(f"printed by the program: {outputs}")
            bridge(world, "client-config", program.client, HTTP, "--write")
            bridge(world, "client-config", program.client, STDIO, "--http", "--write")
            steps["replaced"] = not_seen(program, world, both, "replaced")
            if program.connects:
                bridge(world, "token", "revoke", f"{program.client}-{STDIO}")
                bridge(world, "reload")
                left = not_seen(program, world, (STDIO,), "revoked")
                steps["revoked"] = [] if left else [f"{STDIO} is connected with a revoked token"]
    return {"steps": steps, "faults": [fault for faults in steps.values() for fault in faults], "seen": {}}


# ---- outside of the network namespace

PREFACE = """\
## Files of clients

Generated by `make clients`. `mcp-bridge client-config --write` wrote a server over stdio (`connect`) and one over HTTP into the
file of each program, which was installed from npm and had an empty home and no network. *Written*: the program itself reports
both as connected (Copilot CLI connects only with an account, and lists them; Cline and Continue offer their tools to a model).
*Imported*: the program has added two servers with a command of its own, with spaces, `$` and options in arguments, and
`config import` reads the same command, arguments, variables, URL and headers. *Replaced*: `--write` has exchanged both entries
in place, HTTP for stdio. *Revoked*: without its token the server is not connected any more.
"""
STEPS = ("written", "imported", "replaced", "revoked")


def section(reports: dict[str, dict], absent: dict[str, str]) -> str:
    rows = []
    for name, program in PROGRAMS.items():
        if name in absent:
            rows.append([name, "NOT RUN", *[""] * len(STEPS)])
            continue
        steps = reports[name].get("steps", {})
        cells = ["–" if step not in steps else "**failed**" if steps[step] else "yes" for step in STEPS]
        rows.append([f"{name} {clients.version(program)}", f"`{program.listing}`", *cells])
    parts = [PREFACE, table(["program", "report", *STEPS], rows)]
    if absent:
        parts.append("".join(f"- NOT RUN: {name}: {why}\n" for name, why in absent.items()))
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", choices=PROGRAMS, help="one program; writes no document")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(run_program(given.inside)))
        return 0
    names = [given.only] if given.only else list(PROGRAMS)
    absent = {name: why for name in names if (why := missing(PROGRAMS[name]))}
    reports, faults = {}, 0
    for name in names:
        if name in absent:
            print(f"NOT RUN {name}: {absent[name]}", flush=True)
            continue
        report = reports[name] = inside(name, script="files.py")
        faults += len(report["faults"])
        print(f"{'FAILED' if report['faults'] else 'ok':8}{name}: {', '.join(report.get('steps', {}))}")
        for fault in report["faults"]:
            print(f"        fault: {fault}", flush=True)
    if not given.only:
        write_section("files", section(reports, absent))
    print(f"{len(reports)} programs run, {len(absent)} NOT RUN, {faults} faults")
    return 1 if faults or not reports else 0


if __name__ == "__main__":
    sys.exit(main())
