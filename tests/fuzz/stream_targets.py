"""Event streams of servers, compared with a parser written from the specification."""

import re

from mcpbridged.validators.http_head import FIELD_VALUE
from mcpbridged.validators.sse_events import SseOverflow, SseParser

from .target import Target, holds, pieces, same

_LARGE = 1 << 20
_SMALL = 256


def events(data: bytes) -> None:
    """An event stream: the same in any pieces, as the specification says, and within its limit."""
    found = _found([data])
    same("events in pieces", found, _found(pieces(data)))
    same("events of the specification", found, _specified(data))
    _limited(data)


def _found(parts) -> tuple:
    parser = SseParser(_LARGE)
    events = [(event.type, event.data, event.id) for part in parts for event in parser.feed(part)]
    return events, parser.last_event_id, parser.retry


def _specified(data: bytes) -> tuple:
    """Parse a whole stream (WHATWG HTML, 9.2.6), with the limits of the bridge on ids and times."""
    *lines, _ = re.split(rb"\r\n|\r|\n", data.removeprefix(b"\xef\xbb\xbf"))
    found, last, retry = [], b"", None
    kind, id_, values = b"", b"", []
    for line in lines:
        if not line:
            last = id_
            if values:
                found.append((kind or b"message", b"\n".join(values), id_))
            kind, values = b"", []
            continue
        name, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if name == b"data":
            values.append(value)
        elif name == b"event":
            kind = value
        elif name == b"id" and b"\0" not in value:
            id_ = value if len(value) <= 4096 and FIELD_VALUE.match(value) else b""
        elif name == b"retry" and re.fullmatch(rb"[0-9]+", value):
            retry = int(value[:12]) / 1000
    return found, last, retry


def _limited(data: bytes) -> None:
    """With a small limit, an event is refused or cut. The memory that is held has a limit too."""
    refusing, cutting = SseParser(_SMALL), SseParser(_SMALL, cut=True)
    try:
        for piece in pieces(data):
            for event in refusing.feed(piece):
                holds("an event is over the limit", len(event.data) <= _SMALL and not event.dropped)
    except SseOverflow as overflow:
        holds("the text of an overflow names the limit", str(_SMALL) in str(overflow))
    for piece in pieces(data):
        for event in cutting.feed(piece):
            holds("a cut event is too long", len(event.data) <= max(_SMALL, 2048))
        holds("an unfinished event holds too much", cutting.held <= 2 * (2048 + _SMALL + 64 + len(piece)))


def events_seeds():
    yield b"event: message\ndata: {}\n\n"
    yield b"\xef\xbb\xbfid: 7\r\ndata: a\r\ndata:b\r\ndata\r\n\r\n: comment\r\n\r\n"
    yield b"retry: 1500\rid\r\rdata:  x\r\r"
    yield b"id: \x00\nid:  a \ndata:x\n\nid: " + b"i" * 4097 + b"\ndata:y\n\n"
    yield b"data: " + b"x" * 300 + b"\n\ndata: y\n\n"
    yield b"data: " + b"x" * 2500 + b"\ndata: " + b"y" * 2500 + b"\n\n"
    yield b": " + b"c" * 400 + b"\n\nretry: 99999999999999999999\ndata:\n\n"
    yield b"data: cut off"
    yield b"\xef\xbbdata: x\n\n"


TARGETS = (Target("sse_events", events, events_seeds, 8192),)
