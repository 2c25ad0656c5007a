"""Where the cgroup of a process is mounted. Its use is tested in tests/e2e/test_cgroups.py."""

from pathlib import Path

import pytest

from mcpbridged.transports.process.cgroup import cgroup_path

UNIFIED = "24 23 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n"
)
BOUND = "50 23 0:22 /box/a /sys/fs/my\\040cgroup rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("cgroup", "mounts", "path"),
    [
        ("0::/app.slice/x.service\n", UNIFIED, "/sys/fs/cgroup/app.slice/x.service"),
        ("9:name=systemd:/y\n8:pids:/\n0::/x\n", HYBRID, "/sys/fs/cgroup/unified/x"),
        ("0::/\n", UNIFIED, "/sys/fs/cgroup"),  # as in a cgroup namespace
        ("0::/box/a/b\n", BOUND, "/sys/fs/my cgroup/b"),
        ("0::/box/ab\n", BOUND, None),
        ("0::/box/ab\n", BOUND + UNIFIED, "/sys/fs/cgroup/box/ab"),
        ("0::/../x\n", UNIFIED, None),
        ("9:name=systemd:/y\n8:pids:/\n", HYBRID, None),
        ("0::/x\n", HYBRID.replace("cgroup2", "cgroup"), None),
    ],
)
def test_a_cgroup_is_found_where_it_is_mounted(cgroup, mounts, path):
    assert cgroup_path(cgroup, mounts) == (None if path is None else Path(path))
