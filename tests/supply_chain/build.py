"""Build the sdist and the wheel: `python -m tests.supply_chain.build FOLDER [--twice]`.

Two builds of a commit have the same bytes, also at another time, in another folder, with another umask, time zone and language.
Only tracked files are packed. The wheel is built from the sdist. `--twice` builds a second time in such an environment, and fails
if a byte differs. The environment of this Python must have build and setuptools (.deps/supply).
"""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from .report import ROOT, arguments_of, report

# A second environment that differs in all that a build must not depend on.
_OTHER: Final = {"TZ": "Asia/Kolkata", "LC_ALL": "C", "PYTHONHASHSEED": "7", "HOME": "/nonexistent"}
_OTHER_UMASK: Final = 0o077
# 2001-09-09, long before any commit.
_OTHER_TIME: Final = 1_000_000_000


def tracked(root: Path) -> list[str]:
    """Return the paths of the tracked files that exist, sorted. Raises subprocess.CalledProcessError outside of a repository."""
    listed = _git(root, "ls-files", "-z", "--cached")
    return sorted(path for path in listed.split("\0") if path and (root / path).is_file())


def epoch(root: Path) -> int:
    """Return the time of all files (seconds since 1970): SOURCE_DATE_EPOCH, or that of the commit."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or _git(root, "log", "-1", "--format=%ct"))


def build(root: Path, folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it, into a folder. Returns their paths."""
    when = epoch(root)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-") as name:
        source = Path(name) / "source"
        for path in tracked(root):
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / path, source / path)
        built = _built(source, Path(name) / "sdist", "--sdist", when)
        sdist = folder / built.name
        sdist.write_bytes(normalised(built.read_bytes(), when))
        with tarfile.open(sdist) as archive:
            archive.extractall(Path(name) / "unpacked", filter="data")
        (unpacked,) = (Path(name) / "unpacked").iterdir()
        return sdist, _built(unpacked, folder, "--wheel", when)


def _built(source: Path, folder: Path, kind: str, when: int) -> Path:
    before = set(folder.glob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", str(folder), "."],
        cwd=source,
        # setuptools warns of the folders of data files.
        env={**os.environ, "SOURCE_DATE_EPOCH": str(when), "PYTHONWARNINGS": "ignore"},
        umask=0o022,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nthe build {kind} exited with {done.returncode}")
    return _newest(folder, before, "*.tar.gz" if kind == "--sdist" else "*.whl")


def _newest(folder: Path, before: set[Path], pattern: str) -> Path:
    """Return the file that was built, also if it replaced one."""
    new = set(folder.glob(pattern)) - before
    return max(new or folder.glob(pattern), key=lambda file: file.stat().st_mtime_ns)


def normalised(sdist: bytes, when: int) -> bytes:
    """Return an archive with the same files in order, of one time, owned by root, with the modes 0644 and 0755.

    setuptools packs an sdist with the times, owner and modes of the files on disk.
    """
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(sdist), mode="r:gz") as old,
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=when) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            entry = tarfile.TarInfo(member.name)
            entry.type, entry.size, entry.mtime = member.type, member.size, when
            entry.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(entry, old.extractfile(member) if member.isfile() else None)
    return packed.getvalue()


def digest(file: Path) -> str:
    """Return the SHA-256 hash of a file in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def differences(first: Path, second: Path) -> list[str]:
    """Return what differs between two builds of the same file, one sentence for each file in it."""
    if digest(first) == digest(second):
        return []
    name, one, other = first.name, _members(first), _members(second)
    found = [f"{name}: {path} is in one of two builds only" for path in sorted(set(one) ^ set(other))] + [
        f"{name}: {path} differs between two builds"
        for path in sorted(set(one) & set(other))
        if one[path] != other[path]
    ]
    return found or [f"{name}: two builds have the same files and differ in their order or compression"]


def _members(file: Path) -> dict[str, tuple[object, ...]]:
    """Return the time, mode and content of each file in an archive."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            return {
                info.filename: (info.date_time, info.external_attr, wheel.read(info))
                for info in wheel.infolist()
            }
    with tarfile.open(file) as archive:
        return {
            member.name: (
                member.mtime, member.mode, member.uid, member.uname,
                content.read() if (content := archive.extractfile(member)) else b"",
            )
            for member in archive
        }  # fmt: skip


def build_elsewhere(root: Path, folder: Path) -> tuple[Path, Path]:
    """Build a second time from a copy of the repository, in an environment in which all differs that must not count."""
    with tempfile.TemporaryDirectory(prefix="a-longer-name-") as name:
        copy = Path(name) / "elsewhere"
        for path in tracked(root):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, copy / path)
            os.utime(copy / path, (_OTHER_TIME, _OTHER_TIME))
        _git(copy, "init", "--quiet")
        _git(copy, "add", "--all", "--force")
        command = [sys.executable, "-m", "tests.supply_chain.build", "--root", str(copy), str(folder)]
        environment = {**os.environ, **_OTHER, "SOURCE_DATE_EPOCH": str(epoch(root))}
        subprocess.run(
            command, cwd=ROOT, env=environment, umask=_OTHER_UMASK, stdout=subprocess.DEVNULL, check=True
        )
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def twice(root: Path, folder: Path) -> list[str]:
    """Build into a folder, build again elsewhere, and return what differs."""
    first = build(root, folder)
    with tempfile.TemporaryDirectory(prefix="second-") as name:
        second = build_elsewhere(root, Path(name))
        return [fault for one, other in zip(first, second, strict=True) for fault in differences(one, other)]


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, stdout=subprocess.PIPE, text=True, check=True).stdout


def main(arguments: list[str]) -> int:
    root, words = arguments_of(arguments)
    (name,) = (word for word in words if word != "--twice")
    folder = Path(name).resolve()
    found = twice(root, folder) if "--twice" in words else []
    if "--twice" not in words:
        build(root, folder)
    return report(found, "\n".join(f"{digest(file)}  {file.name}" for file in sorted(folder.iterdir())))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
