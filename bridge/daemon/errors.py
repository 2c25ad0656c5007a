"""Errors that end the daemon before it serves."""


class CannotStart(Exception):
    """The bridge cannot start as it is configured. `code` is the exit status (sysexits.h)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
