"""Exit codes of `mcp-bridge`: those of sysexits.h that apply, and 130 for SIGINT (128 + 2) as POSIX shells report it."""

from typing import Final

EX_OK: Final = 0
EX_FAILED: Final = 1
EX_USAGE: Final = 64
# sysexits.h: EX_DATAERR. A part of an imported file was not carried over.
EX_INCOMPLETE: Final = 65
EX_UNAVAILABLE: Final = 69
EX_SOFTWARE: Final = 70
EX_TEMPFAIL: Final = 75
EX_CONFIG: Final = 78
EX_INTERRUPTED: Final = 130
