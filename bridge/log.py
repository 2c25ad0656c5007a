"""One event, one line, on stderr: text for people or JSON for machines.

Nothing that a peer or a server says can forge a line or reach a terminal: control characters are escaped, lines are
cut, and the secrets that we know are blotted out wherever they turn up (attacks V43 to V45).
"""

import contextlib
import json
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from typing import Final, TextIO

LEVELS: Final = ("debug", "info", "warning", "error", "none")
# A line longer than this is cut where nothing else is said, in characters.
_LONGEST: Final = 4096
# What is shorter is no secret worth hiding, and blotting it out would spoil the log; in characters.
SHORTEST_SECRET: Final = 8
# C0, DEL, C1, line separators, and what turns or hides text (bidi, zero width, tags).
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


class LineLog:
    """The log (transports.ports.Log). `secrets` never appear in it."""

    def __init__(self, level: str = "info", form: str = "text", *, out: TextIO | None = None) -> None:
        self._rank = LEVELS.index(level)
        self._json = form == "json"
        self._out = out or sys.stderr
        self._hidden: Counter[str] = Counter()

    def hide(self, secrets: Iterable[str]) -> None:
        """Blot these out from now on, until each has been unhidden as often as it was hidden."""
        self._hidden.update(form for one in secrets for form in _forms(one))

    def unhide(self, secrets: Iterable[str]) -> None:
        """Whoever has hidden these does not have them any more."""
        for one in secrets:
            for form in _forms(one):
                self._hidden[form] -= 1
                if not self._hidden[form]:
                    del self._hidden[form]

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

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        plain = {key: self.plain(value) for key, value in fields.items()}
        if self._json:
            line = json.dumps({"ts": round(time.time(), 3), "level": level, "event": event, **plain})
        else:
            told = "".join(f" {key}={_quoted(value)}" for key, value in plain.items())
            line = f"mcp-bridge: {level}: {event}{told}"
        _write(self._out, f"{line}\n")

    def plain(self, value: object, longest: int = _LONGEST) -> object:
        """The value as it may be shown: without secrets and what could steer a terminal, cut after so many characters."""
        if isinstance(value, bool | int | float) or value is None:
            return value
        if isinstance(value, BaseException):
            value = "".join(traceback.format_exception(value))
        text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
        found = [secret for secret in self._hidden if secret in text]
        if found:
            text = _blotted(text, found)
        return escaped(text[:longest])


def tell(text: str) -> None:
    """Say something on stderr, as it is."""
    _write(sys.stderr, text)


def _write(out: TextIO, text: str) -> None:
    # Where nobody listens any more, or the disk is full: that is no reason to stop serving.
    with contextlib.suppress(OSError, ValueError):
        out.write(text)
        out.flush()


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
