"""A file system of a few hundred KiB that a test fills up, in a mount namespace of its own (mount_namespaces(7))."""

import errno
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

_MOUNT = 'mount -t tmpfs -o size="$0",mode=700 none /mnt && echo mounted && exec cat'


class SmallDisk:
    """A mounted file system. Processes in other namespaces use it through /proc (proc_pid_root(5))."""

    def __init__(self, pid: int, mounted: str = "/mnt") -> None:
        """`pid` is of a process in its mount namespace."""
        self.folder = Path(f"/proc/{pid}/root{mounted}")
        self._filling = self.folder / "filling"

    def fill(self) -> None:
        """Write until no byte is free."""
        with self._filling.open("ab", buffering=0) as out:
            for size in (1 << 16, 1 << 12, 1):
                with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                    while True:
                        out.write(b"x" * size)
        assert os.statvfs(self.folder).f_bfree == 0

    def free(self) -> None:
        self._filling.unlink()


def within(folder: Path, size: str = "256k") -> list[str]:
    """Return a command that runs the command in its last arguments where a small file system is mounted on a folder."""
    mount = f'mount -t tmpfs -o size={size},mode=700 none "$0" && exec "$@"'
    return [*_namespace(), "sh", "-c", mount, str(folder)]


def _namespace() -> list[str]:
    if shutil.which("unshare") is None:
        pytest.skip("unshare(1) is not installed")
    words = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount"]
    if subprocess.run([*words, "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    return words


@contextmanager
def small_disk(size: str = "256k"):
    """Mount a small file system. Skips the test where that is not possible."""
    with subprocess.Popen(
        [*_namespace(), "sh", "-c", _MOUNT, size],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as keeper:
        assert keeper.stdout.readline() == "mounted\n"
        try:
            yield SmallDisk(keeper.pid)
        finally:
            keeper.stdin.close()
