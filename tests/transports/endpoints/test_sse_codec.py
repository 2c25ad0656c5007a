"""The text of an event stream, read by every kind of reader (WHATWG HTML, server-sent events)."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.transports.endpoints import sse_codec


def test_events():
    assert sse_codec.message(b"k_1", b"{}") == b"id: k_1\nevent: message\ndata: {}\n\n"
    assert sse_codec.message(b"", b"{}") == b"event: message\ndata: {}\n\n"
    assert sse_codec.message(b"", '"é"'.encode()) == 'event: message\ndata: "é"\n\n'.encode()
    assert sse_codec.priming(b"k_0", 1000) == b"id: k_0\nretry: 1000\ndata: \n\n"
    assert sse_codec.endpoint("/messages?sessionId=a") == b"event: endpoint\ndata: /messages?sessionId=a\n\n"
    assert sse_codec.HEARTBEAT.startswith(b":")


@pytest.mark.parametrize("split", [str.splitlines, lambda text: re.split("\r\n|\n|\r", text)])
@given(text=st.text())
@settings(max_examples=200)
def test_no_content_can_end_an_event(split, text):
    message = json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    told = sse_codec.message(b"k_1", message).decode("utf-8", "surrogatepass")
    lines = split(told)
    assert lines[:2] == ["id: k_1", "event: message"]
    assert json.loads(lines[2].removeprefix("data: ")) == {"text": text}
    assert set(lines[3:]) <= {""}
