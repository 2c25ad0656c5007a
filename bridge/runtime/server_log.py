"""Count the events of one server, keep its last lines in memory, and send them to followers.

The size is bounded. Text is escaped and redacted by the log before it is stored.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, NamedTuple

import attrs
import msgspec
import trio

from ...transports.process.child import Exit
from ...transports.rate_limited_log import RateLimitedLog
from ...transports.send_queue import SendQueue
from ..config.child_environment import named
from ..core.start_errors import Output, StartFault
from ..log import LineLog
from ..redaction import Redactor

# How much text is stored for each server (characters), and how many lines of stderr an error contains.
_KEPT: Final = 64 * 1024
_TAIL: Final = 5
# For how many processes the position of their first line is stored.
_PIDS: Final = 1024
_TAIL_CHARACTERS: Final = 400
# A process that exits within this time after its start has failed to start (seconds).
_START_SECONDS: Final = 60.0

# How many characters of a session id are logged, too few to use the session.
_SHOWN: Final = 8

# How much of an id without a request is logged (bytes).
_SHOWN_ID: Final = 64

# Receives each message: its direction and its line.
Watcher = Callable[[str, bytes], None]


@attrs.frozen
class Entry:
    """One line: `at` in seconds since the epoch, `kind` is "stderr", "stdout" or the level of an event."""

    at: float
    kind: str
    pid: int
    text: str


class Call(NamedTuple):
    """A request of a client: `session` may be empty, `name` is that of the tool, prompt or resource, `since` in Trio's seconds."""

    principal: str
    session: str
    id: bytes
    method: str
    name: str
    since: float


class ServerLog:
    """The log of one server (transports.ports.Log), its counts, and its watchers."""

    def __init__(self, name: str, log: LineLog, *, log_calls: bool = False) -> None:
        self.name = name
        # Whether each request of a client is logged (`done`).
        self.log_calls = log_calls
        self.calls = 0
        self.errors = 0
        self.unmatched_answers = 0
        self.starts = 0
        self.deaths = 0
        self.last_exit = ""
        # The names of the variables that are set in the daemon and not passed to the server (LocalServer sets them).
        self.withheld: tuple[str, ...] = ()
        self._start_failed = False
        # Why the last start has failed, None since one has succeeded; and the principals that its process has served.
        self.start_fault: StartFault | None = None
        self._fault_of: frozenset[str] = frozenset()
        self.watchers: list[Watcher] = []
        self._log = log
        self._rate_limited = RateLimitedLog(self)
        self._entries: deque[Entry] = deque()
        self._held = 0
        # How many entries there were before a process was started, by its pid, which may have been another one's before;
        # the oldest is dropped at the limit.
        self._before: dict[int, int] = {}
        # The times of the starts by pid, of time.monotonic(); dropped with the entry above.
        self._since: dict[int, float] = {}
        self._count = 0
        self._followers: set[SendQueue] = set()

    # ---- ports.Log

    def debug(self, event: str, **fields: object) -> None:
        """Log an event for developers."""
        self._log.debug(event, server=self.name, **fields)

    def info(self, event: str, **fields: object) -> None:
        """Log an event, and store it."""
        self._log.info(event, server=self.name, **fields)
        self._note("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log and store an event that an operator should look at."""
        self._log.warning(event, server=self.name, **fields)
        self._note("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log and store a failure."""
        self._log.error(event, server=self.name, **fields)
        self._note("error", event, fields)

    # ---- events of the server

    def started(self, pid: int) -> None:
        """Record the start of a process."""
        self.starts += 1
        self._before.pop(pid, None)
        self._before[pid] = self._count
        self._since[pid] = time.monotonic()
        if len(self._before) > _PIDS:
            oldest = next(iter(self._before))
            del self._before[oldest], self._since[oldest]
        self.info("started", pid=pid)

    def died(self, pid: int, exit_: Exit) -> None:
        """Record the unexpected exit of a process."""
        self.deaths += 1
        self.last_exit = exit_.describe()
        self.warning("the server is gone", how=self.last_exit, pid=pid)
        self._name_withheld(failed=time.monotonic() - self._since.get(pid, 0.0) < _START_SECONDS)

    def not_started(self, reason: str) -> None:
        """Record that no process could be started."""
        self.last_exit = f"was not started: {reason}"
        self._name_withheld(failed=True)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The names of the variables that the server may lack: empty unless its last start has failed."""
        return self.withheld if self._start_failed else ()

    def _name_withheld(self, *, failed: bool) -> None:
        """Log once, of a server whose starts fail, which of our variables it was not given."""
        if failed and self.withheld and not self._start_failed:
            self.warning("variables_not_passed", names=named(self.withheld))
        self._start_failed = failed

    def start_failed(self, fault: StartFault, principals: Iterable[str] = ()) -> None:
        """Record a failed start, and the principals whose requests its process has received."""
        self.start_fault, self._fault_of = fault, frozenset(principals)
        self.warning("start_failed", reason=fault.summary)

    def start_succeeded(self) -> None:
        """Record the first response of a process."""
        if self.start_fault is not None:
            self.start_fault = None
            self.info("start_succeeded")

    def last_failure(self, principal: str) -> str:
        """Return how the last process has failed, after "the server", as far as this principal may see it."""
        fault = self.start_fault
        if fault is None:
            return self.last_exit
        return fault.summary if self._fault_of <= {principal} else fault.reason

    def output(self, pid: int, unfinished: tuple[bytes, bytes] = (b"", b"")) -> Output:
        """Return the last lines that this process has printed, with the beginnings of those that have not ended."""
        found = [
            (*self.tail(pid, kind), *([self.shown(rest, _TAIL_CHARACTERS)] if rest.strip() else []))[-_TAIL:]
            for kind, rest in zip(("stdout", "stderr"), unfinished, strict=True)
        ]
        return Output(*found)

    def messages(self, sent: Iterable[bytes]) -> tuple[str, ...]:
        """Return the beginnings of these messages, as they may be shown."""
        return tuple(self.shown(line, _TAIL_CHARACTERS) for line in sent)

    def stdout(self, pid: int, line: bytes) -> None:
        """Store a line of stdout that is no message."""
        self._keep(Entry(time.time(), "stdout", pid, self.shown(line, _TAIL_CHARACTERS)))

    def stderr(self, pid: int, line: bytes) -> None:
        """Log and store a line of stderr."""
        text = str(self._log.plain(line))
        self._log.info("stderr", server=self.name, pid=pid, line=line)
        self._keep(Entry(time.time(), "stderr", pid, text))

    def done(self, call: Call, outcome: str) -> None:
        """Log the end of a request of a client, without its content."""
        self._log.info(
            "call",
            server=self.name,
            principal=call.principal,
            session=call.session[:_SHOWN],
            id=call.id,
            method=call.method,
            name=call.name,
            outcome=outcome,
            ms=round(1000 * (trio.current_time() - call.since), 1),
        )

    def refused(self) -> None:
        """Count a request that was rejected before a process received it."""
        self.calls += 1
        self.errors += 1

    def unmatched(self, sender: str, raw_id: bytes) -> None:
        """Count and log a response whose id matches no request."""
        self.unmatched_answers += 1
        self._rate_limited.info("answer_unmatched", sender=sender, id=raw_id[:_SHOWN_ID])

    def hide(self, secrets: Iterable[str]) -> None:
        """Redact these values from now on (LineLog.hide)."""
        self._log.hide(secrets)

    def redactor(self) -> Redactor:
        """Return what redacts the stderr of one process (LineLog.redactor)."""
        return self._log.redactor()

    def unhide(self, secrets: Iterable[str]) -> None:
        """Redact these values no longer, because their process has exited (LineLog.unhide)."""
        self._log.unhide(secrets)

    def shown(self, line: bytes, longest: int) -> str:
        """Return the beginning of a line (characters), escaped and redacted."""
        return str(self._log.plain(self._log.beginning(line, 4 * longest), longest))

    def tail(self, pid: int, kind: str = "stderr") -> list[str]:
        """Return the last lines of stderr of this process, and none of an earlier one with its pid."""
        skipped = self._before.get(pid, self._count) - (self._count - len(self._entries))
        entries = islice(self._entries, max(0, skipped), None)
        lines = [entry.text for entry in entries if entry.pid == pid and entry.kind == kind]
        return [line[:_TAIL_CHARACTERS] for line in lines[-_TAIL:]]

    # ---- followers

    @property
    def watched(self) -> bool:
        """Whether a client follows the log or the messages."""
        return bool(self._followers or self.watchers)

    def entries(self) -> tuple[Entry, ...]:
        """Return the stored entries, oldest first."""
        return tuple(self._entries)

    def follow(self, queue: SendQueue) -> None:
        """Send the stored entries to this send queue as an array, and then each new entry."""
        queue.enqueue(msgspec.json.encode(self.entries()))
        self._followers.add(queue)

    def unfollow(self, queue: SendQueue) -> None:
        """Send no further entries to this send queue."""
        self._followers.discard(queue)

    def _note(self, level: str, event: str, fields: dict[str, object]) -> None:
        pid = fields.pop("pid", 0)
        told = "".join(f" {key}={self._log.plain(value)}" for key, value in fields.items())
        self._keep(Entry(time.time(), level, pid if isinstance(pid, int) else 0, event + told))

    def _keep(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._count += 1
        self._held += len(entry.text)
        while self._held > _KEPT:
            self._held -= len(self._entries.popleft().text)
        if self._followers:
            text = msgspec.json.encode(entry)
            for queue in tuple(self._followers):
                queue.enqueue(text)
