"""What a child gets to see of our environment: an allow-list, and what the operator names (attacks V28, V29)."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_KEPT: Final = frozenset({"HOME", "PATH", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL"})
_KEPT_PREFIXES: Final = ("LC_", "XDG_")
# It names our own runtime directory, where the token lives.
_KEPT_NOT: Final = frozenset({"XDG_RUNTIME_DIR"})
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
# These make another program, or other code, run inside the child.
_LOADERS: Final = frozenset(
    {
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "NODE_OPTIONS",
        "BASH_ENV",
        "ENV",
        "PYTHONSTARTUP",
        "PYTHONPATH",
    }
    | {"PERL5OPT", "RUBYOPT", "JAVA_TOOL_OPTIONS", "GIT_SSH_COMMAND"}
)
_LARGEST_FILE: Final = 64 * 1024


class BadEnvironment(Exception):
    """A wish for a variable that cannot be granted; the text says which and why."""


def child_environment(ours: Mapping[str, str], wishes: Iterable[str]) -> dict[str, str]:
    """The environment of a child. A wish is `KEY` (pass ours on) or `KEY=FILE` (the value is the file's content).

    Raises BadEnvironment.
    """
    kept = {key: value for key, value in ours.items() if _is_kept(key)}
    kept["TERM"] = "dumb"
    for wish in wishes:
        key, equals, file = wish.partition("=")
        if not _NAME.match(key):
            raise BadEnvironment(f"--env {key!r} is not a name of 1 to 64 letters, digits and underscores")
        if key in _LOADERS:
            raise BadEnvironment(f"--env {key} is refused: it makes the server load other code")
        kept[key] = _content(key, Path(file)) if equals else _ours(key, ours)
    return kept


def _is_kept(key: str) -> bool:
    return (key in _KEPT or key.startswith(_KEPT_PREFIXES)) and key not in _KEPT_NOT


def _ours(key: str, ours: Mapping[str, str]) -> str:
    if key not in ours:
        raise BadEnvironment(
            f"--env {key}: there is no such variable to pass on; --env {key}=FILE takes it from a file"
        )
    return ours[key]


def _content(key: str, file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_FILE + 1)
        text = content.decode().removesuffix("\n")
    except OSError as fault:
        raise BadEnvironment(f"--env {key}: cannot read {file}: {os.strerror(fault.errno or 0)}") from None
    except UnicodeDecodeError:
        raise BadEnvironment(f"--env {key}: {file} is not UTF-8") from None
    if len(content) > _LARGEST_FILE or "\0" in text:
        raise BadEnvironment(f"--env {key}: {file} is longer than {_LARGEST_FILE} bytes or holds a zero byte")
    return text
