"""The headers that `connect` sends."""

import pytest

from mcpbridged.bridge.commands.client_headers import (
    BadHeader,
    check_once,
    named_headers,
    read_header,
    read_header_file,
)
from mcpbridged.bridge.config.credentials import BadCredential
from mcpbridged.bridge.config.header_names import REFUSED_HEADERS, REFUSED_PREFIXES


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("X-Key: value", (b"X-Key", b"value")),
        ("x-key:value", (b"x-key", b"value")),
        ("X-Key: \t a b \t", (b"X-Key", b"a b")),
        ("X-Key:", (b"X-Key", b"")),
        ("X-Key: a: b", (b"X-Key", b"a: b")),
    ],
)
def test_a_header_is_a_name_and_a_value(text, header):
    assert read_header(text) == header


@pytest.mark.parametrize(
    "text", ["", "X-Key", ": x", " X-Key: x", "X-Key : x", "X Key: x", "X\r\nY: x", "X\0: x", "é: x"]
)
def test_a_text_that_is_no_header_is_refused(text):
    with pytest.raises(BadHeader):
        read_header(text)


@pytest.mark.parametrize("value", ["a\r\nY: b", "a\nY: b", "a\rb", "a\0b", "a\tb", "é", "\x7f", "\udcff"])
def test_a_value_that_could_be_read_in_two_ways_is_refused_and_not_shown(value):
    with pytest.raises(BadHeader, match="the value of the header X-Key must hold visible ASCII") as refused:
        read_header(f"X-Key: canary{value}")
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("name", [*REFUSED_HEADERS, *(f"{prefix}x" for prefix in REFUSED_PREFIXES)])
def test_a_reserved_header_is_refused(name):
    for spelling in (name, name.title()):
        with pytest.raises(BadHeader, match="is refused: HTTP or MCP defines it"):
            read_header(f"{spelling}: x")


def test_no_header_is_sent_twice():
    check_once([(b"X-Key", b"1"), (b"X-Other", b"1")])
    with pytest.raises(BadHeader, match="the header x-key is given twice"):
        check_once([(b"X-Key", b"1"), (b"x-key", b"1")])


def file_of(tmp_path, content, mode=0o600):
    path = tmp_path / "headers"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_file_has_a_header_on_each_line(tmp_path):
    path = file_of(tmp_path, b"# a comment\nX-Key: 1\r\n\n  \nX-Other:2")
    assert read_header_file(path) == ((b"X-Key", b"1"), (b"X-Other", b"2"))
    assert read_header_file(file_of(tmp_path, b"")) == ()


@pytest.mark.parametrize(
    "content", [b"X-Key: canary\nnonsense canary", b"\nHost: canary", b"\nX-Key: canary\xff"]
)
def test_a_fault_of_a_file_has_its_line_and_no_value(tmp_path, content):
    with pytest.raises(BadCredential, match="line 2: ") as refused:
        read_header_file(file_of(tmp_path, content))
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    with pytest.raises(BadCredential, match="others must have no access: chmod 600"):
        read_header_file(file_of(tmp_path, b"X-Key: 1", mode))


def test_the_name_of_a_token_is_sent_before_the_chosen_headers():
    chosen = ((b"X-Key", b"1"),)
    assert named_headers("reader", chosen) == [(b"Mcp-Token-Name", b"reader"), (b"X-Key", b"1")]
    assert named_headers("", chosen) == [(b"X-Key", b"1")]
    assert named_headers("", ()) == []
