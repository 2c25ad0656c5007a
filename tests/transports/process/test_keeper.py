"""The process attributes of a server, and the end of all its descendants."""

import ast
import json
import marshal
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from mcpbridged.transports.options import Sandbox, SpawnFailed
from mcpbridged.transports.process import keeper
from mcpbridged.transports.process import spawner as spawner_module
from mcpbridged.transports.process.spawner import Spawner
from mcpbridged.validators.limits import Limits

from ...support.children import CHILDREN, ENV, alive, python, start

pytestmark = pytest.mark.anyio

# Prints the origin of each module that importing the keeper adds.
IMPORTED = """
import sys
before = set(sys.modules)
sys.path.append(sys.argv[1])
import keeper
for name in set(sys.modules) - before - {"keeper"}:
    print(name, sys.modules[name].__spec__.origin)
"""


def test_the_fork_server_imports_modules_in_c_only():
    folder = os.fspath(Path(keeper.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORTED, folder], capture_output=True, text=True, check=True
    )
    origins = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert "resource" in origins
    assert {
        name: origin for name, origin in origins.items() if origin != "built-in" and ".so" not in origin
    } == {}


def test_the_private_modules_of_cpython_have_all_names_that_the_keeper_uses():
    modules = {"os": "posix", "signal": "_signal", "socket": "_socket", "_ctypes": "_ctypes"}
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(ast.parse(Path(keeper.__file__).read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    }
    assert {name: getattr(keeper, name).__name__ for name, _ in used} == modules
    assert [(module, name) for module, name in used if not hasattr(getattr(keeper, module), name)] == []


async def lines_of(spawner, *argv, **more):
    """Return the output of a program that exits."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, output = await start(spawner, nursery, *argv, **more)
            await output.over.wait()
    assert output.exits[0].code == 0, output.stderr
    return output.lines


async def test_a_child_has_the_default_signals_and_no_new_privileges():
    """Also if the daemon was started with other signals."""
    names = [signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, *names])
    try:
        spawner = Spawner.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        lines = await lines_of(spawner, "cat", "/proc/self/status")
        [death] = await lines_of(
            spawner,
            *python(
                "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)"
            ),
        )
    finally:
        spawner.close()
    status = dict(line.decode().split(":\t", 1) for line in lines if b":\t" in line)
    assert (status["SigBlk"], status["NoNewPrivs"]) == ("0" * 16, "1")
    assert int(status["SigIgn"], 16) & sum(1 << (name - 1) for name in names) == 0
    assert int(death) == signal.SIGKILL


async def test_a_child_gets_words_variables_and_a_directory_as_bytes(spawner, tmp_path):
    folder = tmp_path / "not UTF-8: \udcff"
    folder.mkdir()
    script = 'printf "%s|%s|%s\\n" "$1" "$WORD" "$(readlink /proc/self/cwd)"'
    [line] = await lines_of(
        spawner,
        *("sh", "-c", script, "sh", "é \udcfe"),
        env={**ENV, "WORD": "\udcfd ü", "\udcfc": "x"},
        cwd=os.fspath(folder),
    )
    assert line == b"\xc3\xa9 \xfe|\xfd \xc3\xbc|" + os.fsencode(folder)


async def test_a_child_gets_a_large_environment_and_many_words(spawner):
    large = {f"V{n}": "x" * 100_000 for n in range(10)}
    words = ["y" * 100] * 3000
    [line] = await lines_of(
        spawner, "sh", "-c", 'echo "$# ${#V9}"', "sh", *words, env={**ENV, **large, "EMPTY": ""}
    )
    assert line == b"3000 100000"


@pytest.mark.parametrize(
    ("argv", "env", "reason"),
    [
        (("true", "x" * 200_000), {}, "Argument list too long"),
        (("true",), {"X": "x" * 200_000}, "Argument list too long"),
        (("true", "a\0b"), {}, "embedded null"),
        (("a\0b",), {}, "embedded null"),
        (("true",), {"X": "a\0b"}, "embedded null"),
        (("true",), {"A=B": "x"}, "illegal environment variable name"),
        (("true", "\ud800"), {}, "surrogates not allowed"),
        (("true",), {"X": "\ud800"}, "surrogates not allowed"),
        (("",), {}, "Permission denied|cannot be empty"),
        (("/proc/self/status",), {}, "Permission denied"),
        (("true/",), {}, "No such file or directory"),
    ],
)  # fmt: skip
async def test_why_a_program_was_not_executed_is_reported(spawner, argv, env, reason):
    before = len(os.listdir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        with pytest.raises(SpawnFailed, match=reason):
            await start(spawner, nursery, *argv, env={**ENV, **env})
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the epoll of the failed start
    assert await lines_of(spawner, "echo", "here") == [b"here"]


@pytest.mark.parametrize(
    "content", [b"", b"(", marshal.dumps((1, 2)), marshal.dumps(7), marshal.dumps(([], {}, None, (), 0, []))]
)
async def test_a_launch_that_cannot_be_read_is_reported(spawner, monkeypatch, content):
    monkeypatch.setattr(spawner_module, "_described", lambda *_: content)
    async with trio.open_nursery() as nursery:
        with pytest.raises(SpawnFailed, match=r"cannot start 'true': [^ ]+ [^ ]+"):
            await start(spawner, nursery, "true")


async def test_a_limit_that_the_system_cannot_set_is_reported(spawner):
    async with trio.open_nursery() as nursery:
        with pytest.raises(SpawnFailed, match="too large"):
            await start(spawner, nursery, "true", rlimits={"cpu": 10**30})


async def test_a_program_is_searched_in_the_path_of_its_own_environment(spawner, tmp_path):
    for name, mode in (("first", 0o644), ("second", 0o755)):
        program = tmp_path / name / "only-here"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\necho "$0"\n')
        program.chmod(mode)
    first, second, file = f"{tmp_path}/first", f"{tmp_path}/second", f"{tmp_path}/second/only-here"

    async def found(path, **more):
        [line] = await lines_of(spawner, "only-here", env={"PATH": path}, **more)
        return line.decode()

    async def refused(path):
        async with trio.open_nursery() as nursery:
            with pytest.raises(SpawnFailed) as raised:
                await start(spawner, nursery, "only-here", env={"PATH": path})
        return str(raised.value).partition(": ")[2]

    assert await found(f"{first}:/no/such:{file}:{second}/") == file
    assert await found(f"/no/such:{second}") == file
    assert await found("", cwd=second) == "only-here"
    assert await found("second", cwd=os.fspath(tmp_path)) == "second/only-here"
    assert await refused(f"/no/such:{first}:/no/such") == "Permission denied"
    assert await refused(f"/no/such:{file}") == "Not a directory"
    assert await refused("/no/such") == "No such file or directory"
    assert await lines_of(spawner, "echo", "without a path", env={}) == [b"without a path"]


async def test_the_limits_and_the_umask_of_a_child(spawner):
    hard_core = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.prlimit(spawner._process.pid, resource.RLIMIT_CORE, (hard_core, hard_core))

    async def limits(**rlimits):
        return await lines_of(
            spawner, "sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c; umask", rlimits=rlimits, umask=0o027
        )

    assert await limits(nofile=64, fsize=10**9) == [b"64", b"64", b"0", b"0027"]
    [_, hard, *_] = await limits()
    assert (await limits(nofile=2**62))[1] == hard


async def test_a_directory_for_temporary_files_is_removed_after_its_child(spawner, tmp_path):
    base = tmp_path / "a folder \udcff"
    base.mkdir()
    temporary = {"env": {**ENV, "TMPDIR": os.fspath(base)}, "private_tmp": True}
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            script = 'touch "$TMPDIR/file"; stat -c "%a %n" "$TMPDIR"; read -r _'
            child, output = await start(spawner, nursery, "sh", "-c", script, **temporary)
            await output.until(1)
            [folder] = base.iterdir()
            assert output.lines == [b"700 " + os.fsencode(folder)]
            child.stop()
        while list(base.iterdir()):
            await trio.sleep(0.01)
        with pytest.raises(SpawnFailed, match="no-such-program"):
            await start(spawner, nursery, "no-such-program", **temporary)
        while list(base.iterdir()):
            await trio.sleep(0.01)


@pytest.mark.parametrize("base", [{}, {"TMPDIR": ""}, {"TMPDIR": "/tmp//"}])
async def test_the_directory_for_temporary_files_is_in_the_usual_one_without_another(spawner, base):
    [folder] = await lines_of(
        spawner,
        "sh",
        "-c",
        'cd "$TMPDIR" && echo "$TMPDIR"',
        env={"PATH": ENV["PATH"], **base},
        private_tmp=True,
    )
    assert re.fullmatch(rb"/tmp/mcp-bridge-[0-9a-f]{24}", folder)


@pytest.mark.parametrize(
    ("base", "reason"), [("/no/such", "No such file or directory"), ("a\0b", "mkdir: embedded null"), ("/" + "x" * 9000, "File name too long")]
)  # fmt: skip
async def test_a_directory_for_temporary_files_that_cannot_be_made_is_reported(spawner, base, reason):
    async with trio.open_nursery() as nursery:
        with pytest.raises(SpawnFailed, match=f"a directory for TMPDIR: {reason}"):
            await start(spawner, nursery, "true", env={**ENV, "TMPDIR": base}, private_tmp=True)


async def test_no_process_keeps_the_launch_or_a_pipe_of_a_child(spawner):
    """The launch has secrets. A copy of a pipe would hide its end."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            children = [(await start(spawner, nursery))[0] for _ in range(3)]
            pids = [spawner._process.pid, *spawner._keepers]
            held = {pid: [os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()] for pid in pids}
            for child in children:
                child.kill()
    assert len(held) == 4
    assert [file for files in held.values() for file in files if "memfd" in file] == []
    # The standard descriptors, the control socket, and both ends of the pipe for signals.
    assert {len(files) for files in held.values()} == {6}
    assert {sum("pipe:" in file for file in files[2:]) for files in held.values()} <= {2, 3}


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_internal_error_of_a_keeper_is_written_and_ends_this_keeper_only(form):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", keeper.__file__, str(theirs.fileno()), "", form],
        pass_fds=(theirs.fileno(),),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        theirs.close()
        for _ in range(2):
            control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with control:
                # The fifth descriptor is missing.
                socket.send_fds(ours, [b"spawn "], [0, 0, 0, its.fileno()])
                its.close()
                control.settimeout(10)
                assert control.recv(64) == b""
        assert process.poll() is None
        ours.close()
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    if form == "json":
        events = [json.loads(line) for line in errors.splitlines()]
        assert [(event["event"], "TypeError" in event["fault"]) for event in events] == [
            ("internal_error", True)
        ] * 2
        assert len({event["pid"] for event in events} | {process.pid}) == 3
    else:
        assert errors.count("Traceback") == errors.count("TypeError") == 2


def test_cgroups_that_are_nested_deeper_than_functions_are_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for depth in range(1500):
        os.mkdir("cgroup" + "/a" * depth)
    os.mkdir("cgroup/b")
    keeper._remove_cgroup("cgroup", 0)
    assert not os.path.exists("cgroup")
    keeper._remove_cgroup("cgroup", 0)


def test_the_own_process_group_is_not_killed():
    with subprocess.Popen(["sleep", "1000"]) as one:
        keeper.kill([one.pid, 1 << 30])
        assert one.wait(10) == -signal.SIGKILL
        keeper.kill([one.pid])


async def test_a_child_sees_three_descriptors_and_its_own_environment_only(spawner, tmp_path):
    code = (
        "import os, json; print(json.dumps([sorted(int(fd) for fd in os.listdir('/proc/self/fd') if int(fd) < 100),"
        " dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid()]))"
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            _, output = await start(spawner, nursery, *python(code), cwd=os.fspath(tmp_path))
            await output.over.wait()
    descriptors, environment, cwd, leads = json.loads(output.lines[0])
    assert descriptors == [0, 1, 2, 3]  # the fourth is the listing's own
    environment.pop("LC_CTYPE", None)  # Python's own doing (PEP 538)
    assert environment == ENV
    assert cwd == os.fspath(tmp_path)
    assert leads


async def test_a_child_that_ignores_sigterm_and_its_daemonised_grandchild_are_killed(spawner):
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            stubborn = os.fspath(CHILDREN / "stubborn.py")
            child, output = await start(
                spawner, nursery, sys.executable, stubborn, limits=Limits(stop_seconds=0.3)
            )
            await output.until(1)
            grandchild = int(output.lines[0])
            assert alive(child.pid)
            assert alive(grandchild)
            child.stop()
            child.stop()
    assert not alive(child.pid)
    assert not alive(grandchild)


async def test_a_grandchild_does_not_outlive_the_exit_of_its_parent(spawner):
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, sys.executable, os.fspath(CHILDREN / "stubborn.py"))
            await output.until(1)
            os.kill(child.pid, signal.SIGKILL)
    assert not alive(int(output.lines[0]))
    assert output.exits[0].signal == signal.SIGKILL


async def test_cancelling_ends_everything(spawner):
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            child, output = await start(spawner, nursery, sys.executable, os.fspath(CHILDREN / "stubborn.py"))
            await output.until(1)
            nursery.cancel_scope.cancel()
        for pid in (child.pid, int(output.lines[0])):
            while alive(pid):
                await trio.sleep(0.01)


@pytest.mark.parametrize("victim", ["host", "fork server"])
def test_no_process_outlives_a_killed_daemon(victim):
    host = subprocess.Popen(
        [sys.executable, os.fspath(CHILDREN / "host.py")], stdout=subprocess.PIPE, text=True
    )
    child, grandchild = map(int, host.stdout.readline().split())
    try:
        if victim == "fork server":
            [server] = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
            os.kill(int(server), signal.SIGKILL)
            time.sleep(0.3)
            assert alive(child)  # it has a keeper of its own
        host.kill()
        end = time.monotonic() + 1
        while time.monotonic() < end and (alive(child) or alive(grandchild)):
            time.sleep(0.01)
        assert not alive(child)
        assert not alive(grandchild)
    finally:
        host.kill()
        host.wait()
        host.stdout.close()


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
async def test_a_server_below_bwrap_gets_the_signal_to_terminate_and_not_bwrap(spawner):
    """Bwrap would kill the server at once, because it exits itself."""
    sandbox = Sandbox("bwrap", ("/usr", "/bin", "/lib", "/lib64"), bwrap=shutil.which("bwrap"))
    script = "trap 'echo terminated; exit 7' TERM; echo ready; while :; do read -r _ || sleep 0.1; done"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            child, output = await start(
                spawner, nursery, "bash", "-c", script, sandbox=sandbox, limits=Limits(stop_seconds=2)
            )
            await output.until(1)
            child.set_line_handler(output.line)
            child._command_keeper(b"term")
            await output.over.wait()
    assert output.lines == [b"ready", b"terminated"]
    assert output.exits[0].code == 7


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
async def test_a_daemonised_descendant_below_bwrap_ends_with_its_keeper(spawner):
    sandbox = Sandbox("bwrap", ("/usr", "/bin", "/lib", "/lib64"), bwrap=shutil.which("bwrap"))
    mark = f"{600 + os.getpid() % 100}.{os.getpid()}"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            script = f"setsid sleep {mark} >/dev/null 2>&1 & sleep 0.1; echo ready; read -r _"
            child, output = await start(spawner, nursery, "bash", "-c", script, sandbox=sandbox)
            await output.until(1)
            assert sleeping(mark)
            child.kill()
        while sleeping(mark):
            await trio.sleep(0.01)


def sleeping(mark):
    found = subprocess.run(["pgrep", "-f", f"^sleep {mark}"], capture_output=True, check=False)
    return found.stdout.split()
