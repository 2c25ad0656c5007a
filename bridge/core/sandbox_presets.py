"""Derive what a well-known server needs from its arguments and variables. Pure.

A preset adds to the lists of the configuration and removes nothing from them.
"""

import os.path
from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

import attrs

Preset = Literal["", "fetch", "filesystem", "git", "memory", "sequential-thinking", "sqlite", "time"]
PRESETS: Final[tuple[str, ...]] = tuple(name for name in get_args(Preset) if name)
# The presets of servers that need no network, unless their command downloads a package.
_OFFLINE: Final = frozenset({"filesystem", "git", "memory", "sequential-thinking", "sqlite", "time"})


@attrs.frozen
class PresetRules:
    """Paths that the server may read, if they exist, and write, and whether it has a network."""

    optional_read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: bool = True


class BadPreset(ValueError):
    """Raised where a preset cannot be derived. The text names the preset and what is missing."""


def preset_rules(
    preset: str,
    argv: Sequence[str],
    variables: Mapping[str, str],
    *,
    downloads: bool = False,
    has_write: bool = False,
) -> PresetRules:
    """Return the rules of a preset for this command and these variables; none for an empty preset. Raises BadPreset.

    `downloads` is whether the command downloads a package. `has_write` is whether the configuration has a list of its own, so
    that the arguments need not name a path.
    """
    network = downloads or preset not in _OFFLINE
    home = variables.get("HOME", "")
    optional_read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    try:
        match preset:
            case "filesystem":
                write = _directories(argv)
            case "git":
                config = variables.get("XDG_CONFIG_HOME") or f"{home}/.config"
                optional_read = (f"{home}/.gitconfig", f"{config}/git") if home else ()
                write = (_option(argv, ("-r", "--repository")),)
            case "memory":
                write = (_directory_of("env.MEMORY_FILE_PATH", variables.get("MEMORY_FILE_PATH", ""), home),)
            case "sqlite":
                write = (_directory_of("--db-path", _option(argv, ("--db-path",)), home),)
            case _:
                pass
    except BadPreset as fault:
        if not has_write:
            raise BadPreset(f"sandbox_preset {preset!r}: {fault}, or set write") from None
    return PresetRules(optional_read, write, network)


def _directories(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of the filesystem server, each of which is a directory."""
    start = next((at for at, word in enumerate(argv) if "filesystem" in word), 0)
    found = tuple(word for word in argv[start + 1 :] if not word.startswith("-"))
    relative = [word for word in found if not word.startswith("/")]
    if relative:
        raise BadPreset(f"the directory {relative[0]!r} is a relative path; use an absolute path")
    if not found:
        raise BadPreset("the command names no directory; add its absolute path to args")
    return found


def _option(argv: Sequence[str], names: tuple[str, ...]) -> str:
    """Return the absolute path that an option has as its value."""
    for at, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in names:
            found = value if equals else "".join(argv[at + 1 : at + 2])
            if found.startswith("/"):
                return found
            raise BadPreset(f"{name} needs an absolute path")
    raise BadPreset(f"the command has no {names[-1]}; add it with an absolute path to args")


def _directory_of(name: str, file: str, home: str) -> str:
    """Return the directory of a file that the server creates and replaces."""
    if not file.startswith("/"):
        raise BadPreset(f"{name} must be an absolute path")
    directory = os.path.dirname(os.path.normpath(file))  # noqa: PTH120 - a text
    if directory in ("/", "/tmp", home, f"{home}/.config", f"{home}/.local", f"{home}/.local/share"):  # noqa: S108 - compared
        raise BadPreset(f"{name} must be in a directory for this server alone, not in {directory}")
    return directory
