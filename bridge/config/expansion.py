"""Expand `~` and `${NAME}` in the words of a command, in its directory and in the paths of its sandbox. A further `$` makes either literal: `$~`, `$${NAME}`.

Only variables that hold no secret are expanded, because every user of the machine can read the arguments of a process.
"""

import os
import pwd
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs

from .credentials import expand_home
from .schema import Server
from .xdg import directory_in

# The variables that a word may name. Those of the XDG Base Directory Specification have its defaults.
EXPANDED: Final = (
    "HOME",
    "LOGNAME",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
)
_DEFAULTS: Final = {
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
}
# A reference, or a literal with a further `$`. The name is missing where the reference has another form.
_REFERENCE: Final = re.compile(r"\$(\$*)\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")
_LITERAL_HOME: Final = re.compile(r"\$+~")
# What a further `$` makes literal.
_SPECIAL: Final = re.compile(r"\A\$*~|\$+\{")


class BadExpansion(ValueError):
    """Raised for a reference that is not possible. The text names the reason, `key` the key of the server."""

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key


class NotSet(ValueError):
    """Raised for a variable that this environment does not have."""


def expanded(server: Server, environment: Mapping[str, str]) -> Server:
    """Return a server whose command, cwd, read and write have no references. Its command has all words, and its args none.

    Raises BadExpansion, NotSet, and BadCredential for an unknown user after ~.
    """
    words = server.words
    first_argument = len(words) - len(server.args)
    command = [
        _word("command" if number < first_argument else "args", word, environment, users=number == 0)
        for number, word in enumerate(words)
    ]
    cwd = _word("cwd", server.cwd, environment, users=True)
    read, write = (
        tuple(_word(key, path, environment, users=True) for path in paths)
        for key, paths in (("read", server.read), ("write", server.write))
    )
    return attrs.evolve(server, command=tuple(command), args=(), cwd=cwd, read=read, write=write)


def literal(word: str) -> str:
    """Return the spelling of a word that is expanded to the word itself."""
    return _SPECIAL.sub(r"$\g<0>", word)


def _word(key: str, text: str, environment: Mapping[str, str], *, users: bool) -> str:
    """Return a word with its references expanded. `users` is whether ~USER at its start is a reference as well."""
    if _LITERAL_HOME.match(text):
        return _references(key, text[1:], environment)
    head, slash, rest = text.partition("/")
    if head == "~":
        return f"{_value(key, 'HOME', environment)}{slash}{_references(key, rest, environment)}"
    if users and head.startswith("~"):
        return f"{expand_home(head)}{slash}{_references(key, rest, environment)}"
    return _references(key, text, environment)


def _references(key: str, text: str, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        if match[2] is None:
            raise BadExpansion(f"{key}: ${{ begins no ${{NAME}}; a literal ${{ is written $${{", key)
        return _value(key, match[2], environment)

    return _REFERENCE.sub(value, text)


def _value(key: str, name: str, environment: Mapping[str, str]) -> str:
    if name not in EXPANDED:
        raise BadExpansion(
            f"{key}: ${{{name}}} is not expanded, because every user can read the command of a process; "
            f"the variables are {', '.join(EXPANDED)}; use env, pass_env or secrets to pass others, "
            "and $${ for a literal ${",
            key,
        )
    found = _found(name, environment)
    if not found:
        raise NotSet(f"{key}: the variable {name} is not set in the environment of the daemon")
    return found


def _found(name: str, environment: Mapping[str, str]) -> str:
    """Return the value of one of the variables, or an empty string."""
    if name in ("LOGNAME", "USER"):
        return environment.get(name) or _account(lambda entry: entry.pw_name)
    directory = directory_in(environment, name)
    if directory is None and name in _DEFAULTS:
        directory = Path(_found("HOME", environment)) / _DEFAULTS[name]
    if directory is None and name == "XDG_RUNTIME_DIR":
        system = Path(f"/run/user/{os.geteuid()}")
        directory = system if system.is_dir() else None
    if directory is None and name == "HOME":
        return _account(lambda entry: entry.pw_dir)
    return str(directory or "")


def _account(field: Callable[[pwd.struct_passwd], str]) -> str:
    try:
        return field(pwd.getpwuid(os.geteuid()))
    except KeyError:
        return ""
