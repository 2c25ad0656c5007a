"""Show the link of a login in a terminal, and read the redirect URL that a user without a browser types.

The program opens no browser and executes nothing: a URL of a server could be a command to the program that opens it.
"""

import os
from collections.abc import Callable
from typing import Final

import trio

from ...validators.oauth_refusal import WrongState
from ..log import escaped
from .output import notice

# The longest line (bytes). The rest of a longer one is dropped.
_LONGEST_LINE: Final = 32 * 1024


class TerminalPrompt:
    """A user at a terminal (`bridge.oauth.flow.Prompt`).

    `say` writes a line, and `show_link` the link. Lines are read from the descriptor `typing`, None if it has another use.
    """

    def __init__(
        self, say: Callable[[str], None], show_link: Callable[[str], None], typing: int | None
    ) -> None:
        self._say = say
        self._show_link = show_link
        self._typing = typing
        self._buffer = b""

    def show(self, url: str) -> None:
        """Write the link."""
        self._say("to log in, open this link in a browser:")
        self._show_link(escaped(url))
        if self._typing is not None:
            self._say(
                "if the browser is on another machine, its last page cannot be loaded; paste the URL of that page here:"
            )

    async def typed(self, accept: Callable[[str], str]) -> str:
        """Return what `accept` returns for a redirect URL that is typed. Raises OAuthRefusal."""
        while True:
            line = await self._line()
            text = line.decode("latin-1").strip()
            if not text:
                continue
            query = text.partition("#")[0]
            try:
                return accept(query.partition("?")[2] if "?" in query else query)
            except WrongState:
                self._say("that is not the URL of the last page of this login; paste the whole URL:")

    async def _line(self) -> bytes:
        """Return the next line. Waits forever after the last one."""
        while b"\n" not in self._buffer:
            data = b"" if self._typing is None else await _read(self._typing)
            if not data:
                await trio.sleep_forever()
            self._buffer = (self._buffer + data)[-_LONGEST_LINE:]
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def stderr_prompt() -> TerminalPrompt:
    """Return a prompt for a program whose stdin and stdout have another use: the link is written to stderr."""
    return TerminalPrompt(notice, notice, None)


async def _read(descriptor: int) -> bytes:
    """Return the next bytes, empty at the end. The descriptor stays in its mode, because other programs share it."""
    try:
        await trio.lowlevel.wait_readable(descriptor)
    except PermissionError:
        # A regular file, which is always readable (epoll_ctl(2)).
        await trio.lowlevel.checkpoint()
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
