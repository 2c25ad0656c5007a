"""What has happened to one server lately: counted, the last lines kept, and told to whoever watches.

Nothing here is kept on disk, and what is kept is bounded. Text has passed the log's escaping before it gets here.
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

# How much of the past is kept for each server, in characters, and how many lines of stderr an error carries.
_KEPT: Final = 64 * 1024
_TAIL: Final = 5
# Of how many processes it is known where their lines begin.
_PIDS: Final = 1024
_TAIL_CHARACTERS: Final = 400
# A process that ends so soon after its start has failed to start, in seconds.
_START_SECONDS: Final = 60.0

# How much of a session's id is told: enough to tell it from others, and too little to use it.
_SHOWN: Final = 8

# How much of an id that matches nothing is logged (bytes).
_SHOWN_ID: Final = 64

# Who is shown every message: its direction and its line.
Watcher = Callable[[str, bytes], None]
TO_SERVER: Final = "to server"
TO_CLIENT: Final = "to client"


@attrs.frozen
class Entry:
    """One line: `at` in seconds since the epoch, `kind` is "stderr", "stdout" or the level of an event."""

    at: float
    kind: str
    pid: int
    text: str


class Call(NamedTuple):
    """A request of a client: `session` is empty without one, `name` that of the tool, prompt or resource, `since` Trio's time."""

    principal: str
    session: str
    id: bytes
    method: str
    name: str
    since: float


class ServerLog:
    """The log of one server (transports.ports.Log), its counts, and its watchers."""

    def __init__(self, name: str, log: LineLog, *, tells: bool = False) -> None:
        self.name = name
        self.tells = tells  # whether each request of a client is told (`done`)
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
        """What a developer wants to know."""
        self._log.debug(event, server=self.name, **fields)

    def info(self, event: str, **fields: object) -> None:
        """What happened."""
        self._log.info(event, server=self.name, **fields)
        self._note("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """What somebody should look at."""
        self._log.warning(event, server=self.name, **fields)
        self._note("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """What went wrong."""
        self._log.error(event, server=self.name, **fields)
        self._note("error", event, fields)

    # ---- what its server says of itself

    def started(self, pid: int) -> None:
        """A process was started."""
        self.starts += 1
        self._before.pop(pid, None)
        self._before[pid] = self._count
        self._since[pid] = time.monotonic()
        if len(self._before) > _PIDS:
            oldest = next(iter(self._before))
            del self._before[oldest], self._since[oldest]
        self.info("started", pid=pid)

    def died(self, pid: int, exit_: Exit) -> None:
        """A process is gone that should not be."""
        self.deaths += 1
        self.last_exit = exit_.describe()
        self.warning("the server is gone", how=self.last_exit, pid=pid)
        self._name_withheld(failed=time.monotonic() - self._since.get(pid, 0.0) < _START_SECONDS)

    def not_started(self, reason: str) -> None:
        """There should be a process, and none could be started."""
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
        """A process could not be used, or none was started."""
        self.start_fault, self._fault_of = fault, frozenset(principals)
        self.warning("start_failed", reason=fault.summary)

    def start_succeeded(self) -> None:
        """A process has answered its first request."""
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
        """A process has written this line to its stdout, and it is no message."""
        self._keep(Entry(time.time(), "stdout", pid, self.shown(line, _TAIL_CHARACTERS)))

    def stderr(self, pid: int, line: bytes) -> None:
        """A process has written this line to its stderr."""
        text = str(self._log.plain(line))
        self._log.info("stderr", server=self.name, pid=pid, line=line)
        self._keep(Entry(time.time(), "stderr", pid, text))

    def done(self, call: Call, outcome: str) -> None:
        """A request of a client has come to its end. What it said and what was answered is nobody's business."""
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
        """A request came, and was answered with an error before any process heard of it."""
        self.calls += 1
        self.errors += 1

    def unmatched(self, sender: str, raw_id: bytes) -> None:
        """A response of the server or of a client has an id that matches no request."""
        self.unmatched_answers += 1
        self._rate_limited.info("answer_unmatched", sender=sender, id=raw_id[:_SHOWN_ID])

    def hide(self, secrets: Iterable[str]) -> None:
        """A process has these from now on (LineLog.hide)."""
        self._log.hide(secrets)

    def redactor(self) -> Redactor:
        """Return what redacts the stderr of one process (LineLog.redactor)."""
        return self._log.redactor()

    def unhide(self, secrets: Iterable[str]) -> None:
        """It is gone (LineLog.unhide)."""
        self._log.unhide(secrets)

    def shown(self, line: bytes, longest: int) -> str:
        """So many characters of the line, as it may be shown to a person."""
        return str(self._log.plain(self._log.beginning(line, 4 * longest), longest))

    def tail(self, pid: int, kind: str = "stderr") -> list[str]:
        """The last lines that this process has written to its stderr, and none of an earlier one with its pid."""
        skipped = self._before.get(pid, self._count) - (self._count - len(self._entries))
        entries = islice(self._entries, max(0, skipped), None)
        lines = [entry.text for entry in entries if entry.pid == pid and entry.kind == kind]
        return [line[:_TAIL_CHARACTERS] for line in lines[-_TAIL:]]

    # ---- who reads it

    @property
    def watched(self) -> bool:
        """Whether anyone follows it, or its messages."""
        return bool(self._followers or self.watchers)

    def entries(self) -> tuple[Entry, ...]:
        """What is kept, oldest first."""
        return tuple(self._entries)

    def follow(self, queue: SendQueue) -> None:
        """Put what is kept into this outlet, as an array, and then every entry from now on, until it ends."""
        queue.enqueue(msgspec.json.encode(self.entries()))
        self._followers.add(queue)

    def unfollow(self, queue: SendQueue) -> None:
        """No more of it."""
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
