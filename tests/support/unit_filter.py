"""Run a command below the system call filters of a systemd unit, without systemd: `unit_filter.py UNIT... -- COMMAND`.

Filters are made as systemd makes them (systemd.exec(5)): by libseccomp, on which systemd depends, from the sets that
`systemd-analyze syscall-filter` prints. A later file has the settings of a drop-in. Settings such as ProtectClock= are left
out, because their filters refuse only what SystemCallFilter= of the units refuses as well. Standard library only.
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
# enum scmp_filter_attr and enum scmp_compare of seccomp.h. MASKED has a mask, and the value that the masked argument has.
ACT_BADARCH = 2
NOT_EQUAL, LESS, EQUAL, GREATER, MASKED = 1, 2, 4, 6, 7
# Kinds of namespaces (clone(2)): time, mount, cgroup, UTS, IPC, user, PID and network.
NAMESPACES = (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
SCHED_FIFO, SCHED_RR, SCHED_IDLE = 1, 2, 5
WRITE, EXECUTE, SHM_EXEC = 2, 4, 0o100000
SUID, SGID = 0o4000, 0o2000
# Key: a system call. Value: the number of its argument that is the mode of a file.
MODES = {
    "chmod": 1,
    "fchmod": 1,
    "fchmodat": 2,
    "mkdir": 1,
    "mkdirat": 2,
    "mknod": 1,
    "mknodat": 2,
    "creat": 1,
}
CREATED = {
    "open": ((1, MASKED, os.O_CREAT, os.O_CREAT), 2),
    "openat": ((2, MASKED, os.O_CREAT, os.O_CREAT), 3),
}
_LIBC = ctypes.CDLL(None)
# Key: a setting. Value: its refusals: a system call, an error number, and comparisons that all hold, each with the number of an
# argument, an operator, and its values.
SETTINGS = {
    "LockPersonality": [("personality", errno.EPERM, (0, NOT_EQUAL, _LIBC.personality(0xFFFFFFFF)))],
    "RestrictRealtime": [
        ("sched_setscheduler", errno.EPERM, (1, EQUAL, SCHED_FIFO)),
        ("sched_setscheduler", errno.EPERM, (1, EQUAL, SCHED_RR)),
        ("sched_setscheduler", errno.EPERM, (1, GREATER, SCHED_IDLE)),
    ],
    "RestrictNamespaces": [
        ("setns", errno.EPERM),
        ("clone3", errno.ENOSYS),
        *[
            (call, errno.EPERM, (0, MASKED, kind, kind))
            for call in ("unshare", "clone")
            for kind in NAMESPACES
        ],
    ],
    "RestrictSUIDSGID": [
        ("openat2", errno.ENOSYS),
        *[
            (call, errno.EPERM, (mode, MASKED, bit, bit))
            for call, mode in MODES.items()
            for bit in (SUID, SGID)
        ],
        *[
            (call, errno.EPERM, creates, (mode, MASKED, bit, bit))
            for call, (creates, mode) in CREATED.items()
            for bit in (SUID, SGID)
        ],
    ],
    "MemoryDenyWriteExecute": [
        ("mmap", errno.EPERM, (2, MASKED, WRITE | EXECUTE, WRITE | EXECUTE)),
        ("mprotect", errno.EPERM, (2, MASKED, EXECUTE, EXECUTE)),
        ("pkey_mprotect", errno.EPERM, (2, MASKED, EXECUTE, EXECUTE)),
        ("shmat", errno.EPERM, (2, MASKED, SHM_EXEC, SHM_EXEC)),
    ],
}


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp of seccomp.h."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def libseccomp():
    """Load the library. Raises OSError if it is missing."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_rule_add_exact_array.argtypes = (
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint),
        ctypes.POINTER(Comparison),
    )
    library.seccomp_load.argtypes = (ctypes.c_void_p,)
    return library


def number_of(call):
    """Return the number of a system call. It is negative if this machine does not have the call."""
    return libseccomp().seccomp_syscall_resolve_name(call.encode())


def settings_of(files):
    """Return the section [Service] of files. Key: a setting. Value: its values in the order of the files."""
    found, section = {}, ""
    for line in "\n".join(Path(file).read_text() for file in files).splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def known_sets():
    """Return the sets of this systemd. Key: the name of a set. Value: names of system calls and of other sets."""
    command = ["systemd-analyze", "--no-pager", "syscall-filter"]
    variables = {**os.environ, "SYSTEMD_COLORS": "0"}
    shown = subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout
    found, members = {}, []
    for line in shown.splitlines():
        if line.startswith("@"):
            members = found[line] = []
        elif line.startswith("    ") and "#" not in line:
            members.append(line.strip())
    return found


def expanded(words, sets):
    """Return the system calls that words of SystemCallFilter= name."""
    return {call for word in words for call in (expanded(sets[word], sets) if word[0] == "@" else {word})}


def permitted(values):
    """Return the system calls that the values of SystemCallFilter= permit, of which the first has no `~`."""
    sets = known_sets()
    found = expanded(["@default"], sets)
    assert values[0][0] != "~"
    for value in values:
        calls = expanded(value.removeprefix("~").split(), sets)
        found = found - calls if value[0] == "~" else found | calls
    return found


def refused_families(names):
    """Return the refusals of RestrictAddressFamilies=: socket(2) of every family but these."""
    numbers = sorted(getattr(socket, name) for name in names)
    between = [family for family in range(numbers[0], numbers[-1]) if family not in numbers]
    comparisons = [
        (0, LESS, numbers[0]),
        (0, GREATER, numbers[-1]),
        *[(0, EQUAL, family) for family in between],
    ]
    return [("socket", errno.EAFNOSUPPORT, comparison) for comparison in comparisons]


class Filter:
    """A filter, which may have an action for calls without a rule, and one for calls of another architecture."""

    def __init__(self, otherwise=ALLOW, other_architecture=ALLOW):
        self._library = libseccomp()
        self._context = self._library.seccomp_init(otherwise)
        # The library ends a process that uses another architecture, unless another action is set.
        if other_architecture is not None:
            _check(self._library.seccomp_attr_set(self._context, ACT_BADARCH, other_architecture))

    def add(self, action, call, *comparisons):
        """Add a rule, unless this machine does not have the call."""
        number, count = number_of(call), len(comparisons)
        if number >= 0:
            array = (Comparison * count)(*(Comparison(*one) for one in comparisons))
            _check(self._library.seccomp_rule_add_exact_array(self._context, action, number, count, array))

    def load(self):
        """Set no_new_privs, and install the filter in this process."""
        _check(self._library.seccomp_load(self._context))


def _check(result):
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def install(settings):
    """Install the filters of the settings of a unit in this process."""
    refusals = []
    for key, some in SETTINGS.items():
        value = settings.get(key, ["no"])[-1]
        assert value in {"yes", "no"}, (key, value)
        refusals += some if value == "yes" else []
    if "RestrictAddressFamilies" in settings:
        refusals += refused_families(settings["RestrictAddressFamilies"][-1].split())
    rules = Filter()
    for call, number, *comparisons in refusals:
        rules.add(ERRNO | number, call, *comparisons)
    # Before a filter is loaded, because it may refuse what starts systemd-analyze.
    whole = None
    if "SystemCallFilter" in settings:
        [name] = settings["SystemCallErrorNumber"]
        whole = Filter(ERRNO | getattr(errno, name))
        for call in permitted(settings["SystemCallFilter"]):
            whole.add(ALLOW, call)
    rules.load()
    if "SystemCallArchitectures" in settings:
        assert settings["SystemCallArchitectures"] == ["native"]
        Filter(other_architecture=None).load()
    # The last, because it may refuse the system calls that install a filter.
    if whole:
        whole.load()


def main(words):
    at = words.index("--")
    install(settings_of(words[:at]))
    os.execv(words[at + 1], words[at + 1 :])


if __name__ == "__main__":
    main(sys.argv[1:])
