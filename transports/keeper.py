"""The fork server: a small process of its own that starts the servers and, alone, outlives whoever dies in between.

Run by the daemon as `python -I -S keeper.py FD [CGROUP]`, standard library only. For every server it forks a *keeper*, which
forks and executes the server and is the subreaper of all that comes of it: a descendant that has daemonised itself
(setsid, double fork) becomes the keeper's own child. When the daemon's end of the keeper's control socket closes, for
whatever reason including SIGKILL, the keeper ends everything below it. No privileges and no cgroup are needed.

Where CGROUP is given, the directory of a cgroup that is ours (cgroup.py), each server runs in one of its own below it,
server-PID-RANDOM, from before its exec until the keeper ends. It is a second way to end all of them, at one stroke, and
shows what belongs to which server. A server that cannot be put there is started all the same.

Protocol, one packet each. Daemon to fork server: `spawn` with five descriptors: stdin, stdout, stderr of the server, the
keeper's control socket, a file with the launch as JSON. Keeper to daemon: `spawned PID` or `failed ERRNO TEXT`, later
`exited CODE` or `signalled NUMBER`. Daemon to keeper: `term` (SIGTERM to the server's process group), `kill`.
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
    import typing

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
# How long a keeper tries to end what is below it, in seconds; only a process stuck in the kernel takes so long.
_KILL_SECONDS = 10.0
# How long a cgroup may take to become empty after that, in seconds.
_EMPTY_SECONDS = 1.0
_CGROUP_PREFIX = "server-"

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def main() -> None:
    """Serve spawn requests until the daemon is gone."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    cgroup = "".join(sys.argv[2:3])
    if cgroup:
        _remove_leftovers(cgroup)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the daemon decides, not who signals the group
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers report by their sockets; the kernel may reap them
    gc.collect()
    gc.freeze()  # keepers share these pages with us
    gc.disable()
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 64, 5)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            _keep(cgroup, *descriptors)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(parent: str, stdin: int, stdout: int, stderr: int, control_fd: int, launch_fd: int) -> None:
    control = socket.socket(fileno=control_fd)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with open(launch_fd, "rb") as file:
        launch = json.loads(file.read())
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, _wake)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    failed_read, failed_write = os.pipe()
    try:
        scratch = _make_scratch(launch)
    except OSError as fault:
        _tell(
            control,
            b"failed %d a directory for TMPDIR: %b" % (fault.errno or 0, str(fault.strerror).encode()),
        )
        return
    unique = os.urandom(4).hex()  # pids come again, also while the cgroup of another server is left
    pid = os.fork()
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
        _watch(control, pid, wake_read, cgroup)
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
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
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
        # Not before Linux 5.14, nor where the server could not be put there. What follows needs none of it.
        with contextlib.suppress(OSError):
            _write(os.path.join(cgroup, "cgroup.kill"), b"1")
    # The dead leave their children to us, so killing our children until there is none ends every descendant.
    end = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < end:
        for child in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        _reap(control, pid)
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        time.sleep(0.001)


def _children() -> "list[int]":
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
