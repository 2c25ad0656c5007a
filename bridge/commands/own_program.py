"""Name the words that start this program again, for the files of other programs."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from ..config.tables import BadConfig

# The beginning of CACHEDIR.TAG in a cache (https://bford.info/cachedir/).
_SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55"
# Directories of programs that may be removed at any time: the caches of uvx and pipx run.
EPHEMERAL: Final = ("/uv/archive-v", "/uv/environments-v", "/uv/builds-v", "/pipx/.cache/", "/.cache/pipx/")


def own_program() -> list[str]:
    """Return the words that start this program, as absolute paths. Raises BadConfig for a program that may vanish."""
    # A link stays, because an update may change its target.
    own = Path(os.path.abspath(shutil.which(sys.argv[0]) or sys.argv[0]))  # noqa: PTH100 - without resolving links
    is_script = own.name != "__main__.py" and os.access(own, os.X_OK)
    words = [str(own)] if is_script else [str(Path(sys.executable).absolute()), "-m", "mcpbridged"]
    places = (words[0], str(Path(words[0]).resolve()), sys.prefix)
    if any(name in f"{place}/" for place in places for name in EPHEMERAL) or _is_cached(Path(sys.prefix)):
        raise BadConfig(
            f"{words[0]} is in a cache that may be cleared at any time; install the program first: "
            "uv tool install mcpbridged, or pipx install mcpbridged"
        )
    return words


def _is_cached(environment: Path) -> bool:
    """Return whether a virtual environment is in a cache. The tag of the environment itself is for backups."""
    for parent in environment.parents:
        try:
            with (parent / "CACHEDIR.TAG").open("rb") as file:
                if file.read(len(_SIGNATURE)) == _SIGNATURE:
                    return True
        except OSError:
            continue
    return False
