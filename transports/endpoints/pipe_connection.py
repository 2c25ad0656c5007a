"""One client that sends and receives lines, as over stdio: on the pipe endpoint, or on stdin and stdout of this process.

`initialize` opens the one session of a connection. Requests of the stateless era are independent of it. The end of the input
does not end the session: the requests in flight get their responses first (MCP 2025-11-25 basic/lifecycle, "Shutdown").
"""

from collections.abc import Callable, Mapping
from typing import Final

import trio

from ...validators.limits import Limits
from ...validators.pipe_lines import DRAIN, SLEEP, WAKE, LineReader, end_line, is_control
from ...validators.rejection import Rejection
from ..client_process import Caller
from ..options import ANONYMOUS
from ..ports import Backend, ByteStream
from ..rate_limited_log import RateLimitedLog
from ..send_queue import DISCONNECTED, SendQueue
from .client_messages import ClientMessages
from .message_writer import MessageWriter
from .nap import Lent, Nap
from .receiver import READ, OnText, Receiver, Rest

# The time between two looks at the requests in flight of a client that sends no more (seconds): at first, and at most. It grows
# by a tenth each time, because such a client may wait for minutes.
_ROUND: Final = 0.02
_LONGEST_ROUND: Final = 0.2

# The exit status of a client that is no longer admitted: EX_UNAVAILABLE of sysexits.h.
_REFUSED: Final = 69
# Time that a client may take to read the last lines after it is no longer admitted (seconds).
_REVOKED_SECONDS: Final = 1.0


class PipeConnection:
    """One client with lines in both directions (open_pipes.OpenPipe). `queue` carries everything that is sent to it.

    `headers` are those of the request that opened the connection; on stdin and stdout there are none. `lent` is the stdin that
    the client may lend, to sleep.
    """

    def __init__(
        self,
        stream: ByteStream,
        backend: Backend,
        principal: str,
        headers: Mapping[str, str],
        caller: Caller,
        queue: SendQueue,
        limits: Limits,
        log: RateLimitedLog,
        count_refusal: Callable[[Rejection], None],
        lent: Lent | None = None,
    ) -> None:
        self._pipes = backend.pipes
        # Whether the client has closed its sending side.
        self._input_ended = False
        self._stream = stream
        self._queue = queue
        self._limits = limits
        self._log = log
        self._messages = ClientMessages(
            backend, principal, headers, queue, limits, count_refusal, caller, lasts=True
        )
        self._nap = Nap(queue, lent, self._on_fault)
        self._writer = LineWriter(stream, queue, self._nap)
        self._receiver = LineReceiver(stream, limits, self._on_line, principal)
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Serve until either side closes. An exception of the bridge is logged, and ends this connection only."""
        self._pipes.add(self)
        try:
            with self._scope:
                self._writer.start()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._writer.run, self._scope)
                    await self._receiver.run()
                    await self._finish()
                    self._scope.cancel()
        # The client has disconnected.
        except trio.BrokenResourceError:
            pass
        except Exception as fault:  # noqa: BLE001 - the boundary of one connection: its requests have no other response
            self._on_fault(fault)
        finally:
            self._nap.end()
            self._pipes.remove(self)
            self._messages.end(self._end_reason())

    def drain(self) -> None:
        """Have the client send nothing more and close its sending side (open_pipes.OpenPipe)."""
        self._queue.enqueue(DRAIN)

    def set_exit_code(self, code: int) -> None:
        """Have the client exit with this status after the connection (open_pipes.OpenPipe)."""
        self._writer.exit_code = code

    def close(self, reason: str) -> None:
        """Close the connection after what is queued (open_pipes.OpenPipe)."""
        self._queue.close(reason)

    def revoke(self) -> None:
        """End the session and the connection, because the client is no longer admitted, and have it exit."""
        self.set_exit_code(_REFUSED)
        self._messages.close("its token is no longer accepted for this server")
        self._scope.deadline = trio.current_time() + _REVOKED_SECONDS

    def _on_fault(self, fault: Exception) -> None:
        """End the connection after an exception of the bridge (poller.OnFault)."""
        self._log.error("internal_error", fault=fault)
        self._scope.cancel()

    def _on_line(self, held: list[bytes]) -> Rest | None:
        """Process one line (receiver.OnText)."""
        line = held[0]
        if self._nap.active:
            self._nap.end()
        if not is_control(line):
            return self._messages.receive(held)
        name, _, word = line.partition(b" ")
        if name == SLEEP:
            self._nap.begin(word)
        return None

    async def _finish(self) -> None:
        """Send the responses of the requests in flight, because no more input comes."""
        if self._stream.gone:
            return
        self._input_ended = True
        await self._receiver.finish()
        self._pipes.end_input(self)
        pause = _ROUND
        while not self._stream.gone and (self._messages.waiting or self._queue.unsent):
            # An event for each response would cost all of them.
            await trio.sleep(pause)
            pause = min(1.1 * pause, _LONGEST_ROUND)

    def _end_reason(self) -> str:
        if self._queue.stalled:
            return f"the client has not read its connection for {self._limits.write_stall_seconds:g} s"
        if self._queue.close_reason:
            return f"the bridge closed the connection: {self._queue.close_reason}"
        return "the client has ended its input" if self._input_ended else "the client has disconnected"


class LineWriter(MessageWriter):
    """Send messages as lines. With an `exit_code` the last line has the client exit with it."""

    def __init__(self, stream: ByteStream, queue: SendQueue, nap: Nap) -> None:
        super().__init__(stream, queue)
        self._nap = nap
        self.exit_code = 0

    def _send_at_once(self, text: bytes) -> bool:
        if self._nap.asleep:
            self._nap.wake()
            if len(self._queue):
                return False
        return super()._send_at_once(text)

    def _on_sent(self) -> None:
        if self._nap.active:
            self._queue.on_sent()
            self._nap.try_again()

    async def _close(self) -> None:
        if self.exit_code and self._queue.state != DISCONNECTED:
            line = self._framed(end_line(self.exit_code, self._queue.close_reason))
            await self._send(self._framed(WAKE) + line if self._nap.asleep else line)

    def _framed(self, message: bytes) -> bytes:
        return message + b"\n"


class LineReceiver(Receiver[bytes]):
    """Receive the lines of one client, and pass them to `on_text` in order."""

    def __init__(
        self, stream: ByteStream, limits: Limits, on_text: OnText, principal: str = ANONYMOUS
    ) -> None:
        super().__init__(stream, on_text, principal)
        self._reader = LineReader(limits.body, limits.json_depth)

    async def finish(self) -> None:
        """Handle the last line, if it has no newline."""
        for line in self._reader.end():
            rest = self._on_text([line])
            if rest is not None:
                await rest()

    @property
    def _is_large(self) -> bool:
        return self._reader.unfinished > READ

    @property
    def _held(self) -> int:
        return self._reader.held

    def _refuse(self, fault: Rejection) -> None:
        self._reader.refuse(fault)

    def _read_message(self, data: bytes) -> bytes | None:
        return self._reader.read_line(data)

    def _find_events(self, data: bytes) -> list[bytes]:
        return self._reader.feed(data)

    def _handle_next(self, events: list[bytes]) -> Rest | None:
        # A large line has one reference only, which the callee removes.
        return self._on_text([events.pop()])
