"""Confine a process to files, ports and sockets, before it executes a server.

Imported by keeper.py in the forked process that becomes the server, and nowhere else in the fork server: a server without a
sandbox costs nothing. Uses the standard library only, and no privilege.

- *Landlock* (landlock(7)) permits files below given paths, and TCP ports. It also refuses ptrace(2) of every process outside,
  and from ABI 6 on signals and abstract Unix sockets. It does not cover UDP, Unix sockets with a path, and attributes of files
  (chmod, chown, utime, setxattr).
- A *seccomp filter* (seccomp(2)) permits sockets of some families. It also refuses io_uring, which creates sockets without a
  system call of that name, the kernel's keyrings, and system calls of another ABI of the machine.
- *Bubblewrap* (bwrap(1)) executes the server in a file system that has given paths only, with processes of its own.

No step is left out where the kernel lacks it: `Unsupported` is raised, and the server does not start.
"""

import ctypes
import os
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    # The level; paths to read and to write that are left out if they are missing; paths to read and to write that must exist;
    # paths that are excepted from all these; the TCP ports or None for all; whether there is a network; the path of bwrap; the
    # private directory that is /tmp with bwrap.
    Rules = tuple[
        str,
        list[bytes],
        list[bytes],
        list[bytes],
        list[bytes],
        list[bytes],
        list[int] | None,
        bool,
        bytes,
        bytes,
    ]

BASIC = "basic"
LANDLOCK = "landlock"
BWRAP = "bwrap"
# In a list of paths: the working directory.
WORKING_DIRECTORY = b"."
# ABI 3 (Linux 6.2) is the first that refuses to truncate a file, ABI 4 (6.7) has TCP ports, ABI 6 (6.12) has scopes.
FILES_ABI = 3
PORTS_ABI = 4
_DEVICES_ABI = 5
SCOPES_ABI = 6
_RELEASES = {FILES_ABI: "6.2", PORTS_ABI: "6.7", SCOPES_ABI: "6.12"}
# A directory that contains an excepted path is replaced by its entries. There can be so many of them in all.
MOST_ENTRIES = 4096

# The same on all architectures that have these system calls (landlock_create_ruleset(2)), except Alpha.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_CAPABILITY_VERSION = 0x20080522
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
# All access rights of ABI 3: those of ABI 1 (bits 0 to 12), REFER and TRUNCATE.
_FILES = (1 << 15) - 1
# MAKE_CHAR and MAKE_BLOCK are granted nowhere.
_DEVICES = 1 << 6 | 1 << 11
READ = _EXECUTE | _READ_FILE | _READ_DIR
WRITE = _FILES & ~_DEVICES
# Rights of a rule for a file that is no directory.
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_ABSTRACT_UNIX, _SIGNALS = 1 << 0, 1 << 1

# Key: the machine (uname(2)). Value: AUDIT_ARCH_* (linux/audit.h), and the numbers of the system calls socket, socketpair,
# add_key, request_key and keyctl. The numbers of io_uring are the same on all machines.
_MACHINES = {
    "x86_64": (0xC000003E, (41, 53, 248, 249, 250)),
    "aarch64": (0xC00000B7, (198, 199, 217, 218, 219)),
    "riscv64": (0xC00000F3, (198, 199, 217, 218, 219)),
    "loongarch64": (0xC0000102, (198, 199, 217, 218, 219)),
}
_X32 = 0x40000000
_IO_URING_SETUP = 425
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_SOCK_STREAM, _SOCK_SEQPACKET, _SOCK_TYPE_MASK = 1, 5, 0xF
_IPPROTO_TCP = 6
_EPERM, _EACCES, _ENOSYS = 1, 13, 38
# Instructions of the classic BPF (linux/filter.h), and the places of the data of seccomp (seccomp(2)).
_LOAD, _AND, _EQUAL, _GREATER_EQUAL, _JUMP, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x05, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

_LIBC = ctypes.CDLL(None, use_errno=True)


class Unsupported(Exception):
    """Raised where this machine cannot confine a process as it was requested. The text names what is missing."""


def confine(rules: "Rules", argv: "list[bytes]", home: bytes) -> "list[bytes]":
    """Confine this process, and return the command to execute. Raises Unsupported, OSError or ValueError.

    `home` is the home directory that the server has.
    """
    level, optional_read, optional_write, read, write, hidden, ports, network, bwrap, scratch = rules
    hidden = [os.path.realpath(path) for path in hidden]
    if level == BWRAP:
        entries = [
            *[(path, False, True) for path in optional_read],
            *[(path, True, True) for path in optional_write],
            *[(path, False, False) for path in read],
            *[(path, True, False) for path in write],
        ]
        argv = bwrap_command(bwrap, entries, hidden, argv, home, network=network, scratch=scratch)
    files = [
        (READ, optional_read, True),
        (WRITE, optional_write, True),
        (READ, read, False),
        (WRITE, write, False),
    ]
    if level == LANDLOCK:
        drop_capabilities()
    if level in (LANDLOCK, BWRAP):
        restrict(files if level == LANDLOCK else None, hidden, ports)
    filter_system_calls(
        socket_filter(
            os.uname().machine,
            # With bwrap only the sockets exist that a list names.
            unix=level != LANDLOCK,
            # With bwrap the network is a namespace of its own.
            internet=network or level == BWRAP,
            tcp_only=ports is not None,
            keyrings=level == BASIC,
        )
    )
    return argv


def drop_capabilities() -> None:
    """Drop all capabilities, of which root has some that lead around Landlock, such as CAP_PERFMON. Raises OSError.

    They are not gained again by execve(2), because of PR_SET_NO_NEW_PRIVS.
    """
    # The version, this process; effective, permitted and inheritable capabilities in two parts (capset(2)).
    header, none = struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24)
    found = ctypes.create_string_buffer(len(none))
    _checked(_LIBC.capget(header, found))
    # A process without capabilities needs no capset(2), which the filter of a systemd unit may refuse (@privileged).
    if found.raw != none:
        _checked(_LIBC.capset(header, none))


# ---- Landlock


def landlock_abi() -> int:
    """Return the version of Landlock's interface, 0 without Landlock."""
    found: int = _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return max(found, 0)


def check_abi(abi: int, *, files: bool, ports: bool) -> None:
    """Check that this version of Landlock can confine files and TCP ports. Raises Unsupported."""
    needed = PORTS_ABI if ports else FILES_ABI if files else 0
    if abi < needed:
        has = (
            f"has version {abi} of Landlock"
            if abi
            else "has no Landlock, or it is disabled (lsm= of its command line, SystemCallFilter= of the unit)"
        )
        what = "connect" if ports else 'sandbox = "landlock"'
        raise Unsupported(f"{what} needs Linux {_RELEASES[needed]} or newer: this kernel {has}, not {needed}")


def restrict(
    files: "Iterable[tuple[int, Iterable[bytes], bool]] | None",
    hidden: "list[bytes]",
    ports: "list[int] | None",
) -> None:
    """Restrict this process through Landlock, for all time.

    `files` are access rights, paths, and whether a missing path is left out; None for all files. `hidden` are paths without
    links that no directory above them grants. `ports` are TCP ports to connect to; None for all. Scopes are set if the kernel
    has them.
    """
    abi = landlock_abi()
    check_abi(abi, files=files is not None, ports=ports is not None)
    handled = (_FILES | (_IOCTL_DEV if abi >= _DEVICES_ABI else 0)) if files is not None else 0
    net = _BIND_TCP | _CONNECT_TCP if ports is not None else 0
    scopes = _ABSTRACT_UNIX | _SIGNALS if abi >= SCOPES_ABI else 0
    if not handled | net | scopes:
        return
    # An older kernel refuses a longer structure.
    size = 24 if scopes else 16 if net else 8
    attributes = struct.pack("=QQQ", handled, net, scopes)[:size]
    ruleset = _checked(_LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0)))
    try:
        for access, paths, optional in files or ():
            for path in paths:
                _grant(ruleset, path, access, handled, hidden, optional=optional)
        for port in ports or ():
            _add_rule(ruleset, _NET_PORT, struct.pack("=QQ", _CONNECT_TCP, port))
        _checked(_LIBC.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _grant(
    ruleset: int, path: bytes, access: int, handled: int, hidden: "list[bytes]", *, optional: bool
) -> None:
    """Grant access to a path and everything below it, except the hidden paths below it."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as fault:
        if optional:
            return
        raise ValueError(f"{os.fsdecode(path)}: {os.strerror(fault.errno or 0)}") from None
    try:
        real = os.readlink(b"/proc/self/fd/%d" % descriptor)
        _grant_open(ruleset, descriptor, real, access & handled, hidden, [0])
    finally:
        os.close(descriptor)


def _grant_open(
    ruleset: int, descriptor: int, real: bytes, access: int, hidden: "list[bytes]", count: "list[int]"
) -> None:
    """Grant access to an open path. A directory with hidden paths below it is replaced by its entries.

    Of such a directory only the names are granted, and nothing can be created in it.
    """
    below = [place for place in hidden if place != real and is_below(place, real)]
    allowed = access & _READ_DIR if below else access
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISDIR(mode):
        allowed &= _OF_A_FILE
    if allowed:
        rule = struct.pack("=Qi", allowed, descriptor)
        _add_rule(ruleset, _PATH_BENEATH, rule)
    # A descriptor with O_PATH cannot be listed.
    for name in os.listdir(b"/proc/self/fd/%d" % descriptor) if below else ():
        path = real.rstrip(b"/") + b"/" + name
        # A link needs no rule. A rule would count for the link itself.
        if path in below or os.path.islink(path):
            continue
        _count_entry(count, real)
        try:
            inner = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        # Removed meanwhile, or not accessible.
        except OSError:
            continue
        try:
            _grant_open(ruleset, inner, path, access, below, count)
        finally:
            os.close(inner)


def _add_rule(ruleset: int, kind: int, rule: bytes) -> None:
    _checked(_LIBC.syscall(_ADD_RULE, ruleset, ctypes.c_uint32(kind), rule, ctypes.c_uint32(0)))


def is_below(path: bytes, directory: bytes) -> bool:
    """Return whether a path without links is a directory or lies in it."""
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


# ---- seccomp


def check_filter(machine: str) -> None:
    """Check that there is a filter for this machine. Raises Unsupported."""
    if machine not in _MACHINES:
        known = ", ".join(_MACHINES)
        raise Unsupported(f"needs a filter of system calls, which exists for {known} and not for {machine}")


def socket_filter(machine: str, *, unix: bool, internet: bool, tcp_only: bool, keyrings: bool) -> bytes:
    """Return the program of a seccomp filter (struct sock_filter) for this machine, empty if nothing is to be refused.

    `unix` permits Unix sockets, `internet` those of IPv4 and IPv6, of which `tcp_only` permits TCP. A netlink socket of the
    family route is always permitted, because the C library reads addresses through it. `keyrings` permits the keyrings of the
    kernel. Raises Unsupported.
    """
    if unix and internet and not tcp_only and keyrings:
        return b""
    check_filter(machine)
    architecture, (socket, socketpair, *of_keyrings) = _MACHINES[machine]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        *_unless_equal(architecture, [(_RETURN, 0, 0, _ERRNO | _ENOSYS)]),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        program += [(_GREATER_EQUAL, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    program += _if_equal(_IO_URING_SETUP, [(_RETURN, 0, 0, _ERRNO | _ENOSYS)])
    for number in () if keyrings else of_keyrings:
        program += _if_equal(number, [(_RETURN, 0, 0, _ERRNO | _EPERM)])
    if not unix:
        # A pair of datagram sockets can be connected to another socket.
        program += _if_equal(socketpair, _only_types(_SOCK_STREAM, _SOCK_SEQPACKET))
    program += _unless_equal(socket, [(_RETURN, 0, 0, _ALLOW)])
    program.append(_argument(0))
    if unix:
        program += _if_equal(_AF_UNIX, [(_RETURN, 0, 0, _ALLOW)])
    if internet:
        permitted = _tcp() if tcp_only else [(_RETURN, 0, 0, _ALLOW)]
        for family in (_AF_INET, _AF_INET6):
            program += _if_equal(family, permitted)
    # NETLINK_ROUTE is 0.
    route = [_argument(2), *_if_equal(0, [(_RETURN, 0, 0, _ALLOW)])]
    program += _if_equal(_AF_NETLINK, [*route, (_RETURN, 0, 0, _ERRNO | _EACCES)])
    program.append((_RETURN, 0, 0, _ERRNO | _EACCES))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _argument(index: int) -> "tuple[int, int, int, int]":
    """Return the instruction that loads the lower half of an argument. The kernel reads these arguments as int."""
    return _LOAD, 0, 0, _ARGUMENTS + 8 * index


def _if_equal(value: int, then: "Sequence[tuple[int, int, int, int]]") -> "list[tuple[int, int, int, int]]":
    return [(_EQUAL, 0, len(then), value), *then]


def _unless_equal(
    value: int, then: "Sequence[tuple[int, int, int, int]]"
) -> "list[tuple[int, int, int, int]]":
    return [(_EQUAL, len(then), 0, value), *then]


def _only_types(*types: int) -> "list[tuple[int, int, int, int]]":
    """Return instructions that permit sockets of these types. The flags of a type are ignored."""
    program = [_argument(1), (_AND, 0, 0, _SOCK_TYPE_MASK)]
    for kind in types:
        program += _if_equal(kind, [(_RETURN, 0, 0, _ALLOW)])
    return [*program, (_RETURN, 0, 0, _ERRNO | _EACCES)]


def _tcp() -> "list[tuple[int, int, int, int]]":
    """Return instructions that permit TCP. Other protocols, such as MPTCP and SCTP, are not subject to the ports of Landlock."""
    protocol = [
        _argument(2),
        *_if_equal(0, [(_RETURN, 0, 0, _ALLOW)]),
        *_if_equal(_IPPROTO_TCP, [(_RETURN, 0, 0, _ALLOW)]),
    ]
    stream = [_argument(1), (_AND, 0, 0, _SOCK_TYPE_MASK), *_if_equal(_SOCK_STREAM, protocol)]
    return [*stream, (_RETURN, 0, 0, _ERRNO | _EACCES)]


def filter_system_calls(program: bytes) -> None:
    """Install a seccomp filter in this process, for all time. Needs PR_SET_NO_NEW_PRIVS. Raises OSError."""
    if not program:
        return
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    _checked(_LIBC.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), header, 0, 0))


# ---- bubblewrap


def bwrap_command(
    bwrap: bytes,
    entries: "Iterable[tuple[bytes, bool, bool]]",
    hidden: "list[bytes]",
    argv: "list[bytes]",
    home: bytes,
    *,
    network: bool,
    scratch: bytes,
) -> "list[bytes]":
    """Return the command that executes `argv` in a file system with these entries only.

    An entry is a path, whether it can be written, and whether a missing path is left out. `hidden` are paths without links,
    which no directory above them grants. `home` exists, and has these entries only.
    `scratch` is the directory that is /tmp. Raises ValueError for a missing path.
    """
    directory = os.getcwdb()
    words = [
        *[
            bwrap,
            b"--unshare-user",
            b"--unshare-ipc",
            b"--unshare-pid",
            b"--unshare-uts",
            b"--unshare-cgroup-try",
        ],
        *([] if network else [b"--unshare-net"]),
        *[b"--die-with-parent", b"--cap-drop", b"ALL"],
    ]
    # Key: the destination. A later entry replaces the former: a path to write one to read.
    mounts: dict[bytes, list[bytes]] = {
        b"/proc": [b"--proc", b"/proc"],
        b"/dev": [b"--dev", b"/dev"],
        b"/tmp": [b"--bind", scratch, b"/tmp"],
    }
    parts: dict[bytes, list[bytes]] = {
        path: [b"--dir", path] for path in (directory, home) if path.startswith(b"/") and path != b"/"
    }
    named: set[bytes] = set()
    count = [0]
    for path, writable, optional in entries:
        place = directory if path == WORKING_DIRECTORY else os.path.normpath(path)
        if not os.path.exists(place):
            if optional:
                continue
            raise ValueError(f"{os.fsdecode(place)}: {os.strerror(2)}")
        # These are made anew, and an entry of the base would replace them.
        if optional and (is_below(place, b"/proc") or is_below(place, b"/dev")):
            continue
        mounts[place], more = _mount(place, os.path.realpath(place), hidden, count, writable=writable)
        parts |= more
        if not optional:
            named.add(place)
    # What is named precedes what lies in another directory.
    ordered = sorted((parts | mounts).items(), key=lambda item: item[0].rstrip(b"/").count(b"/"))
    words += _without_repetitions(ordered, named)
    if mounts.get(b"/", [b""])[0] != b"--bind":
        words += [b"--remount-ro", b"/"]
    return [*words, b"--chdir", directory, b"--", *argv]


def _without_repetitions(mounts: "list[tuple[bytes, list[bytes]]]", named: "set[bytes]") -> "list[bytes]":
    """Return the words of mounts, the outer before the inner, without those of paths that an outer mount has already.

    An inner mount that differs from the outer is made where links of the path lead, because it cannot be made at a link.
    """
    words: list[bytes] = []
    # Key: a destination. Value: whether it can be written.
    bound: dict[bytes, bool] = {}
    for at, mount in mounts:
        outer = max((path for path in bound if is_below(at, path)), key=len, default=None)
        if mount[0] == b"--dir" and outer is not None:
            continue
        if mount[0] in (b"--bind", b"--ro-bind") and mount[1] == at:
            writable = mount[0] == b"--bind"
            if outer is not None and (bound[outer] == writable or (bound[outer] and at not in named)):
                continue
            real = at if outer is None else os.path.realpath(at)
            bound[real] = writable
            words += [mount[0], real, real]
        else:
            words += mount
    return words


def _mount(
    place: bytes, real: bytes, hidden: "list[bytes]", count: "list[int]", *, writable: bool
) -> "tuple[list[bytes], dict[bytes, list[bytes]]]":
    """Return the mount of a place whose path without links is `real`, and those of its entries if hidden paths are below it.

    An empty mount over a hidden file would be removed with the file when that is replaced.
    """
    below = [path for path in hidden if path != real and is_below(path, real)]
    if not below:
        return [b"--bind" if writable else b"--ro-bind", place, place], {}
    found: dict[bytes, list[bytes]] = {}
    for name in sorted(os.listdir(real)):
        path, at = real.rstrip(b"/") + b"/" + name, place.rstrip(b"/") + b"/" + name
        if path in below or at in (b"/proc", b"/dev", b"/tmp"):
            continue
        _count_entry(count, real)
        if os.path.islink(path):
            found[at] = [b"--symlink", os.readlink(path), at]
            continue
        found[at], more = _mount(at, path, below, count, writable=writable)
        found |= more
    return [b"--dir", place], found


def _count_entry(count: "list[int]", directory: bytes) -> None:
    count[0] += 1
    if count[0] > MOST_ENTRIES:
        raise ValueError(
            f"{os.fsdecode(directory)} contains files of mcp-bridge, and more than {MOST_ENTRIES} entries beside them: "
            "name the directories that the server needs"
        )
