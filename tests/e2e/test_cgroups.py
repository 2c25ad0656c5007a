"""A cgroup for each server, where one was delegated to the bridge: all that comes of a server is in it, and it goes with it.

In a mount namespace of the test's own, where the cgroups of version 2 are mounted; that takes root. Invariant I4.
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


class Place:
    """A cgroup to put a bridge into. `folder` is where we see it, `inside` where the bridge does."""

    def __init__(self, namespace: int, mount: Path) -> None:
        self.inside = mount / f"mcp-bridge-test-{uuid.uuid4().hex[:8]}"
        self.folder = Path(f"/proc/{namespace}/root{self.inside}")
        self._namespace = f"--mount=/proc/{namespace}/ns/mnt"

    def within(self, script: str = _ENTER) -> list[str]:
        """The command that runs another in it; what it mounts is nobody else's."""
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
        """Wait until so many are left."""
        end = time.monotonic() + 10
        while len(self.servers) != count:
            assert time.monotonic() < end, self.servers
            time.sleep(0.01)


def members(folder: Path) -> list[int]:
    return sorted(map(int, (folder / "cgroup.procs").read_text().split()))


def members_after_exit(folder: Path) -> list[int]:
    """Return who is still in it after 5 s at most: a process that exits has no environment any more, but is still a member."""
    return wait_until_gone(lambda: members(folder), 5)


@pytest.fixture
def bare_place(tmp_path: Path) -> Iterator[Place]:
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
        place = Place(namespace.pid, mount)
        try:
            place.folder.mkdir()
            subprocess.run([*place.within(), "true"], check=True)
            place.delegate()
            os.removexattr(place.folder, "user.delegate")
        except (OSError, subprocess.CalledProcessError) as fault:
            if place.folder.exists():
                place.folder.rmdir()
            pytest.skip(f"cgroups of version 2 cannot be used here: {fault}")
        yield place
        members_after_exit(place.folder)
        place.folder.rmdir()  # which fails if anything is left in it
        namespace.stdin.close()


@pytest.fixture
def place(bare_place: Place) -> Place:
    bare_place.delegate()
    return bare_place


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no descendant of any server."""
    with subprocess.Popen(["sleep", "1000003"]) as process:
        yield process
        process.kill()


async def test_all_that_comes_of_a_server_is_in_a_cgroup_of_its_own(place: Place, tmp_path: Path) -> None:
    with place.bridge(tmp_path / "run", *FAMILY) as bridge:
        assert place.servers == []
        async with connect(bridge) as connection:
            first = await Session.begin(bridge, connection)
            assert await first.call(connection, "echo", text="here") == "here"
            [one] = place.servers
            # The server, its child, and its grandchild that has daemonised itself.
            assert members(one) == sorted(bridge.children("server.py") + bridge.children("100000"))
            assert len(members(one)) == 3
            second = await Session.begin(bridge, connection)
            assert await second.call(connection, "echo", text="here") == "here"
            [other] = set(place.servers) - {one}
            assert len(members(other)) == 3
            for folder in (one, other):
                assert int(folder.name.split("-")[1]) in bridge.children("server.py")
                assert int(folder.name.split("-")[1]) in members(folder)
            assert bridge.process.pid in members(place.folder)
            await first.end(connection)
            place.wait_until(1)
            assert place.servers == [other]
            assert await second.call(connection, "echo", text="still") == "still"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_nothing_is_left_when_the_bridge_ends(
    place: Place, tmp_path: Path, number: signal.Signals
) -> None:
    with place.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            await Session.begin(bridge, connection)
            assert len(place.servers) == 1
            bridge.stop(number)
        assert bridge.wait_until_alone(5) == []
        assert place.servers == []
        assert members_after_exit(place.folder) == []


async def test_what_others_have_put_into_it_ends_with_it(
    place: Place, tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    with place.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            session = await Session.begin(bridge, connection)
            [folder] = place.servers
            if not (folder / "cgroup.kill").exists():
                pytest.skip("cgroup.kill came with Linux 5.14")
            (folder / "inner").mkdir()
            (folder / "inner/cgroup.procs").write_text(str(stranger.pid))
            await session.end(connection)
            assert stranger.wait(10) == -signal.SIGKILL
            place.wait_until(0)


async def test_what_killed_keepers_have_left_is_removed_at_the_next_start(
    place: Place, tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    with place.bridge(tmp_path / "run", *EXAMPLE) as bridge:
        async with connect(bridge) as connection:
            await Session.begin(bridge, connection)
            [server] = bridge.children("server.py")
            for pid in [*bridge.children("keeper.py"), bridge.process.pid]:
                os.kill(pid, signal.SIGKILL)
            bridge.stop(signal.SIGKILL)
        assert bridge.wait_until_alone(5) == []
    [left] = place.servers
    assert str(server) in left.name
    (left / "inner").mkdir()
    used, foreign = place.folder / "server-1-used", place.folder / "other"
    for folder in (used, foreign):
        folder.mkdir()
    (used / "cgroup.procs").write_text(str(stranger.pid))
    (used / "inner").mkdir()

    for expected in ([foreign, used], [foreign]):
        with place.bridge(tmp_path / "run", *EXAMPLE) as bridge:
            async with connect(bridge) as connection:
                session = await Session.begin(bridge, connection)  # the leftovers are looked at before
                await session.end(connection)
                place.wait_until(len(expected))
                assert place.servers == expected
        assert (stranger.poll() is None) == (used / "inner").exists() == (used in expected)
        stranger.kill()
        stranger.wait()
    foreign.rmdir()


async def test_the_cgroup_of_a_killed_keeper_is_removed_while_the_daemon_runs(
    place: Place, tmp_path: Path
) -> None:
    with place.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            await Session.begin(bridge, connection)
            [folder] = place.servers
            server = int(folder.name.split("-")[1])
            keeper = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(keeper, signal.SIGKILL)
            place.wait_until(0)
            assert bridge.children("100000") == []


async def test_a_server_that_cannot_be_put_there_is_started_all_the_same(
    place: Place, tmp_path: Path
) -> None:
    (place.folder / "cgroup.max.descendants").write_text("0")
    with place.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            session = await Session.begin(bridge, connection)
            assert await session.call(connection, "echo", text="here") == "here"
            assert place.servers == []
            assert set(bridge.children("server.py")) < set(members(place.folder))


async def test_cgroups_that_cannot_be_written_are_logged_once(place: Place, tmp_path: Path) -> None:
    with place.bridge(tmp_path / "run", *FAMILY, script=_ENTER_AND_LOCK) as bridge:
        async with connect(bridge) as connection:
            session = await Session.begin(bridge, connection)
            assert await session.call(connection, "echo", text="here") == "here"
            await Session.begin(bridge, connection)
        assert place.servers == []
        assert sum("cgroup_not_writable" in line for line in bridge.lines) == 1


async def test_what_was_not_delegated_is_left_alone(bare_place: Place, tmp_path: Path) -> None:
    with bare_place.bridge(tmp_path / "run", *FAMILY) as bridge:
        async with connect(bridge) as connection:
            session = await Session.begin(bridge, connection)
            assert await session.call(connection, "echo", text="here") == "here"
            assert bare_place.servers == []
            assert set(bridge.children("server.py")) < set(members(bare_place.folder))
        assert not any("cgroup" in line for line in bridge.lines)


@pytest.mark.parametrize("attribute", ["user.delegate", "trusted.delegate", ""])
def test_status_and_doctor_say_where_they_are(bare_place: Place, tmp_path: Path, attribute: str) -> None:
    if attribute:
        bare_place.delegate(attribute)
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o700)
    write_config(tmp_path / "config.toml", {"broken": {"command": [str(broken)]}})
    with Daemon(tmp_path, within=bare_place.within()) as running:
        told = running.status()["cgroup"]
        assert Path(told).name == (bare_place.inside.name if attribute else "")
        said = running.do("doctor", check=False).stdout
        assert "broken: no response" in said
        assert (f"its own cgroup in {told}" in said) == bool(attribute)
        bare_place.wait_until(0)  # that of a server which could not be executed is gone as well
