"""A server that tries to leave its sandbox: files, sockets, processes, and the files of mcp-bridge itself."""

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from mcpbridged.transports.process import confinement

from ..support.daemon_process import Daemon, write_config
from ..support.unix_client import UnixClient, content

ESCAPING = [sys.executable, str(Path(__file__).with_name("escaping.py"))]
needs_landlock = pytest.mark.skipif(
    confinement.landlock_abi() < confinement.SCOPES_ABI, reason="the kernel has no Landlock of version 6"
)
needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
LEVELS = [
    "basic",
    pytest.param("landlock", marks=needs_landlock),
    pytest.param("bwrap", marks=needs_bwrap),
]
FILES = LEVELS[1:]
# Errors of a path that a sandbox refuses or hides.
REFUSED = {"EACCES", "EPERM", "EROFS", "ENOENT", "EXDEV"}


class World:
    """A daemon with a server of each level, and what the servers try to reach."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.docs, self.work, self.other = self.home / "docs", self.home / "work", self.home / "other"
        for place in (self.docs, self.work, self.other, self.home / ".ssh", folder / "private"):
            place.mkdir(parents=True)
        (self.home / ".ssh/id").write_text("the key")
        (self.docs / "file").write_text("the document")
        (self.other / "file").write_text("of another program")
        (self.work / "link").symlink_to(self.other / "file")
        (folder / "private/env").write_text("A=secret\n")
        (folder / "private/env").chmod(0o600)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.second = socket.create_server(("127.0.0.1", 0))
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.name = f"mcp-bridge-test-{os.getpid()}"
        self.abstract.bind(f"\0{self.name}")
        self.abstract.listen()
        self.path = folder / "s"
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(self.path))
        self.unix.listen()
        self.datagram_path = folder / "d"
        self.unix_datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.unix_datagrams.bind(str(self.datagram_path))
        self.port = self.listener.getsockname()[1]
        self.second_port = self.second.getsockname()[1]
        self.datagram_port = self.datagrams.getsockname()[1]
        self.sockets = [
            self.listener,
            self.second,
            self.datagrams,
            self.abstract,
            self.unix,
            self.unix_datagrams,
        ]
        common = {"command": ESCAPING, "env": {"HOME": str(self.home)}}
        lists = {"read": [str(self.docs)], "write": [str(self.work)]}
        levels = ["basic", *(["landlock"] if confinement.landlock_abi() >= confinement.SCOPES_ABI else [])]
        levels += ["bwrap"] if shutil.which("bwrap") else []
        servers = {"plain": {**common, "env_file": str(folder / "private/env")}}
        for level in levels:
            files = lists if level != "basic" else {}
            servers[level] = {**common, "sandbox": level, **files}
            servers[f"{level}-offline"] = {**common, "sandbox": level, **files, "network": False}
            if level != "basic":
                wide = {"read": [str(folder)], "write": [str(folder / "run"), str(self.home)]}
                servers[f"{level}-ports"] = {**common, "sandbox": level, **files, "connect": [self.port]}
                servers[f"{level}-wide"] = {**common, "sandbox": level, **wide}
                servers[f"{level}-root"] = {**common, "sandbox": level, "read": ["/"]}
                servers[f"{level}-named"] = {
                    **common,
                    "sandbox": level,
                    "read": [str(folder / "config.toml")],
                }
                servers[f"{level}-client"] = {
                    **common,
                    "sandbox": level,
                    "cwd": "client",
                    "cwd_allowed": [str(self.home)],
                    "cwd_trust": True,
                    "write": ["cwd"],
                }
        write_config(folder / "config.toml", servers)
        self.daemon = Daemon(folder)
        self.folder = folder
        self._client = UnixClient(self.daemon.unix)
        self._sessions = {}

    def session(self, server: str, *headers: tuple[str, str]) -> str:
        answer = self._client.initialize(server, *headers)
        assert answer.status == 200, answer
        return answer.headers["mcp-session-id"]

    def attempt(self, server: str, *words: object, session: str = "") -> str:
        found = session or self._sessions.get(server)
        if not found:
            found = self._sessions[server] = self.session(server)
        return content(self._client.call(server, found, "attempt", words=[str(word) for word in words]))


@pytest.fixture(scope="module")
def world():
    # With bwrap /tmp is another directory.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        found = World(Path(folder).resolve())
        with found.daemon, contextlib.ExitStack() as sockets:
            for sock in found.sockets:
                sockets.enter_context(sock)
            yield found


@pytest.mark.parametrize("level", FILES)
def test_a_server_reads_and_changes_the_paths_of_its_lists_only(world, level):
    attempt = world.attempt
    assert attempt(level, "read", world.docs / "file") == "the document"
    assert attempt(level, "write", world.docs / "new") in REFUSED
    assert attempt(level, "write", world.work / "new") == "done"
    assert attempt(level, "rename", world.work / "new", world.work / "newer") == "done"
    assert attempt(level, "mkdir", world.work / level) == "done"
    assert attempt(level, "rename", world.work / "newer", world.work / level / "x") == "done"
    assert (world.work / level / "x").read_text() == "written"
    for path in (
        world.home / ".ssh/id",
        world.other / "file",
        world.work / "link",
        "/etc/shadow",
        "/root/.bashrc",
    ):
        assert attempt(level, "read", path) in REFUSED, path
    for path in (
        world.other / "file",
        world.home / "new",
        "/etc/new",
        "/usr/new",
        "/tmp/../etc/new",
        world.work / "link",
    ):
        assert attempt(level, "write", path) in REFUSED, path
    assert attempt(level, "truncate", world.docs / "file") in REFUSED
    assert attempt(level, "append", world.docs / "file") in REFUSED
    assert attempt(level, "remove", world.docs / "file") in REFUSED
    assert attempt(level, "hardlink", world.other / "file", world.work / "hard") in REFUSED
    assert attempt(level, "hardlink", world.docs / "file", world.work / "hard") in REFUSED
    assert attempt(level, "rename", world.docs / "file", world.work / "moved") in REFUSED
    assert attempt(level, "rename", world.work / level / "x", world.docs / "x") in REFUSED
    assert (world.docs / "file").read_text() == "the document"
    assert not (world.home / "new").exists()


@pytest.mark.parametrize("level", FILES)
def test_children_of_a_server_are_confined_as_well(world, level):
    assert "Error" in world.attempt(level, "child", f"open({str(world.other / 'file')!r}).read()")
    assert (
        world.attempt(level, "child", f"print(open({str(world.docs / 'file')!r}).read())") == "the document"
    )


@pytest.mark.parametrize("level", FILES)
def test_a_server_has_a_directory_for_temporary_files_that_no_other_has(world, level):
    found = world.attempt(level, "tmpdir")
    assert found == "/tmp" if level == "bwrap" else found.startswith("/tmp/mcp-bridge-")
    assert world.attempt(f"{level}-offline", "read", f"{found}/file") in REFUSED


@pytest.mark.parametrize("level", FILES)
def test_no_server_reaches_the_daemon_or_another_process(world, level):
    pid, keeper = world.daemon.process.pid, os.getpid()
    assert world.attempt(level, "signal", pid) in {"EPERM", "ESRCH"}
    assert world.attempt(level, "ptrace", pid) in {"EPERM", "ESRCH"}
    assert world.attempt(level, "read", f"/proc/{pid}/environ") in REFUSED
    assert world.attempt(level, "memory", pid) in REFUSED
    assert world.attempt(level, "read", f"/proc/{pid}/root/etc/shadow") in REFUSED
    assert world.attempt(level, "read", f"/proc/{pid}/fd/0") in REFUSED
    assert world.attempt(level, "signal", keeper) in {"EPERM", "ESRCH"}


@pytest.mark.parametrize("level", FILES)
@pytest.mark.parametrize("kind", ["", "-wide", "-offline"])
def test_no_server_reaches_the_sockets_of_the_user(world, level, kind):
    server = level + kind
    assert world.attempt(server, "unix", world.daemon.unix) in {*REFUSED, "ECONNREFUSED"}
    assert world.attempt(server, "abstract", world.name) in {"EPERM", "EACCES", "ECONNREFUSED"}
    if (level, kind) != ("bwrap", "-wide"):
        assert world.attempt(server, "unix", world.path) in REFUSED
        assert world.attempt(server, "datagram_pair", world.datagram_path) in REFUSED
    assert world.attempt(server, "stream_pair", world.path) in {*REFUSED, "EINVAL", "EISCONN"}


@needs_bwrap
def test_with_bwrap_a_list_gives_a_socket(world):
    assert world.attempt("bwrap-wide", "unix", world.path) == "done"


@pytest.mark.parametrize("level", FILES)
def test_the_files_of_the_bridge_are_in_no_directory_of_a_list(world, level):
    server = f"{level}-wide"
    state = world.folder / "run/state/mcp-bridge"
    assert world.attempt(server, "read", world.docs / "file") == "the document"
    assert world.attempt(server, "write", world.home / "work/wide") == "done"
    for path in (state / "token", world.folder / "config.toml", world.folder / "private/env"):
        assert path.stat().st_size
        assert world.attempt(server, "read", path) in {*REFUSED, ""}, path
        assert world.attempt(server, "write", path) in REFUSED, path
        assert world.attempt(server, "truncate", path) in {*REFUSED, "EINVAL"}, path
        assert world.attempt(server, "remove", path) in {*REFUSED, "EBUSY"}, path
        assert world.attempt(server, "hardlink", path, world.home / "hard") in REFUSED, path
        assert world.attempt(server, "read", f"/proc/self/root{path}") in {*REFUSED, ""}, path
    for path in (state, world.folder / "run/mcp-bridge"):
        assert world.attempt(server, "mkdir", path / "new") in REFUSED
        assert world.attempt(server, "rename", path, world.home / "moved") in {*REFUSED, "EBUSY"}
        assert world.attempt(server, "symlink", path, world.home / f"link-{level}") in {
            "done",
            *REFUSED,
            "EEXIST",
        }
        if level == "bwrap":
            assert world.attempt(server, "list", world.home / f"link-{level}") in {*REFUSED, ""}
        # Landlock shows the names in a directory above what it hides.
        assert world.attempt(server, "read", world.home / f"link-{level}/token") in REFUSED
        assert world.attempt(server, "unmount", path) in {*REFUSED, "EINVAL"}
    assert (state / "token").read_text()


@pytest.mark.parametrize("level", FILES)
def test_a_file_of_the_bridge_that_is_replaced_stays_hidden(world, level):
    """A mount over the former file would be removed with it."""
    config = world.folder / "config.toml"
    assert world.attempt(f"{level}-wide", "read", config) in REFUSED
    new = world.folder / "new.toml"
    new.write_bytes(config.read_bytes())
    new.chmod(0o600)
    new.replace(config)
    assert world.attempt(f"{level}-wide", "read", config) in REFUSED
    assert world.attempt(f"{level}-wide", "write", config) in REFUSED


@pytest.mark.parametrize("level", FILES)
def test_a_server_that_may_read_everything_reads_no_file_of_the_bridge(world, level):
    server = f"{level}-root"
    assert world.attempt(server, "read", world.home / ".ssh/id") == "the key"
    assert world.attempt(server, "write", world.home / "new") in REFUSED
    assert world.attempt(server, "read", world.folder / "run/state/mcp-bridge/token") in REFUSED
    assert world.attempt(server, "read", f"/proc/{world.daemon.process.pid}/environ") in REFUSED
    assert world.attempt(server, "unix", world.daemon.unix) in REFUSED


@pytest.mark.parametrize("level", FILES)
def test_a_file_of_the_bridge_that_is_named_exactly_can_be_read(world, level):
    assert world.attempt(f"{level}-named", "read", world.folder / "config.toml").startswith("[listen]")
    assert world.attempt(f"{level}-named", "read", world.folder / "run/state/mcp-bridge/token") in REFUSED


@pytest.mark.parametrize("level", LEVELS)
def test_without_a_network_nothing_is_connected(world, level):
    server = f"{level}-offline"
    refused = {"EACCES"} if level != "bwrap" else {"ECONNREFUSED", "ENETUNREACH"}
    assert world.attempt(server, "tcp", "127.0.0.1", world.port) in refused
    if level != "bwrap":
        assert world.attempt(server, "udp", "127.0.0.1", world.datagram_port) == "EACCES"
        assert world.attempt(server, "bind", 0) == "EACCES"
        assert world.attempt(server, "io_uring") == "ENOSYS"
    else:
        world.attempt(server, "udp", "127.0.0.1", world.datagram_port)
    assert world.attempt(server, "mptcp", "127.0.0.1", world.port) in {
        *refused,
        "EPROTONOSUPPORT",
        "ENOPROTOOPT",
    }
    assert world.attempt(server, "vsock") in {"EACCES", "EAFNOSUPPORT"}
    world.datagrams.setblocking(False)
    with pytest.raises(BlockingIOError):
        world.datagrams.recv(10)


@pytest.mark.parametrize("level", LEVELS)
def test_a_server_has_the_network_otherwise(world, level):
    assert world.attempt(level, "tcp", "127.0.0.1", world.port) == "done"
    assert world.attempt(level, "bind", 0) == "done"


@pytest.mark.parametrize("level", FILES)
def test_a_server_connects_to_its_ports_only(world, level):
    server = f"{level}-ports"
    assert world.attempt(server, "tcp", "127.0.0.1", world.port) == "done"
    assert world.attempt(server, "tcp", "127.0.0.1", world.second_port) == "EACCES"
    assert world.attempt(server, "mptcp", "127.0.0.1", world.second_port) in {"EACCES", "EPROTONOSUPPORT"}
    assert world.attempt(server, "udp", "127.0.0.1", world.datagram_port) == "EACCES"
    assert world.attempt(server, "bind", 0) == "EACCES"


@pytest.mark.parametrize("level", FILES)
def test_no_server_uses_the_keyrings_or_io_uring(world, level):
    assert world.attempt(level, "keyring") == "EPERM"
    assert world.attempt(level, "io_uring") == "ENOSYS"


@pytest.mark.parametrize("level", LEVELS)
def test_no_server_gains_privileges_or_inherits_descriptors(world, level):
    assert world.attempt(level, "no_new_privs") == "1"
    assert world.attempt(level, "descriptors") == "pipe pipe pipe0"


@pytest.mark.parametrize("level", FILES)
def test_the_directory_of_a_client_is_granted_by_the_word_cwd_and_no_other(world, level):
    server = f"{level}-client"
    session = world.session(server, ("Mcp-Cwd", str(world.work)))
    assert world.attempt(server, "cwd", session=session) == str(world.work)
    assert world.attempt(server, "write", world.work / f"by-{level}", session=session) == "done"
    assert world.attempt(server, "write", world.docs / "new", session=session) in REFUSED
    second = world.session(server, ("Mcp-Cwd", str(world.docs)))
    assert world.attempt(server, "write", world.docs / f"by-{level}", session=second) == "done"
    assert world.attempt(server, "write", world.work / "new", session=second) in REFUSED


@pytest.mark.parametrize("level", LEVELS)
def test_the_status_shows_what_a_server_may_use(world, level):
    found = next(one for one in world.daemon.status()["servers"] if one["name"] == f"{level}-offline")
    assert (found["sandbox"], found["network"], found["connect"]) == (level, False, [])
    if level != "basic":
        assert str(world.work) in found["write"]
        assert {str(world.docs), "/usr"} <= {*found["read"]}


@pytest.mark.parametrize("level", FILES)
@pytest.mark.parametrize("key", ["read", "write"])
def test_a_path_that_does_not_exist_fails_the_server_with_its_name(tmp_path, level, key):
    servers = {"one": {"command": ESCAPING, "sandbox": level, key: [str(tmp_path / "missing")]}}
    write_config(tmp_path / "config.toml", servers)
    with Daemon(tmp_path) as running:
        [found] = running.status()["servers"]
        assert found["state"] == "failed"
        assert found["fault"].startswith(f"{key}: there is no {tmp_path / 'missing'}")
        assert UnixClient(running.unix).initialize("one").status >= 500


@needs_bwrap
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_of_a_sandbox_outlives_its_daemon(tmp_path, number):
    servers = {"one": {"command": ESCAPING, "sandbox": "bwrap"}}
    write_config(tmp_path / "config.toml", servers)
    with Daemon(tmp_path) as running:
        client = UnixClient(running.unix)
        session = client.initialize("one").headers["mcp-session-id"]
        text = "import subprocess as s, os; s.Popen(['setsid', 'sleep', '600'], stdout=s.DEVNULL, stderr=s.DEVNULL); print(os.getpid())"
        assert content(client.call("one", session, "attempt", words=["child", text])).isdecimal()
        if number == signal.SIGKILL:
            running.kill()
        else:
            running.stop()
        assert running.wait_until_alone(20) == []
