"""The fork server: a small process of its own that starts the servers and, alone, outlives whoever dies in between.

Run by the daemon as `python -I -S keeper.py FD [CGROUP [FORM]]`, standard library only. A fault of its own is a line of
JSON on stderr where FORM is `json`, as all that the daemon writes there. For every server it forks a *keeper*, which
forks and executes the server and is the subreaper of all that comes of it: a descendant that has daemonised itself
(setsid, double fork) becomes the keeper's own child. When the daemon's end of the keeper's control socket closes, for
whatever reason including SIGKILL, the keeper ends everything below it. No privileges and no cgroup are needed.

Where CGROUP is given, the directory of a cgroup that is ours (cgroup.py), each server runs in one of its own below it,
server-PID-RANDOM, from before its exec until the keeper ends. It is a second way to end all of them, at one stroke, and
shows what belongs to which server. A server that cannot be put there is started all the same.

A server has the same uid, so it can signal its keeper and the fork server. Each of them is watched by its parent. The fork
server continues a keeper that was stopped. It is a subreaper as well, and kills what it adopts when a keeper was killed. The
daemon does the same for the fork server (spawner.py). When its parent ends, the kernel continues each of them
(PR_SET_PDEATHSIG with SIGCONT); it reads the end of its socket then, and ends what is below it.

Protocol, one packet each. Daemon to fork server: `spawn` with five descriptors: stdin, stdout, stderr of the server, the
keeper's control socket, a file with the launch as JSON. Keeper to daemon: `keeping PID` (its own), then `spawned PID` or
`failed ERRNO TEXT`, later `exited CODE` or `signalled NUMBER`. Daemon to keeper: `term` (SIGTERM to the server's process
group), `kill`.
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
# How long a keeper tries to end what is below it, in seconds; only a process stuck in the kernel takes so long.
_KILL_SECONDS = 10.0
# How long a cgroup may take to become empty after that, in seconds.
_EMPTY_SECONDS = 1.0
_CGROUP_PREFIX = "server-"
# A keeper that was stopped more often than this is killed, with all that is below it.
_STOPS = 64
# How long the fork server waits for its keepers to end after the daemon has ended, in seconds.
_KEEPERS_SECONDS = 15.0
# Time between two looks while something is being ended, in milliseconds: at first, and after so many looks.
_LOOK = 1
_LATER_LOOK = 100
_LOOKS = 10_000

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def main() -> None:
    """Serve spawn requests until the daemon is gone, then end what is left."""
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
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the daemon decides, not who signals the group
    wake = _wakeups()
    gc.collect()
    gc.freeze()  # keepers share these pages with us
    gc.disable()
    family = _Family(cgroup)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake[0], select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll(family.look())]
        _drain(wake[0])
        if control.fileno() not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(control, 64, 5)
        if not data:
            break
        unique = os.urandom(4).hex()  # pids come again, also while the cgroup of another server is left
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
    """Write an exception that was not caught as an event of the daemon's log (log.py)."""
    import traceback  # noqa: PLC0415 - only where something is wrong, since keepers have what we import

    at = time.time()
    event = {
        "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z",
        "level": "error",
        "event": "internal error",
        "pid": os.getpid(),
        "fault": "".join(traceback.format_exception(kind, fault, trace)),
    }
    sys.stderr.write(json.dumps(event) + "\n")


def _end(family: "_Family", poll: "select.poll", wake: int, daemon: int) -> None:
    """Wait until the keepers have ended, as they do when their own sockets are closed, and nothing is left."""
    for pid in family.keepers:
        os.kill(pid, signal.SIGCONT)
    end = time.monotonic() + _KEEPERS_SECONDS
    while (patience := family.look()) is not None or family.keepers:
        if os.getppid() == daemon:  # it has closed our socket only
            end = time.monotonic() + _KEEPERS_SECONDS
        elif time.monotonic() > end:
            kill(list(family.keepers))
        poll.poll(_LATER_LOOK if patience is None else patience)
        _drain(wake)


def _fork(control: int) -> int:
    """Fork, or report to the daemon why that failed, and return -1."""
    try:
        return os.fork()
    except OSError as fault:  # the limit of processes
        with socket.socket(fileno=os.dup(control)) as report:
            _tell(report, b"failed %d %b" % (fault.errno or 0, str(fault.strerror).encode()))
        return -1


class _Family:
    """The children of the fork server: its keepers, and what it has adopted from keepers that were killed."""

    def __init__(self, cgroup: str) -> None:
        # The end of the name of its server's cgroup by the pid of a keeper, until that has been reaped.
        self.keepers: dict[int, str] = {}
        self._cgroup = cgroup
        self._stops: dict[
            int, int
        ] = {}  # how often a keeper was stopped, by its pid, until it has been reaped
        self._left: list[str] = []  # cgroups whose keepers were killed, until they are removed
        self._looks = 0

    def look(self) -> "int | None":
        """Reap, continue and kill; return the milliseconds until the next look, None if a signal will come first."""
        self._reap()
        strangers = [pid for pid in children() if pid not in self.keepers]
        kill(strangers)
        for path in self._left:
            _kill_cgroup(path)
            _remove_cgroup(path, 0)
        self._left = [path for path in self._left if os.path.exists(path)]
        if not (strangers or self._left):
            self._looks = 0
            return None
        self._looks += 1
        return _LOOK if self._looks < _LOOKS else _LATER_LOOK

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
    """Become the parent of all descendants whose parents have ended (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill(pids: "list[int]") -> None:
    """Kill these children and their process groups, since a group cannot fork while it is being signalled."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            group = os.getpgid(pid)
            if group != os.getpgrp():
                os.killpg(group, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _wakeups() -> "tuple[int, int]":
    """Return a pipe that becomes readable with each SIGCHLD."""
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
    _tell(control, b"keeping %d" % os.getpid())
    with open(launch_fd, "rb") as file:
        launch = json.loads(file.read())
    wake, _ = _wakeups()
    failed_read, failed_write = os.pipe()
    try:
        scratch = _make_scratch(launch)
    except OSError as fault:
        _tell(
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
        _tell(control, b"failed " + failure)
        os.waitpid(pid, 0)
    else:
        _tell(control, b"spawned %d" % pid)
        _watch(control, pid, wake, cgroup)
    _remove(scratch)
    if cgroup:
        _remove_cgroup(cgroup, _EMPTY_SECONDS)


def _make_scratch(launch: "dict[str, typing.Any]") -> str:
    """A directory for the server's temporary files, named in its environment, if it is to have one of its own."""
    if not launch["private_tmp"]:
        return ""
    base = launch["env"].get("TMPDIR", "/tmp")  # noqa: S108 - a name that nobody can guess, made as a directory
    scratch = os.path.join(base, "mcp-bridge-" + os.urandom(12).hex())
    os.mkdir(scratch, 0o700)
    launch["env"]["TMPDIR"] = scratch
    return scratch


def _remove(scratch: str) -> None:
    if scratch:
        import shutil  # noqa: PLC0415 - only where it is needed, since there is a keeper for every server

        shutil.rmtree(scratch, ignore_errors=True)


def _enter(cgroup: str) -> None:
    """Make the cgroup and go there, if that can be."""
    with contextlib.suppress(OSError):
        os.mkdir(cgroup)
        _write(os.path.join(cgroup, "cgroup.procs"), b"0")


def _kill_cgroup(cgroup: str) -> None:
    # Not before Linux 5.14, nor where the server could not be put there. Nothing depends on it.
    with contextlib.suppress(OSError):
        _write(os.path.join(cgroup, "cgroup.kill"), b"1")


def _cgroups_of(parent: str, unique: str) -> "list[str]":
    """Return the cgroup of the server whose keeper was given this end of its name, if there is one."""
    try:
        return [os.path.join(parent, name) for name in os.listdir(parent) if name.endswith(f"-{unique}")]
    except OSError:
        return []


def _remove_cgroup(cgroup: str, patience: float) -> None:
    """Remove it with those that the server has made in it, waiting so many seconds for its last processes to be gone."""
    end = time.monotonic() + patience
    while True:
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if not os.path.exists(cgroup) or time.monotonic() >= end:
            return
        time.sleep(0.001)


def _remove_leftovers(parent: str) -> None:
    """Remove what keepers that were killed could not, where no process is in it any more."""
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
    """Be interrupted: the wakeup descriptor tells the rest."""


def _become(
    launch: "dict[str, typing.Any]", standard: "tuple[int, int, int]", failed: int, cgroup: str
) -> None:
    """In the forked process: turn into the server. Never returns."""
    try:
        os.setsid()
        keeper = os.getppid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:  # it died before the kernel knew that we want to follow
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
        # All of these are above 2, where our own standard streams are.
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
    """Take the exits of all that are ours, by birth or adoption; answer whether the server was among them."""
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
                _tell(control, b"signalled %d" % os.WTERMSIG(status))
            else:
                _tell(control, b"exited %d" % os.WEXITSTATUS(status))


def _kill_all(control: socket.socket, pid: int, cgroup: str) -> None:
    if cgroup:
        _kill_cgroup(cgroup)
    # The dead leave their children to us, so killing our children until there is none ends every descendant.
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
    """Return the pids of the children of this process, those that have not been reaped among them."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [
            child for child in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _parent(child) == me
        ]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def _tell(control: socket.socket, text: bytes) -> None:
    with contextlib.suppress(OSError):
        control.send(text)


if __name__ == "__main__":
    main()
