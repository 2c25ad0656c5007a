"""`mcp-bridge edit`: open the configuration file in an editor, and save it if it is valid."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..config import load
from ..config.tables import BadConfig
from ..config.template import TEMPLATE
from ..core.exit_codes import EX_CONFIG, EX_FAILED, EX_OK
from .config_change import read_text, take_effect, write
from .invocation import BadUsage, Invocation
from .output import notice

# Programs that are tried without $VISUAL and $EDITOR.
_EDITORS: Final = ("sensible-editor", "editor", "nano", "vim", "vi")


def edit_file(invocation: Invocation) -> int:
    """Edit a copy, check it, and replace the file by it. An invalid copy is never saved. Raises BadConfig and BadUsage."""
    file = invocation.file
    is_new = not file.is_symlink() and not file.exists()
    before = TEMPLATE if is_new else read_text(file)
    words = _editor(invocation.environment)
    with tempfile.TemporaryDirectory(prefix="mcp-bridge-") as folder:
        # The suffix selects the syntax in most editors.
        draft = Path(folder) / "config.toml"
        draft.write_bytes(before.encode())
        while True:
            if not _has_run(words, draft):
                notice(f"the editor has failed; {file} was not changed")
                return EX_FAILED
            if draft.read_bytes() == before.encode():
                notice(f"{file} was not changed")
                return EX_OK
            reasons = _faults(draft, invocation)
            if not reasons:
                break
            for line in reasons.splitlines():
                notice(line)
            if not _again():
                return _discarded(file, draft)
        text = draft.read_bytes().decode()
        if not is_new and read_text(file) != before:
            notice("another program has changed the file in the meantime")
            return _discarded(file, draft)
    write(file, text, new=is_new, backup=not is_new)
    take_effect(invocation)
    return EX_OK


def _editor(environment: Mapping[str, str]) -> list[str]:
    """Return the words of the editor (environ(7))."""
    for name in ("VISUAL", "EDITOR"):
        if environment.get(name, "").strip():
            try:
                return shlex.split(environment[name])
            except ValueError as fault:
                raise BadUsage(f"${name} cannot be split into words: {fault}") from None
    for program in _EDITORS:
        if found := shutil.which(program, path=environment.get("PATH")):
            return [found]
    raise BadUsage("there is no editor; set $VISUAL or $EDITOR")


def _has_run(words: list[str], draft: Path) -> bool:
    try:
        # allowed: wait-without-limit - the user edits as long as wanted
        return subprocess.run([*words, str(draft)], check=False).returncode == 0  # noqa: S603 - the user's editor
    except OSError as fault:
        raise BadUsage(f"the editor {words[0]!r} cannot be started: {fault.strerror}") from None


def _faults(draft: Path, invocation: Invocation) -> str:
    try:
        load.plan_text(draft.read_bytes().decode(), invocation.file, invocation.source.environment)
    except BadConfig as fault:
        return str(fault)
    except UnicodeDecodeError as fault:
        return f"{invocation.file}: is not UTF-8 at byte {fault.start}"
    return ""


def _again() -> bool:
    """Return whether the user wants to edit the copy again. Without a terminal there is no question."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    while True:
        sys.stderr.write("Edit again (e), or discard the changes (d)? ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if answer.strip().lower() in ("e", "edit"):
            return True
        if not answer or answer.strip().lower() in ("d", "discard", "x", "q"):
            return False


def _discarded(file: Path, draft: Path) -> int:
    descriptor, kept = tempfile.mkstemp(prefix="mcp-bridge-", suffix=".toml")
    os.close(descriptor)
    shutil.copyfile(draft, kept)
    notice(f"{file} was not changed; the edited text is in {kept}")
    return EX_CONFIG
