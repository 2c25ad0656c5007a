"""One event, one line, on stderr: text for people or JSON for machines.

Nothing that a peer or a server writes can forge a line or reach a terminal: control characters are escaped, lines are
cut, and known secrets are redacted wherever they turn up, in the forms that redaction.py finds.
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
from collections.abc import Iterable
from types import TracebackType
from typing import Final, TextIO, TypeVar

from .redaction import SHORTEST_SECRET, Redactor, begun_at, needles_of, redact

LEVELS: Final = ("debug", "info", "warning", "error", "none")
# A line longer than this is cut where nothing else is said, in characters.
_LONGEST: Final = 4096
# How long the log may wait for a reader that is slow, in seconds, and of how much of the time. After that lines are dropped.
_PATIENCE: Final = 0.1
_SHARE: Final = 0.1
# A pipe that poll(2) calls writable takes so much without waiting (PIPE_BUF in pipe(7)), in bytes.
_AT_ONCE: Final = 4096
# C0, DEL, C1, line separators, and what turns or hides text (bidi, zero width, tags).
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)

_T = TypeVar("_T")


class LineLog:
    """The log (transports.ports.Log). `secrets` never appear in it."""

    def __init__(self, level: str = "info", form: str = "text", *, out: TextIO | None = None) -> None:
        self._rank = LEVELS.index(level)
        self._json = form == "json"
        self._out = _Output(out or sys.stderr)
        self._dropped = 0
        # How often each form of a secret, and each needle of redaction.py, was hidden and has not been unhidden.
        self._hidden: Counter[str] = Counter()
        self._needles: Counter[bytes] = Counter()

    def hide(self, secrets: Iterable[str]) -> None:
        """Redact these from now on, until each has been unhidden as often as it was hidden."""
        for one in secrets:
            self._hidden.update(_forms(one))
            self._needles.update(needles_of(one))

    def unhide(self, secrets: Iterable[str]) -> None:
        """Whoever has hidden these does not have them any more."""
        for one in secrets:
            _count_down(self._hidden, _forms(one))
            _count_down(self._needles, needles_of(one))

    def redactor(self) -> Redactor:
        """Return what redacts a stream, by the secrets that are hidden at each moment."""
        return Redactor(lambda: tuple(self._needles))

    def debug(self, event: str, **fields: object) -> None:
        """What a developer wants to know."""
        if self._rank <= 0:
            self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """What happened."""
        if self._rank <= 1:
            self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """What somebody should look at."""
        if self._rank <= 2:
            self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """What went wrong on our side."""
        if self._rank <= 3:
            self._write("error", event, fields)

    def always(self, level: str, event: str, text: str, **fields: object) -> None:
        """Write an event whatever the level of the log is. For people it is the text; without fields that is the reason."""
        if self._json:
            self._out.write(self._line(level, event, fields or {"reason": text}))
        else:
            tell(f"mcp-bridge: {text}\n")

    def take_over(self) -> None:
        """Write what the interpreter itself would write on stderr as events, where they are for machines."""
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
        self.always("error", "internal error", text, fault=text)

    def _warned(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG002 - as it is there
        line: str | None = None,  # noqa: ARG002
    ) -> None:
        text = str(message)
        self.always(
            "warning", "warning", text, kind=category.__name__, reason=text, at=f"{filename}:{lineno}"
        )

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if not self._out.takes(waiting=not self._dropped):
            self._dropped += 1
            return
        if self._dropped:
            gap = self._line(
                "warning", "lines were dropped, since nobody read the log", {"count": self._dropped}
            )
            self._out.write(gap)
            self._dropped = 0
        self._out.write(self._line(level, event, fields))

    def _line(self, level: str, event: str, fields: dict[str, object]) -> str:
        plain = {key: self.plain(value) for key, value in fields.items()}
        if self._json:
            line = json.dumps({"ts": _iso(time.time()), "level": level, "event": event, **plain})
        else:
            told = "".join(f" {key}={_quoted(value)}" for key, value in plain.items())
            line = f"mcp-bridge: {level}: {event}{told}"
        return f"{line}\n"

    def plain(self, value: object, longest: int = _LONGEST) -> object:
        """The value as it may be shown: without secrets and what could steer a terminal, cut after so many characters."""
        if isinstance(value, bool | int | float) or value is None:
            return value
        if isinstance(value, BaseException):
            value = "".join(traceback.format_exception(value))
        text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
        text = self._redacted(text)
        found = [secret for secret in self._hidden if secret in text]
        if found:
            text = _blotted(text, found)
        return escaped(text[:longest])

    def beginning(self, data: bytes, size: int) -> bytes:
        """Return the data, cut after so many bytes or before a secret of which that leaves only the beginning."""
        data = data[:size]
        return data[: begun_at(data, self._needles)] if self._needles else data

    def _redacted(self, text: str) -> str:
        if not self._needles or len(text) < SHORTEST_SECRET:
            return text
        data = text.encode(errors="surrogatepass")
        found = redact(data, self._needles)
        return text if found is data else found.decode(errors="backslashreplace")


class _Output:
    """Where lines go. A reader that stops reading, as a pager does or a terminal after ^S, must not stop the daemon."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._poll = select.poll()
        self._descriptor = -1
        self._torn = b""  # what ends a line that was cut off
        self._allowance = _PATIENCE
        self._since = time.monotonic()
        with contextlib.suppress(OSError, ValueError):  # what has no descriptor never waits
            self._descriptor = out.fileno()
            self._poll.register(self._descriptor, select.POLLOUT)

    def takes(self, *, waiting: bool) -> bool:
        """Whether a line can be written without waiting: now, or after as much waiting as there may still be."""
        if self._descriptor < 0 or self._poll.poll(0):
            return True
        return waiting and self._comes_to_take()

    def _comes_to_take(self) -> bool:
        began = time.monotonic()
        self._allowance = max(0.0, min(_PATIENCE, self._allowance + (began - self._since) * _SHARE))
        takes = bool(self._poll.poll(self._allowance * 1000))
        self._since = time.monotonic()
        self._allowance -= self._since - began
        return takes

    def write(self, text: str) -> None:
        """Write a line; the rest of one that turns out too long for a reader that has stalled is cut off."""
        if self._descriptor < 0:
            _write(self._out, text)
            return
        data = self._torn + text.encode(errors="backslashreplace")
        # Where nobody listens any more, or the disk is full: that is no reason to stop serving.
        with contextlib.suppress(OSError):
            while data and self.takes(waiting=True):
                data = data[os.write(self._descriptor, data[:_AT_ONCE]) :]
            self._torn = b"\n" if data else b""


def _iso(at: float) -> str:
    """Return a time as ISO 8601 has it, in UTC with milliseconds."""
    whole, part = divmod(int(at * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{part:03d}Z"


def tell(text: str) -> None:
    """Say something on stderr, as it is."""
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
    """How a secret may be written in a line: as it is, in a string of JSON, and in JSON that is a text in JSON."""
    once = json.dumps(secret)[1:-1]
    return {secret, once, json.dumps(once)[1:-1]} if secret else set()


def _blotted(text: str, secrets: Iterable[str]) -> str:
    # All at once: what is blotted out for one must not keep another, which overlaps it, from being found.
    spans = sorted(match.span() for secret in secrets for match in re.finditer(re.escape(secret), text))
    told: list[str] = []
    end = 0
    for start, stop in spans:
        if start >= end:
            told += text[end:start], "[secret]"
        end = max(end, stop)
    return "".join(told) + text[end:]


def escaped(text: str) -> str:
    r"""The text with every character that could steer a terminal or end a line written as \xNN or \uNNNN."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text or '"' in text else text
