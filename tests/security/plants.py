"""Planted faults: changes of a copy of the sources that a gate must report."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .tools import files


@dataclass(frozen=True)
class Plant:
    """A fault.

    `name` describes it in docs/SECURITY-GATES.md. `change` gets the root of the copy. One of the findings has all texts of
    `expected` with the fault, and none has them without it. Faults of a gate are planted together and reported by one run, but
    for those with `alone`, which have a copy to themselves because they hide others.
    """

    name: str
    change: Callable[[Path], None]
    expected: tuple[str, ...]
    alone: bool = False


def new_file(name: str, path: str, text: str, *expected: str, alone: bool = False) -> Plant:
    """A fault in a new file. Findings name the path of the file if nothing else is expected."""

    def change(root: Path) -> None:
        if (root / path).exists():
            message = f"the planted fault {name!r} needs another path than {path}"
            raise FileExistsError(message)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    return Plant(name, change, expected or (path,), alone)


def appended(name: str, path: str, text: str, *expected: str, alone: bool = False) -> Plant:
    """A fault at the end of an existing file."""

    def change(root: Path) -> None:
        with (root / path).open("a") as file:
            file.write(text)

    return Plant(name, change, expected, alone)


def replaced(name: str, path: str, old: str, new: str, *expected: str, alone: bool = False) -> Plant:
    """A fault in place of the first occurrence of a text, which must exist."""

    def change(root: Path) -> None:
        text = (root / path).read_text()
        if old not in text:
            message = f"the planted fault {name!r} finds no {old!r} in {path}"
            raise LookupError(message)
        (root / path).write_text(text.replace(old, new, 1))

    return Plant(name, change, expected, alone)


def git(root: Path, *arguments: str) -> str:
    """Run git in a copy, with an author of its own and without the user's configuration of hooks."""
    identity = (
        "-c",
        "user.name=plant",
        "-c",
        "user.email=plant@example.invalid",
        "-c",
        "core.hooksPath=/dev/null",
    )
    return subprocess.run(
        ["git", *identity, "-c", "commit.gpgSign=false", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


class Copy:
    """A repository with the history and the files of another, which can be changed and restored."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = git(root, "rev-parse", "HEAD").strip()

    def restore(self) -> None:
        """Remove every planted fault, also those in commits."""
        git(self.root, "reset", "--quiet", "--hard", self._base)
        git(self.root, "clean", "--quiet", "-ffd")


@contextmanager
def copy_of(root: Path) -> Iterator[Copy]:
    """Yield a copy of a repository: its history, and its files as they are now, committed."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder) / "copy"
        git(root, "clone", "--quiet", "--no-checkout", str(root), str(copy))
        # Only the commits of the checkout count, not those of branches elsewhere.
        git(copy, "remote", "remove", "origin")
        for path in files(root):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / path, copy / path, follow_symlinks=False)
        git(copy, "add", "--all")
        git(copy, "commit", "--quiet", "--allow-empty", "--no-verify", "-m", "The files as they are")
        yield Copy(copy)
