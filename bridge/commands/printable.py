"""Format text and JSON of a server for stdout: no character controls the terminal, and line ends and tabs stay."""

import json
from typing import Final

from ..log import UNSAFE, escaped

# Of a text that is shown beside others (characters).
_LONGEST_LINE: Final = 200


def printable(text: str) -> str:
    """Return a text of several lines with its control characters escaped, without the line end after the last line."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    return "\n".join("\t".join(map(escaped, line.split("\t"))) for line in lines)


def one_line(text: str, longest: int = _LONGEST_LINE) -> str:
    """Return the first line of a text that has one, escaped and cut (characters)."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return escaped(first if len(first) <= longest else f"{first[: longest - 3]}...")


def json_text(value: object, *, indent: int | None = 2, ascii_only: bool = False) -> str:
    r"""Return a value as JSON. Characters that could control a terminal are written as \uNNNN, so that it stays JSON."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    return "\n".join(UNSAFE.sub(lambda match: _json_escape(match[0]), line) for line in text.split("\n"))


def _json_escape(character: str) -> str:
    # Without quotes: a character beyond U+FFFF becomes a pair of surrogates, as JSON spells it.
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
