"""Edit the configuration file: add or remove a token, set a pin, and replace the file as a whole.

Comments and order stay. A table that is written in another way than `[tokens.NAME]` is left to the user, with an error.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex as random_name
from typing import Final

from .credentials import BadCredential, check_trusted, sync_directory
from .schema import LONGEST_NAME
from .tables import BadConfig, parse

# A file name has at most 255 bytes (NAME_MAX), and that of a draft is longer than that of its file.
_DRAFT_NAME: Final = 200


def without_token(text: str, name: str) -> str:
    """Return the text without the table of a token. Raises BadConfig where the table has an unusual spelling."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            head = line.split("#")[0].strip()
            inside = head == f"[tokens.{name}]" or head.startswith(f"[tokens.{name}.")
        if not inside:
            kept.append(line)
    changed = "".join(kept)
    wanted = tomllib.loads(text)
    wanted.get("tokens", {}).pop(name, None)
    found = tomllib.loads(changed)
    found.setdefault("tokens", {})
    wanted.setdefault("tokens", {})
    if found != wanted:
        raise BadConfig(f"tokens.{name}: not written as a table [tokens.{name}]; remove it by hand")
    return changed


def token_name(client: str, server: str) -> str:
    """Return the name of the token that `client-config` makes for a client of one server."""
    name = f"{client}-{server}"
    if len(name) <= LONGEST_NAME:
        return name
    # The digest keeps two long names with the same beginning different.
    return f"{name[: LONGEST_NAME - 7]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def with_token(text: str, name: str, sha256: str, servers: Iterable[str]) -> str:
    """Return the text with the table of another token at its end."""
    end = "" if text.endswith("\n") or not text else "\n"
    return f'{text}{end}\n[tokens.{name}]\nsha256 = "{sha256}"\nservers = {json.dumps([*servers])}\n'


def with_pin(text: str, name: str, pin: str) -> str:
    """Return the text with this pin in the table of a server. Raises BadConfig as `with_key`."""
    return with_key(text, "servers", name, "pin", pin)


def with_key(text: str, table: str, name: str, key: str, value: str) -> str:
    """Return the text with this value in `[table.name]`. Raises BadConfig where the table has an unusual spelling."""
    header = re.compile(rf"""\s*\[\s*{table}\s*\.\s*(["']?){re.escape(name)}\1\s*\]\s*(#.*)?""")
    new_line = f'{key} = "{value}"\n'
    changed: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            inside = header.fullmatch(line.rstrip("\r\n")) is not None
            changed += [line if line.endswith("\n") else line + "\n", new_line] if inside else [line]
        elif not (inside and re.match(rf"\s*{key}\s*=", line)):
            changed.append(line)
    wanted = tomllib.loads(text)
    wanted[table][name][key] = value
    new = "".join(changed)
    try:
        found = tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        found = {}
    if found != wanted:
        raise BadConfig(f"{table}.{name}: not written as a table [{table}.{name}]; add by hand: {new_line}")
    return new


def rewrite(path: Path, text: str) -> None:
    """Replace the text of the file atomically. Mode and group stay. Raises BadConfig.

    A symbolic link stays: the file that it leads to is replaced, if it belongs to this user.
    """
    parse(text.encode())
    try:
        target = path.resolve(strict=True)
        check_trusted(path)
        found = target.stat()
        if found.st_uid != os.geteuid():
            raise BadConfig(f"{target} belongs to uid {found.st_uid}; uid {os.geteuid()} does not replace it")
        _replace(target, text, found)
    except BadCredential as fault:
        raise BadConfig(str(fault)) from None
    except (OSError, RuntimeError) as fault:
        raise BadConfig(f"{path} cannot be written: {getattr(fault, 'strerror', None) or fault}") from None


def _replace(target: Path, text: str, found: os.stat_result) -> None:
    draft = target.with_name(f".{target.name[:_DRAFT_NAME]}.{random_name(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            if os.fstat(descriptor).st_gid != found.st_gid:
                os.fchown(descriptor, -1, found.st_gid)
            # After fchown, which clears some bits. The umask does not apply to fchmod.
            os.fchmod(descriptor, found.st_mode & 0o777)
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)
