"""Every official client over every transport through nginx, HAProxy and Caddy; writes a section of docs/COMPATIBILITY.md.

The configurations are those of docs/proxies.md, byte for byte: each proxy runs in a network of its own (unshare(1)), in
which mcp.example.org is the loopback, and ports 80, 443 and 8808 are free. A proxy that is not installed is NOT RUN. Planted
faults come last: each is a configuration or a token that does not work, and must be reported as failed.
Exit code 1 if a cell has failed, a planted fault was not found, or nothing was run.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import trustme

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(HERE.parent / "matrix")]

from run import CLIENTS, TRANSPORTS, Outcome, code, expected_of, judge, outcomes_of, table  # noqa: E402
from sections import write_section  # noqa: E402
from servers import FEATURES, tool, tools  # noqa: E402

from tests.support.bridge_process import _MARK, EXAMPLE  # noqa: E402
from tests.support.daemon_process import Daemon  # noqa: E402
from tests.support.handshake import INITIALIZED, initialize_request  # noqa: E402 - of the repository

GUIDE = REPOSITORY / "docs/proxies.md"
NAME = "mcp.example.org"
# The certificates in the configurations. The directory is an empty one in the mount namespace of the run.
PRIVATE = Path("/etc/ssl/private")
PORTS_OF_USERS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
# Limit on all steps of one client (seconds).
TIMEOUT = 150
INSPECTOR = ("node", str(REPOSITORY / ".deps/inspector/node_modules/.bin/inspector"), "--cli")
STEPS = (
    tools("ask, think, roots"),
    # First, because behind a proxy a stateless client is unknown, and its server request is refused for 2 s after another call.
    FEATURES["elicitation"].step,
    tool("echo", "as sent", text="as sent"),
    FEATURES["progress"].step,
    FEATURES["cancellation"].step,
    FEATURES["change of a list"].step,
)
EVERY = ("http", "sse", "ws")


@attrs.frozen
class Front:
    """A block of docs/proxies.md, and the address of the proxy that it configures."""

    program: str
    url: str
    transports: tuple[str, ...] = EVERY
    # Whether the bridge behind it has TLS.
    bridge_tls: bool = False
    # The user of the proxy, if the run is root.
    user: str = "root"


FRONTS = {
    "nginx-defaults": Front("nginx", f"http://{NAME}", ("http", "sse"), user="www-data"),
    "nginx": Front("nginx", f"https://{NAME}", user="www-data"),
    "nginx-prefix": Front("nginx", f"https://{NAME}/bridge", user="www-data"),
    "haproxy": Front("haproxy", f"http://{NAME}", user="haproxy"),
    "haproxy-h2": Front("haproxy", f"https://{NAME}", bridge_tls=True, user="haproxy"),
    "caddy": Front("caddy", f"https://{NAME}", user="caddy"),
    "caddy-prefix": Front("caddy", f"https://{NAME}/bridge", user="caddy"),
}
TITLES = {
    "nginx-defaults": "nginx, defaults, HTTP/1.0 to the bridge",
    "nginx": "nginx, TLS, HTTP/2",
    "nginx-prefix": "nginx, TLS, HTTP/2, prefix",
    "haproxy": "HAProxy, HTTP/1.1",
    "haproxy-h2": "HAProxy, TLS and HTTP/2 on both sides",
    "caddy": "Caddy, TLS, HTTP/2",
    "caddy-prefix": "Caddy, TLS, HTTP/2, prefix",
}
VERSION_OF = {"nginx": ("nginx", "-v"), "haproxy": ("haproxy", "-v"), "caddy": ("caddy", "version")}
OTHER_CLIENTS = {"Inspector 2.12": ("http", "sse"), "ws": ("ws",), "curl": ("http", "sse")}
COLUMNS = {**{name: client.transports for name, client in CLIENTS.items()}, **OTHER_CLIENTS}


@attrs.frozen
class Planted:
    """A fault in a configuration or a token, and a client that must fail because of it."""

    front: str
    fault: str
    client: str
    transport: str
    # Text of the proxy's configuration, and what stands in its place.
    replace: tuple[str, str] = ("", "")
    with_hosts: bool = True
    wrong_token: bool = False


PLANTED = (
    Planted("haproxy", "`hosts` does not have the name", "curl", "http", with_hosts=False),
    Planted("nginx", "the token has another last character", "TypeScript 1.32", "http", wrong_token=True),
    Planted("haproxy", "the token has another last character", "TypeScript 1.32", "ws", wrong_token=True),
    Planted("nginx", "`Upgrade` is not passed on", "ws", "ws", ("Upgrade $http_upgrade", "X-Nothing 1")),
    Planted(
        "nginx",
        "the answer is collected before it is sent",
        "TypeScript 1.32",
        "http",
        ("proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_ignore_headers X-Accel-Buffering;"),
    ),
    Planted("nginx-prefix", "the prefix is not taken away", "Python 1.30", "sse", ("8808/;", "8808;")),
    Planted("caddy-prefix", "the prefix is not taken away", "curl", "http", ("handle_path", "handle")),
    Planted("caddy", "the bridge is at another port", "curl", "http", ("8808", "8809")),
)


def block(name: str) -> str:
    """Return a block of the guide by the name in its marker."""
    found = re.search(
        rf"^<!-- run: {re.escape(name)} -->\n```\w+\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise SystemExit(f"{GUIDE}: there is no block {name}")
    return found[1]


def check_guide() -> None:
    """Raise if the guide has a block that is not run, or lacks one that is."""
    marked = re.findall(r"^<!-- run: (\S+) -->$", GUIDE.read_text(), re.MULTILINE)
    if sorted(marked) != sorted(["bridge", *FRONTS]):
        raise SystemExit(f"{GUIDE}: the blocks are {marked}, and {['bridge', *FRONTS]} are run")
    if GUIDE.read_text().count("```") != 2 * len(marked):
        raise SystemExit(f"{GUIDE}: there is a block without a marker, which is not run")


# ---- inside of the network namespace


def isolate(folder: Path) -> None:
    """Set up the loopback, the name and an empty directory for certificates, in the namespaces of this process."""
    with socket.socket() as any_socket:
        up_and_running = struct.pack("16sH14x", b"lo", 0x41)
        # SIOCSIFFLAGS, netdevice(7).
        fcntl.ioctl(any_socket, 0x8914, up_and_running)
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {NAME}\n")
    for words in (
        ["--make-rprivate", "/"],
        ["--bind", str(hosts), "/etc/hosts"],
        ["-t", "tmpfs", "-o", "mode=755", "certificates", str(PRIVATE)],
    ):
        subprocess.run(["mount", *words], check=True)
    PORTS_OF_USERS.write_text("0")


def issue(folder: Path) -> Path:
    """Issue the certificates of the proxy and of the bridge; return the authority that clients must trust."""
    authority, own = trustme.CA(), trustme.CA()
    proxy, bridge = authority.issue_cert(NAME), own.issue_cert("127.0.0.1")
    proxy.private_key_and_cert_chain_pem.write_to_path(PRIVATE / f"{NAME}.pem")
    own.cert_pem.write_to_path(PRIVATE / "bridge-ca.pem")
    bridge.cert_chain_pems[0].write_to_path(folder / "bridge.pem")
    bridge.private_key_pem.write_to_path(folder / "bridge.key")
    (folder / "bridge.key").chmod(0o600)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return folder / "ca.pem"


def configure_bridge(folder: Path, front: Front, *, with_hosts: bool) -> None:
    listen = block("bridge")
    if not with_hosts:
        listen = re.sub(r"^hosts = .*\n", "", listen, flags=re.MULTILINE)
    if front.bridge_tls:
        listen += f'tls_cert = "{folder}/bridge.pem"\ntls_key = "{folder}/bridge.key"\n'
    config = folder / "config.toml"
    config.write_text(
        f'{listen}[servers.example]\ncommand = {json.dumps(list(EXAMPLE))}\npass_env = ["{_MARK}"]\n'
    )
    config.chmod(0o600)


def has_users() -> bool:
    """Return whether there is more than one user in this namespace (user_namespaces(7))."""
    return int(Path("/proc/self/uid_map").read_text().split()[2]) > 1


def proxy_command(program: str, text: str, user: str, folder: Path) -> list[str]:
    """Write the configuration, in the frame that a distribution has around it, and return how it is run."""
    is_root = has_users()
    place = folder / "proxy"
    place.mkdir(mode=0o755)
    file = place / "configuration"
    match program:
        case "nginx":
            (place / "site").write_text(text)
            temporary = "".join(
                f"  {name}_temp_path {place}/{name};\n"
                for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            file.write_text(
                f"{f'user {user}' if is_root else 'user root; master_process off'};\ndaemon off;\nworker_processes 1;\npid {place}/pid;\n"
                f"error_log stderr;\nevents {{}}\nhttp {{\n  access_log off;\n{temporary}  include {place}/site;\n}}\n"
            )
            return ["nginx", "-c", str(file), "-e", "stderr"]
        case "haproxy":
            users = f"  user {user}\n" if is_root else ""
            file.write_text(f"global\n{users}{text}")
            return ["haproxy", "-f", str(file)]
        case "caddy":
            file.write_text(f"{{\n  admin off\n}}\n{text}")
            for name in ("data", "config"):
                (place / name).mkdir()
                (place / name).chmod(0o777)
            home = [f"XDG_DATA_HOME={place}/data", f"XDG_CONFIG_HOME={place}/config", f"HOME={place}"]
            within = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if is_root else []
            return [*within, "env", *home, "caddy", "run", "--adapter", "caddyfile", "--config", str(file)]
    raise ValueError(program)


@contextmanager
def proxy(front: Front, text: str, folder: Path) -> Iterator[None]:
    port = 443 if front.url.startswith("https") else 80
    log = folder / "proxy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            proxy_command(front.program, text, front.user, folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
        )
    try:
        end = time.monotonic() + 20
        while not listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{front.program} does not listen:\n{log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


# ---- clients


@attrs.frozen
class ProxiedServer:
    """The address with its prefix, the token, and the authority that clients trust."""

    base: str
    token: str
    authority: Path
    cuts_refusals: bool = False

    def url(self, transport: str) -> str:
        path = {"http": "mcp"}.get(transport, transport)
        base = self.base.replace("http", "ws", 1) if transport == "ws" else self.base
        return f"{base}/servers/example/{path}"

    @property
    def variables(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        authority = str(self.authority)
        return {
            **kept,
            "MCP_TOKEN": self.token,
            "SSL_CERT_FILE": authority,
            "NODE_EXTRA_CA_CERTS": authority,
            "CURL_CA_BUNDLE": authority,
        }


def run_client(server: ProxiedServer, name: str, transport: str) -> tuple[Outcome, ...]:
    match name:
        case "curl":
            return curl(server, transport)
        case "ws":
            command = ["node", str(HERE / "ws.mjs"), server.url("ws")]
            return one_answer(server, command, "as sent")
        case "Inspector 2.12":
            call = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=as sent"]
            header = ["--header", f"Authorization: Bearer {server.token}"]
            command = [*INSPECTOR, server.url(transport), *header, *call, "--format", "json", "-q"]
            return one_answer(server, command, '"text":"as sent"')
    client = CLIENTS[name]
    done, output, errors = run([*client.command, transport, server.url(transport)], server, steps_of(STEPS))
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if len(lines) <= len(STEPS):
        lines.append({"fault": reason_in(errors) or f"exit code {done}"})
    return outcomes_of(lines[: len(STEPS) + 1], expected_of(client, transport, STEPS))


def reason_in(errors: str) -> str:
    """Return the last line that names an error, without the frame of a traceback, or the last line."""
    lines = [line.strip(" |") for line in errors.splitlines() if line.strip(" |+-")]
    return ([line for line in lines if "Error" in line] or lines or [""])[-1]


def steps_of(steps) -> str:
    return json.dumps([step.as_json() for step in steps])


def run(command: list[str], server: ProxiedServer, given: str = "") -> tuple[int, str, str]:
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env=server.variables,
        )
    except subprocess.TimeoutExpired as late:
        return -1, (late.stdout or b"").decode(), f"no end within {TIMEOUT} s"
    return done.returncode, done.stdout, done.stderr


def one_answer(server: ProxiedServer, command: list[str], expected: str) -> tuple[Outcome, ...]:
    status, output, errors = run(command, server)
    if status:
        last = reason_in(errors) or reason_in(output) or f"exit code {status}"
        return (Outcome(last, wrong=last),)
    return (judge({"said": " ".join(output.split())}, expected),)


# ---- curl


def curl_command(*words: str) -> list[str]:
    return ["curl", "--silent", "--show-error", "--max-time", "20", "--noproxy", "*", *words]


def post_words(server: ProxiedServer, url: str, message: dict, *more: str) -> list[str]:
    return curl_command(
        *("-H", f"Authorization: Bearer {server.token}"),
        *("-H", "Content-Type: application/json", "-H", "Accept: application/json, text/event-stream"),
        *more,
        *("--data-binary", json.dumps({"jsonrpc": "2.0", **message})),
        url,
    )


INITIALIZE = initialize_request(1, name="curl")
CALL = {"id": 2, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "as sent"}}}


def curl(server: ProxiedServer, transport: str) -> tuple[Outcome, ...]:
    try:
        text = curl_http(server) if transport == "http" else curl_sse(server)
    except (OSError, ValueError, RuntimeError) as fault:
        return (Outcome(str(fault), wrong=str(fault)),)
    return (judge({"said": text}, '"text":"as sent"'),)


def curl_once(server: ProxiedServer, command: list[str]) -> str:
    status, output, errors = run(command, server)
    if status:
        raise RuntimeError(errors.strip() or f"curl: exit code {status}")
    return output


def curl_http(server: ProxiedServer) -> str:
    url = server.url("http")
    first = curl_once(server, post_words(server, url, INITIALIZE, "--include"))
    session = re.search(r"^mcp-session-id: (\S+)", first, re.IGNORECASE | re.MULTILINE)
    if session is None:
        lines = first.strip().splitlines() or ["no answer"]
        raise RuntimeError(" ".join(dict.fromkeys([lines[0].strip(), lines[-1].strip()])))
    header = ("-H", f"Mcp-Session-Id: {session[1]}")
    curl_once(server, post_words(server, url, INITIALIZED, *header))
    return curl_once(server, post_words(server, url, CALL, *header))


def curl_sse(server: ProxiedServer) -> str:
    stream = subprocess.Popen(
        curl_command("-N", "-H", f"Authorization: Bearer {server.token}", server.url("sse")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=server.variables,
        bufsize=0,
    )
    try:
        endpoint = next_event(stream)
        if "event: endpoint" not in endpoint:
            raise RuntimeError(endpoint.strip() or "no event")
        # As a browser resolves it (RFC 3986 section 5): it is relative to the address of the stream.
        data = re.search(r"^data: (\S+)", endpoint, re.MULTILINE)[1]
        messages = f"{server.url('sse').rpartition('/')[0]}/{data.removeprefix('./')}"
        if data.startswith(("/", "http")):
            raise RuntimeError(f"the endpoint is not relative: {data}")
        for message in (INITIALIZE, INITIALIZED, CALL):
            curl_once(server, post_words(server, messages, message))
            if "id" in message:
                answer = next_event(stream)
        return answer
    finally:
        stream.kill()
        stream.communicate()


def next_event(stream: subprocess.Popen) -> str:
    """Return the next event that is no comment, within ten seconds."""
    text = ""
    end = time.monotonic() + 10
    while (left := end - time.monotonic()) > 0 and select.select([stream.stdout], [], [], left)[0]:
        byte = os.read(stream.stdout.fileno(), 1)
        if not byte:
            break
        text += byte.decode("latin-1")
        if text.endswith(("\n\n", "\r\n\r\n")) and "data:" in text:
            return text
    raise RuntimeError(text.strip() or "no event within 10 s")


# ---- further checks of each front


def status_of(server: ProxiedServer, *words: str, url: str = "") -> str:
    only_status = ("--output", "/dev/null", "--write-out", "%{http_code}")
    command = curl_command(*only_status, *words, url or server.url("http"))
    for _ in range(3):
        status, output, errors = run(command, server)
        # About one refusal in a hundred is cut short by HAProxy 2.6, when it ends a connection of HTTP/2 (guide, HAProxy).
        if not (status == 92 and server.cuts_refusals):
            break
    return output.strip() if status == 0 else errors.strip()


def facts_of(server: ProxiedServer, default_token: str) -> dict[str, str]:
    initialize = ("--data-binary", json.dumps({"jsonrpc": "2.0", **INITIALIZE}))
    usual = ("-H", "Content-Type: application/json", "-H", "Accept: application/json, text/event-stream")
    token = ("-H", f"Authorization: Bearer {server.token}")
    large = {"jsonrpc": "2.0", **CALL, "params": {"name": "echo", "arguments": {"text": "x" * (2 << 20)}}}
    with tempfile.NamedTemporaryFile("w") as file:
        json.dump(large, file)
        file.flush()
        return {
            "no token": status_of(server, *usual, *initialize),
            "a wrong token": status_of(
                server, "-H", "Authorization: Bearer " + "x" * 43, *usual, *initialize
            ),
            "the default token": status_of(
                server, "-H", f"Authorization: Bearer {default_token}", *usual, *initialize
            ),
            # Without a body, which Caddy would not read before its response.
            "another Host": status_of(server, "-H", "Host: other.example.org", url=f"{server.base}/healthz"),
            "the Origin of a page": status_of(
                server, "-H", f"Origin: {server.base.partition('/bridge')[0]}", *token, *usual, *initialize
            ),
            # A call without a session: 400 comes from the bridge, 413 from the proxy.
            "a body of 2 MiB": status_of(server, *token, *usual, "--data-binary", f"@{file.name}"),
        }


# 401, 403 and 421 are responses of the bridge. Caddy and nginx choose the site by its name, and respond for an unknown name.
EXPECTED_FACTS = {
    "no token": "401",
    "a wrong token": "401",
    # Where the proxy runs as another user, which only root can have here.
    "the default token": "401" if os.geteuid() == 0 else "200",
    "another Host": "421",
    "the Origin of a page": "403",
    "a body of 2 MiB": "400",
}
OTHER_FACTS = {
    ("nginx-defaults", "another Host"): "200",
    ("nginx-defaults", "a body of 2 MiB"): "413",
    ("caddy", "another Host"): "200",
    ("caddy-prefix", "another Host"): "200",
}


# ---- one run


@contextmanager
def running(
    front: Front, text: str, *, with_hosts: bool = True, wrong_token: bool = False
) -> Iterator[tuple[ProxiedServer, str]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o711)
        isolate(folder)
        authority = issue(folder)
        authority.chmod(0o644)
        configure_bridge(folder, front, with_hosts=with_hosts)
        daemon = stack.enter_context(Daemon(folder))
        token = daemon.do("token", "new", "proxy", "--servers", "example").stdout.split()[-1]
        daemon.do("reload")
        stack.enter_context(proxy(front, text, folder))
        if wrong_token:
            token = token[:-1] + ("A" if token[-1] != "A" else "B")
        yield ProxiedServer(front.url, token, authority, cuts_refusals=front.bridge_tls), daemon.token


def run_front(name: str, only: str) -> dict:
    front = FRONTS[name]
    with running(front, block(name)) as (server, default_token):
        cells = []
        for client, transports in COLUMNS.items():
            for transport in transports:
                if transport in front.transports and only in f"{name}, {client}, {transport}":
                    outcomes = run_client(server, client, transport)
                    cells.append(
                        {
                            "client": client,
                            "transport": transport,
                            "wrong": "; ".join(outcome.wrong for outcome in outcomes if outcome.wrong),
                        }
                    )
        return {"cells": cells, "facts": facts_of(server, default_token) if not only else {}}


def run_planted(number: int) -> dict:
    planted = PLANTED[number]
    text = block(planted.front)
    if planted.replace[0]:
        assert planted.replace[0] in text, planted.replace
        text = text.replace(*planted.replace)
    front = FRONTS[planted.front]
    options = {"with_hosts": planted.with_hosts, "wrong_token": planted.wrong_token}
    with running(front, text, **options) as (server, _):
        outcomes = run_client(server, planted.client, planted.transport)
    return {"wrong": "; ".join(dict.fromkeys(outcome.wrong for outcome in outcomes if outcome.wrong))}


# ---- outside of the network namespace


def within() -> tuple[str, ...]:
    return ("unshare", "--net", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")))


def missing(program: str) -> str:
    """Return why this proxy cannot be run here, or nothing."""
    if shutil.which(program, path=SEARCH) is None:
        return f"{program} is not installed"
    tried = subprocess.run([*within(), "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network of its own: {tried.stderr.strip()}"
    return "" if PRIVATE.is_dir() else f"there is no directory {PRIVATE}"


SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


def inside(*words: str) -> dict:
    done = subprocess.run(
        [*within(), sys.executable, str(HERE / "proxies.py"), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": SEARCH},
    )
    if done.returncode:
        return {"failed": done.stderr.strip()[-1500:] or f"exit code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def faults_of(name: str, report: dict) -> list[str]:
    """Return a line for each thing that is not as it must be."""
    if "failed" in report:
        return [f"{name}: {report['failed']}"]
    faults = [
        f"{name}, {cell['client']}, {cell['transport']}: {cell['wrong']}"
        for cell in report["cells"]
        if cell["wrong"]
    ]
    for fact, status in report["facts"].items():
        expected = OTHER_FACTS.get((name, fact), EXPECTED_FACTS[fact])
        if status != expected:
            faults.append(f"{name}: {fact} was answered {status}, not {expected}")
    return faults


def version(program: str) -> str:
    done = subprocess.run(
        VERSION_OF[program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": SEARCH},
    )
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return f"{program} {found[0]}" if found else program


PREFACE = """\
## Reverse proxies

Generated by `make proxies`. Through the proxy, each client listed the tools of `examples/server.py`, called a tool,
answered its elicitation, received progress and a change of the list, and cancelled a call; the Inspector, `ws` and curl
called one tool.
Each proxy ran with its configuration in [proxies.md](proxies.md){users}. Clients had a token that `mcp-bridge token new` made;
over WebSocket the official SDKs, which send no header, offered the token as a subprotocol.
"""


FACTS_PREFACE = """\
The status of other requests. A body of 2 MiB belongs to no session, so the bridge refuses it with 400. With its defaults, nginx serves every
Host; Caddy answers 200 without content for a Host that it does not have.
"""


def section(reports: dict[str, dict], absent: dict[str, str], planted: list[tuple[Planted, str]]) -> str:
    abbreviations = ", ".join(f"*{short}* is {name}" for short, name in TRANSPORTS.items())
    rows, facts = [], []
    for name in FRONTS:
        if name in absent:
            rows.append([TITLES[name], *["NOT RUN"] * len(COLUMNS)])
            continue
        report = reports[name]
        cells = report.get("cells", [])
        row = [TITLES[name]]
        for client in COLUMNS:
            tried = [cell for cell in cells if cell["client"] == client]
            passed = ", ".join(cell["transport"] for cell in tried if not cell["wrong"])
            failed = ", ".join(cell["transport"] for cell in tried if cell["wrong"])
            parts = [passed] * bool(passed) + [f"**failed: {failed}**"] * bool(failed)
            row.append("<br>".join(parts) or ("–" if "failed" not in report else "**failed**"))
        rows.append(row)
        facts.append(
            [TITLES[name], *(report.get("facts", {}).get(fact, "**failed**") for fact in EXPECTED_FACTS)]
        )
    programs = [version(front.program) for name, front in FRONTS.items() if name not in absent]
    parts = [
        PREFACE.format(users=", as a user of its own" if os.geteuid() == 0 else ""),
        f"With {', '.join(dict.fromkeys(programs)) or 'no proxy'}; {abbreviations}.\n",
        table(["proxy", *COLUMNS], rows),
        FACTS_PREFACE,
        table(["proxy", *EXPECTED_FACTS], facts),
        "Planted faults, which must all fail:\n",
        table(
            ["proxy", "fault", "client", "what the client reported"],
            [
                [
                    TITLES[one.front],
                    one.fault,
                    f"{one.client}, {one.transport}",
                    code(wrong) if wrong else "**nothing**",
                ]
                for one, wrong in planted
            ],
        ),
    ]
    if absent:
        parts.append("".join(f"- NOT RUN: {TITLES[name]}: {why}\n" for name, why in absent.items()))
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="WORDS", default="", help="cells whose name contains this; writes no document"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many proxies at once (default 2)")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--planted", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(run_front(given.inside, given.only)))
        return 0
    if given.planted is not None:
        print(json.dumps(run_planted(given.planted)))
        return 0

    check_guide()
    why = {program: missing(program) for program in VERSION_OF}
    absent = {name: why[front.program] for name, front in FRONTS.items() if why[front.program]}
    for name, reason in absent.items():
        print(f"NOT RUN {name}: {reason}", flush=True)
    names = [
        name
        for name in FRONTS
        if name not in absent
        and any(given.only in f"{name}, {client}, {way}" for client, ways in COLUMNS.items() for way in ways)
    ]
    tried = [one for one in PLANTED if one.front not in absent and not given.only]
    with ThreadPoolExecutor(given.jobs) as pool:
        work = {name: pool.submit(inside, "--inside", name, "--only", given.only) for name in names}
        faulty = [(one, pool.submit(inside, "--planted", str(PLANTED.index(one)))) for one in tried]
        reports, faults = {}, []
        for name, done in work.items():
            reports[name] = done.result()
            found = faults_of(name, reports[name])
            faults += found
            passed = sum(not cell["wrong"] for cell in reports[name].get("cells", []))
            print(f"{'FAILED' if found else 'ok':8}{name}: {passed} cells passed", flush=True)
            for line in found:
                print(f"        {line}", flush=True)
        planted = []
        for one, done in faulty:
            report = done.result()
            wrong = report.get("wrong", "")
            planted.append((one, wrong))
            found = bool(wrong) and "failed" not in report
            print(
                f"{'ok' if found else 'FAILED':8}planted in {one.front}, {one.fault}: {wrong or report}"[
                    :300
                ],
                flush=True,
            )
            if not found:
                faults.append(f"planted in {one.front}, {one.fault}: {report}")
    if not given.only:
        write_section("proxies", section(reports, absent, planted))
    print(
        f"{len(names)} proxies run, {len(absent)} NOT RUN, {len(planted)} planted faults, {len(faults)} faults"
    )
    return 1 if faults or not names else 0


if __name__ == "__main__":
    sys.exit(main())
