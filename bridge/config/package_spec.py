"""Find the package that a command downloads, and whether its version is pinned.

A command such as `npx -y some-server@1.2.3` starts a runner, which downloads the program or looks it up outside of PATH.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import attrs


@attrs.frozen
class _Options:
    """The options of a runner that take a value: those that name the package, and the others."""

    package: frozenset[str]
    other: frozenset[str]


_NPM: Final = _Options(frozenset({"-p", "--package"}), frozenset({"--registry", "--prefix", "--cache"}))
_UV: Final = _Options(
    frozenset({"--from"}),
    frozenset({"-p", "--python", "-w", "--with", "--index", "--index-url", "--directory"}),
)
# The runners whose first word without a dash is a package.
_PACKAGE_RUNNERS: Final[Mapping[str, _Options]] = {"npx": _NPM, "bunx": _NPM, "pnpx": _NPM, "uvx": _UV}
# Programs that run another program than the files of their command, whatever the arguments are.
_RUNNERS: Final = frozenset({*_PACKAGE_RUNNERS, "docker", "pipx", "podman"})
# Programs that do so with one of these as the first word without a dash.
_RUNNER_COMMANDS: Final[Mapping[str, frozenset[str]]] = {
    "bun": frozenset({"run", "x"}),
    "cargo": frozenset({"run"}),
    "deno": frozenset({"task"}),
    "dotnet": frozenset({"run", "tool"}),
    "go": frozenset({"run"}),
    "hatch": frozenset({"run"}),
    "npm": frozenset({"exec", "run", "start", "x"}),
    "pdm": frozenset({"run"}),
    "pixi": frozenset({"run"}),
    "pnpm": frozenset({"dlx", "exec", "run"}),
    "poetry": frozenset({"run"}),
    "uv": frozenset({"run", "tool"}),
    "yarn": frozenset({"dlx", "exec", "run"}),
}
# Programs that execute what a file of their working directory describes, such as a Makefile, a package.json, a pyproject.toml,
# a .Rprofile or a rust-toolchain.toml, with nearly every argument.
_PROJECT_PROGRAMS: Final = frozenset(
    {
        "Rscript",
        "R",
        "ant",
        "asdf",
        "bazel",
        "bmake",
        "bun",
        "bundle",
        "cargo",
        "cmake",
        "composer",
        "corepack",
    }
    | {
        "deno",
        "devbox",
        "direnv",
        "dotnet-script",
        "gmake",
        "go",
        "gradle",
        "gradlew",
        "grunt",
        "gulp",
        "hatch",
    }
    | {"inv", "invoke", "irb", "just", "lein", "lua", "luajit", "make", "meson", "mise", "mix", "mvn", "mvnw"}
    | {"ninja", "nix", "nix-shell", "nox", "npm", "pdm", "pipenv", "pixi", "pnpm", "poetry", "rake", "rtx"}
    | {"rustup", "sbt", "task", "tox", "ts-node", "tsx", "uv", "volta", "volta-shim", "yarn", "zx"}
)
# Programs of which only these commands do so.
_PROJECT_COMMANDS: Final[Mapping[str, frozenset[str]]] = {
    "docker": frozenset({"build", "buildx", "compose"}),
    "podman": frozenset({"build", "compose"}),
}
# As in lua5.4.
_VERSION_SUFFIX: Final = re.compile(r"[0-9.]+\Z")
# Two of these at the same time can damage their cache. uv and docker lock the cache.
_WITHOUT_LOCK: Final = frozenset({"bun", "bunx", "npm", "npx", "pipx", "pnpm", "pnpx", "yarn"})
# A version that begins with a digit, or a commit of Git.
_PINNED: Final = re.compile(r".(?:==|@)(?:v?\d|[0-9a-f]{40})")
# A directory or an archive of this machine.
_LOCAL: Final = (".", "/", "~")


@attrs.frozen
class Package:
    """A package that a command downloads. `position` is the index of its word in the command."""

    spec: str
    position: int

    @property
    def is_pinned(self) -> bool:
        """Return whether the package names a version; a tag such as `latest` is none."""
        return _PINNED.search(self.spec) is not None


def find_package(argv: Sequence[str]) -> Package | None:
    """Return the package that a command downloads, or None for a program or a package of this machine."""
    options = _PACKAGE_RUNNERS.get(program_name(argv[0]))
    if options is None:
        return None
    found = next(_packages(argv, options), None)
    return None if found is None or not found.spec or found.spec.startswith(_LOCAL) else found


def _packages(argv: Sequence[str], options: _Options) -> Iterator[Package]:
    for position, (before, word) in enumerate(pairwise(argv), 1):
        option, equals, value = word.partition("=")
        if equals and option in options.package:
            yield Package(value, position)
        elif before in options.package or (before not in options.other and not word.startswith("-")):
            yield Package(word, position)


def is_runner(program: str, arguments: Iterable[str]) -> bool:
    """Return whether a program with these arguments runs another program than the files of its command."""
    first = next((word for word in arguments if not word.startswith("-")), "")
    return program in _RUNNERS or first in _RUNNER_COMMANDS.get(program, ())


def reads_project(program: str, arguments: Iterable[str]) -> bool:
    """Return whether the working directory chooses what a program with these arguments executes."""
    words = list(arguments)
    if program in _PROJECT_COMMANDS:
        return not _PROJECT_COMMANDS[program].isdisjoint(words)
    return _VERSION_SUFFIX.sub("", program) in _PROJECT_PROGRAMS or is_runner(program, words)


def downloads_without_lock(argv: Sequence[str]) -> bool:
    """Return whether two processes of this command, started at the same time, can damage the cache of downloads."""
    return any(word in _WITHOUT_LOCK for word in program_names(argv))


def program_names(argv: Sequence[str]) -> list[str]:
    """Return the last parts of all words of a command, also of the words of a shell line."""
    return [program_name(word) for argument in argv for word in argument.split()]


def program_name(path: str) -> str:
    """Return the last part of the path of a program."""
    return path.rpartition("/")[2]
