"""Find secrets in bytes, in the forms in which programs write them, and redact a stream piece by piece. Pure.

A secret may be unchanged, in a JSON string at any depth (RFC 8259), percent-encoded (RFC 3986 or HTML forms), in base64 of
either alphabet at any of the three alignments (RFC 4648), and broken over several lines. The text and the secrets are
converted to a reduced form in which these are equal, and the secrets are searched for in that form.
"""

import base64
import bisect
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

# The replacement of a secret.
REDACTED: Final = b"[secret]"
# Shorter values are not redacted, because they are too common (characters).
SHORTEST_SECRET: Final = 8
# Shorter texts are not searched for in the reduced form, because they are too common (bytes).
_SHORTEST: Final = 6
# Shorter lines of a secret are not searched for separately (bytes).
_SHORTEST_LINE: Final = 8
# Line ends may be anywhere in a secret. A space is + in HTML forms; - and _ are + and / in the other alphabet of base64.
_REMOVED: Final = b"\r\n"
_REMOVED_OF_ESCAPES: Final = b"\r\n\\"
_SAME: Final = bytes.maketrans(b" -_", b"++/")
_ESCAPE: Final = re.compile(
    rb"\\+u([dD][89abAB][0-9a-fA-F]{2})\\+u([dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\+u([0-9a-fA-F]{4})|\\+x([0-9a-fA-F]{2})|\\+|%(?:25)*([0-9a-fA-F]{2})"
)
# The size of the longest escape that may be cut at the end of the data (bytes).
_CUT_ESCAPE: Final = 16
# A stream is searched after so many bytes, or at a tick.
_SCAN: Final = 4096
# The most data held back, as a multiple of the size of the longest needle.
_PADDING: Final = 8
# A needle of which this much is at the end of the data is waited for longer (bytes).
_BEGINNING: Final = 4
# How long it is waited for (ticks).
_TICKS: Final = 20


def needles_of(secret: str) -> frozenset[bytes]:
    """Return the needles of a secret: the texts to search for in the reduced form."""
    data = secret.encode(errors="surrogatepass")
    # Without the labels of PEM (RFC 7468).
    lines = [line for line in data.split(b"\n") if not line.startswith(b"-----")]
    plain = [data.strip(), *(line.strip() for line in lines if len(line.strip()) >= _SHORTEST_LINE)]
    # A line end in a string of JSON is a backslash and a letter.
    plain.append(json.dumps(secret.strip(), ensure_ascii=False)[1:-1].encode(errors="surrogatepass"))
    found = {_reduced(one) for one in (*plain, *_in_base64(data), *_in_base64(data.strip()))}
    # In a secret that is escaped as a whole, a text like an escape is not unescaped again.
    found.add(data.strip().translate(_SAME, _REMOVED_OF_ESCAPES))
    return frozenset(one for one in found if len(one) >= _SHORTEST)


def _in_base64(data: bytes) -> Iterable[bytes]:
    # After 0, 1 or 2 other bytes, without a first or last digit that has bits of other data.
    for before in range(3):
        digits = base64.b64encode(bytes(before) + data).rstrip(b"=")
        yield digits[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]


def spans(data: bytes, needles: Iterable[bytes]) -> list[tuple[int, int]]:
    """Return the positions of the needles in the data: disjoint pairs of begin and end, in ascending order."""
    needles = tuple(needles)
    squeezed, reduced = bytes(data.translate(_SAME, _REMOVED)), _reduced(data)
    found = _found_in(reduced, needles, _origins, data)
    if squeezed != reduced:
        # A character before a secret, such as a percent sign, can make an escape of its first characters.
        found += _found_in(squeezed, needles, _plain_origins, data)
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(found):
        if joined and begin < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def _found_in(
    text: bytes, needles: Iterable[bytes], origins: Callable[[bytes], Callable[..., int]], data: bytes
) -> list[tuple[int, int]]:
    there = [needle for needle in needles if needle in text]
    if not there:
        return []
    origin = origins(data)
    return [
        (origin(start), origin(stop - 1, end=True))
        for needle in there
        for start, stop in _occurrences(text, needle)
    ]


def redact(data: bytes, needles: Iterable[bytes]) -> bytes:
    """Return the data with `REDACTED` in the place of each needle."""
    found = spans(data, needles)
    return _marked(data, found, 0, len(data)) if found else data


def begun_at(data: bytes, needles: Iterable[bytes]) -> int:
    """Return the index at which the data ends with the first bytes of a needle, at least four; its length if it does not."""
    reduced = _reduced(data)
    begun = len(reduced)
    for needle in needles:
        at = reduced.find(needle[:_BEGINNING], max(0, len(reduced) - len(needle) + 1), begun + _BEGINNING - 1)
        while at >= 0 and not needle.startswith(reduced[at:]):
            at = reduced.find(needle[:_BEGINNING], at + 1, begun + _BEGINNING - 1)
        if at >= 0:
            begun = at
    return _origins(data)(begun) if begun < len(reduced) else len(data)


def _marked(data: bytes, found: Iterable[tuple[int, int]], start: int, stop: int) -> bytes:
    parts: list[bytes] = []
    for begin, end in found:
        parts += data[start:begin], REDACTED
        start = end
    parts.append(data[start:stop])
    return b"".join(parts)


def _occurrences(data: bytes, needle: bytes) -> Iterable[tuple[int, int]]:
    at = data.find(needle)
    while at >= 0:
        yield at, at + len(needle)
        at = data.find(needle, at + len(needle))


def _reduced(data: bytes | bytearray) -> bytes:
    squeezed = bytes(data.translate(_SAME, _REMOVED))
    return _ESCAPE.sub(_unescaped, squeezed) if b"\\" in squeezed or b"%" in squeezed else squeezed


def _unescaped(match: re.Match[bytes]) -> bytes:
    high, low, unit, octet, percent = match.groups()
    if high:
        text = (bytes.fromhex(high.decode()) + bytes.fromhex(low.decode())).decode("utf-16-be")
    elif unit:
        text = chr(int(unit, 16))
    else:
        return bytes.fromhex((octet or percent or b"").decode()).translate(_SAME, _REMOVED_OF_ESCAPES)
    return text.encode(errors="surrogatepass").translate(_SAME, _REMOVED_OF_ESCAPES)


def _plain_origins(data: bytes) -> Callable[..., int]:
    """Return the function of `_origins` for a form in which no escape was read."""
    kept = [at for at, octet in enumerate(data) if octet not in _REMOVED]

    def origin(index: int, *, end: bool = False) -> int:
        return kept[index] + end

    return origin


def _origins(data: bytes) -> Callable[..., int]:
    """Return a function from an index of the reduced form to the index in the data of its first byte, or after its last."""
    kept = [at for at, octet in enumerate(data) if octet not in _REMOVED]
    squeezed = data.translate(_SAME, _REMOVED)
    # The begin of each escape, and of the plain text after it, in the reduced and in the squeezed form.
    starts, origins, sizes = [0], [0], [0]
    shift = 0
    for match in _ESCAPE.finditer(squeezed):
        size = len(_unescaped(match))
        starts += match.start() - shift, match.start() - shift + size
        origins += match.start(), match.end()
        sizes += match.end() - match.start(), 0
        shift += match.end() - match.start() - size

    def origin(index: int, *, end: bool = False) -> int:
        at = bisect.bisect_right(starts, index) - 1
        # An escape is redacted as a whole.
        if sizes[at]:
            squeezed_at = origins[at] + (sizes[at] - 1 if end else 0)
        else:
            squeezed_at = origins[at] + index - starts[at]
        if squeezed_at >= len(kept):
            return len(data)
        return kept[squeezed_at] + end

    return origin


class Redactor:
    """Redacts one stream. `needles` returns the current needles in any order.

    Data that may be the beginning of a secret is held back, up to the size of the longest needle. Call `tick` regularly while
    it returns True, so that a complete line is not held back until the next line.
    """

    def __init__(self, needles: Callable[[], Sequence[bytes]]) -> None:
        self._needles = needles
        self._held = bytearray()
        # The number of bytes since the last search.
        self._fresh = 0
        # The number of ticks since the last bytes.
        self._quiet = 0
        # Whether the rest of the current line is dropped.
        self._skipping = False

    @property
    def holds(self) -> bool:
        """Whether data is held back."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """Add the next bytes, and return the redacted bytes that can be shown."""
        needles = self._needles()
        if not needles and not self._held:
            self._skipping = False
            return data
        if self._skipping:
            _, newline, data = data.partition(b"\n")
            self._skipping, data = not newline, newline + data
        self._held += data
        self._fresh += len(data)
        self._quiet = 0
        return self._search(needles) if self._fresh >= _SCAN else b""

    def tick(self) -> tuple[bytes, bool]:
        """Return the redacted bytes that can be shown after a pause, and whether another tick may return more."""
        needles = self._needles()
        self._quiet += 1
        if self._quiet == 1:
            return self._search(needles), True
        data = bytes(self._held)
        stop = data.rfind(b"\n") + 1
        begun = begun_at(data, needles)
        waiting = begun < stop and self._quiet < _TICKS
        return self._take(min(stop, begun) if waiting else stop, needles), waiting

    def gap(self) -> bytes:
        """Return the redacted bytes before a gap in the stream. The stream continues with the next line."""
        if not self._held:
            self._skipping = bool(self._needles())
            return b""
        needles = self._needles()
        shown = self._take(begun_at(bytes(self._held), needles), needles)
        self._held.clear()
        self._skipping = bool(needles)
        return shown

    def peek(self) -> bytes:
        """Return the held bytes, redacted and without an incomplete secret at their end. They remain held."""
        needles, data = self._needles(), bytes(self._held)
        stop = begun_at(data, needles)
        found = [span for span in spans(data, needles) if span[0] < stop]
        return _marked(data, found, 0, max(stop, found[-1][1]) if found else stop)

    def end(self) -> bytes:
        """Return the rest of the stream, redacted."""
        return self._take(len(self._held), self._needles())

    def _search(self, needles: Sequence[bytes]) -> bytes:
        """Return all but the bytes that can be the beginning of a needle."""
        longest = max(map(len, needles), default=0) + _CUT_ESCAPE
        size = longest
        while size < _PADDING * longest and len(_reduced(self._held[-size:])) < longest:
            size += longest
        return self._take(max(0, len(self._held) - size), needles)

    def _take(self, stop: int, needles: Sequence[bytes]) -> bytes:
        data = bytes(self._held)
        found = [span for span in spans(data, needles) if span[0] < stop]
        if found:
            stop = max(stop, found[-1][1])
        del self._held[:stop]
        self._fresh = 0
        return _marked(data, found, 0, stop)
