"""Agent clients check their servers against a running daemon; writes a section of docs/COMPATIBILITY.md.

Each client has an empty home and environment, and the whole run a network that consists of its own loopback (unshare(1)):
no client can reach anything else, and none has a credential besides the tokens of the daemon. What they have as configuration is
printed by `mcp-bridge client-config` where it has that client. Exit code 1 if a client does not report what it must: servers
with a token as connected, servers without one and with a former one as not connected; or if no client was run.
"""

import argparse
import fcntl
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(HERE.parent / "matrix")]

from run import code, table  # noqa: E402
from sections import write_section  # noqa: E402

from tests.support.bridge_process import _MARK, EXAMPLE, PROGRAM  # noqa: E402
from tests.support.daemon_process import Daemon  # noqa: E402

PACKAGES = REPOSITORY / ".deps/clients/node_modules"
# Limit on one command of a client (seconds).
TIMEOUT = 120
GOOD = ("http", "sse", "ws", "stdio", "aggregate")
BAD = ("no token", "former token")
MEANING = {
    "http": "Streamable HTTP",
    "sse": "HTTP+SSE",
    "ws": "WebSocket",
    "stdio": "`mcp-bridge connect`",
    "aggregate": "the aggregate over Streamable HTTP",
}
# No client may reach the Internet, also if the network namespace does not isolate it.
CLOSED = "http://127.0.0.1:9"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@attrs.frozen
class Seen:
    """The output of a client about one server."""

    connected: bool
    text: str


@attrs.frozen
class World:
    """The addresses and tokens of the daemon, and the home of a client."""

    home: Path
    token: str
    former: str
    port: int = 8808

    def url(self, path: str = "servers/example/mcp") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    @property
    def variables(self) -> dict[str, str]:
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), CLOSED)
        return {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "TERM": "dumb",
            "NO_COLOR": "1",
            **proxies,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def run(self, *words: str, more: dict[str, str] | None = None) -> str:
        """Run a command. Return the output of both streams."""
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env={**self.variables, **(more or {})},
            cwd=self.home,
        )
        return COLOURS.sub("", done.stdout)

    def pasted(self, client: str, server: str, *options: str) -> str:
        """Return the configuration that `mcp-bridge client-config` prints."""
        done = subprocess.run(
            [PROGRAM, "client-config", client, server, *options],
            capture_output=True,
            text=True,
            check=True,
            env={**self.variables, "HOME": str(self.home.parent / "person")},
        )
        return done.stdout


def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ---- clients: each function returns the output of the client about each server


def claude_code(world: World) -> dict[str, Seen]:
    [program] = PACKAGES.glob("@anthropic-ai/claude-code-linux-*[!l]/claude")
    (world.home / "bin").mkdir()
    (world.home / "bin/claude").symlink_to(program)
    path = {"PATH": f"{world.home}/bin:{os.environ['PATH']}"}

    def claude(*words: str) -> str:
        return world.run("claude", "mcp", *words, more=path)

    entry = json.loads(world.pasted("claude-code", "over-http", "--http"))["mcpServers"]["over-http"]
    claude("add-json", "over-http", json.dumps(entry))
    world.run("sh", "-c", world.pasted("claude-code", "over-stdio"), more=path)
    good = ("--header", f"Authorization: Bearer {world.token}")
    claude("add", "--transport", "sse", "sse", world.url("servers/example/sse"), *good)
    claude("add", "--transport", "http", "aggregate", world.url("mcp"), *good)
    ws = {"type": "ws", "url": world.url("servers/example/ws").replace("http", "ws", 1)}
    claude("add-json", "ws", json.dumps({**ws, "headers": headers(world.token)}))
    claude("add", "--transport", "http", "no-token", world.url())
    former = f"Authorization: Bearer {world.former}"
    claude("add", "--transport", "http", "former-token", world.url(), "--header", former)
    found = dict(
        re.findall(r"^([\w-]+): .* - (.*(?:\n(?![\w-]+: ).*)*)", claude("list").strip(), re.MULTILINE)
    )
    seen = {
        "http": found.get("over-http", ""),
        "stdio": found.get("over-stdio", ""),
        "no token": found.get("no-token", ""),
        "former token": found.get("former-token", ""),
        **{name: found.get(name, "") for name in ("sse", "ws", "aggregate")},
    }
    result = {name: Seen("✔ Connected" in text, text) for name, text in seen.items()}
    # `get` must agree with `list`.
    for name, known in (("over-http", "http"), ("no-token", "no token")):
        text = claude("get", name)
        if ("Status: ✔ Connected" in text) != result[known].connected:
            result[known] = Seen(connected=not result[known].connected, text=f"`claude mcp get`: {text}")
    return result


def opencode(world: World) -> dict[str, Seen]:
    [program] = PACKAGES.glob("opencode-linux-*64/bin/opencode")
    pasted = json.loads(world.pasted("cursor", "over-stdio"))["mcpServers"]["over-stdio"]
    place = world.home / ".config/opencode/opencode.json"
    place.parent.mkdir(parents=True)
    remote = {"type": "remote", "headers": headers(world.token)}
    servers = {
        "http": {**remote, "url": world.url()},
        "sse": {**remote, "url": world.url("servers/example/sse")},
        "aggregate": {**remote, "url": world.url("mcp")},
        "stdio": {"type": "local", "command": [pasted["command"], *pasted["args"]]},
        "no-token": {"type": "remote", "url": world.url()},
        "former-token": {"type": "remote", "url": world.url(), "headers": headers(world.former)},
    }
    place.write_text(json.dumps({"autoupdate": False, "mcp": servers}))
    output = world.run(
        *(str(program), "mcp", "list"),
        more={"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
    )
    entries = re.findall(r"^●\s+(\S) ([\w-]+) (.*(?:\n│      .*)*)", output, re.MULTILINE)
    return {
        name.replace("-token", " token"): Seen(mark == "✓", " ".join(text.replace("│", "").split()))
        for mark, name, text in entries
    }


def gemini(world: World) -> dict[str, Seen]:
    servers = {}
    for name, server, options in (("http", "over-http", ("--http",)), ("stdio", "over-stdio", ())):
        servers[name] = json.loads(world.pasted("gemini", server, *options))["mcpServers"][server]
    servers |= {
        "sse": {"url": world.url("servers/example/sse"), "type": "sse", "headers": headers(world.token)},
        "aggregate": {"httpUrl": world.url("mcp"), "headers": headers(world.token)},
        "no-token": {"httpUrl": world.url()},
        "former-token": {"httpUrl": world.url(), "headers": headers(world.former)},
    }
    place = world.home / ".gemini/settings.json"
    place.parent.mkdir()
    silent = {
        "security": {"folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "general": {"disableAutoUpdate": True},
    }
    place.write_text(json.dumps({"mcpServers": servers, **silent}))
    output = world.run("node", str(PACKAGES / "@google/gemini-cli/bundle/gemini.js"), "mcp", "list")
    entries = re.findall(r"^(\S) ([\w-]+): .* - (.*)$", output, re.MULTILINE)
    return {name.replace("-token", " token"): Seen(mark == "✓", text) for mark, name, text in entries}


def codex(world: World) -> dict[str, Seen]:
    """`codex mcp list` connects to no server. `codex app-server` connects on a request for their state."""
    [program] = PACKAGES.glob("@openai/codex-linux-*/vendor/*/bin/codex")
    place = world.home / ".codex/config.toml"
    place.parent.mkdir()
    text = world.pasted("codex", "over-http", "--http") + world.pasted("codex", "over-stdio")
    for name, path, variable in (
        ("aggregate", "mcp", "MCP_BRIDGE_TOKEN"),
        ("no-token", "servers/example/mcp", ""),
        ("former-token", "servers/example/mcp", "FORMER_TOKEN"),
    ):
        text += f'[mcp_servers.{name}]\nurl = "{world.url(path)}"\n'
        text += f'bearer_token_env_var = "{variable}"\n' if variable else ""
    place.write_text(text)
    # The tokens of the entries that this program writes.
    more = {"MCP_BRIDGE_TOKEN": world.token, "FORMER_TOKEN": world.former}
    listed = world.run(str(program), "mcp", "list", more=more)
    statuses, errors = ask_codex(world, str(program), more)
    seen = {}
    for name in ("over-http", "over-stdio", "aggregate", "no-token", "former-token"):
        status = statuses.get(name)
        connected = bool(status and status.get("serverInfo") and status.get("tools"))
        line = next((line for line in listed.splitlines() if line.startswith(f"{name} ")), "not listed")
        if connected:
            text = f"{status['serverInfo']['name']}, {len(status['tools'])} tools"
        else:
            text = " ".join(line.split()) + "; " + " ".join(errors.split())
        seen[name.replace("-token", " token").removeprefix("over-")] = Seen(connected, text)
    return seen


def ask_codex(world: World, program: str, more: dict[str, str]) -> tuple[dict[str, dict], str]:
    """Return the state of each server in the response of the app server, and its last line of errors."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [program, "app-server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**world.variables, **more},
            cwd=world.home,
            bufsize=0,
        )
        try:
            for message in (
                {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "test", "version": "1"}}},
                {"method": "initialized"},
                {"id": 2, "method": "mcpServerStatus/list", "params": {}},
            ):
                process.stdin.write(json.dumps(message).encode() + b"\n")
            output = b""
            end = time.monotonic() + TIMEOUT
            while (left := end - time.monotonic()) > 0:
                if not select.select([process.stdout], [], [], left)[0]:
                    break
                piece = os.read(process.stdout.fileno(), 1 << 20)
                output += piece
                lines = output.split(b"\n")[:-1]
                answers = [answer for line in lines if (answer := json.loads(line)).get("id") == 2]
                if answers:
                    return {one["name"]: one for one in answers[0].get("result", {}).get("data", [])}, last(
                        errors
                    )
                if not piece:
                    break
            return {}, last(errors)
        finally:
            process.kill()
            process.communicate()


def last(file) -> str:
    file.seek(0)
    lines = [line for line in file.read().splitlines() if "AuthRequired" in line or "401" in line]
    return COLOURS.sub("", lines[-1]).partition("ERROR ")[2] if lines else ""


@attrs.frozen
class Client:
    package: str
    check: Callable[[World], dict[str, Seen]]
    command: str
    # Of GOOD: what this client can be configured with.
    ways: tuple[str, ...]


CLIENTS = {
    "Claude Code": Client("@anthropic-ai/claude-code", claude_code, "claude mcp list", GOOD),
    "opencode": Client("opencode-ai", opencode, "opencode mcp list", ("http", "sse", "stdio", "aggregate")),
    "Gemini CLI": Client(
        "@google/gemini-cli", gemini, "gemini mcp list", ("http", "sse", "stdio", "aggregate")
    ),
    "Codex": Client("@openai/codex", codex, "codex app-server", ("http", "stdio", "aggregate")),
}


def version(client: Client) -> str:
    return json.loads((PACKAGES / client.package / "package.json").read_text())["version"]


def faults_of(client: Client, seen: dict[str, Seen]) -> list[str]:
    """Return a line for each server that is not reported as it must be."""
    faults = []
    for way in (*client.ways, *BAD):
        one = seen.get(way, Seen(connected=False, text="not in the list"))
        if one.connected != (way in client.ways):
            faults.append(f"{way}: {one.text}")
        elif way in BAD and way not in seen:
            faults.append(f"{way}: {one.text}")
    return faults


# ---- inside of the network namespace


def isolate(folder: Path, runtime: Path) -> None:
    """Set up the loopback and /run/user/UID, where clients that pass no variables on look for the daemon."""
    with socket.socket() as any_socket:
        # SIOCSIFFLAGS, netdevice(7).
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
    for words in (["--make-rprivate", "/"], ["-t", "tmpfs", "-o", "mode=755", "runtime", "/run"]):
        subprocess.run(["mount", *words], check=True)
    mine = Path(f"/run/user/{os.geteuid()}")
    mine.mkdir(parents=True, mode=0o700)
    runtime.mkdir(parents=True, mode=0o700)
    subprocess.run(["mount", "--bind", str(runtime), str(mine)], check=True)
    folder.chmod(0o700)


def write_config(config: Path) -> None:
    server = f'command = {json.dumps(list(EXAMPLE))}\npass_env = ["{_MARK}"]\n'
    names = ("example", "over-http", "over-stdio")
    servers = "".join(f"[servers.{name}]\n{server}" for name in names)
    config.write_text(
        f'[listen]\nhttp = "127.0.0.1:8808"\n{servers}[aggregate]\nservers = ["example", "over-http"]\n'
    )
    config.chmod(0o600)


def run_client(name: str, *, planted: bool) -> dict:
    """Return what a client reports; `planted` gives it the former token in place of the right one."""
    client = CLIENTS[name]
    # Not below /tmp, where Codex puts no helper programs.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as temporary:
        folder = Path(temporary)
        place = folder / "person/.config/mcp-bridge"
        place.mkdir(parents=True, mode=0o700)
        isolate(folder, place / "run")
        write_config(place / "config.toml")
        (folder / "home").mkdir()
        with Daemon(place) as daemon:
            former = daemon.token
            daemon.do("token", "rotate")
            world = World(folder / "home", former if planted else daemon.token, former)
            seen = client.check(Reloading(world, daemon))
        return {
            "seen": {way: [one.connected, hide(one.text, world)] for way, one in seen.items()},
            "faults": [hide(fault, world) for fault in faults_of(client, seen)],
        }


class Reloading(World):
    """A world in which the daemon has each token that was made for a client."""

    def __init__(self, world: World, daemon: Daemon) -> None:
        super().__init__(world.home, world.token, world.former)
        object.__setattr__(self, "_daemon", daemon)

    def pasted(self, client: str, server: str, *options: str) -> str:
        text = super().pasted(client, server, *options)
        self._daemon.do("reload")
        return text


def hide(text: str, world: World) -> str:
    for secret in (world.token, world.former):
        text = text.replace(secret, "TOKEN")
    return text.replace(str(world.home), "~")


# ---- outside of the network namespace


def within() -> tuple[str, ...]:
    return ("unshare", "--net", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")))


def missing(client: Client) -> str:
    """Return why this client cannot be run here, or nothing."""
    if not (PACKAGES / client.package / "package.json").exists():
        return f"{client.package} is not installed in .deps/clients"
    tried = subprocess.run([*within(), "true"], capture_output=True, text=True, check=False)
    if tried.returncode or shutil.which("unshare") is None:
        return f"no network of its own, which keeps it from the Internet: {tried.stderr.strip()}"
    return ""


def inside(name: str, *options: str, script: str = "clients.py") -> dict:
    done = subprocess.run(
        [*within(), sys.executable, str(HERE / script), "--inside", name, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"faults": [done.stderr.strip()[-2000:]], "seen": {}}
    return json.loads(done.stdout.splitlines()[-1])


PREFACE = """\
## Agent clients

Generated by `make clients`. Each client was installed from npm, had an empty home and environment and no network besides
the loopback, and listed the state of its servers. The daemon served `examples/server.py`; the configurations *http* and *stdio* are
those that `mcp-bridge client-config` prints, as far as it has the client. A server without a token, and one with a token that
`mcp-bridge token rotate` has replaced, must not be connected; a second run, with the former token in place of the right one, must fail.
"""


def section(reports: dict[str, dict], absent: dict[str, str]) -> str:
    meaning = ", ".join(f"*{way}* is {text}" for way, text in MEANING.items())
    rows, printed = [], []
    for name, client in CLIENTS.items():
        if name in absent:
            rows.append([name, *["NOT RUN"] * (len(GOOD) + 1)])
            continue
        seen = reports[name]["seen"]
        row = [f"{name} {version(client)}", f"`{client.command}`"]
        for way in GOOD:
            connected = seen.get(way, [False])[0]
            row.append("–" if way not in client.ways else "connected" if connected else "**failed**")
        rows.append(row)
        printed += [[name, way, code(seen.get(way, [False, "nothing"])[1], 300)] for way in BAD]
    parts = [
        PREFACE,
        f"{meaning[0].upper()}{meaning[1:]}; – is what the client has no setting for.\n",
        table(["client", "command", *GOOD], rows),
        "What a client prints of a server without a token, and with a former one:\n",
        table(["client", "server", "printed"], printed),
    ]
    if absent:
        parts.append("".join(f"- NOT RUN: {name}: {why}\n" for name, why in absent.items()))
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", choices=CLIENTS, help="one client; writes no document")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--planted", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(run_client(given.inside, planted=given.planted)))
        return 0
    names = [given.only] if given.only else list(CLIENTS)
    absent = {name: why for name in names if (why := missing(CLIENTS[name]))}
    reports, faults = {}, 0
    for name in names:
        if name in absent:
            print(f"NOT RUN {name}: {absent[name]}", flush=True)
            continue
        report = reports[name] = inside(name)
        planted = inside(name, "--planted")
        found = {fault.partition(":")[0] for fault in planted["faults"]}
        if not planted["seen"] or "aggregate" not in found:
            report["faults"].append(f"a former token in place of the right one was not reported: {planted}")
        faults += len(report["faults"])
        print(f"{'FAILED' if report['faults'] else 'ok':8}{name}", flush=True)
        for way, (connected, text) in report["seen"].items():
            print(
                f"        {way}: {'connected' if connected else 'not connected'}: {' '.join(text.split())[:300]}"
            )
        for fault in report["faults"]:
            print(f"        fault: {fault}", flush=True)
    if not given.only:
        write_section("clients", section(reports, absent))
    print(f"{len(reports)} clients run, {len(absent)} NOT RUN, {faults} faults")
    return 1 if faults or not reports else 0


if __name__ == "__main__":
    sys.exit(main())
