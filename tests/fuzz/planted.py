"""Faults that the fuzzer must find, each planted in the memory of one run (`make fuzz-self-test`)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mcpbridged.validators import http_body, http_head, incremental_json, jsonrpc, oauth_challenge, sse_events
from mcpbridged.validators.ws_frames import FrameReader


@dataclass(frozen=True)
class Plant:
    """A fault: its target, a pattern of the text of the finding, and the change that plants it."""

    target: str
    finding: str
    change: Callable[[], None]


def _other_exception() -> None:
    """Raise a KeyError for the field Connection of HTTP/1.0."""
    genuine = http_head._connection

    def faulty(headers, version):
        return {11: genuine}[version](headers, version)

    http_head._connection = faulty


def _loose_name() -> None:
    """Accept white space between the name of a field and its colon."""
    http_head._HEAD = re.compile(http_head._HEAD.pattern.replace("++:", "++[ ]*+:"))


def _exponential() -> None:
    """Read a parameter with a pattern that tries all ways to divide a value."""
    oauth_challenge._PARAMETER = re.compile(r'([!-~]+)=(?:"((?:[^"\\]+)*)"|((?:\w+)+))(?=[ \t,]|\Z)')


def _line_end_in_pieces() -> None:
    """Forget that the last piece ended with CR."""
    genuine = sse_events.SseParser.feed

    def faulty(self, data):
        self._after_cr = False
        yield from genuine(self, data)

    sse_events.SseParser.feed = faulty


def _repeated_members() -> None:
    """Accept members that are repeated."""
    jsonrpc._refuse_repeated_members = lambda *_: None


def _depth_of_strings() -> None:
    """Count the brackets in strings."""
    incremental_json._without_strings = lambda found: found.replace(b'"', b"")


def _unfinished_mask() -> None:
    """Begin the mask anew with each piece of a payload."""
    genuine = FrameReader._take

    def faulty(self, piece):
        mask = self._mask
        genuine(self, piece)
        self._mask = mask

    FrameReader._take = faulty


def _loose_chunk_size() -> None:
    """Accept a size of a chunk with white space behind it."""
    http_body._SIZE_LINE = re.compile(http_body._SIZE_LINE.pattern.replace(rb"}+)(", rb"}+)[ ]*("))
    http_body._SIZE_BEGINNING = re.compile(rb"")


PLANTS: Final = {
    "an exception of another type": Plant("http_head", "KeyError", _other_exception),
    "white space before a colon": Plant("http_head", "RemoteProtocolError", _loose_name),
    "an exponential pattern": Plant("oauth_challenge", "Stall|timeout after", _exponential),
    "a line end in two pieces": Plant("sse_events", "events in pieces", _line_end_in_pieces),
    "a repeated member": Plant("jsonrpc", "repeated members", _repeated_members),
    "brackets in strings": Plant("incremental_json", "nesting", _depth_of_strings),
    "a mask that begins anew": Plant("ws_client_frames", "frames in pieces", _unfinished_mask),
    "white space in a chunk size": Plant("http_body", "HttpParserError", _loose_chunk_size),
}
