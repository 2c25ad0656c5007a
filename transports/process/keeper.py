"""The fork server: a small process that starts servers, and whose keepers terminate them after any other process has exited.

Run by the daemon as `python -I -S keeper.py FD [CGROUP [FORMAT]]`; uses the standard library only. With FORMAT `json` an
internal error is written to stderr as JSON, as all log lines of the daemon. For each server the fork server forks a *keeper*,
a subreaper (prctl(2)) that forks and executes the server. A descendant that has daemonised itself (setsid, double fork)
becomes a child of the keeper. When the daemon's end of the keeper's control socket closes, for any reason including SIGKILL,
the keeper kills all its descendants. It needs no privileges and no cgroup.

With CGROUP, a delegated cgroup (cgroup.py), each server runs in a cgroup of its own below it, server-PID-RANDOM, from before
its exec until the keeper ends. The cgroup shows which processes belong to a server, and can kill them all at once. A server
that cannot be moved there is started anyway.

A server has the same uid, so it can signal its keeper and the fork server. Each is watched by its parent. The fork server
continues a stopped keeper. As a subreaper it adopts and kills the descendants of a killed keeper. The daemon does the same
for the fork server (spawner.py). When a parent exits, the kernel continues its children (PR_SET_PDEATHSIG with SIGCONT); they
read the end of their socket, and kill their descendants.

Protocol, one packet for each message. Daemon to fork server: `spawn` with five descriptors: stdin, stdout, stderr of the
server, the keeper's control socket, a file with the launch as JSON. Keeper to daemon: `keeping PID` (its own), then
`spawned PID` or `failed ERRNO TEXT`, later `exited CODE` or `signalled NUMBER`. Daemon to keeper: `term` (SIGTERM to the
process group of the server), `kill`.
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    import typing

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
# Time for a keeper to kill its descendants (seconds). Only a process that is stuck in the kernel takes so long.
_KILL_SECONDS = 10.0
# Time for a cgroup to become empty after that (seconds).
_EMPTY_SECONDS = 1.0
_CGROUP_PREFIX = "server-"
# A keeper that was stopped more often than this is killed, with all its descendants.
_STOPS = 64
# Time for which the fork server waits for its keepers after the daemon has exited (seconds).
_KEEPERS_SECONDS = 15.0
# Time between two checks while processes are being killed (milliseconds): at first, and after `_CHECKS` checks.
_CHECK = 1
_LATER_CHECK = 100
_CHECKS = 10_000

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def main() -> None:
    """Serve spawn requests until the daemon has exited, then end the remaining keepers."""
    if sys.argv[3:4] == ["json"]:
        sys.excepthook = _report
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    cgroup = "".join(sys.argv[2:3])
    if cgroup:
        _remove_leftovers(cgroup)
    daemon = os.getppid()
    adopt_orphans()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A signal to the process group must not end it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wake = _wakeups()
    gc.collect()
    # Keepers share these pages.
    gc.freeze()
    gc.disable()
    family = _Children(cgroup)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake[0], select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll(family.check())]
        _drain(wake[0])
        if control.fileno() not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(control, 64, 5)
        if not data:
            break
        # Pids are reused, even while the cgroup of an earlier server exists.
        unique = os.urandom(4).hex()
        pid = _fork(descriptors[3])
        if pid == 0:
            for descriptor in (control.detach(), *wake):
                os.close(descriptor)
            _keep(cgroup, unique, *descriptors)
            os._exit(0)
        if pid > 0:
            family.keepers[pid] = unique
        for descriptor in descriptors:
            os.close(descriptor)
    poll.unregister(control)
    control.close()
    _end(family, poll, wake[0], daemon)


def _report(kind: "type[BaseException]", fault: BaseException, trace: "types.TracebackType | None") -> None:
    """Write an uncaught exception as a log event of the daemon (log.py)."""
    import traceback  # noqa: PLC0415 - for errors only, because keepers inherit all imports

    at = time.time()
    event = {
        "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z",
        "level": "error",
        "event": "internal_error",
        "pid": os.getpid(),
        "fault": "".join(traceback.format_exception(kind, fault, trace)),
    }
    sys.stderr.write(json.dumps(event) + "\n")


def _end(family: "_Children", poll: "select.poll", wake: int, daemon: int) -> None:
    """Wait until all keepers have exited, which they do when their sockets are closed, and no process is left."""
    for pid in family.keepers:
        os.kill(pid, signal.SIGCONT)
    end = time.monotonic() + _KEEPERS_SECONDS
    while (timeout := family.check()) is not None or family.keepers:
        # The daemon has closed the socket and still runs.
        if os.getppid() == daemon:
            end = time.monotonic() + _KEEPERS_SECONDS
        elif time.monotonic() > end:
            kill(list(family.keepers))
        poll.poll(_LATER_CHECK if timeout is None else timeout)
        _drain(wake)


def _fork(control: int) -> int:
    """Fork. Sends the reason of a failure to the daemon, and returns -1."""
    try:
        return os.fork()
    # The limit of processes was reached.
    except OSError as fault:
        with socket.socket(fileno=os.dup(control)) as report:
            _send(report, b"failed %d %b" % (fault.errno or 0, str(fault.strerror).encode()))
        return -1


class _Children:
    """The children of the fork server: its keepers, and the descendants of killed keepers."""

    def __init__(self, cgroup: str) -> None:
        # Key: pid of a keeper. Value: the end of the name of its server's cgroup. Removed when the keeper is reaped.
        self.keepers: dict[int, str] = {}
        self._cgroup = cgroup
        # Key: pid of a keeper. Value: how often it was stopped. Removed when the keeper is reaped.
        self._stops: dict[int, int] = {}
        # Cgroups of killed keepers, until they are removed.
        self._left: list[str] = []
        self._checks = 0

    def check(self) -> "int | None":
        """Reap, continue and kill. Returns the milliseconds until the next call, None to wait for a signal."""
        self._reap()
        adopted = [pid for pid in children() if pid not in self.keepers]
        kill(adopted)
        for path in self._left:
            _kill_cgroup(path)
            _remove_cgroup(path, 0)
        self._left = [path for path in self._left if os.path.exists(path)]
        if not (adopted or self._left):
            self._checks = 0
            return None
        self._checks += 1
        return _CHECK if self._checks < _CHECKS else _LATER_CHECK

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid not in self.keepers:
                continue
            if os.WIFSTOPPED(status):
                self._continue(pid)
                continue
            unique = self.keepers.pop(pid)
            self._stops.pop(pid, None)
            if status and self._cgroup:
                self._left += _cgroups_of(self._cgroup, unique)

    def _continue(self, pid: int) -> None:
        self._stops[pid] = self._stops.get(pid, 0) + 1
        os.kill(pid, signal.SIGCONT if self._stops[pid] <= _STOPS else signal.SIGKILL)


def adopt_orphans() -> None:
    """Adopt all descendants whose parents have exited (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill(pids: "list[int]") -> None:
    """Kill these children and their process groups, because a group cannot fork while it is being signalled."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            group = os.getpgid(pid)
            if group != os.getpgrp():
                os.killpg(group, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _wakeups() -> "tuple[int, int]":
    """Return a pipe that becomes readable at each SIGCHLD."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.signal(signal.SIGCHLD, _wake)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read, write


def _drain(wake: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(wake, 4096)


def _keep(
    parent: str, unique: str, stdin: int, stdout: int, stderr: int, control_fd: int, launch_fd: int
) -> None:
    control = socket.socket(fileno=control_fd)
    adopt_orphans()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)
    _send(control, b"keeping %d" % os.getpid())
    with open(launch_fd, "rb") as file:
        launch = json.loads(file.read())
    wake, _ = _wakeups()
    failed_read, failed_write = os.pipe()
    try:
        scratch = _make_scratch(launch)
    except OSError as fault:
        _send(
            control,
            b"failed %d a directory for TMPDIR: %b" % (fault.errno or 0, str(fault.strerror).encode()),
        )
        return
    pid = _fork(control_fd)
    if pid < 0:
        _remove(scratch)
        return
    cgroup = os.path.join(parent, f"{_CGROUP_PREFIX}{pid or os.getpid()}-{unique}") if parent else ""
    if pid == 0:
        _become(launch, (stdin, stdout, stderr), failed_write, cgroup)
    for descriptor in (stdin, stdout, stderr, failed_write):
        os.close(descriptor)
    failure = os.read(failed_read, 4096)
    os.close(failed_read)
    if failure:
        _send(control, b"failed " + failure)
        os.waitpid(pid, 0)
    else:
        _send(control, b"spawned %d" % pid)
        _watch(control, pid, wake, cgroup)
    _remove(scratch)
    if cgroup:
        _remove_cgroup(cgroup, _EMPTY_SECONDS)


def _make_scratch(launch: "dict[str, typing.Any]") -> str:
    """Make a directory for temporary files, set it as TMPDIR, and return it; an empty text without `private_tmp`."""
    if not launch["private_tmp"]:
        return ""
    base = launch["env"].get("TMPDIR", "/tmp")  # noqa: S108 - a directory with a random name
    scratch = os.path.join(base, "mcp-bridge-" + os.urandom(12).hex())
    os.mkdir(scratch, 0o700)
    launch["env"]["TMPDIR"] = scratch
    return scratch


def _remove(scratch: str) -> None:
    if scratch:
        import shutil  # noqa: PLC0415 - only where it is needed, because there is a keeper for every server

        shutil.rmtree(scratch, ignore_errors=True)


def _enter(cgroup: str) -> None:
    """Make the cgroup and enter it, if possible."""
    with contextlib.suppress(OSError):
        os.mkdir(cgroup)
        _write(os.path.join(cgroup, "cgroup.procs"), b"0")


def _kill_cgroup(cgroup: str) -> None:
    # Fails before Linux 5.14, and where the server could not be moved there.
    with contextlib.suppress(OSError):
        _write(os.path.join(cgroup, "cgroup.kill"), b"1")


def _cgroups_of(parent: str, unique: str) -> "list[str]":
    """Return the cgroup with this end of its name, if it exists."""
    try:
        return [os.path.join(parent, name) for name in os.listdir(parent) if name.endswith(f"-{unique}")]
    except OSError:
        return []


def _remove_cgroup(cgroup: str, timeout: float) -> None:
    """Remove a cgroup with all below it, waiting `timeout` (seconds) for its last processes to exit."""
    end = time.monotonic() + timeout
    while True:
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if not os.path.exists(cgroup) or time.monotonic() >= end:
            return
        time.sleep(0.001)


def _remove_leftovers(parent: str) -> None:
    """Remove empty cgroups that killed keepers have left."""
    with contextlib.suppress(OSError):
        for name in os.listdir(parent):
            if name.startswith(_CGROUP_PREFIX) and _is_empty(os.path.join(parent, name)):
                _remove_cgroup(os.path.join(parent, name), 0)


def _is_empty(cgroup: str) -> bool:
    try:
        with open(os.path.join(cgroup, "cgroup.events"), "rb") as file:
            return b"populated 0\n" in file.read()
    except OSError:
        return False


def _write(path: str, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, data)
    finally:
        os.close(file)


def _wake(_number: int, _frame: object) -> None:
    """Handle the signal, so that the wakeup descriptor is written."""


def _become(
    launch: "dict[str, typing.Any]", standard: "tuple[int, int, int]", failed: int, cgroup: str
) -> None:
    """Execute the server, in the forked process. Never returns."""
    try:
        os.setsid()
        keeper = os.getppid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The keeper exited before PR_SET_PDEATHSIG was set.
        if os.getppid() != keeper:
            os._exit(127)
        if cgroup:
            _enter(cgroup)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for name, value in launch["rlimits"].items():
            number = getattr(resource, "RLIMIT_" + name.upper())
            hard = resource.getrlimit(number)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (most, most))
        os.umask(launch["umask"])
        if launch["cwd"] is not None:
            os.chdir(launch["cwd"])
        # All of these are above 2, because descriptors 0 to 2 are in use.
        for target, source in enumerate(standard):
            os.dup2(source, target)
        if failed != 3:
            os.dup2(failed, 3, inheritable=False)
        os.closerange(4, 1 << 20)
        failed = 3
        os.execvpe(launch["argv"][0], launch["argv"], launch["env"])
    except OSError as fault:
        os.write(failed, b"%d %b" % (fault.errno or 0, os.strerror(fault.errno or 0).encode()))
    except ValueError as fault:
        os.write(failed, b"0 " + str(fault).encode())
    finally:
        os._exit(127)


def _watch(control: socket.socket, pid: int, wake: int, cgroup: str) -> None:
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    alive = True
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if wake in ready:
            _drain(wake)
            alive = not _reap(control, pid) and alive
        if control.fileno() in ready:
            try:
                command = control.recv(16)
            except OSError:
                command = b""
            if command == b"term" and alive:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGTERM)
            elif command in (b"kill", b""):
                _kill_all(control, pid, cgroup)
                return


def _reap(control: socket.socket, pid: int) -> bool:
    """Reap all children. Returns whether the server was among them."""
    found = False
    while True:
        try:
            dead, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if dead == 0:
            return found
        if dead == pid:
            found = True
            if os.WIFSIGNALED(status):
                _send(control, b"signalled %d" % os.WTERMSIG(status))
            else:
                _send(control, b"exited %d" % os.WEXITSTATUS(status))


def _kill_all(control: socket.socket, pid: int, cgroup: str) -> None:
    if cgroup:
        _kill_cgroup(cgroup)
    # Children of killed processes are adopted, so killing all children until none is left ends every descendant.
    end = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < end:
        kill(children())
        _reap(control, pid)
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        time.sleep(0.001)


def children() -> "list[int]":
    """Return the pids of the children of this process, including zombies."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    # A kernel without CONFIG_PROC_CHILDREN.
    except OSError:
        return [
            child for child in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _parent(child) == me
        ]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def _send(control: socket.socket, text: bytes) -> None:
    with contextlib.suppress(OSError):
        control.send(text)


if __name__ == "__main__":
    main()
