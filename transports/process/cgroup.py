"""The cgroup that was delegated to us (cgroups(7), version 2): each server gets one of its own below it, by its keeper.

Delegated means that its extended attribute `user.delegate` or `trusted.delegate` is 1. systemd 251 and newer sets it for
Delegate=yes. That we can write there says too little: a user's manager owns all cgroups of the user, ours as well, and
each has one writer only (systemd's CGROUP_DELEGATION.md). What is below a delegated cgroup is its owner's, not ours.

No controllers are enabled in it, so the rule that an inner cgroup has no processes does not bite, and we stay where we are.
"""

import os
import re
from pathlib import Path, PurePosixPath


def delegated() -> Path | None:
    """The directory of our own cgroup, if it was delegated to us."""
    try:
        path = cgroup_path(_read("/proc/self/cgroup"), _read("/proc/self/mountinfo"))
    except OSError:
        return None
    return path if path is not None and _is_delegated(path) else None


def can_hold(path: Path) -> bool:
    """Whether cgroups can be made there. ProtectControlGroups=yes makes them read-only."""
    return os.access(path, os.W_OK) and os.access(path / "cgroup.procs", os.W_OK)


def cgroup_path(cgroup: str, mounts: str) -> Path | None:
    """Where a process's cgroup is mounted, by its /proc/PID/cgroup and mountinfo; None if it is not (proc(5))."""
    own = re.search(r"^0::(/.*)$", cgroup, re.MULTILINE)
    if own is None or ".." in own[1].split("/"):  # outside of our cgroup namespace
        return None
    for line in mounts.splitlines():
        fields, _, kind = line.partition(" - ")
        root, point = map(_unescaped, fields.split()[3:5])
        if kind.startswith("cgroup2 ") and PurePosixPath(own[1]).is_relative_to(root):
            return Path(point) / PurePosixPath(own[1]).relative_to(root)
    return None


def _is_delegated(path: Path) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(path, name) == b"1":
                return True
        except OSError:
            continue  # it has none, or only root may see it
    return False


def _unescaped(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def _read(path: str) -> str:
    return os.fsdecode(Path(path).read_bytes())
