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

Protocol, one packet for each message. Daemon to fork server: `spawn SCRATCH`, or `wrap SCRATCH` for a command that another
program (bwrap) executes, with five descriptors: stdin, stdout, stderr of
the server, the keeper's control socket, a file with the launch (`Launch`, written by marshal). SCRATCH is the path of a
directory that the keeper makes, and removes after the server; it may be empty. Keeper to daemon: `keeping PID` (its own),
then `spawned PID` or `failed ERRNO TEXT`, later `exited CODE` or `signalled NUMBER`. Daemon to keeper: `term` (SIGTERM to
the process group of the server, without that other program, which would kill the server), `kill`.

There is a keeper for each server, and a keeper has its own copy of each page that changes after its fork. The fork server
therefore imports modules in C only, among them those of CPython behind `os`, `socket`, `signal` and `ctypes`. A function that
needs another module for a rare case imports it itself. The launch is decoded in the process that becomes the server.
"""

import _ctypes
import gc
import marshal
import resource
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    import signal
    import socket
    import types
    from collections.abc import Callable

    from . import confinement

    # The command, its environment, the working directory, device and inode that it must have or (), the umask, limits:
    # number (RLIMIT_NOFILE, ...) and value, and the rules of its sandbox, if it has one.
    Launch = tuple[
        list[bytes],
        dict[bytes, bytes],
        bytes | None,
        tuple[int, ...],
        int,
        list[tuple[int, int]],
        "confinement.Rules | None",
    ]
else:
    import _signal as signal
    import _socket as socket
    import posix as os

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

# Longest request: SCRATCH is a path (bytes).
_REQUEST = 8192
# Descriptors of a request, and the size of the control message that holds them (bytes).
_DESCRIPTORS = 5
_ANCILLARY = socket.CMSG_SPACE(4 * _DESCRIPTORS)

_exit = os._exit  # noqa: SLF001 - a documented function of os
# Where a program is searched without PATH (environ(7), and os.defpath).
_PATH = b"/bin:/usr/bin"

# None is this program with all its libraries (dlopen(3)).
_PRCTL = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]  # typeshed requires a name


def main() -> None:
    """Serve spawn requests until the daemon has exited, then end the remaining keepers."""
    if sys.argv[3:4] == ["json"]:
        sys.excepthook = _report
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    cgroup = "".join(sys.argv[2:3])
    if cgroup:
        _remove_leftovers(cgroup)
    daemon = os.getppid()
    adopt_orphans()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A signal to the process group must not end it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _wake)
    # The daemon may have inherited a mask, which would hide the exit of a server.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
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
        if wake[0] in ready:
            _drain(wake[0])
        if control.fileno() not in ready:
            continue
        data, descriptors = _receive(control)
        if not data:
            break
        # Pids are reused, even while the cgroup of an earlier server exists.
        unique = os.urandom(4).hex()
        pid = _fork(descriptors[3])
        if pid == 0:
            for descriptor in (control.detach(), *wake):
                os.close(descriptor)
            verb, _, scratch = data.partition(b" ")
            _keep(cgroup, unique, scratch, verb == b"wrap", *descriptors)
            _exit(0)
        if pid > 0:
            family.keepers[pid] = unique
        for descriptor in descriptors:
            os.close(descriptor)
    poll.unregister(control)
    control.close()
    _end(family, poll, wake[0], daemon)


def _receive(control: socket.socket) -> "tuple[bytes, list[int]]":
    """Return a request and its descriptors."""
    data, messages, _, _ = control.recvmsg(_REQUEST, _ANCILLARY)
    return data, [descriptor for _, _, numbers in messages for descriptor in memoryview(numbers).cast("i")]


def _report(kind: "type[BaseException]", fault: BaseException, trace: "types.TracebackType | None") -> None:
    """Write an uncaught exception as a log event of the daemon (log.py)."""
    import json  # noqa: PLC0415 - for errors only, because keepers inherit all imports
    import traceback  # noqa: PLC0415 - likewise

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
        _send(control, b"failed " + _reason(fault))
        return -1


def _reason(fault: Exception) -> bytes:
    """Return the number and text of a failed system call, or 0 and the text of another exception."""
    if isinstance(fault, OSError):
        return b"%d %b" % (fault.errno or 0, os.strerror(fault.errno or 0).encode())
    return b"0 " + (str(fault) or type(fault).__name__).encode(errors="replace")


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
        self._left = [path for path in self._left if _exists(path)]
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
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    """Change an attribute of this process (prctl(2))."""
    _ctypes.call_function(_PRCTL, (option, value, 0, 0, 0))


def kill(pids: "list[int]") -> None:
    """Kill these children and their process groups, because a group cannot fork while it is being signalled."""
    for pid in pids:
        _signal_if_possible(_signal_group, pid, signal.SIGKILL)
        _signal_if_possible(os.kill, pid, signal.SIGKILL)


def _signal_group(pid: int, number: int) -> None:
    """Send a signal to the process group of a process, unless it is our own."""
    group = os.getpgid(pid)
    if group != os.getpgrp():
        os.killpg(group, number)


def _signal_if_possible(send: "Callable[[int, int], None]", target: int, number: int) -> None:
    """Call a function that sends a signal. Does nothing if the process has exited or may not be signalled."""
    try:
        send(target, number)
    except (ProcessLookupError, PermissionError):
        return


def _wakeups() -> "tuple[int, int]":
    """Return a pipe that becomes readable at each SIGCHLD."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read, write


def _drain(wake: int) -> None:
    try:
        os.read(wake, 4096)
    except BlockingIOError:
        return


def _keep(
    parent: str,
    unique: str,
    scratch: bytes,
    wrapped: bool,  # noqa: FBT001 - a part of the request
    stdin: int,
    stdout: int,
    stderr: int,
    control: int,
    launch: int,
) -> None:
    """Start a server, and end all its descendants when the daemon commands it or has exited."""
    adopt_orphans()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
    _send(control, b"keeping %d" % os.getpid())
    wake, _ = _wakeups()
    failed_read, failed_write = os.pipe2(os.O_CLOEXEC)
    if scratch:
        try:
            os.mkdir(scratch, 0o700)
        except (OSError, ValueError) as fault:
            number, _, text = _reason(fault).partition(b" ")
            _send(control, b"failed %b a directory for TMPDIR: %b" % (number, text))
            return
    pid = _fork(control)
    if pid < 0:
        _remove(scratch)
        return
    cgroup = f"{parent}/{_CGROUP_PREFIX}{pid or os.getpid()}-{unique}" if parent else ""
    if pid == 0:
        _become(launch, (stdin, stdout, stderr), failed_write, cgroup)
    for descriptor in (stdin, stdout, stderr, launch, failed_write):
        os.close(descriptor)
    failure = os.read(failed_read, 4096)
    os.close(failed_read)
    if failure:
        _send(control, b"failed " + failure)
        os.waitpid(pid, 0)
    else:
        _send(control, b"spawned %d" % pid)
        _watch(control, pid, wake, cgroup, wrapped)
    _remove(scratch)
    if cgroup:
        _remove_cgroup(cgroup, _EMPTY_SECONDS)


def _remove(scratch: bytes) -> None:
    if scratch:
        import shutil  # noqa: PLC0415 - only where it is needed, because there is a keeper for every server

        shutil.rmtree(scratch, ignore_errors=True)


def _enter(cgroup: str) -> None:
    """Make the cgroup and enter it, if possible."""
    try:
        os.mkdir(cgroup)
        _write(f"{cgroup}/cgroup.procs", b"0")
    except OSError:
        return


def _kill_cgroup(cgroup: str) -> None:
    try:
        _write(f"{cgroup}/cgroup.kill", b"1")
    # Before Linux 5.14, and where the server could not be moved there.
    except OSError:
        return


def _cgroups_of(parent: str, unique: str) -> "list[str]":
    """Return the cgroup with this end of its name, if it exists."""
    try:
        return [f"{parent}/{name}" for name in os.listdir(parent) if name.endswith(f"-{unique}")]
    except OSError:
        return []


def _remove_cgroup(cgroup: str, timeout: float) -> None:
    """Remove a cgroup with all below it, waiting `timeout` (seconds) for its last processes to exit."""
    end = time.monotonic() + timeout
    while True:
        folders = [cgroup]
        # The list grows meanwhile. A server can nest cgroups deeper than functions can be nested.
        for folder in folders:
            folders += _folders_in(folder)
        for folder in reversed(folders):
            _remove_folder(folder)
        if not _exists(cgroup) or time.monotonic() >= end:
            return
        time.sleep(0.001)


def _folders_in(folder: str) -> "list[str]":
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _remove_folder(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        return


def _exists(path: str) -> bool:
    return os.access(path, os.F_OK)


def _remove_leftovers(parent: str) -> None:
    """Remove empty cgroups that killed keepers have left."""
    try:
        names = os.listdir(parent)
    except OSError:
        return
    for name in names:
        if name.startswith(_CGROUP_PREFIX) and _is_empty(f"{parent}/{name}"):
            _remove_cgroup(f"{parent}/{name}", 0)


def _is_empty(cgroup: str) -> bool:
    try:
        return b"populated 0\n" in _read(f"{cgroup}/cgroup.events")
    except OSError:
        return False


def _read(file: "str | int") -> bytes:
    """Return the content of a file, given by its path or an open descriptor, which is closed."""
    with open(file, "rb", buffering=0) as reader:
        return reader.read()


def _write(path: str, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, data)
    finally:
        os.close(file)


def _wake(_number: int, _frame: object) -> None:
    """Handle the signal, so that the wakeup descriptor is written."""


def _become(launch: int, standard: "tuple[int, int, int]", failed: int, cgroup: str) -> None:
    """Execute the server, in the forked process. Never returns."""
    try:
        os.setsid()
        keeper = os.getppid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The keeper exited before PR_SET_PDEATHSIG was set.
        if os.getppid() != keeper:
            _exit(127)
        if cgroup:
            _enter(cgroup)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        words: Launch = marshal.loads(_read(launch))  # noqa: S302 - written by the daemon
        argv, environment, folder, identity, umask, limits, rules = words
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for limit, value in limits:
            hard = resource.getrlimit(limit)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (most, most))
        os.umask(umask)
        if folder is not None:
            _change_directory(folder, identity)
        # All of these are above 2, because descriptors 0 to 2 are in use.
        for target, source in enumerate(standard):
            os.dup2(source, target)
        if failed != 3:
            os.dup2(failed, 3, inheritable=False)
        os.closerange(4, 1 << 20)
        failed = 3
        if rules is not None:
            argv = _confine(rules, argv, environment.get(b"HOME", b""))
        _execute(argv, environment)
    # For example OverflowError of a limit, MemoryError below RLIMIT_AS, or EOFError of a launch that was cut off.
    except Exception as fault:  # noqa: BLE001 - the daemon reports it
        os.write(failed, _reason(fault))
    finally:
        _exit(127)


def _confine(rules: "confinement.Rules", argv: "list[bytes]", home: bytes) -> "list[bytes]":
    """Confine this process. Return the command to execute. Raises ValueError with the reason why that is not possible."""
    # Only here, because keepers inherit all imports. Isolated mode (-I) does not search the directory of this file.
    folder = __file__.rpartition("/")[0]
    sys.path.insert(0, folder)
    import confinement  # type: ignore[import-not-found]  # noqa: PLC0415 - see above

    sys.path.remove(folder)
    try:
        confined: list[bytes] = confinement.confine(rules, argv, home)
    # For example OverflowError of a rule, or ImportError.
    except Exception as fault:  # noqa: BLE001 - the daemon reports it
        raise ValueError(f"sandbox: {fault}") from None
    return confined


def _change_directory(folder: bytes, identity: "tuple[int, ...]") -> None:
    """Change the working directory. Raises OSError, and ValueError where a given identity is that of another directory.

    A directory with an identity is entered by its descriptor after that was compared, so that a link which replaces a part
    of the path in the meantime leads nowhere.
    """
    if not identity:
        os.chdir(folder)
        return
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        found = os.fstat(descriptor)
        moved = os.readlink(b"/proc/self/fd/%d" % descriptor) != folder
        if moved or (found.st_dev, found.st_ino) != identity:
            raise ValueError("the directory of the client was replaced; connect again")
        os.fchdir(descriptor)
    except OSError as fault:
        raise ValueError("the directory of the client: " + os.strerror(fault.errno or 0)) from None


def _execute(argv: "list[bytes]", environment: "dict[bytes, bytes]") -> None:
    """Execute a program. A name without a slash is searched in PATH of the environment, as by execvp(3).

    Never returns. Raises OSError; of several faults, the first that is not about a missing file.
    """
    program = argv[0]
    if b"/" in program:
        os.execve(program, argv, environment)
    faults: list[OSError] = []
    for folder in environment.get(b"PATH", _PATH).split(b":"):
        path = b"%b/%b" % (folder.removesuffix(b"/"), program) if folder else program
        try:
            os.execve(path, argv, environment)
        except OSError as fault:
            faults.append(fault)
    missing = (FileNotFoundError, NotADirectoryError)
    raise next((fault for fault in faults if not isinstance(fault, missing)), faults[-1])


def _watch(control: int, pid: int, wake: int, cgroup: str, wrapped: bool) -> None:  # noqa: FBT001 - as above
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    alive = True
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if wake in ready:
            _drain(wake)
            alive = not _reap(control, pid) and alive
        if control in ready:
            try:
                command = os.read(control, 16)
            except OSError:
                command = b""
            if command == b"term" and alive and wrapped:
                for member in _members(pid):
                    _signal_if_possible(os.kill, member, signal.SIGTERM)
            elif command == b"term" and alive:
                _signal_if_possible(os.killpg, pid, signal.SIGTERM)
            elif command in (b"kill", b""):
                _kill_all(control, pid, cgroup)
                return


def _reap(control: int, pid: int) -> bool:
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


def _kill_all(control: int, pid: int, cgroup: str) -> None:
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
        return [int(word) for word in _read(f"/proc/{me}/task/{me}/children").split()]
    # A kernel without CONFIG_PROC_CHILDREN.
    except OSError:
        return [
            child for child in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _parent(child) == me
        ]


def _parent(pid: int) -> int:
    return int(b"".join(_stat(pid)[1:2]) or 0)


def _stat(pid: int) -> "list[bytes]":
    """Return the state, the parent, the process group and what follows (proc_pid_stat(5)); empty after the process has exited."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return []


def _members(group: int) -> "list[int]":
    """Return the processes of a process group, without its leader."""
    return [
        pid
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))
        if pid != group and _stat(pid)[2:3] == [b"%d" % group]
    ]


def _send(control: int, text: bytes) -> None:
    try:
        os.write(control, text)
    # The daemon has exited.
    except OSError:
        return


if __name__ == "__main__":
    main()
