"""Find the files that a command executes, from its words. A pin is a hash of these files.

Nothing is executed or imported. A word is resolved as the server resolves it: in its working directory, in its PATH, and for
`python -m` in the module path of the interpreter.
"""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from ...transports.options import Launch
from .executable import find_program
from .package_spec import is_runner, program_name, program_names

# Programs that execute the command in their arguments, found in PATH.
WRAPPERS: Final = frozenset(
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
SHELLS: Final = frozenset({"ash", "bash", "busybox", "dash", "fish", "ksh", "mksh", "sh", "zsh"})
PYTHON: Final = re.compile(r"(?:python|pypy)[0-9.]*t?\Z")
INTERPRETER: Final = re.compile(
    r"(?:python|pypy|node|nodejs|deno|bun|ruby|perl|php|lua|luajit|java|dotnet|Rscript|julia|tsx|ts-node)[0-9.]*t?\Z"
)
# Options of interpreters whose value is code. The files that the code loads are unknown.
CODE: Final = frozenset({"-c", "-e", "--eval", "-p", "--print", "-r", "eval"})
# Options whose value is a file that is executed before the script, or the name of a package.
PRELOADED: Final = frozenset(
    {"-r", "--require", "--import", "--loader", "--experimental-loader", "--preload"}
)
SHELL_LINE: Final = re.compile(r"-[a-z]*c")
# The options of Python for code and for a module, after options without a value (python --help).
CODE_OPTION: Final = re.compile(r"-[bBdEiIOPqsSuvx]*c")
MODULE_OPTION: Final = re.compile(r"-([bBdEiIOPqsSuvx]*)m(.*)")
_VERSION: Final = re.compile(r"python(3\.[0-9]+)[a-z]?\Z")
# Files that a server is likely to write. A pin of such a file would refuse the next start.
_DATA: Final = frozenset(
    {".csv", ".db", ".db3", ".duckdb", ".jsonl", ".log", ".ndjson", ".parquet", ".pid", ".sock", ".sqlite"}
    | {".sqlite3", ".tsv"}
)
_SQLITE: Final = b"SQLite format 3\0"
# The endings that Node adds to the name of a script, and the main file of a directory.
_ENDINGS: Final = (".js", ".mjs", ".cjs", ".ts")
_MAINS: Final = ("__main__.py", "package.json", "index.js", "index.mjs", "index.ts")
# A package with more sources counts with the sources of its start only.
_MOST_SOURCES: Final = 500


@attrs.frozen
class CommandFiles:
    """The files that a command executes, the data files among its words, and the reasons why there may be more files."""

    files: tuple[str, ...]
    data: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def runs_unknown(launch: Launch) -> bool:
    """Return whether a command downloads or looks up the program that it executes, or may do so."""
    words = program_names(launch.argv)
    if any(is_runner(word, words[at + 1 :]) for at, word in enumerate(words)):
        return True
    found = find_command_files(launch)
    return not found.files or bool(found.unknown)


def find_command_files(launch: Launch) -> CommandFiles:
    """Return the files of a command: its program, and every word that is a file or a module. A remote server has none."""
    program = find_program(launch.argv, launch.env) if launch.argv else None
    if program is None:
        return CommandFiles(())
    search = _Search(launch)
    search.add(program)
    search.words(program, launch.argv[1:])
    return search.found(program)


class _Search:
    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        # The default is the working directory of the daemon.
        self._cwd = launch.cwd or _here()
        self._files: dict[str, None] = {}
        self._data: dict[str, None] = {}
        self._unknown: dict[str, None] = {}
        self._programs: set[str] = set()

    def found(self, program: str) -> CommandFiles:
        """Return the files that were found."""
        alone = len(self._files) == len(self._programs)
        for one in self._programs:
            if alone and INTERPRETER.match(program_name(one)):
                self._unknown[
                    f"no script of {program_name(one)} was found, so only the interpreter is checked"
                ] = None
        if alone and is_runner(program_name(program), self._launch.argv[1:]):
            self._unknown[
                f"the program that {program_name(program)} executes is not known, so only {program_name(program)} is checked"
            ] = None
        return CommandFiles(tuple(self._files), tuple(self._data), tuple(self._unknown))

    def add(self, program: str) -> None:
        self._files[program] = None
        self._programs.add(program)

    def words(self, program: str, words: Sequence[str]) -> None:
        """Add the files that these arguments of a program name."""
        name = program_name(program)
        wraps = name in WRAPPERS or is_runner(name, words)
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
                # The remaining words are the command of another program.
                self.words(inner, words[at:])
                return
            if settled and INTERPRETER.match(name):
                # The following words are arguments of the script.
                name = ""

    def _option(self, program: str, name: str, word: str, following: str) -> tuple[int, bool]:
        """Add the code that an option names. Return its number of words, and whether the program executes this code."""
        python = PYTHON.match(name)
        if name == "env":
            return self._option_of_env(word, following), False
        if name == "uv" and word.startswith("--directory"):
            joined = word.partition("=")[2]
            self._enter(joined or following)
            return (1 if joined else 2), False
        if python and (option := MODULE_OPTION.fullmatch(word)):
            self._module(program, option[2] or following, isolated=bool(set(option[1]) & {"I", "P"}))
            return (1 if option[2] else 2), True
        if word == "-m":
            return 2, False
        if name in SHELLS and SHELL_LINE.fullmatch(word):
            self._unknown[f"the programs in the line of {name} -c are not known"] = None
            self._line(following)
            return 2, True
        if INTERPRETER.match(name) and word in PRELOADED and self._file(following):
            return 2, False
        if INTERPRETER.match(name) and (word in CODE or (python and CODE_OPTION.fullmatch(word))):
            self._unknown[f"the files that the code of {name} {word} loads are not known"] = None
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
        """Add the files that a shell line names, if it is a simple command."""
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
            path in self._files and os.access(path, os.X_OK) and bool(INTERPRETER.match(program_name(path)))
        )

    def _program(self, word: str) -> str | None:
        if "/" in word or "=" in word or word.startswith("-") or not word or word.isdecimal():
            return None
        return find_program((word,), self._launch.env)

    def _file(self, word: str, name: str = "") -> bool:
        """Add a word, or the value of an option, that is a file. Return whether it is a file."""
        found = False
        for value in paths_in(word):
            path = self._path(value)
            candidates = [path]
            if INTERPRETER.match(name) and not value.startswith("-"):
                candidates += [path + ending for ending in _ENDINGS] if not PYTHON.match(name) else []
                candidates += [f"{path}/{main}" for main in _MAINS]
            for candidate in candidates:
                if os.path.isfile(candidate):  # noqa: PTH113 - returns False for a path that is too long
                    self._add_file(candidate)
                    found = True
        return found

    def _add_file(self, path: str) -> None:
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
            f"the module {module} was not found, so the files of {program_name(program)} -m are not known"
        ] = None

    def _module_path(self, program: str, *, isolated: bool) -> Iterator[str]:
        """Yield the module path of an interpreter, in its order."""
        if not isolated:
            yield self._cwd
        version = _VERSION.search(os.path.realpath(program))
        names = f"python{version[1]}*" if version else "python3*"
        # A virtual environment is found by the path of the program before its links are resolved.
        places = [Path(program).parent.parent, Path(os.path.realpath(program)).parent.parent]
        home = self._launch.env.get("HOME")
        if home:
            places.append(Path(home) / ".local")
        for place in places:
            for library in sorted({*place.glob(f"lib*/{names}"), *place.glob("lib*/python3")}, reverse=True):
                for directory in (library / "site-packages", library / "dist-packages", library):
                    yield str(directory)
                    yield from _added_by(directory)


def paths_in(word: str) -> Iterator[str]:
    """Yield the parts of a word that may be paths: the word, the value of an option, and the members of a list."""
    values = [word] if word.startswith(("/", ".")) else [word, word.partition("=")[2]]
    for value in values:
        yield from filter(None, [value, *value.split(":")] if ":" in value else [value])


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a text
    except OSError:
        # The directory was removed, so no relative path can be resolved.
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
    """Yield the files of a module and its package in this directory."""
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
        sources += [os.path.join(folder, name) for name in sorted(names) if name.endswith((".py", ".so"))]  # noqa: PTH118 - of texts
        if len(sources) > _MOST_SOURCES:
            return
    yield from sources


def _packages(directory: Path, parts: Sequence[str]) -> Iterator[str]:
    for count in range(1, len(parts) + 1):
        file = directory.joinpath(*parts[:count], "__init__.py")
        if file.is_file():
            yield str(file)


def _added_by(directory: Path) -> Iterator[str]:
    """Yield the directories that the .pth files of a directory add (the module `site` of Python)."""
    for file in sorted(directory.glob("*.pth")):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if line and not line.startswith(("#", "import ", "import\t")):
                yield os.path.join(directory, line)  # noqa: PTH118 - an absolute line stands for itself
