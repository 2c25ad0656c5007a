"""Write lines to the client of `connect`, and track the responses that are not written in whole."""

import contextlib
from collections.abc import Iterable

import trio

from .effects import ToClient


class ClientOutput:
    """The stdout of `connect`."""

    def __init__(self, stdout: trio.lowlevel.FdStream) -> None:
        self._stdout = stdout
        self._writing = trio.Lock()
        # Whether a line is begun and not ended.
        self._torn = False
        # Raw ids of responses that are not written in whole. Removed when they are.
        self._unwritten: list[bytes] = []
        # Whether the client has closed its end.
        self.closed = False

    @property
    def settled(self) -> bool:
        """Return whether all responses are written."""
        return not self._unwritten

    def expect(self, responses: Iterable[bytes]) -> None:
        """Note the raw ids of responses that are going to be written."""
        self._unwritten += responses

    def take_unwritten(self) -> list[bytes]:
        """Remove and return the raw ids of the responses that are not written in whole."""
        unwritten, self._unwritten = self._unwritten, []
        return unwritten

    async def write(self, effect: ToClient) -> bool:
        """Write a line; return False if the client has closed its end."""
        async with self._writing:
            if not self.closed:
                self._torn = True
                try:
                    await self._stdout.send_all(effect.line + b"\n")
                except trio.BrokenResourceError:
                    self.closed = True
                self._torn = False
        for raw_id in effect.responses:
            if raw_id in self._unwritten:
                self._unwritten.remove(raw_id)
        return not self.closed

    async def end_line(self) -> None:
        """End the line that was cut off by a cancellation, so that the next line is read by itself."""
        if self._torn:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._stdout.send_all(b"\n")
