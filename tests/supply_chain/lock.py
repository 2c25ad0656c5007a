"""Write and check the lock files: `python -m tests.supply_chain.lock [--root ROOT] update|check`.

`requirements/NAME.txt` pins each package of an environment, with the SHA-256 hash of each of its files, for CPython 3.11 and newer
on Linux. `update` needs uv and a package index; `check` needs neither. `make deps-update` runs both.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .report import ROOT, arguments_of, report

PYTHON: Final = "3.11"
# The Python versions that the lock files are for. Markers are evaluated for each of them.
VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
# These clauses are true wherever the program runs.
_ALWAYS: Final = {
    "implementation_name == 'cpython'",
    "platform_python_implementation != 'PyPy'",
    "sys_platform == 'linux'",
}
_HEAD: Final = "# {what}\n# Written by `make deps-update`. Each file of a package has a SHA-256 hash.\n"


@dataclass(frozen=True)
class Lock:
    """A lock file. `groups` are dependency groups; `joint` locks have the same version of each package in common."""

    what: str
    groups: tuple[str, ...] = ()
    project: bool = True
    extras: bool = False
    joint: bool = True


# Key: name of the file.
LOCKS: Final = {
    "runtime": Lock("What the program needs."),
    "extras": Lock("What the program and all of its extras need.", extras=True),
    "test": Lock("What the tests need: the program, and the dependency group test.", ("test",)),
    "lint": Lock("What the tests and linters need.", ("test", "lint")),
    "security": Lock("What the security gates need.", ("security",), project=False, joint=False),
    "fuzz": Lock("What the fuzzer needs beside the tests.", ("fuzz",), project=False, joint=False),
    "mutation": Lock("What makes the mutants of the pure code.", ("mutation",), project=False, joint=False),
    "supply": Lock(
        "What the checks of dependencies and packages need.", ("supply",), project=False, joint=False
    ),
}


def sources(lock: Lock) -> list[str]:
    """Return the arguments of `uv pip compile` that name the requirements of a lock file."""
    arguments = [f"--group={group}" for group in lock.groups]
    if lock.project:
        arguments.append("pyproject.toml")
    return arguments + (["--all-extras"] if lock.extras else [])


def compiled(uv: str, root: Path, arguments: list[str]) -> str:
    """Return the lock file that uv makes of requirements. Raises subprocess.CalledProcessError."""
    options = [
        "--universal",
        "--python-version",
        PYTHON,
        "--no-header",
        "--no-annotate",
        "--upgrade",
        "--quiet",
        "--system-certs",
    ]
    return subprocess.run(
        [uv, "pip", "compile", *options, *arguments],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def plain(text: str) -> str:
    """Remove the clauses of markers that are true wherever the program runs."""
    lines = []
    for line in text.splitlines():
        pinned, semicolon, rest = line.partition(" ; ")
        if semicolon:
            marker = rest.removesuffix(" \\")
            clauses = [clause for clause in marker.split(" and ") if clause not in _ALWAYS]
            pinned += f" ; {' and '.join(clauses)}" if clauses else ""
            pinned += rest[len(marker) :]
        lines.append(pinned)
    return "".join(f"{line}\n" for line in lines)


def update(root: Path = ROOT) -> None:
    """Write the lock files with the newest versions within the limits of pyproject.toml."""
    uv = uv_program()
    folder = root / "requirements"
    folder.mkdir(exist_ok=True)
    joint = [word for lock in LOCKS.values() if lock.joint for word in sources(lock)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write(compiled(uv, root, list(dict.fromkeys(joint))))
        constraints.flush()
        for name, lock in LOCKS.items():
            common = ["--constraints", constraints.name] if lock.joint else []
            text = compiled(uv, root, [*sources(lock), *common, "--generate-hashes"])
            (folder / f"{name}.txt").write_text(_HEAD.format(what=lock.what) + plain(text))
            print(f"requirements/{name}.txt: {len(pins(text))} packages")


def uv_program() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        sys.exit("uv is not installed (make .deps/supply)")
    return found


@dataclass(frozen=True)
class Pin:
    """A line of a lock file and the lines of its hashes."""

    requirement: Requirement
    hashes: int

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The pinned version, or an empty text if the requirement is not `==` alone."""
        pinned = re.fullmatch(r"==([\w.!+-]+)", str(self.requirement.specifier))
        return pinned[1] if pinned else ""


def entries(text: str) -> list[str]:
    """Return the entries of a lock file: each is one line, comments removed."""
    joined = text.replace("\\\n", " ")
    return [
        line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]


def pins(text: str) -> list[Pin]:
    """Parse a lock file. Raises packaging.requirements.InvalidRequirement."""
    found = []
    for entry in entries(text):
        requirement, *hashes = re.split(r"\s+--hash=", entry)
        found.append(Pin(Requirement(requirement), sum(is_hash(text) for text in hashes)))
    return found


def is_hash(text: str) -> bool:
    return re.fullmatch(r"sha256:[0-9a-f]{64}", text) is not None


def faults(root: Path = ROOT) -> list[str]:
    """Return what is wrong with the lock files, one sentence for each fault."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    found = []
    locked: dict[str, dict[str, str]] = {}
    for name, lock in LOCKS.items():
        file = root / f"requirements/{name}.txt"
        if not file.is_file():
            found.append(f"requirements/{name}.txt: the file does not exist (make deps-update)")
            continue
        where = f"requirements/{name}.txt"
        unclean, parsed = _parsed(where, file.read_text())
        found += unclean
        found += _unmet(where, wanted(project, lock), parsed)
        if lock.joint:
            locked[where] = {pin.name: pin.version for pin in parsed}
    return found + _contradictions(locked)


def _parsed(where: str, text: str) -> tuple[list[str], list[Pin]]:
    found: list[str] = []
    parsed: list[Pin] = []
    for entry in entries(text):
        if entry.startswith("-") or "://" in entry or " @ " in entry:
            found.append(
                f"{where}: {entry.split(' ')[0]} names a place, and a lock file must work with every index"
            )
            continue
        pin = pins(entry)[0]
        parsed.append(pin)
        if not pin.version:
            found.append(f"{where}: {pin.name} is not pinned to one version")
        if not pin.hashes or pin.hashes != entry.count("--hash="):
            found.append(f"{where}: {pin.name} has no SHA-256 hash, or a hash of another kind")
    return found, parsed


def wanted(project: dict, lock: Lock) -> list[Requirement]:
    """Return the requirements of pyproject.toml that a lock file must meet."""
    texts: list[str] = []
    if lock.project:
        texts += project["project"]["dependencies"]
    if lock.extras:
        texts += [text for extra in project["project"]["optional-dependencies"].values() for text in extra]
    for group in lock.groups:
        texts += project["dependency-groups"][group]
    return [Requirement(text) for text in texts]


def _unmet(where: str, requirements: list[Requirement], parsed: list[Pin]) -> list[str]:
    found = []
    for requirement in requirements:
        for version in VERSIONS:
            if not _applies(requirement.marker, version):
                continue
            chosen = [
                pin.version
                for pin in parsed
                if pin.name == canonicalize_name(requirement.name)
                and _applies(pin.requirement.marker, version)
            ]
            if len(chosen) != 1 or not requirement.specifier.contains(chosen[0], prereleases=True):
                found.append(
                    f"{where}: {requirement} of pyproject.toml is not met for Python {version}:"
                    f" locked is {', '.join(chosen) or 'no version'} (make deps-update)"
                )
                break
    return found


def _applies(marker: Marker | None, version: str) -> bool:
    return marker is None or marker.evaluate(
        {"python_version": version, "python_full_version": f"{version}.0"}
    )


def _contradictions(locked: dict[str, dict[str, str]]) -> list[str]:
    """Compare the files pairwise with the largest one: each package has one version in all of them."""
    first: dict[str, tuple[str, str]] = {}
    found = []
    for where, versions in locked.items():
        for name, version in versions.items():
            other, same = first.setdefault(name, (where, version))
            if same != version:
                found.append(f"{where}: {name} is {version}, and {same} in {other}")
    return found


def main(arguments: list[str]) -> int:
    root, words = arguments_of(arguments)
    if words not in (["update"], ["check"]):
        sys.exit(__doc__)
    if words == ["update"]:
        update(root)
    return report(faults(root), f"{len(LOCKS)} lock files meet pyproject.toml, with a hash for each file")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
