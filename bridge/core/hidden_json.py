r"""Find and remove hidden characters in the strings of a JSON text. All other bytes of the text stay as they are. Pure.

A character can be written as itself, or as an escape (`\u200b`, `\udb40\udc41`, `\b`). A text is searched as a whole, because
the search is fast and most texts have no hidden character. Only the strings with a candidate are decoded.

Not counted are characters that are shown in some way, and therefore hide nothing: those for private use, line and paragraph
separators, and lone surrogates.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from .hidden_characters import (
    CONTROLS,
    EMBEDDINGS,
    INVISIBLE,
    JOINERS,
    MARKS,
    SELECTORS,
    TAGS,
    class_of,
    without_use,
)

# Strings of one text that are decoded, and their candidates. Each takes a few microseconds.
MOST_STRINGS: Final = 8 * 1024
MOST_CHARACTERS: Final = 64 * 1024
TOO_MANY: Final = (
    f"has more than {MOST_STRINGS} strings with hidden characters, or {MOST_CHARACTERS} such characters"
)
# Removing a character can bring two others together, such as two variation selectors, which are then removed too. A string
# that is not stable after this many rounds cannot be examined.
_ROUNDS: Final = 4
_ALWAYS: Final = TAGS + EMBEDDINGS + MARKS + INVISIBLE + CONTROLS
_CANDIDATE: Final = re.compile(f"[{_ALWAYS}{SELECTORS}{JOINERS}]")
# A character that a joiner may join, perhaps with one selector behind it.
_JOINED: Final = f"[^\x00-\xff{SELECTORS}{JOINERS}]"
# Candidates as themselves, without the most usual characters with a use: a single selector after another character, and
# joiners between other characters. A candidate next to an escape is found too. The first set makes the search fast.
_RAW: Final = re.compile(
    f"[{_ALWAYS}{SELECTORS}{JOINERS}](?:(?<=[{_ALWAYS}])"
    rf'|(?<=[{SELECTORS}])(?:(?<=[{SELECTORS}"].)|(?<=\\u[0-9a-fA-F]{{4}}.)|(?=[{SELECTORS}\\]))'
    f"|(?<=[{JOINERS}])(?:(?<!{_JOINED}.)(?<!{_JOINED}[{SELECTORS}].)|(?!{_JOINED})))"
)
_KEY: Final = re.compile(r'"[ \t\r\n]*+:')
_BACKSLASH: Final = "\\"
_ESCAPED: Final = ("\\\\", '\\"')
_DELETE: Final = "\x7f"
# Of an escape without a pair.
_DIGITS: Final = 4
# The begin of an escape of half a pair.
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_decode: Final = json.JSONDecoder(strict=False).decode


class HiddenString(NamedTuple):
    """A string with hidden characters, from `begin` to `end` between its quotes (bytes). `text` is the string without them.

    `is_name` is whether the string is the name of a member. `classes` are the classes of the characters.
    """

    begin: int
    end: int
    text: bytes
    is_name: bool
    classes: tuple[str, ...]


def _characters(ranges: str) -> Iterator[str]:
    """Yield the characters of a set of a regular expression."""
    at = 0
    while at < len(ranges):
        is_range = ranges[at + 1 : at + 2] == "-"
        last = ranges[at + 2] if is_range else ranges[at]
        yield from map(chr, range(ord(ranges[at]), ord(last) + 1))
        at += 3 if is_range else 1


def _escape(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _alternatives(texts: Collection[str]) -> str:
    """Return a pattern of texts, which all have the same length, with hexadecimal digits in any case."""
    groups: dict[str, list[str]] = {}
    for text in sorted(texts):
        groups.setdefault(text[:1], []).append(text[1:])
    if any(len(one) == 1 for one in texts):
        return f"[{''.join(f'{digit}{digit.upper()}' for digit in groups)}]"
    # Alternatives that begin with different characters are rejected at once.
    found = (_digit(first) + _alternatives(rest) for first, rest in groups.items())
    return f"(?:{'|'.join(found)})" if len(groups) > 1 else next(found)


def _digit(character: str) -> str:
    return f"[{character}{character.upper()}]" if character in "abcdef" else re.escape(character)


_ESCAPES: Final = [_escape(one)[2:] for one in _characters(_ALWAYS + SELECTORS + JOINERS)]
_SHORT: Final = _alternatives([one for one in _ESCAPES if len(one) == _DIGITS])
_PAIR: Final = _alternatives([one for one in _ESCAPES if len(one) > _DIGITS])
_ESCAPE_PATTERN: Final = rf"\\(?:u(?:{_SHORT}|{_PAIR})|[bf])"
_ESCAPE: Final = re.compile(_ESCAPE_PATTERN)


def find_hidden(text: bytes) -> list[HiddenString] | None:
    """Return the strings of a JSON text that have hidden characters without a use. Returns None for more than can be examined."""
    if text.isascii() and not (b"\x7f" in text or _has_escapes(text)):
        return []
    plain = text.decode("utf-8", "replace")
    if _find_raw(plain) is None and _ESCAPE.search(plain) is None:
        return []
    found: list[HiddenString] = []
    characters = last = offset = 0
    for number, (begin, end, is_name) in enumerate(_strings(_masked(plain)), 1):
        cleaned, classes, count = _cleaned(plain[begin:end])
        characters += count
        if number > MOST_STRINGS or characters > MOST_CHARACTERS:
            return None
        if classes:
            offset += _size(plain, last, begin)
            size = _size(plain, begin, end)
            found.append(HiddenString(offset, offset + size, cleaned.encode(), is_name, classes))
            last, offset = end, offset + size
    return found


def replaced(text: bytes, strings: Iterable[HiddenString]) -> bytes:
    """Return a JSON text in which these strings are without their hidden characters. They are in the order of the text."""
    pieces: list[bytes] = []
    at = 0
    for one in strings:
        pieces += (text[at : one.begin], one.text)
        at = one.end
    return b"".join((*pieces, text[at:]))


def _has_escapes(text: bytes) -> bool:
    return b"\\" in text and any(begin in text for begin in (b"\\u", b"\\b", b"\\f"))


def _find_raw(text: str) -> re.Match[str] | None:
    return _RAW.search(text) if _may_be_raw(text) else None


def _may_be_raw(text: str) -> bool:
    # JSON has no other control character than DEL.
    return not text.isascii() or _DELETE in text


def _size(text: str, begin: int, end: int) -> int:
    return end - begin if text.isascii() else len(text[begin:end].encode())


def _masked(text: str) -> str:
    """Return a copy of the same length without escaped backslashes and quotes."""
    if _BACKSLASH in text:
        for escaped in _ESCAPED:
            text = text.replace(escaped, "  ")
    return text


def _strings(masked: str) -> Iterator[tuple[int, int, bool]]:
    """Yield the begin and the end of each string with a candidate, and whether it is the name of a member."""
    end = 0
    raw, escape = _find_raw(masked), _ESCAPE.search(masked)
    while raw is not None or escape is not None:
        at = min(match.start() for match in (raw, escape) if match is not None)
        begin, end = masked.rfind('"', 0, at) + 1, masked.find('"', at)
        yield begin, end, _KEY.match(masked, end) is not None
        if raw is not None and raw.start() < end:
            raw = _RAW.search(masked, end)
        if escape is not None and escape.start() < end:
            escape = _ESCAPE.search(masked, end)


def _cleaned(text: str) -> tuple[str, tuple[str, ...], int]:
    """Return a string (JSON without quotes) without hidden characters, their classes, and the number of candidates."""
    classes: tuple[str, ...] = ()
    count = 0
    for _ in range(_ROUNDS):
        decoded = _decode(f'"{text}"') if _BACKSLASH in text else text
        places = [match.start() for match in islice(_CANDIDATE.finditer(decoded), MOST_CHARACTERS + 1)]
        count += len(places)
        hidden = without_use(decoded, places) if count <= MOST_CHARACTERS else []
        if not hidden:
            break
        classes = classes or tuple(dict.fromkeys(class_of(decoded[at]) for at in hidden))
        text = _without(text, places, set(hidden))
        if len(hidden) == len(places) and _SURROGATE.search(text) is None:
            break
    else:
        count = MOST_CHARACTERS + 1
    return text, classes, count


def _without(text: str, places: list[int], hidden: set[int]) -> str:
    """Remove candidates. Each of `places` is a candidate in the decoded string, in the order of the text."""
    pieces: list[str] = []
    last = 0
    for place, (begin, end) in zip(places, _written(text, places), strict=True):
        if place in hidden:
            pieces.append(text[last:begin])
            last = end
    return "".join((*pieces, text[last:]))


def _written(text: str, places: list[int]) -> list[tuple[int, int]]:
    """Return the begin and the end of each candidate as it is written."""
    if _BACKSLASH not in text:
        return [(at, at + 1) for at in places]
    masked = _masked(text)
    patterns = (_CANDIDATE, _ESCAPE) if _may_be_raw(text) else (_ESCAPE,)
    return sorted(match.span() for pattern in patterns for match in pattern.finditer(masked))
