"""Credentials in the history: all versions of all files, and all commit messages, also of what was removed later."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..plants import Plant, git
from ..result import Result, checked, not_run
from ..secret_texts import known, secrets_in
from .secrets import AWS_KEY, PRIVATE_KEY

CLASS: Final = "credentials"
TOOL: Final = "detector of this project"
SPEED: Final = "fast"
MAY_NOT_RUN: Final = "needs the history, which a shallow clone and a release archive do not have"

# A larger file is data, and would be noticed in a review (bytes).
LARGEST: Final = 4 * 1024 * 1024


def run(root: Path) -> Result:
    """Search each object of the repository once."""
    version = git(root, "--version").strip()
    try:
        shallow = git(root, "rev-parse", "--is-shallow-repository").strip() == "true"
    except subprocess.CalledProcessError:
        return not_run(f"{root} is no git repository", version)
    if shallow:
        return not_run("the clone is shallow: git fetch --unshallow", version)
    return checked(_findings(root), version)


def _findings(root: Path) -> Iterator[str]:
    allowed = known()
    paths: dict[str, str] = {}
    for line in git(root, "rev-list", "--objects", "--all", "HEAD").splitlines():
        name, _, path = line.partition(" ")
        if not path.endswith("package-lock.json"):
            paths.setdefault(name, path)
    for name, content in _objects(root, list(paths)):
        for secret in secrets_in(content):
            if secret.digest not in allowed:
                where = f"{paths[name]}:{secret.line}" if paths[name] else "commit message"
                yield f"{where}: {secret.kind} ({secret.digest}), in object {name[:12]}"


def _objects(root: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of files and commits."""
    listed = subprocess.run(
        ["git", "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)"],
        cwd=root,
        input="\n".join(names),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    wanted = [
        name
        for name, kind, size in (line.split() for line in listed.splitlines())
        if kind in {"blob", "commit"} and int(size) <= LARGEST
    ]
    with subprocess.Popen(
        ["git", "cat-file", "--batch"], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # Names of a part fit into the pipe, so that git never waits for a reader that is writing.
        for start in range(0, len(wanted), 100):
            process.stdin.write("".join(f"{name}\n" for name in wanted[start : start + 100]).encode())
            process.stdin.flush()
            for name in wanted[start : start + 100]:
                size = int(process.stdout.readline().split()[2])
                yield name, process.stdout.read(size + 1)[:-1]
        process.stdin.close()


def _commit_and_remove(root: Path) -> None:
    (root / "docs/planted_history.txt").write_text(f"{PRIVATE_KEY}\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Add a file")
    git(root, "rm", "--quiet", "docs/planted_history.txt")
    git(root, "commit", "--quiet", "-m", "Remove it")


def _commit_with_message(root: Path) -> None:
    git(root, "commit", "--quiet", "--allow-empty", "-m", f"Use {AWS_KEY}")


PLANTS: Final = (
    Plant(
        "a private key in a file that was removed", _commit_and_remove, ("planted_history.txt", "private key")
    ),
    Plant(
        "an AWS access key in a commit message", _commit_with_message, ("commit message", "AWS access key")
    ),
)
