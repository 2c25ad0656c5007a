"""Content of results on stdout and in files."""

import base64
import json

import pytest

from mcpbridged.bridge.commands.content import parts_of, resource_parts, show, size_of, tool_parts
from mcpbridged.bridge.commands.control_client import ErrorResponse

DATA = bytes(range(256)) * 5
IMAGE = {"type": "image", "mimeType": "image/png", "data": base64.b64encode(DATA).decode()}


def shown(parts, output=""):
    lines, notices = [], []
    show(list(parts), str(output), lines.append, notices.append)
    return lines, notices


@pytest.mark.parametrize(
    ("block", "lines"),
    [
        ({"type": "text", "text": "a\n\tb\x1b"}, ["a\n\tb\\x1b"]),
        (IMAGE, ["[image: image/png, 1.3 kB]"]),
        ({**IMAGE, "type": "audio", "mimeType": "a\x1b"}, ["[audio: a\\x1b, 1.3 kB]"]),
        ({**IMAGE, "data": "!"}, ["[image: image/png, not valid base64]"]),
        (
            {"type": "resource", "resource": {"uri": "x:y", "text": "t"}},
            ["[resource: x:y]", "t"],
        ),
        (
            {"type": "resource", "resource": {"uri": "x:y", "mimeType": "a/b", "blob": "AAAA"}},
            ["[resource: x:y, a/b, 3 B]"],
        ),
        (
            {"type": "resource_link", "uri": "x:y\x1b", "name": "n", "description": "d", "mimeType": 5},
            ["[resource link: x:y\\x1b, n, d]"],
        ),
        ({"type": "other", "a": "\x9b"}, ['{"type": "other", "a": "\\u009b"}']),
        ({"type": "resource", "resource": {}}, ["{}"]),
        (5, ["5"]),
    ],
)
def test_each_kind_of_content_has_a_readable_form(block, lines):
    assert shown(parts_of([block]))[0] == lines


@pytest.mark.parametrize(
    ("texts", "structured", "printed"),
    [
        (["5"], {"result": 5}, ["5"]),
        (["a"], {"result": "a"}, ["a"]),
        (['{"a":1}'], {"a": 1}, ['{"a":1}']),
        (["about a"], {"a": 1}, ["about a", '{\n  "a": 1\n}']),
        ([], {"a": "é"}, ['{\n  "a": "é"\n}']),
        (["x"], {"a": 1, "b": 2}, ["x", '{\n  "a": 1,\n  "b": 2\n}']),
        ([], None, ['{"content": []}']),
        (["[" * 100_000], {"a": 1}, ["[" * 100_000, '{\n  "a": 1\n}']),
    ],
)
def test_structured_content_is_shown_where_no_text_states_it(texts, structured, printed):
    result = {"content": [{"type": "text", "text": text} for text in texts]}
    if structured is not None:
        result["structuredContent"] = structured
    assert shown(tool_parts(result))[0] == printed


def test_binary_content_is_written_to_files(tmp_path):
    path = tmp_path / "a.png"
    parts = [*parts_of([{"type": "text", "text": "about"}, IMAGE, IMAGE])]
    lines, notices = shown(parts, path)
    assert lines == ["about"]
    assert path.read_bytes() == (tmp_path / "a-2.png").read_bytes() == DATA
    assert notices == [f"{path}: written, 1.3 kB", f"{tmp_path / 'a-2.png'}: written, 1.3 kB"]
    assert shown(parts)[1] == ["--output FILE writes binary content to a file"]


def test_a_text_is_written_byte_for_byte(tmp_path):
    text = "a\r\n\x1bé"
    shown(resource_parts({"uri": "x:y", "text": text}), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == text.encode()
    shown(parts_of([{"type": "text", "text": "a"}, {"type": "text", "text": "b\n"}]), tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == b"a\nb\n"
    shown(tool_parts({"structuredContent": {"a": "é\x1b"}}), tmp_path / "h")
    assert json.loads((tmp_path / "h").read_text()) == {"a": "é\x1b"}


def test_content_is_written_to_stdout_unchanged(capsysbinary):
    assert shown(parts_of([IMAGE]), "-") == ([], [])
    assert capsysbinary.readouterr().out == DATA


def test_what_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(ErrorResponse, match="no content that a file can hold"):
        shown(parts_of([{"type": "resource_link", "uri": "x:y"}]), tmp_path / "f")
    with pytest.raises(ErrorResponse, match="cannot write"):
        shown(parts_of([IMAGE]), tmp_path / "none/f")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (123_456, "123 kB"),
        (5_000_000, "5.0 MB"),
        (5e12, "5000 GB"),
    ],
)
def test_sizes_have_a_unit(size, text):
    assert size_of(int(size)) == text
