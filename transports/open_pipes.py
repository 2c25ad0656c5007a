"""The open pipe connections of one server, which are moved to another daemon or server without a failed request.

A client that gets `#drain` sends nothing more and closes its sending side. What it has sent before is received then and gets
its responses, and the client connects again. Requests that are refused at the same time by other transports would fail.
"""

from typing import Final, Protocol

import trio

from ..validators.rejection import SERVER_ERROR, Rejection, retry_after

# Time that clients may take to close their sending side (seconds). One that sleeps must start a program for it.
_CLOSE_SECONDS: Final = 2.0


class OpenPipe(Protocol):
    """One connection."""

    def drain(self) -> None:
        """Have the client send nothing more and close its sending side."""
        ...

    def set_exit_code(self, code: int) -> None:
        """Have the client exit with this status after the connection, instead of connecting again."""
        ...

    def close(self, reason: str) -> None:
        """Close the connection after what is queued."""
        ...


class OpenPipes:
    """The pipe connections of one server."""

    def __init__(self) -> None:
        self._open: dict[OpenPipe, None] = {}
        # Those whose clients have not closed their sending sides.
        self._receiving: dict[OpenPipe, None] = {}
        self._none_receives = trio.Event()
        # The reason why no connection is accepted any more; empty until then.
        self.refusal = ""

    def add(self, pipe: OpenPipe) -> None:
        """Add a connection that was opened."""
        self._open[pipe] = self._receiving[pipe] = None

    def end_input(self, pipe: OpenPipe) -> None:
        """Note that the client of a connection has closed its sending side."""
        self._receiving.pop(pipe, None)
        if not self._receiving:
            self._none_receives.set()

    def remove(self, pipe: OpenPipe) -> None:
        """Remove a connection that has ended."""
        self._open.pop(pipe, None)
        self.end_input(pipe)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def finishing(self) -> bool:
        """Whether a client that has closed its sending side has not been sent everything."""
        return len(self._receiving) < len(self._open)

    def check_open(self) -> None:
        """Raise Rejection 503 where no connection is accepted."""
        if self.refusal:
            raise Rejection(503, SERVER_ERROR, self.refusal, headers=retry_after(1), close=True)

    async def drain(self) -> None:
        """Have all clients close their sending sides, and wait for that, at most `_CLOSE_SECONDS`."""
        if not self._receiving:
            return
        self._none_receives = trio.Event()
        for pipe in self._receiving:
            pipe.drain()
        with trio.move_on_after(_CLOSE_SECONDS):
            await self._none_receives.wait()

    def set_exit_code(self, code: int) -> None:
        """Have the clients exit with this status after their connections. Call it before anything is closed."""
        for pipe in self._open:
            pipe.set_exit_code(code)

    def close(self, reason: str) -> None:
        """Close all connections after what is queued."""
        for pipe in self._open:
            pipe.close(reason)
