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


class ReportedError(Exception):
    """An error that ends a command: its text is written to stderr, and `exit_code` is the exit code.

    The module that runs the commands catches this class only, so that it imports no module for the error of another command.
    """

    exit_code = EX_FAILED

    def lines(self, *, with_source: bool = False) -> list[str]:  # noqa: ARG002 - for an error in a file
        """Return the text as lines; with the lines of the file that has the error, if there is one and they are wanted."""
        return str(self).splitlines()
