"""A cgroup for each server process, if a cgroup is delegated to the bridge (invariant I4).

The tests need root, because they mount cgroup version 2 in a mount namespace of their own.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.bridge_process import _MARK, EXAMPLE, PROGRAM, Bridge, wait_until_gone
from ..support.daemon_process import Daemon, write_config
from ..support.raw_http import Session, connect

pytestmark = pytest.mark.anyio

FAMILY = (sys.executable, str(Path(__file__).with_name("children") / "family.py"), EXAMPLE[1])
_ENTER = 'echo 0 >"$0/cgroup.procs" && exec "$@"'
_ENTER_AND_LOCK = """
echo 0 >"$0/cgroup.procs" || exit
while read -r _ _ _ _ point _ rest; do
    case "$rest" in *"- cgroup2 "*) mount -o remount,bind,ro "$point" ;; esac
done </proc/self/mountinfo
exec "$@"
"""


class DelegatedCgroup:
    """A cgroup for a bridge. `folder` is its path for the test, `inside` its path for the bridge."""

    def __init__(self, namespace: int, mount: Path) -> None:
        self.inside = mount / f"mcp-bridge-test-{uuid.uuid4().hex[:8]}"
        self.folder = Path(f"/proc/{namespace}/root{self.inside}")
        self._namespace = f"--mount=/proc/{namespace}/ns/mnt"

    def within(self, script: str = _ENTER) -> list[str]:
        """Return a command that runs another command in the cgroup, in a mount namespace of its own."""
        return ["nsenter", self._namespace, "unshare", "--mount", "sh", "-c", script, str(self.inside)]

    def bridge(self, runtime: Path, *command: str, script: str = _ENTER) -> Bridge:
        options = ["--allow-root", "--port", "0", "--env", _MARK, "--stdio", "--", *command]
        return Bridge(runtime, program=[*self.within(script), PROGRAM, *options])

    def delegate(self, attribute: str = "user.delegate") -> None:
        os.setxattr(self.folder, attribute, b"1")

    @property
    def servers(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_dir())

    def wait_until(self, count: int) -> None:
        """Wait until this number of cgroups of servers is left."""
        end = time.monotonic() + 10
        while len(self.servers) != count:
            assert time.monotonic() < end, self.servers
            time.sleep(0.01)


def members(folder: Path) -> list[int]:
    return sorted(map(int, (folder / "cgroup.procs").read_text().split()))


def children_of(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def members_after_exit(folder: Path) -> list[int]:
    """Return the members that are left after at most 5 s. An exiting process has no environment, but is still a member."""
    return wait_until_gone(lambda: members(folder), 5)


@pytest.fixture
def not_delegated(tmp_path: Path) -> Iterator[DelegatedCgroup]:
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("nsenter")):
        pytest.skip("to mount cgroups takes root, unshare and nsenter")
    mount = tmp_path / "cgroups"
    mount.mkdir()
    script = 'mount -t cgroup2 none "$0" && echo mounted && exec cat'
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, str(mount)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as namespace:
        if namespace.stdout.readline() != "mounted\n":
            pytest.skip("cgroups of version 2 cannot be mounted here")
        delegated = DelegatedCgroup(namespace.pid, mount)
        try:
            delegated.folder.mkdir()
            subprocess.run([*delegated.within(), "true"], check=True)
            delegated.delegate()
            os.removexattr(delegated.folder, "user.delegate")
        except (OSError, subprocess.CalledProcessError) as fault:
            if delegated.folder.exists():
                delegated.folder.rmdir()
            pytest.skip(f"cgroups of version 2 cannot be used here: {fault}")
        yield delegated
        members_after_exit(delegated.folder)
        delegated.folder.rmdir()
        namespace.stdin.close()


@pytest.fixture
def delegated(not_delegated: DelegatedCgroup) -> DelegatedCgroup:
    not_delegated.delegate()
    return not_delegated


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that is not a descendant of a server."""
    with subprocess.Popen(["sleep", "1000003"]) as process:
        yield process
        process.kill()


async def test_all_processes_of_a_server_are_in_a_cgroup_of_their_own(
    delegated: DelegatedCgroup, tmp_path: Path
) -> None:
    with delegated.bridge(tmp_path / "run", *FAMILY) as bridge:
        assert delegated.servers == []
        async with connect(bridge) as connection:
            first = await Session.begin(bridge, connection)
            assert await first.call(connection, "echo", text="here") == "here"
            [one] = delegated.servers
            # The server, its child, and its grandchild that has daemonised itself.
            assert members(one) == sorted(bridge.children("server.py") + bridge.children("100000"))
            assert len(members(one)) == 3
            second = await Session.begin(bridge, connection)
            assert await second.call(connection, "echo", text="here") == "here"
            [other] = set(delegated.servers) - {one}
            assert len(members(other)) == 3
            for folder in (one, other):
                assert int(folder.name.split("-")[1]) in bridge.children("server.py")
                assert int(folder.name.split("-")[1]) in members(folder)
            assert bridge.process.pid in members(delegated.folder)
            await first.end(connection)
            delegated.wait_until(1)
            assert delegated.servers == [other]
            assert await second.call(connection, "echo", text="still") == "still"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_nothing_is_left_when_the_bridge_ends(
    delegated: DelegatedCgroup, tmp_path: Path, number: signal.Signals
) -> None:
    with delegated.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            await Session.begin(bridge, connection)
            assert len(delegated.servers) == 1
            bridge.stop(number)
        assert bridge.wait_until_alone(5) == []
        assert delegated.servers == []
        assert members_after_exit(delegated.folder) == []


async def test_processes_that_others_have_moved_into_the_cgroup_end_with_it(
    delegated: DelegatedCgroup, tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    with delegated.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            session = await Session.begin(bridge, connection)
            [folder] = delegated.servers
            if not (folder / "cgroup.kill").exists():
                pytest.skip("cgroup.kill came with Linux 5.14")
            (folder / "inner").mkdir()
            (folder / "inner/cgroup.procs").write_text(str(stranger.pid))
            await session.end(connection)
            assert stranger.wait(10) == -signal.SIGKILL
            delegated.wait_until(0)


@pytest.mark.slow
async def test_a_server_that_nests_many_cgroups_does_not_end_the_fork_server(
    delegated: DelegatedCgroup, tmp_path: Path
) -> None:
    with delegated.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            session = await Session.begin(bridge, connection)
            fork_server = children_of(bridge.process.pid)
            [folder] = delegated.servers
            # Deeper than the stack of the interpreter.
            for _ in range(1100):
                folder /= "a"
                folder.mkdir()
            await session.end(connection)
            delegated.wait_until(0)
            again = await Session.begin(bridge, connection)
            assert await again.call(connection, "echo", text="here") == "here"
            assert children_of(bridge.process.pid) == fork_server
        assert not any("Recursion" in line for line in bridge.lines)


async def test_cgroups_of_killed_keepers_are_removed_at_the_next_start(
    delegated: DelegatedCgroup, tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    with delegated.bridge(tmp_path / "run", *EXAMPLE) as bridge:
        async with connect(bridge) as connection:
            await Session.begin(bridge, connection)
            [server] = bridge.children("server.py")
            for pid in [*bridge.children("keeper.py"), bridge.process.pid]:
                os.kill(pid, signal.SIGKILL)
            bridge.stop(signal.SIGKILL)
        assert bridge.wait_until_alone(5) == []
    [left] = delegated.servers
    assert str(server) in left.name
    (left / "inner").mkdir()
    used, foreign = delegated.folder / "server-1-used", delegated.folder / "other"
    for folder in (used, foreign):
        folder.mkdir()
    (used / "cgroup.procs").write_text(str(stranger.pid))
    (used / "inner").mkdir()

    for expected in ([foreign, used], [foreign]):
        with delegated.bridge(tmp_path / "run", *EXAMPLE) as bridge:
            async with connect(bridge) as connection:
                # The cgroups that are left are removed before.
                session = await Session.begin(bridge, connection)
                await session.end(connection)
                delegated.wait_until(len(expected))
                assert delegated.servers == expected
        assert (stranger.poll() is None) == (used / "inner").exists() == (used in expected)
        stranger.kill()
        stranger.wait()
    foreign.rmdir()


async def test_the_cgroup_of_a_killed_keeper_is_removed_while_the_daemon_runs(
    delegated: DelegatedCgroup, tmp_path: Path
) -> None:
    with delegated.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            await Session.begin(bridge, connection)
            [folder] = delegated.servers
            server = int(folder.name.split("-")[1])
            keeper = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(keeper, signal.SIGKILL)
            delegated.wait_until(0)
            assert bridge.children("100000") == []


async def test_a_server_is_started_even_if_its_cgroup_cannot_be_created(
    delegated: DelegatedCgroup, tmp_path: Path
) -> None:
    (delegated.folder / "cgroup.max.descendants").write_text("0")
    with delegated.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            session = await Session.begin(bridge, connection)
            assert await session.call(connection, "echo", text="here") == "here"
            assert delegated.servers == []
            assert set(bridge.children("server.py")) < set(members(delegated.folder))


async def test_cgroups_that_cannot_be_written_are_logged_once(
    delegated: DelegatedCgroup, tmp_path: Path
) -> None:
    with delegated.bridge(tmp_path / "run", *FAMILY, script=_ENTER_AND_LOCK) as bridge:
        async with connect(bridge) as connection:
            session = await Session.begin(bridge, connection)
            assert await session.call(connection, "echo", text="here") == "here"
            await Session.begin(bridge, connection)
        assert delegated.servers == []
        assert sum("cgroup_not_writable" in line for line in bridge.lines) == 1


async def test_without_delegation_no_group_is_created(not_delegated: DelegatedCgroup, tmp_path: Path) -> None:
    with not_delegated.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            session = await Session.begin(bridge, connection)
            assert await session.call(connection, "echo", text="here") == "here"
            assert not_delegated.servers == []
            assert set(bridge.children("server.py")) < set(members(not_delegated.folder))
        assert not any("cgroup" in line for line in bridge.lines)


@pytest.mark.parametrize("attribute", ["user.delegate", "trusted.delegate", ""])
def test_status_and_doctor_show_the_cgroup(
    not_delegated: DelegatedCgroup, tmp_path: Path, attribute: str
) -> None:
    if attribute:
        not_delegated.delegate(attribute)
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o700)
    write_config(tmp_path / "config.toml", {"broken": {"command": [str(broken)]}})
    with Daemon(tmp_path, within=not_delegated.within()) as running:
        cgroup = running.status()["cgroup"]
        assert Path(cgroup).name == (not_delegated.inside.name if attribute else "")
        report = running.do("doctor", check=False).stdout
        assert "broken: no response" in report
        assert (f"its own cgroup in {cgroup}" in report) == bool(attribute)
        # The cgroup of the server that could not be executed is removed as well.
        not_delegated.wait_until(0)
