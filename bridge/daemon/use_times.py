"""Read and write the file with the times at which credentials were last used, without an event loop."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

# The name of the file in the state directory.
FILE: Final = "token-uses.json"
# The size of the largest file that is read (bytes). The configuration has fewer tokens than fit in it.
_LARGEST: Final = 256 * 1024


def read_uses(path: Path) -> dict[str, float]:
    """Return the times in a file; none for a file that cannot be used."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_size > _LARGEST:
            return {}
        return msgspec.json.decode(os.read(descriptor, _LARGEST), type=dict[str, float])
    except (OSError, ValueError):
        return {}
    finally:
        os.close(descriptor)


def write_uses(path: Path, times: Mapping[str, float]) -> None:
    """Replace the file. Blocks. A file that cannot be written is left out."""
    draft = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as out:  # noqa: PTH123 - a descriptor
            out.write(msgspec.json.encode(times))
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
