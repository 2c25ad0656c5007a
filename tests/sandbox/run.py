"""Run real servers at each step of the sandbox: what works, what is refused, and what a start costs; writes docs/SANDBOX.md.

Each server does its work through the daemon, with its preset. A second server with the same lists then tries to leave them
(tests/hostile/escaping.py). Exit code 1 if a server does not work, or an attempt succeeds that a step must refuse.
`--self-test` plants faults, each of which must be found. tests/matrix/install.sh installs the servers.
"""

import contextlib
import functools
import http.server
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY)]

from mcpbridged.transports.process import confinement  # noqa: E402 - after the path
from tests.support.daemon_process import Daemon, write_config  # noqa: E402 - likewise
from tests.support.unix_client import UnixClient  # noqa: E402 - likewise

DOCUMENT = REPOSITORY / "docs/SANDBOX.md"
NODE = REPOSITORY / ".deps/matrix/node/node_modules/.bin"
PYTHON = REPOSITORY / ".deps/matrix/python/bin"
ESCAPING = [sys.executable, str(REPOSITORY / "tests/hostile/escaping.py")]
STEPS = ("basic", "landlock", "bwrap")
STARTS = 5
# Errors of what is refused, or is not there. An empty text is that of an empty file or directory in its place.
REFUSED = {
    *("EACCES", "EPERM", "EROFS", "ENOENT", "ESRCH", "EXDEV", "EINVAL", "EBUSY", "ENOSYS", "EAFNOSUPPORT"),
    *("ECONNREFUSED", "ENETUNREACH", "EISCONN", ""),
}


class Call(NamedTuple):
    """A call of a tool. `word` must be in the answer."""

    tool: str
    arguments: dict
    word: str


class Server(NamedTuple):
    """A real server: its command, preset, variables, and the calls that are its work."""

    command: list[str]
    preset: str
    variables: dict[str, str]
    calls: list[Call]
    network: bool = False


class World:
    """Files and sockets of a user, which servers work with and must not reach."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        for name in ("docs", "memory", "repository", ".ssh", "other", "page"):
            (self.home / name).mkdir(parents=True)
        (self.home / ".ssh/id").write_text("the key")
        (self.home / "other/file").write_text("of another program")
        (self.home / "docs/file").write_text("the document")
        (self.home / "docs/link").symlink_to(self.home / "other/file")
        (self.home / "page/index.html").write_text("<p>the page</p>")
        git = ["git", "-C", str(self.home / "repository")]
        subprocess.run([*git, "init", "--quiet"], check=True)
        for key, value in (("user.name", "x"), ("user.email", "x@example.invalid")):
            subprocess.run([*git, "config", key, value], check=True)
        (self.home / "repository/file").write_text("a change")
        (self.home / ".gitconfig").write_text("[init]\ndefaultBranch = main\n")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(f"\0mcp-bridge-matrix-{os.getpid()}")
        self.abstract.listen()
        handler = functools.partial(Quiet, directory=str(self.home / "page"))
        self.pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.pages.serve_forever, daemon=True).start()

    def servers(self) -> dict[str, Server]:
        home = self.home
        url = f"http://127.0.0.1:{self.pages.server_address[1]}/index.html"
        repository = str(home / "repository")
        entities = [{"name": "a", "entityType": "t", "observations": ["seen"]}]
        thought = {"thought": "x", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}
        return {
            "filesystem": Server(
                [str(NODE / "mcp-server-filesystem"), str(home / "docs")],
                "filesystem",
                {},
                [
                    Call("read_text_file", {"path": str(home / "docs/file")}, "the document"),
                    Call("write_file", {"path": str(home / "docs/new"), "content": "x"}, "Successfully"),
                    Call(
                        "move_file",
                        {"source": str(home / "docs/new"), "destination": str(home / "docs/moved")},
                        "Successfully",
                    ),
                    Call("list_directory", {"path": str(home / "docs")}, "moved"),
                ],
            ),
            "memory": Server(
                [str(NODE / "mcp-server-memory")],
                "memory",
                {"MEMORY_FILE_PATH": str(home / "memory/graph.json")},
                [Call("create_entities", {"entities": entities}, "["), Call("read_graph", {}, "seen")],
            ),
            "sequential-thinking": Server(
                [str(NODE / "mcp-server-sequential-thinking")],
                "sequential-thinking",
                {},
                [Call("sequentialthinking", thought, "thoughtNumber")],
            ),
            "git": Server(
                [str(PYTHON / "mcp-server-git"), "--repository", repository],
                "git",
                {},
                [
                    Call("git_status", {"repo_path": repository}, "branch"),
                    Call("git_add", {"repo_path": repository, "files": ["."]}, ""),
                    Call("git_status", {"repo_path": repository}, "branch"),
                ],
            ),
            "time": Server(
                [str(PYTHON / "mcp-server-time")],
                "time",
                {},
                [Call("get_current_time", {"timezone": "Europe/Berlin"}, "Europe/Berlin")],
            ),
            "fetch": Server(
                [str(PYTHON / "mcp-server-fetch"), "--allow-private-ips", "--ignore-robots-txt"],
                "fetch",
                {},
                [Call("fetch", {"url": url, "raw": True}, "the page")],
                network=True,
            ),
        }

    def attempts(self, running: Daemon) -> dict[str, list[object]]:
        """Return what the second server tries, by its description."""
        state, port = self.folder / "run/state/mcp-bridge", self.listener.getsockname()[1]
        pid = running.process.pid
        return {
            "read ~/.ssh/id": ["read", self.home / ".ssh/id"],
            "read a file of another program": ["read", self.home / "other/file"],
            "follow a link out of its directory": ["read", self.home / "docs/link"],
            "write into the home directory": ["write", self.home / f"new-{time.monotonic_ns()}"],
            "truncate a file of another program": ["truncate", self.home / "other/victim"],
            "read /etc/shadow": ["read", "/etc/shadow"],
            "read the token of the bridge": ["read", state / "token"],
            "read the configuration of the bridge": ["read", self.folder / "config.toml"],
            "connect to the control socket": ["unix", running.unix],
            "connect to an abstract Unix socket": ["abstract", f"mcp-bridge-matrix-{os.getpid()}"],
            "signal the daemon": ["signal", pid],
            "trace the daemon": ["ptrace", pid],
            "read the environment of the daemon": ["read", f"/proc/{pid}/environ"],
            "read the memory of the daemon": ["memory", pid],
            "read the keyring of the session": ["keyring"],
            "set up io_uring": ["io_uring"],
            NETWORK[0]: ["tcp", "127.0.0.1", port],
            NETWORK[1]: ["udp", "127.0.0.1", self.datagrams.getsockname()[1]],
            NETWORK[2]: ["bind", 0],
        }

    def close(self) -> None:
        self.pages.shutdown()
        self.pages.server_close()
        for sock in (self.listener, self.datagrams, self.abstract):
            sock.close()


# Attempts that a server with a network may make. With bwrap a server without a network has a loopback interface of its own.
NETWORK = ("connect over TCP", "send over UDP", "listen on a port")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A page without a log."""

    def log_message(self, *_words: object) -> None:
        """Print nothing."""


def supported() -> dict[str, str]:
    """Return why a step cannot be run on this machine, or an empty string, for each step."""
    abi = confinement.landlock_abi()
    landlock = (
        ""
        if abi >= confinement.SCOPES_ABI
        else f"NOT RUN: Landlock has version {abi} here, of {confinement.SCOPES_ABI}"
    )
    bwrap = "" if shutil.which("bwrap") else "NOT RUN: bwrap is not installed"
    if not bwrap:
        words = ["bwrap", "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        bwrap = f"NOT RUN: {done.stderr.strip()}" if done.returncode else ""
    return {"basic": "", "landlock": landlock, "bwrap": bwrap}


class Result(NamedTuple):
    """Of a server at a step: the calls that failed, the start of the second server (milliseconds), and its answers."""

    failed: list[str]
    start: float
    attempts: dict[str, str]


def keys_of(server: Server, step: str, home: Path, changes: dict) -> dict:
    keys = {"command": server.command, "env": {**server.variables, "HOME": str(home)}, "sandbox": step}
    if step != "basic":
        keys["sandbox_preset"] = server.preset
    elif not server.network:
        keys["network"] = False
    return {key: value for key, value in {**keys, **changes}.items() if value is not None}


def talk(client: UnixClient, name: str, session: str, call: Call) -> str:
    answer = client.call(name, session, call.tool, **call.arguments)
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return " ".join(part.get("text", "") for part in answer.json["result"]["content"])
    return answer.body.decode(errors="replace")


def run_server(world: World, name: str, server: Server, step: str, changes: dict) -> Result:
    """Run one server at one step, and the second server with its lists."""
    (world.home / "other/victim").write_text("to be kept")
    (world.home / "docs/moved").unlink(missing_ok=True)
    (world.home / "repository" / f"{step}-{time.monotonic_ns()}").write_text("a change")
    servers = {"real": keys_of(server, step, world.home, changes)}
    write_config(world.folder / "config.toml", servers)
    with Daemon(world.folder) as running:
        client = UnixClient(running.unix)
        first = client.initialize("real")
        if first.status != 200:
            return Result([f"initialize: {first.text}"], 0.0, {})
        session = first.headers["mcp-session-id"]
        answers = [(call, talk(client, "real", session, call)) for call in server.calls]
        failed = [f"{call.tool}: {text[:200]}" for call, text in answers if call.word not in text]
        [state] = [one for one in running.status()["servers"] if one["name"] == "real"]
        probe = {"command": ESCAPING, "env": {"HOME": str(world.home)}, "sandbox": state["sandbox"]}
        probe["network"] = state["network"]
        for key in ("read", "write"):
            paths = [path for path in state[key] if os.path.exists(path)]
            if paths and state["sandbox"] != "basic":
                probe[key] = ["cwd" if path == "." else path for path in paths]
        write_config(world.folder / "config.toml", {**servers, "probe": probe})
        running.reload()
        opened = client.initialize("probe")
        if opened.status != 200:
            return Result([*failed, f"the second server: {opened.text}"], 0.0, {})
        session = opened.headers["mcp-session-id"]
        found = {}
        for what, words in world.attempts(running).items():
            call = Call("attempt", {"words": [str(word) for word in words]}, "")
            found[what] = json.loads(talk(client, "probe", session, call))
        times = [_start(client, "probe") for _ in range(STARTS)]
    return Result(failed, statistics.median(times), found)


def breaches(server: Server, step: str, result: Result) -> list[str]:
    """Return the attempts that succeeded although the step refuses them."""
    found = []
    for what, answer in result.attempts.items():
        if what in NETWORK:
            must_fail = not server.network and not (step == "bwrap" and what != NETWORK[0])
        else:
            must_fail = step != "basic"
        if must_fail and answer not in REFUSED:
            found.append(f"{what}: {answer[:60]!r}")
    return found


def problems(name: str, server: Server, step: str, result: Result) -> list[str]:
    texts = [
        *(f"does not work: {text}" for text in result.failed),
        *(f"succeeded: {text}" for text in breaches(server, step, result)),
    ]
    if not result.attempts and not texts:
        texts.append("no attempt was made")
    return [f"{name}, {step}: {text}" for text in texts]


def _start(client: UnixClient, name: str) -> float:
    """Return the time from `initialize` to its response (milliseconds), with the start of a process."""
    began = time.perf_counter()
    assert client.initialize(name).status == 200
    return (time.perf_counter() - began) * 1000


# Each must be found as a problem. Key: what was planted. Value: the server, the step, and changed keys.
FAULTS = {
    "a server that is not confined": ("filesystem", "landlock", {"sandbox": "basic", "sandbox_preset": None}),
    "a list with the home directory": ("filesystem", "landlock", {"write": ["HOME"]}),
    "a network for a server that has none": ("time", "landlock", {"network": True}),
    "a preset that lacks the directory of the server": ("memory", "landlock", {"sandbox_preset": "time"}),
    "a bwrap with the home directory": ("git", "bwrap", {"read": ["HOME"]}),
    "no network for a server that needs one": ("fetch", "bwrap", {"network": False}),
    "a repository that can only be read": (
        "git",
        "landlock",
        {"sandbox_preset": "time", "read": ["REPOSITORY"]},
    ),
}


def self_test(world: World) -> int:
    """Plant faults. Return the number of those that are not found."""
    missed = 0
    machine, known = supported(), world.servers()
    for fault, (name, step, changes) in FAULTS.items():
        if machine[step]:
            print(f"self-test: {fault}: {machine[step]}")
            continue
        places = {"HOME": str(world.home), "REPOSITORY": str(world.home / "repository")}
        given = {
            key: [places.get(one, one) for one in value] if isinstance(value, list) else value
            for key, value in changes.items()
        }
        (world.home / "repository/more").write_text(fault)
        found = problems(name, known[name], step, run_server(world, name, known[name], step, given))
        print(f"self-test: {fault}: {'found: ' + found[0] if found else 'NOT FOUND'}")
        missed += not found
    return missed


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


PREFACE = """\
# The sandbox of servers

Generated by `make sandbox`; do not edit. SANDBOX in mcp-bridge.toml(5) describes the keys and what each step guarantees.

Six real servers run behind a daemon at each step of `sandbox`, with their presets. A second server then gets the same lists
and tries to leave them. The kernel was Linux {kernel} ({machine}) with Landlock {landlock}, and bwrap {bwrap}; the user was
{user}.
"""


def cell_of(what: str, step: str, results: dict[str, Result], servers: dict[str, Server]) -> str:
    """Return for an attempt what all servers of a step have in common, or those for which it succeeded."""
    done = [name for name, one in results.items() if one.attempts.get(what) not in REFUSED]
    if not done:
        return "refused"
    if step == "bwrap" and what in NETWORK[1:]:
        return "without a network on its own loopback"
    if len(done) == len(results):
        return "possible"
    networked = [name for name in done if servers[name].network]
    return "refused without a network" if networked == done else f"possible: {', '.join(done)}"


def document(
    servers: dict[str, Server], results: dict[str, dict[str, Result]], machine: dict[str, str]
) -> str:
    version = (
        subprocess.run(["bwrap", "--version"], capture_output=True, text=True, check=False).stdout.split()[
            -1:
        ]
        if shutil.which("bwrap")
        else []
    )
    text = PREFACE.format(
        kernel=platform.release().split("-")[0],
        machine=platform.machine(),
        landlock=f"version {confinement.landlock_abi()}",
        bwrap="".join(version) or "not installed",
        user="root" if os.geteuid() == 0 else "no root user",
    )
    rows = []
    for name, server in servers.items():
        row = [f"`{server.preset}`", ", ".join(dict.fromkeys(f"`{call.tool}`" for call in server.calls))]
        for step in STEPS:
            one = results[step].get(name)
            row.append(
                machine[step] if one is None else "works" if not one.failed else f"fails: {one.failed[0]}"
            )
        rows.append(row)
    text += "\n## What works\n\n" + table(["preset", "calls", *STEPS], rows) + "\n"
    attempts = next(one.attempts for one in results["basic"].values())
    rows = [
        [what, *(machine[step] or cell_of(what, step, results[step], servers) for step in STEPS)]
        for what in attempts
    ]
    text += "\n## What is refused\n\n" + table(["attempt", *STEPS], rows) + "\n"
    text += (
        "\nWith `basic` these servers had `network = false`, except `fetch`. With `bwrap` and without a network, a server can\n"
        "listen on, and send to, a loopback interface of its own, which nothing else reaches. The attempts that `basic` does not\n"
        "refuse are those of any program of the user.\n"
    )
    rows = []
    for step in STEPS:
        times = [one.start for one in results[step].values()]
        rows.append([f"`{step}`", f"{statistics.median(times):.0f} ms" if times else machine[step]])
    text += (
        "\n## What a start costs\n\nFrom the request `initialize` to its response, with the start of the process: a small server in"
        f" Python, the median of {STARTS * len(servers)} starts with the lists of the servers above.\n\n"
    )
    text += table(["step", "start"], rows) + "\n"
    return text


def main() -> int:
    # With bwrap /tmp is another directory.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        world = World(Path(folder).resolve())
        try:
            if sys.argv[1:] == ["--self-test"]:
                return 1 if self_test(world) else 0
            servers, machine = world.servers(), supported()
            results: dict[str, dict[str, Result]] = {step: {} for step in STEPS}
            found: list[str] = []
            for step in STEPS:
                if machine[step]:
                    print(f"{step}: {machine[step]}")
                    continue
                for name, server in servers.items():
                    result = results[step][name] = run_server(world, name, server, step, {})
                    new = problems(name, server, step, result)
                    print(f"{name}, {step}: {'; '.join(new) or 'works'}, {result.start:.0f} ms", flush=True)
                    found += new
            DOCUMENT.write_text(document(servers, results, machine))
        finally:
            world.close()
    for one in found:
        print(one, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
