"""The rules by which a process confines itself. The hostile tests (tests/hostile/test_sandbox.py) try to break them."""

import errno
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from mcpbridged.transports.options import Sandbox, SpawnFailed
from mcpbridged.transports.process import confinement
from mcpbridged.transports.process.confinement import (
    MOST_ENTRIES,
    Unsupported,
    bwrap_command,
    check_abi,
    check_filter,
    is_below,
    socket_filter,
)
from mcpbridged.transports.process.spawner import Spawner

from ...support.children import ENV, start

pytestmark = pytest.mark.anyio

X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
UNIX, INET, INET6, NETLINK, PACKET = 1, 2, 10, 16, 17
STREAM, DATAGRAM, SEQPACKET, CLOEXEC = 1, 2, 5, 0o2000000
ALLOWED = 0
has_landlock = pytest.mark.skipif(
    confinement.landlock_abi() < confinement.FILES_ABI, reason="the kernel has no Landlock of version 3"
)
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache")


def run(program, number, *arguments, architecture=X86_64):
    """Interpret a filter. Return the number of the error, 0 if the system call is allowed."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *(*arguments, *[0] * 6)[:6])
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    while True:
        code, jt, jf, k = instructions[at]
        at += 1
        match code:
            case 0x20:
                [value] = struct.unpack_from("=I", data, k)
            case 0x54:
                value &= k
            case 0x15:
                at += jt if value == k else jf
            case 0x35:
                at += jt if value >= k else jf
            case 0x06:
                return ALLOWED if k == 0x7FFF0000 else k & 0xFFFF
            case _:
                raise AssertionError(code)


def filter_of(machine="x86_64", **changed):
    return socket_filter(
        machine, **{"unix": True, "internet": True, "tcp_only": False, "keyrings": True, **changed}
    )


def test_there_is_no_filter_where_nothing_is_refused():
    assert filter_of() == b""


@pytest.mark.parametrize(
    ("machine", "architecture", "socket"),
    [
        ("x86_64", X86_64, 41),
        ("aarch64", AARCH64, 198),
        ("riscv64", 0xC00000F3, 198),
        ("loongarch64", 0xC0000102, 198),
    ],
)
def test_without_a_network_only_unix_and_route_sockets_are_permitted(machine, architecture, socket):
    program = filter_of(machine, internet=False)

    def family(*arguments):
        return run(program, socket, *arguments, architecture=architecture)

    assert [family(one, STREAM) for one in (UNIX, INET, INET6, PACKET, 40)] == [0, 13, 13, 13, 13]
    assert (family(NETLINK, 3, 0), family(NETLINK, 3, 9)) == (0, 13)
    assert run(program, 425, architecture=architecture) == errno.ENOSYS
    assert run(program, 0, architecture=architecture) == ALLOWED


def test_system_calls_of_other_abis_are_refused():
    program = filter_of(internet=False)
    assert run(program, 102, architecture=I386) == errno.ENOSYS
    assert run(program, 0x40000000 + 41, INET, STREAM) == errno.ENOSYS


def test_the_upper_half_of_an_argument_hides_no_family():
    assert run(filter_of(internet=False), 41, 1 << 32 | INET, STREAM) == errno.EACCES


def test_without_unix_sockets_only_connected_pairs_are_permitted():
    program = filter_of(unix=False)
    assert (run(program, 41, UNIX, STREAM), run(program, 41, INET, DATAGRAM)) == (13, 0)
    types = (STREAM | CLOEXEC, SEQPACKET, DATAGRAM, DATAGRAM | CLOEXEC)
    assert [run(program, 53, UNIX, kind) for kind in types] == [0, 0, 13, 13]
    assert run(filter_of(internet=False), 53, UNIX, DATAGRAM) == ALLOWED


def test_with_ports_only_tcp_is_permitted():
    program = filter_of(tcp_only=True)
    for family in (INET, INET6):
        assert [run(program, 41, family, STREAM | CLOEXEC, protocol) for protocol in (0, 6)] == [0, 0]
        # MPTCP and SCTP.
        assert [run(program, 41, family, STREAM, protocol) for protocol in (262, 132)] == [13, 13]
        assert [run(program, 41, family, kind) for kind in (DATAGRAM, 3, SEQPACKET)] == [13, 13, 13]


def test_the_keyrings_are_refused():
    program = filter_of(keyrings=False)
    assert [run(program, number) for number in (247, 248, 249, 250, 251)] == [0, 1, 1, 1, 0]
    assert run(program, 41, INET, DATAGRAM) == ALLOWED


def test_another_machine_is_refused_by_its_name():
    with pytest.raises(Unsupported, match="not for s390x"):
        check_filter("s390x")
    with pytest.raises(Unsupported, match="not for s390x"):
        filter_of("s390x", internet=False)


@pytest.mark.parametrize(
    ("abi", "needs", "reason"),
    [
        (0, {"files": True, "ports": False}, "needs Linux 6.2 or newer: this kernel has no Landlock"),
        (2, {"files": True, "ports": False}, "has version 2 of Landlock, not 3"),
        (3, {"files": True, "ports": True}, "connect needs Linux 6.7 or newer"),
        (0, {"files": False, "ports": True}, "connect needs"),
    ],
)
def test_an_older_kernel_is_refused(abi, needs, reason):
    with pytest.raises(Unsupported, match=reason):
        check_abi(abi, **needs)
    check_abi(4, **needs)
    check_abi(0, files=False, ports=False)


class FakeKernel:
    """A kernel with a version of Landlock that records what it is asked for."""

    def __init__(self, abi):
        self.abi, self.attributes, self.rules = abi, None, []

    def syscall(self, number, *arguments):
        match number:
            case 444 if arguments[0] is None:
                return self.abi
            case 444:
                self.attributes = arguments[0]
                return os.open("/dev/null", os.O_RDONLY)
            case 445:
                self.rules.append((arguments[1].value, arguments[2]))
        return 0


@pytest.mark.parametrize(
    ("abi", "handled"), [(3, [0x7FFF]), (4, [0x7FFF, 3]), (5, [0xFFFF, 3]), (6, [0xFFFF, 3, 3])]
)
def test_a_kernel_is_asked_for_what_its_version_has(monkeypatch, abi, handled):
    kernel = FakeKernel(abi)
    monkeypatch.setattr(confinement, "_LIBC", kernel)
    confinement.restrict([(confinement.READ, [b"/usr"], False)], [], [443] if abi > 3 else None)
    assert [*struct.unpack(f"={len(kernel.attributes) // 8}Q", kernel.attributes)] == handled
    assert [kind for kind, _ in kernel.rules] == [1] + [2] * (abi > 3)
    assert abi == 3 or struct.unpack("=QQ", kernel.rules[1][1]) == (2, 443)


def test_nothing_is_asked_of_a_kernel_without_landlock_for_the_level_bwrap(monkeypatch):
    kernel = FakeKernel(0)
    monkeypatch.setattr(confinement, "_LIBC", kernel)
    confinement.restrict(None, [], None)
    assert kernel.attributes is None


def test_a_rule_for_a_file_has_rights_of_files_only(monkeypatch, tmp_path):
    kernel = FakeKernel(6)
    monkeypatch.setattr(confinement, "_LIBC", kernel)
    (tmp_path / "file").touch()
    paths = [os.fsencode(tmp_path), os.fsencode(tmp_path / "file")]
    confinement.restrict([(confinement.WRITE, paths, False)], [], None)
    rights = [struct.unpack("=Qi", rule)[0] for _, rule in kernel.rules]
    assert rights == [0x7FFF & ~(1 << 6 | 1 << 11), 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14]


def test_a_directory_with_too_many_entries_beside_a_hidden_one_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(confinement, "MOST_ENTRIES", 3)
    monkeypatch.setattr(confinement, "_LIBC", FakeKernel(6))
    for number in range(5):
        (tmp_path / str(number)).touch()
    with pytest.raises(ValueError, match="more than 3 entries beside them"):
        confinement.restrict(
            [(confinement.READ, [os.fsencode(tmp_path)], False)], [os.fsencode(tmp_path / "0")], None
        )
    assert MOST_ENTRIES == 4096


@pytest.mark.parametrize(
    ("path", "directory", "expected"),
    [
        (b"/a", b"/a", True),
        (b"/a/b", b"/a", True),
        (b"/ab", b"/a", False),
        (b"/a", b"/", True),
        (b"/a", b"/a/b", False),
    ],
)
def test_a_path_is_below_a_directory_by_whole_names(path, directory, expected):
    assert is_below(path, directory) is expected


def command(entries, hidden=(), network=True):
    words = bwrap_command(
        b"bwrap", entries, [*hidden], [b"server", b"x"], b"/home/nobody-here", network=network, scratch=b"/s"
    )
    return b" ".join(words).decode()


def test_bwrap_gets_the_mounts_from_the_root_downwards(tmp_path):
    (tmp_path / "inner").mkdir()
    outer, inner = os.fsencode(tmp_path), os.fsencode(tmp_path / "inner")
    found = command([(inner, True, False), (outer, False, False), (b"/usr", False, True)])
    assert found.index(f"--ro-bind {tmp_path} {tmp_path}") < found.index(f"--bind {inner.decode()}")
    assert found.index("--dev /dev") < found.index(f"--ro-bind {tmp_path}")
    assert found.endswith(f"--remount-ro / --chdir {os.getcwd()} -- server x")
    assert "--unshare-net" not in found
    assert "--unshare-net" in command([], network=False)
    assert {"--die-with-parent", "--unshare-pid", "--unshare-user"} <= set(found.split())


def test_bwrap_gets_the_entries_of_a_directory_with_hidden_paths(tmp_path):
    for name in ("secret", "state", "open", "deep/secret", "deep/open"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "token").touch()
    (tmp_path / "link").symlink_to("open")
    hidden = [os.fsencode(tmp_path / name) for name in ("secret", "state", "token", "missing", "deep/secret")]
    found = command([(os.fsencode(tmp_path), True, False), (hidden[1], False, False)], hidden)
    for name in ("open", "deep/open"):
        assert f"--bind {tmp_path}/{name} {tmp_path}/{name}" in found
    assert f"--symlink open {tmp_path}/link" in found
    assert f"--dir {tmp_path} " in found
    assert f"--dir {tmp_path}/deep " in found
    for name in ("secret", "token", "missing"):
        assert f"/{name}" not in found
    # What is named exactly is not hidden.
    assert f"--ro-bind {tmp_path}/state {tmp_path}/state" in found
    (tmp_path / "way").symlink_to(tmp_path)
    through = command([(os.fsencode(tmp_path / "way"), False, False)], hidden)
    assert f"--ro-bind {tmp_path}/way/open {tmp_path}/way/open" in through
    assert "/secret" not in through


def test_the_root_directory_with_hidden_paths_keeps_its_own_proc_dev_and_tmp():
    found = command([(b"/", False, False)], [b"/root/x"])
    for mount in ("--proc /proc", "--dev /dev", "--bind /s /tmp", "--dir / ", "--dir /root "):
        assert mount in found
    assert "--ro-bind / /" not in found


def test_bwrap_refuses_a_directory_with_too_many_entries(monkeypatch, tmp_path):
    monkeypatch.setattr(confinement, "MOST_ENTRIES", 3)
    for number in range(5):
        (tmp_path / str(number)).touch()
    with pytest.raises(ValueError, match="more than 3 entries beside them"):
        command([(os.fsencode(tmp_path), False, False)], [os.fsencode(tmp_path / "0")])


def test_bwrap_mounts_a_path_once(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "link").symlink_to("inner")
    outer, inner, link = (os.fsencode(tmp_path / name) for name in (".", "inner", "link"))
    outer = os.path.normpath(outer)
    # The base needs no mount in a directory of the configuration.
    assert "inner" not in command([(inner, False, True), (outer, False, False)])
    assert "inner" not in command([(inner, False, True), (outer, True, False)])
    # What is named differently is mounted where its links lead.
    assert f"--bind {tmp_path}/inner {tmp_path}/inner" in command(
        [(link, True, False), (outer, False, False)]
    )
    assert f"--ro-bind {tmp_path}/inner" in command([(inner, False, False), (outer, True, False)])
    # A file could not be made below a directory that is read only.
    assert f"--dir {os.getcwd()}" not in command([(b"/", False, False)])


def test_bwrap_leaves_out_missing_paths_of_the_base_only():
    assert "/no/such" not in command(
        [(b"/no/such", False, True), (b"/proc", False, True), (b"/dev/null", True, True)]
    )
    assert "--ro-bind /proc" not in command([(b"/proc", False, True)])
    with pytest.raises(ValueError, match="/no/such: No such file"):
        command([(b"/no/such", False, False)])


def test_the_root_directory_is_mounted_first_and_stays_writable_if_it_is():
    assert "--bind / / " in command([(b"/", True, False)])
    assert "--remount-ro / --chdir" not in command([(b"/", True, False)])
    assert "--remount-ro / --chdir" in command([(b"/", False, False)])
    found = command([(b"/", False, False)])
    assert found.index("--ro-bind / /") < found.index("--proc /proc")


@pytest.fixture
def spawner():
    found = Spawner.start()
    yield found
    found.close()


async def output_of(spawner, *argv, **more):
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, *argv, **more)
            await output.over.wait()
            child.stop()
    return output.lines, [line.decode() for line in output.stderr]


@has_landlock
async def test_a_server_is_confined_by_the_keeper(spawner, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").write_text("out")
    (tmp_path / "in/file").write_text("in")
    sandbox = Sandbox("landlock", SYSTEM, ("/dev/null",), (str(tmp_path / "in"),))
    script = f'cat {tmp_path}/in/file; echo; cat {tmp_path}/out; echo x >"$TMPDIR/y" && cat "$TMPDIR/y"'
    lines, errors = await output_of(spawner, "sh", "-c", script, sandbox=sandbox)
    assert lines == [b"in", b"x"]
    assert "Permission denied" in errors[0]


@has_landlock
async def test_a_path_that_is_gone_fails_the_start_with_its_name(spawner, tmp_path):
    async with trio.open_nursery() as nursery:
        with pytest.raises(SpawnFailed, match=rf"sandbox: {tmp_path}/gone: No such file"):
            sandbox = Sandbox("landlock", SYSTEM, read=(f"{tmp_path}/gone",))
            await start(spawner, nursery, "true", env=ENV, sandbox=sandbox)
        with pytest.raises(SpawnFailed, match="'true': Permission denied"):
            await start(spawner, nursery, "true", env=ENV, sandbox=Sandbox("landlock"))


def test_a_capability_is_dropped_for_good():
    code = (
        f"import sys; sys.path.insert(0, {os.fspath(Path(confinement.__file__).parent)!r}); import confinement as c, os; "
        "c._LIBC.prctl(38, 1, 0, 0, 0); c.drop_capabilities(); os.execvp('grep', ['grep', 'CapEff', '/proc/self/status'])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[1], 16) == 0


def test_a_process_without_capabilities_makes_no_call_that_a_filter_may_refuse():
    code = (
        f"import sys; sys.path.insert(0, {os.fspath(Path(confinement.__file__).parent)!r}); import confinement as c; "
        "c.drop_capabilities(); c._LIBC.capset = lambda *_: -1; c.drop_capabilities()"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
