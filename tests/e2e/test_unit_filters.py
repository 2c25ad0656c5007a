"""The system call filters of the systemd units at work: the daemon, its servers and `check` run below them.

`unit_filter.py` installs them, because tests run without a service manager.
"""

import http.client
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio_websocket

from mcpbridged.transports.process import confinement

from ..support.bridge_process import EXAMPLE, PROGRAM, REPOSITORY
from ..support.daemon_process import Daemon, ServiceManager, daemon, write_config
from ..support.documents import blocks_of_manual, read
from ..support.stateless_requests import headers_of, request, tool
from ..support.tls import tls_client_context, write_certificate
from ..support.unit_filter import libseccomp, number_of
from ..support.unix_client import UnixClient, content

USER, TEMPLATE, CHECK = (
    REPOSITORY / "systemd" / name
    for name in ("mcp-bridge.service", "mcp-bridge@.service", "mcp-bridge-check.service")
)
ALL, DAEMONS = {USER, TEMPLATE, CHECK}, {USER, TEMPLATE}
LAUNCHER = REPOSITORY / "tests/support/unit_filter.py"
# An ordinary user without capabilities also if root runs the tests, because root has other rights below a filter.
AS_A_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000") if os.geteuid() == 0 else ()
ESCAPING = [sys.executable, str(REPOSITORY / "tests/hostile/escaping.py")]
NODE = ["node", str(REPOSITORY / "tests/e2e/node/server.mjs")]
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
needs_landlock = pytest.mark.skipif(
    confinement.landlock_abi() < confinement.SCOPES_ABI, reason="the kernel has no Landlock of version 6"
)
needs_no_filter = pytest.mark.skipif(
    "Seccomp:\t0\n" not in Path("/proc/self/status").read_text(), reason="the tests run below a filter"
)
needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
# An invalid type of a socket, which the kernel finds before it looks at the family.
TYPE = 1 << 30
# A system call, its arguments, its error below a filter, and the units that refuse it. Without a filter the call works or has
# another error, because the kernel finds invalid arguments before it checks permissions.
CALLS = [
    ("mount", (-1, -1, -1, 0, 0), "EPERM", ALL),
    ("chroot", (-1,), "EPERM", ALL),
    ("ptrace", (1, 0, 0, 0), "EPERM", ALL),
    ("perf_event_open", (-1, 0, 0, -1, 0), "EPERM", ALL),
    ("adjtimex", (-1,), "EPERM", ALL),
    ("iopl", (99,), "EPERM", ALL),
    ("sysfs", (3,), "EPERM", ALL),
    ("personality", (0x0040000,), "EPERM", ALL),
    ("sched_setscheduler", (0, 1, -1), "EPERM", ALL),
    ("fchmod", (-1, 0o4700), "EPERM", ALL),
    ("fchown", (-1, -1, -1), "EPERM", DAEMONS),
    ("setfsuid", (-1,), "EPERM", DAEMONS),
    ("setpriority", (-1, 0, 0), "EPERM", {TEMPLATE}),
    ("unshare", (0x10000001,), "EPERM", {TEMPLATE, CHECK}),
    ("mmap", (0, 4096, 6, 0x22, -1, 0), "EPERM", {CHECK}),
    ("socket", (socket.AF_UNIX, TYPE, 0), "EAFNOSUPPORT", set()),
    ("socket", (socket.AF_INET, TYPE, 0), "EAFNOSUPPORT", {CHECK}),
    ("socket", (socket.AF_INET6, TYPE, 0), "EAFNOSUPPORT", {CHECK}),
    ("socket", (socket.AF_NETLINK, TYPE, 0), "EAFNOSUPPORT", {CHECK}),
    ("socket", (socket.AF_PACKET, TYPE, 0), "EAFNOSUPPORT", ALL),
    ("socket", (socket.AF_ALG, TYPE, 0), "EAFNOSUPPORT", ALL),
    ("socket", (socket.AF_VSOCK, TYPE, 0), "EAFNOSUPPORT", ALL),
]
# In each server `echo` returns its text.
SERVERS = {
    "python": {"command": EXAMPLE, "secrets": {"KEY": "exec:echo value"}},
    "python-landlock": {"command": EXAMPLE, "sandbox": "landlock"},
    "python-offline": {"command": EXAMPLE, "network": False},
    "node": {"command": NODE},
    "node-landlock": {"command": NODE, "sandbox": "landlock"},
}


def missing():
    """Return what this machine lacks."""
    if shutil.which("systemd-analyze") is None:
        return "there is no systemd-analyze"
    try:
        libseccomp()
    except OSError:
        return "there is no libseccomp"
    if AS_A_USER and subprocess.run([*AS_A_USER, "true"], check=False, capture_output=True).returncode:
        return "root cannot become an ordinary user in a user namespace"
    return ""


pytestmark = [pytest.mark.anyio, pytest.mark.skipif(bool(missing()), reason=missing())]


def below(*files):
    """Return a command that runs another command below the filters of a unit and its drop-ins."""
    return [*AS_A_USER, sys.executable, "-I", "-S", str(LAUNCHER), *map(str, files), "--"]


def echoed(client, server):
    """Return the result of a call, or the error of the server's start."""
    answer = client.initialize(server)
    if "mcp-session-id" not in answer.headers:
        return answer.text
    called = client.call(server, answer.headers["mcp-session-id"], "echo", text="hello")
    return called.json["result"]["content"][0]["text"]


class World:
    """A daemon below the filters of a unit, as systemd starts it, with TLS, and the client of its Unix socket."""

    def __init__(self, folder, unit, other, authority):
        self.unit, self.manager = unit, ServiceManager(folder)
        certificate, key = write_certificate(authority, folder)
        token = folder / "token"
        token.touch(0o600)
        token.write_text(other.token)
        secret = {"secret_headers": {"Authorization": str(token)}}
        self.servers = {
            **SERVERS,
            "url-http": {"url": other.url("example"), **secret},
            "url-websocket": {"url": other.url("example", "ws"), **secret},
            "escaping": {"command": ESCAPING},
        }
        self.listen = {"tls_cert": str(certificate), "tls_key": str(key)}
        write_config(folder / "config.toml", self.servers, listen=self.listen)
        notify = {"NOTIFY_SOCKET": str(self.manager.path)}
        self.daemon = Daemon(folder, environment=notify, within=below(unit))
        self.client = UnixClient(self.daemon.unix)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Yield a daemon without filters, for servers with a `url`."""
    with daemon(tmp_path_factory.mktemp("other")) as running:
        yield running


@pytest.fixture(scope="module", params=sorted(DAEMONS), ids=["user", "template"])
def world(request, tmp_path_factory, other, authority):
    found = World(tmp_path_factory.mktemp("unit"), request.param, other, authority)
    with found.daemon:
        yield found
    # `Daemon` has checked that it stops with exit code 0, and leaves no process.
    found.manager.wait_for("STOPPING=1")
    assert found.manager.received.count("READY=1") == found.manager.received.count("RELOADING=1") + 1


@pytest.mark.parametrize(
    "server",
    [
        "python",
        pytest.param("python-landlock", marks=needs_landlock),
        "python-offline",
        pytest.param("node", marks=needs_node),
        pytest.param("node-landlock", marks=[needs_node, needs_landlock]),
        "url-http",
        "url-websocket",
    ],
)
def test_servers_work_below_the_filters(world, server):
    assert echoed(world.client, server) == "hello"


def test_a_client_is_served_over_tls(world, authority):
    body = request("tools/call", tool("echo", text="hello"))
    connection = http.client.HTTPSConnection(
        *world.daemon.address, timeout=20, context=tls_client_context(authority)
    )
    headers = headers_of(body, Authorization=f"Bearer {world.daemon.token}")
    connection.request("POST", "/servers/python/mcp", json.dumps(body), headers)
    assert json.load(connection.getresponse())["result"]["content"][0]["text"] == "hello"
    connection.close()


async def test_a_client_is_served_over_websocket(world, authority):
    with trio.fail_after(20):
        async with trio_websocket.open_websocket_url(
            world.daemon.url("python", "ws").replace("http", "ws", 1),
            tls_client_context(authority),
            subprotocols=["mcp"],
            extra_headers=[("Authorization", f"Bearer {world.daemon.token}")],
        ) as connection:
            await connection.send_message(json.dumps(request("tools/call", tool("echo", text="hello"))))
            answer = json.loads(await connection.get_message())
    assert answer["result"]["content"][0]["text"] == "hello"


def test_servers_are_added_restarted_and_removed_by_a_reload(world):
    def reload(servers):
        write_config(world.daemon.config, servers, listen=world.listen)
        before = world.manager.received.count("READY=1")
        world.daemon.process.send_signal(signal.SIGHUP)
        world.manager.wait_for("READY=1", before + 1)

    reload({**world.servers, "more": {"command": EXAMPLE}})
    assert echoed(world.client, "more") == "hello"
    world.daemon.restart("more")
    assert echoed(world.client, "more") == "hello"
    reload(world.servers)
    assert world.client.initialize("more").status == 404
    assert echoed(world.client, "python") == "hello"


# ---- bubblewrap


@needs_bwrap
@pytest.mark.parametrize("unit", sorted(DAEMONS), ids=["user", "template"])
@pytest.mark.parametrize("drop_in", [False, True])
def test_bwrap_works_with_the_drop_in_of_the_manual_only(tmp_path, unit, drop_in):
    page = "man/mcp-bridge.toml.5"
    [text] = [block.text for block in blocks_of_manual(page, read(page)) if block.first == "[Service]"]
    # The manual names this setting for the template.
    more = "\nRestrictNamespaces=no\n" if unit == TEMPLATE else "\n"
    (tmp_path / "drop-in.conf").write_text(text + more)
    files = [unit, tmp_path / "drop-in.conf"] if drop_in else [unit]
    write_config(tmp_path / "config.toml", {"one": {"command": EXAMPLE, "sandbox": "bwrap"}})
    with Daemon(tmp_path, within=below(*files)) as running:
        found = echoed(UnixClient(running.unix), "one")
    assert (found == "hello") == drop_in, found
    assert drop_in or "bwrap" in found


# ---- what the units refuse


def test_a_server_gets_the_error_of_each_refused_call(world):
    session = world.client.initialize("escaping").headers["mcp-session-id"]
    for call, arguments, error, units in CALLS:
        if (number := number_of(call)) >= 0:
            words = ["syscall", number, *arguments]
            found = content(world.client.call("escaping", session, "attempt", words=words))
            assert (found == error) == (world.unit in units), (call, arguments, found)


@pytest.mark.parametrize(
    ("unit", "within"),
    [pytest.param(None, AS_A_USER, marks=needs_no_filter), *[(unit, below(unit)) for unit in sorted(ALL)]],
    ids=["none", "check", "user", "template"],
)
def test_a_process_gets_the_error_of_each_refused_call(unit, within):
    """Without a unit no call has the error, so that each error is from a filter."""
    for call, arguments, error, units in CALLS:
        if (number := number_of(call)) >= 0:
            params = {"arguments": {"words": ["syscall", number, *arguments]}}
            line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
            done = subprocess.run(
                [*within, *ESCAPING], input=line, capture_output=True, text=True, check=True
            )
            found = json.loads(json.loads(done.stdout)["result"]["content"][0]["text"])
            assert (found == error) == (unit in units), (call, arguments, found)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number is that of getpid(2) of the x32 ABI")
@pytest.mark.parametrize("unit", sorted(ALL), ids=["check", "user", "template"])
def test_a_system_call_of_another_architecture_ends_the_process(unit):
    call = [sys.executable, "-c", "import ctypes; ctypes.CDLL(None).syscall(0x40000027)"]
    assert subprocess.run([*AS_A_USER, *call], check=False).returncode == 0
    assert subprocess.run([*below(unit), *call], check=False).returncode == -signal.SIGSYS


def test_the_check_of_the_timer_works_below_its_filters(tmp_path):
    with daemon(tmp_path, {"example": {"command": EXAMPLE}}) as running:
        command = [*below(CHECK), str(PROGRAM), "check", "--all", "--config", str(running.config)]
        done = subprocess.run(
            command, env=running.variables, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("example: ")
