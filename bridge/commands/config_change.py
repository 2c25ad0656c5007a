"""Change the configuration file for a command, check the result before it is written, and let a running daemon reload it."""

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from ..config import edit, load
from ..config.edit import ConfigText
from ..config.settings import Settings
from ..config.tables import BadConfig
from ..config.template import TEMPLATE
from .invocation import Invocation
from .output import notice
from .reload import print_changes, reload_now


def change(
    invocation: Invocation,
    edited: Callable[[ConfigText], None],
    *,
    create: bool = False,
    backup: bool = False,
) -> Settings:
    """Edit the file and return its settings, without secrets. Nothing is written if the result is invalid. Raises BadConfig.

    `create` makes a missing file from the template. `backup` keeps the former text beside the file.
    """
    file = invocation.file
    new_file = create and not file.is_symlink() and not file.exists()
    with _locked(file):
        before = TEMPLATE if new_file else read_text(file)
        config = ConfigText(before)
        edited(config)
        settings = load.plan_text(config.text, file, invocation.source.environment)
        write(file, config.text, new=new_file, backup=backup)
    return settings


def write(file: Path, text: str, *, new: bool, backup: bool) -> None:
    """Write the configuration, and name the backup, or the file if it is new. Raises BadConfig."""
    if not (new or backup):
        edit.rewrite(file, text)
        return
    kept = edit.write_with_backup(file, text)
    notice(f"the former text is in {kept}" if kept else f"wrote {file}")


def read_text(file: Path) -> str:
    """Return the text of the configuration file. Raises BadConfig."""
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        raise BadConfig(
            f"{file}: there is no such file; `mcp-bridge init` writes one, and "
            "`mcp-bridge add NAME -- COMMAND` adds a server"
        ) from None
    except OSError as fault:
        raise BadConfig(f"{file} cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError as fault:
        raise BadConfig(f"{file} is not UTF-8 at byte {fault.start}") from None


@contextmanager
def _locked(file: Path) -> Generator[None]:
    """Keep other commands that edit from reading the file until the change is written."""
    try:
        descriptor = os.open(file.resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, RuntimeError):
        # The directory is created with the file.
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def take_effect(invocation: Invocation) -> None:
    """Let the running daemon reload the file, or write what makes the change take effect. Raises BadConfig."""
    source = invocation.source
    if source.other is not None:
        notice(f"{source.file} was changed; the running daemon uses {source.other}")
    elif source.daemon is None:
        notice(
            "no daemon is running; start it with `mcp-bridge serve`, or as a service with `mcp-bridge service install`"
        )
    else:
        notice("the running daemon reloads its configuration")
        # The command may have removed the last table.
        print_changes(reload_now(invocation, may_be_empty=True))
