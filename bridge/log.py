"""Write events to stderr or a file, one line for each, as text or JSON.

A peer or a server cannot forge a line or control a terminal: control characters are escaped and lines are cut. Known secrets
are redacted in every form that `redaction` finds.
"""

import contextlib
import json
import os
import re
import select
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Final, Protocol, TextIO, TypeVar

from .log_levels import LEVELS
from .redaction import REDACTED, SHORTEST_SECRET, Redactor, begun_at, needles_of, redact

# The default limit of a field (characters). The rest is cut.
_LONGEST: Final = 4096
# How long the log may wait for a slow reader (seconds), and for which share of the time. Beyond that lines are dropped.
_LONGEST_WAIT: Final = 0.1
_SHARE: Final = 0.1
# A pipe that is writable by poll(2) accepts this much without blocking: PIPE_BUF in pipe(7) (bytes).
_AT_ONCE: Final = 4096
# The time between two lines on stderr about lines that a file did not take (seconds).
_PAUSE: Final = 60.0
# Moves to the begin of the line and erases it (ECMA-48).
_ERASE_LINE: Final = "\r\x1b[K"
# C0, DEL, C1, line separators, and characters that reorder or hide text (bidi, zero width, tags).
UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)

_T = TypeVar("_T")


class AuditSink(Protocol):
    """Receives each event before the level of the log is applied."""

    def __call__(self, level: str, event: str, fields: Mapping[str, object], /) -> bool:
        """Record an event. Return whether the log has it as well."""
        ...


class LineFile(Protocol):
    """A file that lines are appended to, with a line for those that are lost. `reason` is why the last line was lost."""

    reason: str

    def write(self, lines: bytes, /) -> int:
        """Append these lines, and return how many lines were lost since the last call."""
        ...


def _no_audit(_level: str, _event: str, _fields: Mapping[str, object], /) -> bool:
    return True


class LineLog:
    """The log (`transports.ports.Log`). Hidden secrets never appear in it."""

    def __init__(self, level: str = "info", form: str = "text", *, out: TextIO | None = None) -> None:
        self._rank = LEVELS.index(level)
        self._json = form == "json"
        self._out = _Output(out or sys.stderr)
        # Lines that stderr did not take since the last one that was written, and all lines that were dropped.
        self._dropped = 0
        self.dropped_in_all = 0
        # By form of a secret and by needle of `redaction`, the number of `hide` calls without an `unhide`.
        self._hidden: Counter[str] = Counter()
        self._needles: Counter[bytes] = Counter()
        # How often the set of hidden secrets has changed, for callers that store what `plain` returns.
        self.secrets_generation = 0
        # Receives each event. Set by the daemon.
        self.audit: AuditSink = _no_audit
        # Gets the lines in place of stderr. Set by the daemon.
        self.file: LineFile | None = None
        # When a loss was written to stderr (seconds).
        self._loss_shown_at = -_PAUSE

    def hide(self, secrets: Iterable[str]) -> None:
        """Redact these secrets, until each was unhidden as often as it was hidden."""
        self.secrets_generation += 1
        for one in secrets:
            self._hidden.update(_forms(one))
            self._needles.update(needles_of(one))

    def unhide(self, secrets: Iterable[str]) -> None:
        """Undo one `hide` of these secrets."""
        self.secrets_generation += 1
        for one in secrets:
            _count_down(self._hidden, _forms(one))
            _count_down(self._needles, needles_of(one))

    def redactor(self) -> Redactor:
        """Return a redactor for a stream. It redacts the secrets that are hidden at the moment."""
        return Redactor(lambda: tuple(self._needles))

    @property
    def logs_debug(self) -> bool:
        """Whether events for developers are written."""
        return self._rank <= 0

    def debug(self, event: str, **fields: object) -> None:
        """Write an event for developers."""
        if self.audit("debug", event, fields) and self._rank <= 0:
            self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Write an ordinary event."""
        if self.audit("info", event, fields) and self._rank <= 1:
            self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at."""
        if self.audit("warning", event, fields) and self._rank <= 2:
            self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write a fault of the bridge."""
        if self.audit("error", event, fields) and self._rank <= 3:
            self._write("error", event, fields)

    def always(self, level: str, event: str, text: str, **fields: object) -> None:
        """Write an event at any level of the log: the text alone, or in JSON the fields, by default the text as `reason`.

        It is written to stderr, and to the file if there is one.
        """
        fields = fields or {"reason": text}
        self.audit(level, event, fields)
        if self.file is not None:
            self._append(self.file, level, event, fields)
        if self._json:
            self._out.write(self._line(level, event, fields))
        else:
            self._out.write_around(f"mcp-bridge: {text}\n", write_stderr)

    def show_progress(self, text: str) -> None:
        """Show a line below the log, which each event is written above; an empty text removes it. stderr must be a terminal."""
        self._out.show_progress(escaped(text))

    def take_over(self) -> None:
        """Write the warnings and uncaught exceptions of the interpreter as events, if the log is JSON."""
        if not self._json:
            return
        sys.excepthook = self._uncaught
        threading.excepthook = lambda lost: self._uncaught(lost.exc_type, lost.exc_value, lost.exc_traceback)
        sys.unraisablehook = lambda lost: self._uncaught(lost.exc_type, lost.exc_value, lost.exc_traceback)
        warnings.showwarning = self._warned

    def _uncaught(
        self, kind: type[BaseException], fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        text = "".join(traceback.format_exception(kind, fault, trace))
        self.always("error", "internal_error", text, fault=text)

    def _warned(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG002 - the signature of warnings.showwarning
        line: str | None = None,  # noqa: ARG002 - likewise
    ) -> None:
        text = str(message)
        self.always(
            "warning", "warning", text, kind=category.__name__, reason=text, at=f"{filename}:{lineno}"
        )

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if self.file is not None:
            self._append(self.file, level, event, fields)
            return
        if not self._out.is_writable(wait=not self._dropped):
            self._dropped += 1
            self.dropped_in_all += 1
            return
        if self._dropped:
            self._out.write(self._line("warning", "log_lines_dropped", {"count": self._dropped}))
            self._dropped = 0
        self._out.write(self._line(level, event, fields))

    def _append(self, file: LineFile, level: str, event: str, fields: dict[str, object]) -> None:
        """Append an event to the file."""
        line = self._line(level, event, fields, dated=True)
        lost = file.write(line.encode(errors="backslashreplace"))
        if not lost:
            return
        self.dropped_in_all += lost
        now = time.monotonic()
        if now - self._loss_shown_at >= _PAUSE and self._out.is_writable(wait=False):
            self._loss_shown_at = now
            self._out.write(self._line("error", "log_file_lost_lines", {"reason": file.reason}))

    def gap_line(self, count: int, _reason: str) -> bytes:
        """Return the line of a file about lines that were lost before it. May be called on any thread."""
        return self._line("warning", "log_lines_dropped", {"count": count}, dated=True).encode()

    def _line(self, level: str, event: str, fields: Mapping[str, object], *, dated: bool = False) -> str:
        """Return the line of an event. In a file a line of text begins with its time, which stderr gets from its reader."""
        plain = {key: self.plain(value) for key, value in fields.items()}
        now = iso(time.time()) if self._json or dated else ""
        if self._json:
            line = json.dumps({"ts": now, "level": level, "event": event, **plain})
        else:
            line = f"{now or 'mcp-bridge:'} {level}: {event_text(event, plain)}"
        return f"{line}\n"

    def plain(self, value: object, longest: int = _LONGEST) -> object:
        """Return a value without secrets and control characters, cut after `longest` characters."""
        if isinstance(value, bool | int | float) or value is None:
            return value
        if isinstance(value, BaseException):
            value = "".join(traceback.format_exception(value))
        text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
        text = self._redacted(text)
        found = [secret for secret in self._hidden if secret in text]
        if found:
            text = _redact_forms(text, found)
        return escaped(text[:longest])

    def beginning(self, data: bytes, size: int) -> bytes:
        """Return at most `size` bytes of the data, without the beginning of a secret at their end."""
        data = data[:size]
        return data[: begun_at(data, self._needles)] if self._needles else data

    def _redacted(self, text: str) -> str:
        if not self._needles or len(text) < SHORTEST_SECRET:
            return text
        data = text.encode(errors="surrogatepass")
        found = redact(data, self._needles)
        return text if found is data else found.decode(errors="backslashreplace")


class _Output:
    """The file that lines are written to. A reader that stops, like a pager or a terminal after ^S, must not block the daemon."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._poll = select.poll()
        self._descriptor = -1
        # A line of a terminal below the last event; empty without one. Set by `show_progress`.
        self._progress = ""
        # The line end that a cut line still needs, or nothing.
        self._unfinished = b""
        # The seconds that `write` may still wait, as of the time `_since`.
        self._allowance = _LONGEST_WAIT
        self._since = time.monotonic()
        # A file without a descriptor, such as StringIO, never blocks.
        with contextlib.suppress(OSError, ValueError):
            self._descriptor = out.fileno()
            self._poll.register(self._descriptor, select.POLLOUT)

    def is_writable(self, *, wait: bool) -> bool:
        """Return whether a line can be written without blocking. With `wait`, wait for that as long as is allowed."""
        if self._descriptor < 0 or self._poll.poll(0):
            return True
        return wait and self._wait()

    def _wait(self) -> bool:
        began = time.monotonic()
        self._allowance = max(0.0, min(_LONGEST_WAIT, self._allowance + (began - self._since) * _SHARE))
        writable = bool(self._poll.poll(self._allowance * 1000))
        self._since = time.monotonic()
        self._allowance -= self._since - began
        return writable

    def show_progress(self, text: str) -> None:
        """Replace the line below the last event. A terminal that stalls keeps the former one."""
        if text != self._progress and self.is_writable(wait=False):
            self._progress = ""
            self.write(f"{_ERASE_LINE}{text}")
            self._progress = text

    def write_around(self, text: str, write: Callable[[str], None]) -> None:
        """Write a line with a function, and keep the line below it."""
        write(f"{_ERASE_LINE}{text}{self._progress}" if self._progress else text)

    def write(self, text: str) -> None:
        """Write a line. If the reader stalls within it, the rest is cut."""
        if self._progress:
            text = f"{_ERASE_LINE}{text}{self._progress}"
        if self._descriptor < 0:
            _write(self._out, text)
            return
        data = self._unfinished + text.encode(errors="backslashreplace")
        # A closed pipe or a full disk must not stop the daemon.
        with contextlib.suppress(OSError):
            while data and self.is_writable(wait=True):
                data = data[os.write(self._descriptor, data[:_AT_ONCE]) :]
            self._unfinished = b"\n" if data else b""


def event_text(event: str, fields: Mapping[str, object]) -> str:
    """Return an event and its fields as text. The values have no control characters."""
    return event + "".join(f" {key}={_quoted(value)}" for key, value in fields.items())


def iso(at: float) -> str:
    """Return a time in the format of RFC 3339, in UTC with milliseconds."""
    whole, part = divmod(int(at * 1000), 1000)
    return f"{_second(whole)}.{part:03d}Z"


@lru_cache(maxsize=2)
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def write_stderr(text: str) -> None:
    """Write a text to stderr unchanged. Errors are ignored."""
    _write(sys.stderr, text)


def _write(out: TextIO, text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        out.write(text)
        out.flush()


def _count_down(counter: Counter[_T], counted: Iterable[_T]) -> None:
    for one in counted:
        counter[one] -= 1
        if not counter[one]:
            del counter[one]


def _forms(secret: str) -> set[str]:
    """Return the forms of a secret in a line: unchanged, in a JSON string, and in JSON within a JSON string."""
    once = json.dumps(secret)[1:-1]
    return {secret, once, json.dumps(once)[1:-1]} if secret else set()


def _redact_forms(text: str, secrets: Iterable[str]) -> str:
    # All secrets are searched for before the first is replaced, because they may overlap.
    spans = sorted(match.span() for secret in secrets for match in re.finditer(re.escape(secret), text))
    shown: list[str] = []
    end = 0
    for start, stop in spans:
        if start >= end:
            shown += text[end:start], REDACTED.decode()
        end = max(end, stop)
    return "".join(shown) + text[end:]


def escaped(text: str) -> str:
    r"""Return the text with every character that could control a terminal or end a line as \xNN or \uNNNN."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text or '"' in text else text
