"""Log the events of one server, count its requests, and store its last lines.

Text is escaped and redacted by the log before it is stored.
"""

import time
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from ...transports.correlation import id_of
from ...transports.counted_events import CountedEvents
from ...transports.options import Directory
from ...validators.rejection import Rejection
from ..core.call_metrics import CallMetrics, Recorder
from ..core.effects import RequestFinished
from ..core.span_queue import Span, SpanQueue
from ..core.start_errors import Output
from ..core.trace_context import TracedTime, trace_of
from ..log import LineLog
from ..redaction import Redactor
from .log_buffer import TAIL, TAIL_CHARACTERS, Entry, LogBuffer
from .start_history import StartHistory
from .taps import Taps

if TYPE_CHECKING:
    from .message_gate import MessageGate

# How many characters of a session id are logged, too few to use the session.
SHOWN_SESSION: Final = 8

# The reason of the failure of a call whose time limit has passed.
TIMED_OUT: Final = "no response within the time limit"
# Reasons of rejections by the access policy (`core.access_policy`).
DENIALS: Final = frozenset({"tool_denied", "feature_denied", "method_denied"})
# How much of an id without a request is logged (bytes).
_SHOWN_ID: Final = 64


# How much of the name of a tool, prompt or resource is in a span (characters).
_LONGEST_NAME: Final = 256


class OnEnd(Protocol):
    """Records the end of a request of a client. `principal` and `session` are empty for a stateless request."""

    def __call__(self, request: RequestFinished, principal: str = "", session: str = "", /) -> None: ...


class OnCall(Protocol):
    """Records the end of a request of a client of the server with this name, as `OnEnd`."""

    def __call__(self, server: str, request: RequestFinished, principal: str, session: str, /) -> None: ...


class ServerLog:
    """The log of one server (transports.ports.Log), with its last lines, the history of its starts, and its watchers."""

    def __init__(self, name: str, log: LineLog) -> None:
        self.name = name
        # Whether the end of each request of a client is recorded (`finish`).
        self.records_ends = False
        # When the numbers began, and when those by method did (seconds since 1970, 0 if they are not counted).
        self.since = time.time()
        self.methods_since = 0.0
        # Gets a span of each request; None without an exporter.
        self._spans: SpanQueue | None = None
        # Counts the requests by method and tool, None if they are not counted. `record_calls` sets it.
        self.metrics: CallMetrics | None = None
        # Given to each session and multiplexer.
        self.recorder = Recorder()
        # Whether `begin` gives the time of a request. Otherwise that is the present time.
        self.reads_traces = False
        # Records the end of a request of a client, whose `since` is a time of `time.monotonic`. Used with `records_ends` only. `record_calls` sets it.
        self.finish: OnEnd = self._record_end
        # Whether the end is logged, and what else receives it. `record_calls` sets them.
        self._logs_calls = False
        self._audit_call: OnCall | None = None
        # The numbers of requests of clients, of those with an error, and of responses without a request.
        self.calls = 0
        self.errors = 0
        self.unmatched_answers = 0
        # By check and action, the number of findings of the checks of content.
        self.content_findings: dict[tuple[str, str], int] = {}
        # The number of lines on stderr of all processes.
        self.stderr_lines = 0
        # The bytes that were read from and written to the processes that have exited.
        self.transferred: tuple[int, int] = (0, 0)
        self.buffer = LogBuffer()
        self.history = StartHistory(self)
        # Receive each message of the server.
        self.taps = Taps()
        # Refuses messages that do not fit their schema, None without `validate = "strict"`. `ServerParts` sets it.
        self.gate: MessageGate | None = None
        self._log = log
        # Events that a client can cause at will. The server calls `tick` and `flush`.
        self.counted = CountedEvents(self)

    @property
    def watched(self) -> bool:
        """Whether a client follows the log or the messages."""
        return self.buffer.is_followed or bool(self.taps)

    # ---- ports.Log

    def debug(self, event: str, **fields: object) -> None:
        """Log an event for developers."""
        self._log.debug(event, server=self.name, **_named(fields))

    def info(self, event: str, **fields: object) -> None:
        """Log an event, and store it."""
        fields = _named(fields)
        self._log.info(event, server=self.name, **fields)
        self._note("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log and store an event that an operator should look at."""
        fields = _named(fields)
        self._log.warning(event, server=self.name, **fields)
        self._note("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log and store a failure."""
        fields = _named(fields)
        self._log.error(event, server=self.name, **fields)
        self._note("error", event, fields)

    # ---- requests of clients

    def record_calls(
        self, *, logs: bool, counts: bool, audit: OnCall | None = None, spans: SpanQueue | None = None
    ) -> None:
        """Log each request of a client when it ends, count it by method and tool, pass it to `audit`, or make a span of it."""
        self._logs_calls, self._audit_call, self._spans = logs, audit, spans
        if not counts:
            self.metrics, self.methods_since = None, 0.0
        elif self.metrics is None:
            self.metrics, self.methods_since = CallMetrics(monotonic), time.time()
        self.reads_traces = logs or self._log.logs_debug or spans is not None
        self.records_ends = counts or audit is not None or self.reads_traces
        # The counters alone need no call between.
        alone = None if self.reads_traces or audit is not None else self.metrics
        self.recorder.counts = alone
        self.finish = self._record_end if alone is None else alone.add

    def on_tick(self) -> None:
        """Settle the counters, about once a second."""
        if self.metrics is not None:
            self.metrics.settle()

    def begin(self, params: bytes, headers: Mapping[str, str] | None = None) -> float:
        """Return the present time, with the trace of a request with these params and headers. Used with `reads_traces`."""
        context = trace_of(params, headers)
        return monotonic() if context is None else TracedTime(monotonic(), context)

    def _record_end(self, request: RequestFinished, principal: str = "", session: str = "") -> None:
        """Record the end of a request of a client without its content."""
        if self.metrics is not None:
            self.metrics.add(request)
        if self._audit_call is not None:
            self._audit_call(self.name, request, principal, session)
        if not self.reads_traces:
            return
        since = request.since
        context = since.context if isinstance(since, TracedTime) else None
        if self._spans is not None:
            end = time.time_ns()
            start = end - int(1e9 * (monotonic() - since))
            name, outcome = request.name[:_LONGEST_NAME], request.outcome
            self._spans.add(Span(self.name, request.method, name, outcome, start, end, context))
        trace = {} if context is None else {"trace": context.trace}
        (self._log.info if self._logs_calls else self._log.debug)(
            "call",
            server=self.name,
            principal=principal or request.principal,
            session=session[:SHOWN_SESSION],
            id=request.id,
            method=request.method,
            name=request.name,
            outcome=request.outcome,
            ms=round(1000 * (monotonic() - since), 1),
            **trace,
        )

    def refused(self) -> None:
        """Count a request that was rejected before a process received it."""
        self.calls += 1
        self.errors += 1

    def denied(
        self, rejection: Rejection, principal: str, method: str, name: str = "", session: str = ""
    ) -> None:
        """Log a request that the access policy denies, if that is the reason of this rejection."""
        if rejection.reason not in DENIALS:
            return
        fields = {"principal": principal, "session": session[:SHOWN_SESSION], "method": method, "name": name}
        self.counted.add(
            "policy_denied",
            ("policy_denied", rejection.reason, principal),
            id_of(rejection),
            reason=rejection.reason,
            **{key: value for key, value in fields.items() if value},
        )

    def request_failed(
        self, correlation_id: str, reason: str, principal: str = "", session: str = ""
    ) -> None:
        """Log an error of the bridge for requests that were accepted."""
        fields = {"principal": principal, "session": session[:SHOWN_SESSION]}
        self.counted.add(
            "request_failed",
            ("request_failed", principal),
            correlation_id,
            reason=reason,
            **{key: value for key, value in fields.items() if value},
        )

    def unmatched(self, sender: str, raw_id: bytes) -> None:
        """Count and log a response whose id matches no request."""
        self.unmatched_answers += 1
        kind = ("answer_unmatched", sender)
        self.counted.add("answer_unmatched", kind, reason="no_request", sender=sender, id=raw_id[:_SHOWN_ID])

    # ---- the processes and their output

    def started(self, pid: int, directory: Directory | None = None) -> None:
        """Record the start of a process, and log the directory of the client that it runs in."""
        self.buffer.begin(pid)
        self.history.on_start(pid, "" if directory is None else directory.shown)

    def output(self, pid: int, unfinished: tuple[bytes, bytes] = (b"", b"")) -> Output:
        """Return the last lines that this process has printed, with the beginnings of those that have not ended."""
        found = [
            (*self.buffer.tail(pid, kind), *([self.shown(rest, TAIL_CHARACTERS)] if rest.strip() else []))[
                -TAIL:
            ]
            for kind, rest in zip(("stdout", "stderr"), unfinished, strict=True)
        ]
        return Output(*found)

    def messages(self, sent: Iterable[bytes]) -> tuple[str, ...]:
        """Return the beginnings of these messages, as they may be shown."""
        return tuple(self.shown(line, TAIL_CHARACTERS) for line in sent)

    def stdout(self, pid: int, line: bytes) -> None:
        """Store a line of stdout that is no message."""
        self.buffer.add(Entry(time.time(), "stdout", pid, self.shown(line, TAIL_CHARACTERS), self.name))

    def stderr(self, pid: int, line: bytes) -> None:
        """Log and store a line of stderr."""
        self.stderr_lines += 1
        text = str(self._log.plain(line))
        self._log.info("stderr", server=self.name, **_named({"pid": pid, "line": line}))
        self.buffer.add(Entry(time.time(), "stderr", pid, text, self.name))

    # ---- redaction

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

    def _note(self, level: str, event: str, fields: dict[str, object]) -> None:
        pid = fields.pop("pid", 0)
        text = "".join(f" {key}={self._log.plain(value)}" for key, value in fields.items())
        self.buffer.add(
            Entry(time.time(), level, pid if isinstance(pid, int) else 0, event + text, self.name)
        )


def _named(fields: dict[str, object]) -> dict[str, object]:
    """Return the fields of an event with `connection` in place of the negative pid of a remote server."""
    pid = fields.get("pid")
    if not isinstance(pid, int) or pid >= 0:
        return fields
    return {
        "connection" if key == "pid" else key: -pid if key == "pid" else value
        for key, value in fields.items()
    }
