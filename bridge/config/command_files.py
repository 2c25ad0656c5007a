"""Which files a command executes, as far as its words tell: what a pin is of, and what nobody else may be able to replace.

Nothing is executed or imported to find it out. A word is looked for as the server would find it: in its directory, in
its PATH, and for `python -m` in the directories that the interpreter has.
"""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from ...transports.options import Launch
from .executable import found_program
from .package_spec import is_runner, program_name, program_names

# Programs that execute the command in their arguments, which they look for in PATH.
_WRAPPERS: Final = frozenset(
    {
        "chrt",
        "dbus-run-session",
        "doas",
        "env",
        "exec",
        "flock",
        "ionice",
        "nice",
        "nohup",
        "setsid",
        "stdbuf",
    }
    | {"sudo", "taskset", "time", "timeout", "unbuffer", "unshare", "bwrap", "firejail", "xvfb-run"}
)
_SHELLS: Final = frozenset({"ash", "bash", "busybox", "dash", "fish", "ksh", "mksh", "sh", "zsh"})
_PYTHON: Final = re.compile(r"(?:python|pypy)[0-9.]*t?\Z")
_INTERPRETER: Final = re.compile(
    r"(?:python|pypy|node|nodejs|deno|bun|ruby|perl|php|lua|luajit|java|dotnet|Rscript|julia|tsx|ts-node)[0-9.]*t?\Z"
)
# Options of interpreters whose value is code: it stands in the command, and what it loads is not known.
_CODE: Final = frozenset({"-c", "-e", "--eval", "-p", "--print", "-r", "eval"})
# Options whose value is a file that is executed before the script, or else the name of a package.
_PRELOADED: Final = frozenset(
    {"-r", "--require", "--import", "--loader", "--experimental-loader", "--preload"}
)
_SHELL_LINE: Final = re.compile(r"-[a-z]*c")
# The same of Python, behind options without a value, and that of a module (python --help).
_CODE_OPTION: Final = re.compile(r"-[bBdEiIOPqsSuvx]*c")
_MODULE_OPTION: Final = re.compile(r"-([bBdEiIOPqsSuvx]*)m(.*)")
_VERSION: Final = re.compile(r"python(3\.[0-9]+)[a-z]?\Z")
# Files that a server is likely to write into: a pin of one would refuse its next start.
_DATA: Final = frozenset(
    {".csv", ".db", ".db3", ".duckdb", ".jsonl", ".log", ".ndjson", ".parquet", ".pid", ".sock", ".sqlite"}
    | {".sqlite3", ".tsv"}
)
_SQLITE: Final = b"SQLite format 3\0"
# What a script of Node may be called without its ending, and what stands for a directory.
_ENDINGS: Final = (".js", ".mjs", ".cjs", ".ts")
_MAINS: Final = ("__main__.py", "package.json", "index.js", "index.mjs", "index.ts")
# The sources of one package that are looked at; of a larger one only those that its start needs.
_MOST_SOURCES: Final = 500


@attrs.frozen
class CommandFiles:
    """The files that a command executes, those that it names and that are data, and why there may be others."""

    files: tuple[str, ...]
    data: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def runs_unknown(launch: Launch) -> bool:
    """Return whether a command fetches or looks up what it executes, or may for all that is known."""
    words = program_names(launch.argv)
    if any(is_runner(word, words[at + 1 :]) for at, word in enumerate(words)):
        return True
    found = files_of(launch)
    return not found.files or bool(found.unknown)


def files_of(launch: Launch) -> CommandFiles:
    """Return the files of a command: its program, and every word that is a file or the name of a module."""
    program = found_program(launch.argv, launch.env)
    if program is None:
        return CommandFiles(())
    look = _Look(launch)
    look.add(program)
    look.words(program, launch.argv[1:])
    return look.found(program)


class _Look:
    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        # Without one it is that of the daemon.
        self._cwd = launch.cwd or _here()
        self._files: dict[str, None] = {}
        self._data: dict[str, None] = {}
        self._unknown: dict[str, None] = {}
        self._programs: set[str] = set()

    def found(self, program: str) -> CommandFiles:
        """Return what was found of this program's command."""
        alone = len(self._files) == len(self._programs)
        for one in self._programs:
            if alone and _INTERPRETER.match(program_name(one)):
                self._unknown[
                    f"no script of {program_name(one)} was found, so only the interpreter is looked at"
                ] = None
        if alone and is_runner(program_name(program), self._launch.argv[1:]):
            self._unknown[
                f"what {program_name(program)} goes on to run is not known, so only itself is looked at"
            ] = None
        return CommandFiles(tuple(self._files), tuple(self._data), tuple(self._unknown))

    def add(self, program: str) -> None:
        """Take up a program."""
        self._files[program] = None
        self._programs.add(program)

    def words(self, program: str, words: Sequence[str]) -> None:
        """Take up what these arguments of a program name."""
        name = program_name(program)
        wraps = name in _WRAPPERS or is_runner(name, words)
        at = 0
        while at < len(words):
            word = words[at]
            taken, settled = self._option(program, name, word, words[at + 1] if at + 1 < len(words) else "")
            at += taken or 1
            if not taken and self._file(word, name):
                settled = not word.startswith("-")
                inner = self._path(word) if wraps and self._is_interpreter(word) else None
            elif not taken and wraps and (inner := self._program(word)):
                self.add(inner)
            else:
                inner = None
            if inner is not None:
                # The rest is the command of another program.
                self.words(inner, words[at:])
                return
            if settled and _INTERPRETER.match(name):
                # What follows are arguments of its script.
                name = ""

    def _option(self, program: str, name: str, word: str, following: str) -> tuple[int, bool]:
        """Take up an option that names code. Return how many words it has, and whether it is what the program executes."""
        python = _PYTHON.match(name)
        if name == "env":
            return self._option_of_env(word, following), False
        if name == "uv" and word.startswith("--directory"):
            joined = word.partition("=")[2]
            self._enter(joined or following)
            return (1 if joined else 2), False
        if python and (option := _MODULE_OPTION.fullmatch(word)):
            self._module(program, option[2] or following, isolated=bool(set(option[1]) & {"I", "P"}))
            return (1 if option[2] else 2), True
        if word == "-m":
            return 2, False
        if name in _SHELLS and _SHELL_LINE.fullmatch(word):
            self._unknown[f"what the line of {name} -c runs is not known"] = None
            self._line(following)
            return 2, True
        if _INTERPRETER.match(name) and word in _PRELOADED and self._file(following):
            return 2, False
        if _INTERPRETER.match(name) and (word in _CODE or (python and _CODE_OPTION.fullmatch(word))):
            self._unknown[f"what the code of {name} {word} loads is not known"] = None
            return 2, True
        return 0, False

    def _option_of_env(self, word: str, following: str) -> int:
        if word in ("-C", "--chdir"):
            self._enter(following)
            return 2
        if word in ("-u", "--unset"):
            return 2
        if word in ("-S", "--split-string"):
            self._command("env", following)
            return 2
        if word.startswith(("-S", "--split-string=")):
            self._command("env", word.removeprefix("--split-string=").removeprefix("-S"))
            return 1
        return 0

    def _enter(self, directory: str) -> None:
        self._cwd = os.path.join(self._cwd, directory)  # noqa: PTH118 - as the program does

    def _command(self, name: str, line: str) -> None:
        try:
            self.words(name, shlex.split(line))
        except ValueError:
            self._unknown[f"the words of {name} -S are not known"] = None

    def _line(self, line: str) -> None:
        """Take up the files that a line of a shell names, as far as it looks like a simple command."""
        try:
            for word in shlex.split(line):
                self._file(word.rstrip(";"))
        except ValueError:
            return

    def _path(self, word: str) -> str:
        return os.path.normpath(os.path.join(self._cwd, word))  # noqa: PTH118 - as the server does

    def _is_interpreter(self, word: str) -> bool:
        path = self._path(word)
        return (
            path in self._files and os.access(path, os.X_OK) and bool(_INTERPRETER.match(program_name(path)))
        )

    def _program(self, word: str) -> str | None:
        if "/" in word or "=" in word or word.startswith("-") or not word or word.isdecimal():
            return None
        return found_program((word,), self._launch.env)

    def _file(self, word: str, name: str = "") -> bool:
        """Take up a word, or the value of an option, that is a file. Return whether it is one."""
        values = [word] if word.startswith(("/", ".")) else [word, word.partition("=")[2]]
        values = [
            part for value in values for part in ([value, *value.split(":")] if ":" in value else [value])
        ]
        found = False
        for value in filter(None, values):
            path = self._path(value)
            candidates = [path]
            if _INTERPRETER.match(name) and not value.startswith("-"):
                candidates += [path + ending for ending in _ENDINGS] if not _PYTHON.match(name) else []
                candidates += [f"{path}/{main}" for main in _MAINS]
            for candidate in candidates:
                if os.path.isfile(candidate):  # noqa: PTH113 - a text, and one that is too long is none
                    self._take(candidate)
                    found = True
        return found

    def _take(self, path: str) -> None:
        kept = self._data if _is_data(path) else self._files
        kept[path] = None

    def _module(self, program: str, module: str, *, isolated: bool) -> None:
        parts = module.split(".")
        for directory in self._module_path(program, isolated=isolated):
            sources = list(_sources(Path(directory), parts))
            if sources:
                self._files.update(dict.fromkeys(sources))
                return
        self._unknown[
            f"the module {module} was not found, so what {program_name(program)} -m runs is not known"
        ] = None

    def _module_path(self, program: str, *, isolated: bool) -> Iterator[str]:
        """Yield the directories that this interpreter looks for modules in, in its order."""
        if not isolated:
            yield self._cwd
        version = _VERSION.search(os.path.realpath(program))
        names = f"python{version[1]}*" if version else "python3*"
        # A virtual environment is where the program is, and not where its links lead to.
        places = [Path(program).parent.parent, Path(os.path.realpath(program)).parent.parent]
        home = self._launch.env.get("HOME")
        if home:
            places.append(Path(home) / ".local")
        for place in places:
            for library in sorted({*place.glob(f"lib*/{names}"), *place.glob("lib*/python3")}, reverse=True):
                for directory in (library / "site-packages", library / "dist-packages", library):
                    yield str(directory)
                    yield from _added_by(directory)


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a text
    except OSError:
        # It was removed, so that no relative name means anything.
        return "/"


def _is_data(path: str) -> bool:
    if os.path.splitext(path)[1].lower() in _DATA:  # noqa: PTH122 - a text
        return True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(_SQLITE)) == _SQLITE
    finally:
        os.close(descriptor)


def _sources(directory: Path, parts: Sequence[str]) -> Iterator[str]:
    """Yield the files that `python -m` executes for a module below this directory, and the sources of its package."""
    place = directory.joinpath(*parts)
    if not place.is_dir():
        if place.with_name(f"{place.name}.py").is_file():
            yield from _packages(directory, parts[:-1])
            yield str(place.with_name(f"{place.name}.py"))
        return
    if not (place / "__main__.py").is_file():
        return
    yield from _packages(directory, parts)
    yield str(place / "__main__.py")
    sources: list[str] = []
    for folder, folders, names in os.walk(place):
        folders.sort()
        sources += [os.path.join(folder, name) for name in sorted(names) if name.endswith((".py", ".so"))]  # noqa: PTH118
        if len(sources) > _MOST_SOURCES:
            return
    yield from sources


def _packages(directory: Path, parts: Sequence[str]) -> Iterator[str]:
    for count in range(1, len(parts) + 1):
        file = directory.joinpath(*parts[:count], "__init__.py")
        if file.is_file():
            yield str(file)


def _added_by(directory: Path) -> Iterator[str]:
    """Yield the directories that the .pth files of a directory add (Python's module `site`)."""
    for file in sorted(directory.glob("*.pth")):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if line and not line.startswith(("#", "import ", "import\t")):
                yield os.path.join(directory, line)  # noqa: PTH118 - an absolute line stands for itself
