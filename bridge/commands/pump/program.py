"""Carry lines between stdin and stdout and the pipe endpoint of a server, over one connection after another."""

import posix
import select
import time

from .client_input import ClientInput
from .conversation import DRAINING, OPEN, REPLAYING, RESTING, Conversation
from .daemon_socket import Refused, Unreachable, connect
from .lines import PIECE, Line
from .link import Link, Lost
from .nap import NapSchedule, has_shell, may_lend_stdin, sleep
from .retry import RetrySchedule
from .streams import STDIN, ClientOutput, is_ready, notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .lines import Piece
    from .record import Value
    from .settings import NapTimes, Settings

_EX_OK = 0
_EX_FAILED = 1
_EX_UNAVAILABLE = 69
# The client has closed its end.
_CLOSED = (BrokenPipeError, ConnectionResetError)
# How long responses are awaited after stdin was closed (seconds).
_LAST_RESPONSES = 30.0
# How long the last errors may take to be written (seconds).
_LAST_ERRORS = 1.0
# How long the response to the upgrade is awaited at least (seconds).
_UPGRADE_SECONDS = 10.0
# A daemon that does not respond within this time is awaited with a line on stderr (seconds).
_SILENT = 2.0


class End(Exception):
    """The program has to end with this code. Requests without a response fail with `reason`, which may be written to stderr."""

    def __init__(self, code: int, reason: str, *, shown: bool = True) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.shown = shown


class Program:
    """Both directions, and the connections.

    `command` returns the command that continues with the record and the socket of these two descriptors.
    """

    def __init__(
        self, settings: "Settings", times: "NapTimes", command: "Callable[[str, str], list[str]]"
    ) -> None:
        self._settings = settings
        self._times = times
        self._command = command
        self._output = ClientOutput()
        self._conversation = Conversation(f"mcp-bridge-{posix.urandom(6).hex()}-")
        self._input = ClientInput(self._conversation)
        now = time.monotonic()
        self._retry = RetrySchedule(settings.wait, now)
        self._nap = NapSchedule(times, now)
        self._poll = select.poll()
        # The events that are awaited of each descriptor.
        self._awaited: dict[int, int] = {}
        self._link: Link | None = None
        # Why there is no connection, until the first one is made.
        self._unreachable = ""
        # Whether a daemon has accepted a connection before.
        self._has_connected = False
        # Deadlines (seconds, monotonic clock) by name; removed when they have passed or no longer apply.
        self._deadlines: dict[str, float] = {"attempt": now}

    def resume(self, sock: "socket.socket", values: "list[Value]") -> None:
        """Continue with a connection and the state in a record, after a nap."""
        from .record import conversation_of  # noqa: PLC0415 - a program that has not slept does not need it

        now = time.monotonic()
        posix.set_inheritable(sock.fileno(), False)
        self._link = Link(sock, self._settings.shown_name)
        self._link.is_open = self._has_connected = True
        self._conversation = conversation_of(values)
        self._input = ClientInput(self._conversation)
        self._retry.on_connect(now)
        self._retry.on_message()
        before = float(dict(values).get(b"woken", 0))
        self._nap = NapSchedule(self._times, now, (before, now))
        self._deadlines = {"nap": self._nap.due}

    def run(self) -> int:
        """Run until one side ends, and return the exit code."""
        try:
            while True:
                self._turn()
        except End as end:
            return self._finish(end)
        finally:
            self._output.close()

    def _turn(self) -> None:
        now = time.monotonic()
        for name in [name for name, deadline in self._deadlines.items() if deadline <= now]:
            del self._deadlines[name]
            self._on_deadline(name, now)
        self._send()
        self._write([])
        self._end_if_done()
        link = self._link
        reads = self._output.size <= PIECE
        self._await(STDIN, select.POLLIN if self._reads_stdin else 0)
        if link is not None:
            self._await(
                link.sock.fileno(),
                (select.POLLIN if reads else 0) | (select.POLLOUT if link.is_blocked else 0),
            )
        self._await(self._output.descriptor, select.POLLOUT if self._output.size else 0)
        timeout = None
        if self._deadlines:
            timeout = max(0.0, min(self._deadlines.values()) - time.monotonic()) * 1000
        for descriptor, _ in self._poll.poll(timeout):
            if descriptor == STDIN:
                self._input.read()
                self._on_activity()
                if self._conversation.phase == DRAINING:
                    self._limit_wait()
                if self._input.closed:
                    self._on_input_closed()
            elif link is not None and link is self._link and descriptor == link.sock.fileno() and reads:
                self._receive(link)

    @property
    def _reads_stdin(self) -> bool:
        return not self._input.closed and not self._input.is_full

    def _await(self, descriptor: int, events: int) -> None:
        if self._awaited.get(descriptor, 0) == events:
            return
        if events:
            self._poll.register(descriptor, events)
            self._awaited[descriptor] = events
        else:
            self._poll.unregister(descriptor)
            del self._awaited[descriptor]

    # ---- deadlines

    def _on_deadline(self, name: str, now: float) -> None:
        if name == "attempt":
            self._attempt(now)
        elif name == "silent":
            left = self._deadlines["upgrade"] - now
            notice(
                f"{self._settings.shown_path} accepted the connection and has not responded; "
                f"waiting for at most {left:.0f} s"
            )
        elif name == "upgrade":
            self._drop_link()
            self._on_unreachable(f"{self._settings.shown_name} did not respond to the handshake in time", now)
        elif name == "rejections":
            self._conversation.return_rejections()
        elif name == "nap":
            self._try_to_sleep(now)
        elif name == "last responses":
            raise End(_EX_OK, f"no response within {_LAST_RESPONSES:g} s after stdin was closed", shown=False)

    # ---- connections

    def _attempt(self, now: float) -> None:
        try:
            sock = connect(self._settings.path)
        except Unreachable as fault:
            self._on_unreachable(str(fault), now)
            return
        except Refused as fault:
            raise End(_EX_UNAVAILABLE, str(fault)) from None
        self._link = Link(sock, self._settings.shown_name)
        self._link.send_opening(self._settings.opening)
        # The socket of a service manager is there before the daemon is.
        patience = max(_UPGRADE_SECONDS, self._retry.remaining(now))
        self._deadlines["upgrade"] = now + patience
        self._deadlines["silent"] = now + _SILENT

    def _on_unreachable(self, reason: str, now: float) -> None:
        left = self._retry.remaining(now)
        if left <= 0:
            raise End(_EX_UNAVAILABLE, reason)
        if not self._has_connected and not self._unreachable:
            notice(f"{reason}; retrying for at most {self._settings.wait:g} s")
        self._unreachable = reason
        self._try_again(now)

    def _try_again(self, now: float) -> None:
        # A random part, so that not all clients come at once.
        part = 0.5 + posix.urandom(1)[0] / 512
        self._deadlines["attempt"] = now + self._retry.next_pause() * part

    def _on_open(self) -> None:
        now = time.monotonic()
        for name in ("upgrade", "silent"):
            self._deadlines.pop(name, None)
        self._retry.on_connect(now)
        self._has_connected = True
        self._conversation.on_connect()
        self._nap.is_refused = not (self._times.quiet and has_shell() and may_lend_stdin())
        self._on_activity()
        if self._input.closed:
            self._deadlines["last responses"] = now + _LAST_RESPONSES

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._await(link.sock.fileno(), 0)
            link.close()
        for name in ("upgrade", "silent", "last responses", "rejections", "nap"):
            self._deadlines.pop(name, None)

    def _receive(self, link: Link) -> None:
        was_open = link.is_open
        try:
            lines = link.receive()
        except Lost as fault:
            self._on_lost(str(fault))
            return
        except Unreachable as fault:
            self._drop_link()
            self._on_unreachable(str(fault), time.monotonic())
            return
        except Refused as fault:
            self._drop_link()
            if not (fault.again if self._has_connected else fault.is_timed):
                raise End(_EX_UNAVAILABLE, str(fault)) from None
            self._on_unreachable(str(fault), time.monotonic())
            return
        if link.is_open and not was_open:
            self._on_open()
        self._pass_on(lines)

    def _on_lost(self, reason: str) -> None:
        self._drop_link()
        conversation, now = self._conversation, time.monotonic()
        failing = conversation.requests.are_due
        conversation.on_disconnect(reason)
        self._retry.on_disconnect(now)
        if self._input.closed and not conversation.has_unsent:
            raise End(_EX_UNAVAILABLE if failing else _EX_OK, reason, shown=failing)
        if self._retry.remaining(now) <= 0:
            raise End(_EX_UNAVAILABLE, reason)
        notice(f"{reason}; reconnecting")
        self._try_again(now)

    # ---- lines

    def _send(self) -> None:
        link, conversation = self._link, self._conversation
        if link is None or not link.is_open:
            return
        phase = conversation.phase
        sent = link.send(conversation.outgoing, ahead=phase in (OPEN, REPLAYING), waiting=phase == OPEN)
        conversation.on_sent(sent)
        if self._sends_no_more(phase):
            link.half_close()

    def _sends_no_more(self, phase: int) -> bool:
        conversation = self._conversation
        if phase == DRAINING:
            return not conversation.outgoing.is_cut
        if not self._input.closed or conversation.has_unsent:
            return False
        return phase == RESTING or (phase == OPEN and not conversation.outgoing)

    def _pass_on(self, lines: "list[Line]") -> None:
        """Write the lines of the server to the client, and handle those for this program."""
        conversation = self._conversation
        pieces: list[Piece] = []
        end: End | None = None
        for line in lines:
            self._retry.on_message()
            if line.first.startswith(b"#"):
                end = self._on_control(line, is_last=line is lines[-1]) or end
                continue
            self._on_activity()
            if conversation.on_server_line(line):
                pieces += line.pieces
            pieces += conversation.replies
            conversation.replies.clear()
        self._write(pieces)
        if end is not None:
            raise end
        if conversation.has_rejected:
            self._limit_wait()

    def _limit_wait(self) -> None:
        """Limit the time for which requests wait for the end of the connection."""
        self._deadlines.setdefault("rejections", time.monotonic() + self._settings.wait)

    def _on_control(self, line: Line, *, is_last: bool) -> "End | None":
        words = line.text().split()
        if words[0] == b"#drain":
            self._conversation.on_drain()
            self._limit_wait()
        elif words[0] == b"#end":
            code = int(words[1]) if len(words) > 1 and words[1].isdigit() else _EX_UNAVAILABLE
            reason = b" ".join(words[2:]).decode("utf-8", "replace")
            name = self._settings.shown_name
            return End(
                code, reason or f"the daemon no longer offers {name!r} to this client", shown=bool(code)
            )
        elif is_last and self._nap.is_answer(words):
            self._sleep()
        elif words[0] == b"#awake":
            self._nap.is_refused = True
        return None

    def _write(self, pieces: "list[Piece]") -> None:
        """Write to the client, after these pieces also what the conversation has for it."""
        conversation = self._conversation
        if conversation.replies:
            pieces = [*pieces, *conversation.replies]
            conversation.replies.clear()
        if pieces:
            self._output.write(pieces)
        else:
            self._output.flush()
        for text in conversation.notices:
            notice(text)
        conversation.notices.clear()
        fault = self._output.fault
        if fault is not None:
            closed = isinstance(fault, _CLOSED)
            raise End(_EX_OK if closed else _EX_FAILED, f"stdout: {fault.strerror}", shown=not closed)

    # ---- naps

    def _on_activity(self) -> None:
        nap = self._nap
        nap.on_activity(time.monotonic())
        if not nap.is_refused and self._link is not None:
            self._deadlines.setdefault("nap", nap.due)

    def _try_to_sleep(self, now: float) -> None:
        nap, link = self._nap, self._link
        if nap.is_refused or link is None:
            return
        if nap.due > now:
            self._deadlines["nap"] = nap.due
        elif not self._is_idle(link) or not nap.ask(link.sock):
            # Perhaps the client reads its output later.
            self._deadlines["nap"] = now + self._times.quiet

    def _is_idle(self, link: Link) -> bool:
        """Return whether nothing is being done, and nothing is there to be read."""
        if self._output.size or self._input.closed or not self._input.is_between_lines:
            return False
        if not link.is_between_lines or link.is_half_closed or not self._conversation.may_pause:
            return False
        return not any(is_ready(one, select.POLLIN, 0) for one in (STDIN, link.sock.fileno()))

    def _sleep(self) -> None:
        """Become a shell until the daemon wakes it."""
        link, nap = self._link, self._nap
        nap.is_asking = False
        if link is None or not self._is_idle(link):
            self._deadlines["nap"] = time.monotonic() + self._times.quiet
            return
        from .record import settings_values, state_values, store  # noqa: PLC0415 - see `resume`

        woken = (b"woken", repr(nap.woken[1]).encode())
        record = store([*settings_values(self._settings), *state_values(self._conversation), woken])
        number = link.sock.fileno()
        posix.set_inheritable(number, True)
        try:
            sleep(self._settings.shown_name, number, self._command(str(record), str(number)))
        except OSError:
            posix.close(record)
            posix.set_inheritable(number, False)
            nap.is_refused = True

    # ---- ends

    def _on_input_closed(self) -> None:
        self._await(STDIN, 0)
        if self._link is not None and self._link.is_open:
            self._deadlines["last responses"] = time.monotonic() + _LAST_RESPONSES

    def _end_if_done(self) -> None:
        """End without a connection if none is needed."""
        if self._link is None and self._input.closed and not self._conversation.has_unsent:
            connected = self._has_connected
            raise End(_EX_OK if connected else _EX_UNAVAILABLE, self._unreachable, shown=not connected)

    def _finish(self, end: End) -> int:
        """Fail all requests without a response, and return the exit code."""
        output = self._output
        if output.fault is None:
            self._conversation.close(end.reason)
            output.write(list(self._conversation.replies))
            deadline = time.monotonic() + _LAST_ERRORS
            while output.size and output.fault is None and (left := deadline - time.monotonic()) > 0:
                if is_ready(output.descriptor, select.POLLOUT, left):
                    output.flush()
        if end.shown:
            notice(end.reason)
        if self._link is not None:
            self._link.close()
        return end.code
