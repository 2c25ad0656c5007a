"""Decide whether the working directory of a command chooses the code that it executes (`cwd = "client"`).

A client names the directory, and the directory may be a repository that was just cloned. A command such as `npx`, `uv run`,
`python -m` or `sh -c` would execute what that repository has. Nothing is executed here. A program that is not known here is
assumed to execute nothing of its directory, except a file that one of its arguments names.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .command_files import (
    CODE,
    CODE_OPTION,
    INTERPRETER,
    MODULE_OPTION,
    PRELOADED,
    PYTHON,
    SHELL_LINE,
    SHELLS,
    WRAPPERS,
    paths_in,
)
from .executable import find_program, interpreter_line
from .package_spec import program_name, reads_project

TRUST: Final = "set cwd_trust = true if every directory in cwd_allowed may choose it"
# Variables with directories or files of code, separated by colons.
_PATH_LISTS: Final = (
    *("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "PYTHONPATH", "NODE_PATH", "PERL5LIB", "RUBYLIB"),
    *("CLASSPATH", "BASH_ENV", "ENV"),
)
_JAVA: Final = frozenset({"java"})
# Options of interpreters with a value in the next word, which is no code.
_WITH_VALUE: Final = frozenset({"-C", "--conditions", "-W", "-X", "-o", "-O", "+o", "+O", "--title"})
# Options whose value is a file that is executed, or that sets variables.
_FILE_OPTIONS: Final = PRELOADED | {
    *("-I", "--env-file", "--env-file-if-exists", "--experimental-config-file", "--init-file", "--rcfile")
}
# Options of Node.js and Julia that read the project of the working directory.
_FROM_DIRECTORY: Final = frozenset(
    {"--experimental-default-config-file", "--run", "--test", "--project", "--project=@."}
)
# Options of interpreters that may have their value in the same word.
_JOINED: Final = frozenset({"-I", "-r"})
_CLASS_PATHS: Final = frozenset({"-cp", "-classpath", "--class-path"})
# Variables with options of an interpreter.
_OPTIONS_OF: Final = {"NODE_OPTIONS": "node"}
# Programs that execute the command in their arguments, besides `WRAPPERS`.
_OTHER_WRAPPERS: Final = frozenset(
    {"catchsegv", "chroot", "conda", "dotenv", "dotenvx", "doppler", "dumb-init", "infisical", "mcp-proxy"}
    | {"micromamba", "op", "parallel", "prlimit", "proxychains", "proxychains4", "runuser", "script"}
    | {"setpriv", "sops", "ssh-agent", "strace", "su", "systemd-run", "tini", "watch", "xargs"}
)
# Options of env(1) without a value, joined with -S.
_SPLIT_STRING: Final = re.compile(r"-[0iv]*S(.*)", re.DOTALL)
# Options of Java with a file of code in the same word.
_AGENTS: Final = ("-javaagent:", "-agentpath:")
# More links of a program are a circle (path_resolution(7)).
_MOST_LINKS: Final = 40


def why_directory_chooses(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return why the working directory chooses what this command executes, empty where it does not.

    Only the words and the variables are examined, and no file.
    """
    return _why_words(argv) or _why_variables(environment)


def why_program_chooses(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return why the program that is found for a command lets the working directory choose; empty where it does not.

    The names of its links are examined, because a link may be a version manager, and the first line of a script. Blocks.
    """
    program = find_program(tuple(argv), environment)
    if program is None:
        return ""
    for path in _links(program):
        if reason := _why_words((path, *argv[1:])):
            return reason
    line = interpreter_line(program)
    return _why_words((*line, program, *argv[1:])) if line else ""


def file_in_directory(argv: Sequence[str], directory: str) -> str:
    """Return the part of an argument that is the relative path of a file in this directory, empty for none. Blocks.

    A directory, such as `.`, is no code. A word without a dot and a slash is most likely no path.
    """
    for word in argv[1:]:
        for value in paths_in(word):
            relative = not value.startswith(("/", "-")) and ("/" in value or "." in value)
            if relative and os.path.isfile(os.path.join(directory, value)):  # noqa: PTH113, PTH118 - of texts
                return value
    return ""


def _links(program: str) -> Iterator[str]:
    """Yield the path of a program, and the path that each link of it leads to."""
    for _ in range(_MOST_LINKS):
        yield program
        try:
            target = os.readlink(program)  # noqa: PTH115 - a text
        except OSError:
            return
        program = os.path.join(os.path.dirname(program), target)  # noqa: PTH118, PTH120 - of texts


def _why_words(argv: Sequence[str]) -> str:
    name, words = program_name(argv[0]), argv[1:]
    if "/" in argv[0] and not argv[0].startswith("/"):
        return "the path of a program is relative"
    if reads_project(name, words):
        return f"{name} executes what a file of its working directory describes"
    if PYTHON.match(name):
        return _why_python(name, words)
    if name in SHELLS or INTERPRETER.match(name):
        return _why_interpreter(name, words)
    if name == "env":
        return _why_env(words)
    if "--" in words and name not in WRAPPERS:
        # Most programs that execute a command expect it behind this word.
        return _why_wrapped(name, words[words.index("--") + 1 :])
    return _why_wrapped(name, words) if name in WRAPPERS or name in _OTHER_WRAPPERS else ""


def _why_python(name: str, words: Sequence[str]) -> str:
    # -I and -P keep the working directory out of the module path (python --help).
    isolated = skip = False
    for word in words:
        if skip:
            skip = False
            continue
        if not word.startswith("-") or word == "-":
            return _why_script(name, word)
        short = "" if word.startswith("--") else word
        isolated = isolated or bool(set(_letters(short)) & {"I", "P"})
        if MODULE_OPTION.fullmatch(short) or CODE_OPTION.fullmatch(short):
            return "" if isolated else f"{name} -m or -c imports modules from its working directory"
        skip = word in _WITH_VALUE
    return _without_script(name)


def _letters(word: str) -> str:
    """Return the letters of joined options of Python, without the value of the last."""
    return re.split("[cmWX]", word, maxsplit=1)[0]


def _why_interpreter(name: str, words: Sequence[str]) -> str:
    skip = False
    for at, word in enumerate(words):
        following = words[at + 1] if at + 1 < len(words) else ""
        if skip:
            skip = False
            continue
        if name in _JAVA and (word in _CLASS_PATHS or word == "-jar"):
            return _why_class_path(name, following)
        if name in SHELLS and SHELL_LINE.fullmatch(word):
            return f"the programs in the line of {name} {word} are not known"
        if name in _JAVA and word.startswith(_AGENTS) and not _is_absolute(word.partition(":")[2]):
            return f"{name} loads an agent from a path that is not absolute"
        option, equals, value = word.partition("=")
        if word in _FROM_DIRECTORY or (option == "--project" and not _is_absolute(value)):
            return f"{name} {word} executes what a file of its working directory describes"
        if name not in SHELLS and word[:2] in _JOINED and len(word) > len("-I"):
            option, equals, value = word[:2], "=", word[2:].removeprefix("=")
        if option in _FILE_OPTIONS and (name not in SHELLS or option.startswith("--")):
            given = value if equals else following
            if not _is_absolute(given):
                return f"{name} {option} executes a file or a package that its working directory has"
            skip = not equals
            continue
        if name not in SHELLS and option in CODE:
            return f"the files that the code of {name} {option} loads are not known"
        if not word.startswith(("-", "+")) or word == "-":
            return _why_script(name, word)
        skip = word in _WITH_VALUE
    return _without_script(name)


def _why_script(name: str, script: str) -> str:
    # No word is shown, because it may be a secret in the wrong place.
    return "" if _is_absolute(script) else f"{name} executes a script whose path is not absolute"


def _without_script(name: str) -> str:
    return f"{name} without a script executes what its client sends"


def _why_class_path(name: str, entries: str) -> str:
    if all(entry.startswith("/") for entry in entries.split(":")):
        return ""
    return f"{name} loads classes from a path that is not absolute"


def _is_absolute(path: str) -> bool:
    return path.startswith(("/", "file:///"))


def _why_env(words: Sequence[str]) -> str:
    """Return the reason of the program that env(1) executes, or of a variable that it sets."""
    at = 0
    while at < len(words):
        word = words[at]
        option, equals, value = word.partition("=")
        if option == "--split-string":
            return _why_env(
                [
                    *(value if equals else "".join(words[at + 1 : at + 2])).split(),
                    *words[at + (1 if equals else 2) :],
                ]
            )
        if (joined := _SPLIT_STRING.fullmatch(word)) is not None:
            following = words[at + 1 :] if joined[1] else words[at + 2 :]
            return _why_env([*(joined[1] or "".join(words[at + 1 : at + 2])).split(), *following])
        if not word.startswith("-") and not equals:
            return _why_words(words[at:])
        if not word.startswith("-") and (reason := _why_variables({option: value})):
            return reason
        at += 2 if word in ("-u", "--unset", "-C", "--chdir") else 1
    return ""


def _why_wrapped(name: str, words: Sequence[str]) -> str:
    """Return the reason of a program that another one executes. Each word may be the name of that program."""
    # `flock -c` gets several words in one.
    apart = [part for word in words for part in word.split()]
    first = True
    for at, word in enumerate(apart):
        if word.startswith("-") or word.isdecimal():
            continue
        known = program_name(word)
        if known == "env":
            return _why_env(apart[at + 1 :])
        if known not in WRAPPERS and (first or _is_known(known, apart[at + 1 :])):
            reason = _why_words(apart[at:])
            if reason:
                return f"{name}: {reason}"
        first = False
    return ""


def _is_known(name: str, words: Sequence[str]) -> bool:
    return name in SHELLS or bool(INTERPRETER.match(name)) or reads_project(name, words)


def _why_variables(environment: Mapping[str, str]) -> str:
    for name in _PATH_LISTS:
        value = environment.get(name)
        if value is None or (not value and name != "PATH"):
            continue
        for entry in value.split(":"):
            if not entry.startswith("/"):
                return f"the variable {name} has the entry {entry!r}, which is no absolute path"
    for name, program in _OPTIONS_OF.items():
        words = environment.get(name, "").split()
        # The script is that of the command.
        if words and (reason := _why_interpreter(program, [*words, "/script"])):
            return f"the variable {name}: {reason}"
    return ""
