"""Files in the layout in which the kubelet mounts a Secret or a projected volume (kubernetes pkg/volume/util/atomic_writer.go).

The directory is a tmpfs that all may write to, with the sticky bit. Each file is a link into `..data`, which is a link to a
directory with the time of the update. An update replaces the link `..data`. Files are root's, and with `fsGroup` the group of
the pod can read them (mode 0440).
"""

import os
from collections.abc import Mapping
from pathlib import Path


def write_volume(
    directory: Path, files: Mapping[str, str], *, group: int, mode: int = 0o440, update: int = 0
) -> None:
    """Write the files of a volume, or replace all of them."""
    directory.mkdir(exist_ok=True)
    directory.chmod(0o1777)
    former = directory / "..data"
    data = directory / f"..2026_11_30_00_00_{update:02}.123456789"
    data.mkdir()
    data.chmod(0o2755)
    for name, content in files.items():
        file = data / name
        file.write_text(content)
        os.chown(file, -1, group)
        file.chmod(mode)
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    draft = directory / "..data_tmp"
    draft.symlink_to(data.name)
    draft.rename(former)
