"""The cgroup that was delegated to the daemon (cgroups(7), version 2). A keeper makes a cgroup below it for each server.

A delegated cgroup has the extended attribute `user.delegate` or `trusted.delegate` with the value 1, which systemd 251 and
newer set for Delegate=yes. Write permission proves nothing, because the user manager owns all cgroups of the user, and each
cgroup has one writer only (systemd, CGROUP_DELEGATION.md).

No controllers are enabled in it. The rule that inner cgroups have no processes thus does not apply, and the daemon stays in it.
"""

import os
import re
from pathlib import Path, PurePosixPath


def delegated() -> Path | None:
    """Return the directory of the cgroup of this process, if it was delegated."""
    try:
        path = cgroup_path(_read("/proc/self/cgroup"), _read("/proc/self/mountinfo"))
    except OSError:
        return None
    return path if path is not None and _is_delegated(path) else None


def can_hold(path: Path) -> bool:
    """Return whether cgroups can be made there. ProtectControlGroups=yes makes them read-only."""
    return os.access(path, os.W_OK) and os.access(path / "cgroup.procs", os.W_OK)


def cgroup_path(cgroup: str, mounts: str) -> Path | None:
    """Return where a cgroup is mounted, from /proc/PID/cgroup and mountinfo; None if it is not (proc(5))."""
    own = re.search(r"^0::(/.*)$", cgroup, re.MULTILINE)
    # The cgroup is outside of the cgroup namespace.
    if own is None or ".." in own[1].split("/"):
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
            # The attribute is missing, or only root may read it.
            continue
    return False


def _unescaped(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def _read(path: str) -> str:
    return os.fsdecode(Path(path).read_bytes())
