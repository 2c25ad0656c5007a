"""Where the bearer token comes from: a file of the operator's, or one minted for this boot.

No secret is taken from the command line or from the environment (invariant I5). Files that others could read or
replace are refused (StrictModes); an error names the path and the reason, never the content.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..validators.bearer import TokenSet

PRINCIPAL: Final = "owner"
_PREFIX: Final = "mcpb_"
_LARGEST: Final = 4096
_DIRECTORY_MODE: Final = 0o700


class BadCredential(Exception):
    """A token file that we will not use; the text names the path and the reason."""


def read_token(path: Path) -> str:
    """The token in a file. Raises BadCredential."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        reason = (
            "is a symbolic link" if path.is_symlink() else f"cannot be read: {os.strerror(fault.errno or 0)}"
        )
        raise BadCredential(f"the token file {path} {reason}") from None
    try:  # everything by descriptor, so that what is checked is what is read
        _check_file(path, os.fstat(descriptor))
        content = os.read(descriptor, _LARGEST + 1)
    finally:
        os.close(descriptor)
    return _check_content(path, content)


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadCredential(f"the token file {path} is not a regular file")
    if found.st_uid != os.geteuid():
        raise BadCredential(f"the token file {path} belongs to uid {found.st_uid}, not to uid {os.geteuid()}")
    if found.st_mode & 0o077:
        raise BadCredential(
            f"the token file {path} has mode {found.st_mode & 0o777:04o}; others must have no access (0600)"
        )
    if found.st_size > _LARGEST:
        raise BadCredential(f"the token file {path} has {found.st_size} bytes; the limit is {_LARGEST}")


def _check_content(path: Path, content: bytes) -> str:
    try:
        token = content.decode("ascii").removesuffix("\n")
        TokenSet({token: PRINCIPAL})
    except UnicodeDecodeError:
        raise BadCredential(
            f"the token file {path} holds bytes that are not ASCII (a byte order mark?)"
        ) from None
    except ValueError as fault:
        raise BadCredential(f"the token file {path} holds no usable token: {fault}") from None
    return token


def boot_token(environment: Mapping[str, str]) -> tuple[Path, str]:
    """The token of this boot, minted if there is none yet, and the file that holds it. Raises BadCredential.

    It is shared by all bridges of one user, so that a client's configuration stays good until the next boot.
    """
    directory = runtime_directory(environment)
    path = directory / "token"
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        found = directory.lstat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
            raise BadCredential(f"the directory {directory} must be yours and writable by nobody else")
        if path.is_symlink() or path.exists():
            return path, read_token(path)
        token = _PREFIX + secrets.token_urlsafe(32)
        draft = directory / f".token.{secrets.token_hex(8)}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:  # noqa: PTH123
            file.write(token + "\n")
        try:
            os.link(
                draft, path
            )  # unlike rename it never replaces the token that another bridge has just minted
        except FileExistsError:
            token = read_token(path)
        finally:
            draft.unlink()
    except OSError as fault:
        raise BadCredential(f"cannot keep a token in {directory}: {os.strerror(fault.errno or 0)}") from None
    return path, token


def runtime_directory(environment: Mapping[str, str]) -> Path:
    """Where files live that must not outlive the boot, or the nearest that this machine has."""
    named = environment.get("XDG_RUNTIME_DIR")
    if named:
        return Path(named) / "mcp-bridge"
    system = Path(f"/run/user/{os.geteuid()}")
    if system.is_dir():
        return system / "mcp-bridge"
    state = environment.get("XDG_STATE_HOME")
    home = Path(state) if state else Path(environment.get("HOME") or "/") / ".local" / "state"
    return home / "mcp-bridge"
