"""One event, one line, whatever is in it."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.log import LEVELS, LineLog, escaped


def written(form="text", level="debug"):
    out = io.StringIO()
    return LineLog(level, form, out=out), out


def test_text_lines():
    log, out = written()
    log.info(
        "session begins", session="abc", principal="the owner", count=3, nothing=None, flag=True, empty=""
    )
    assert out.getvalue() == (
        'mcp-bridge: info: session begins session=abc principal="the owner" count=3 nothing=None flag=True empty=""\n'
    )


def test_json_lines():
    log, out = written("json")
    log.error("failed", line=b"\xff\x1b[2J", count=1.5)
    line = json.loads(out.getvalue())
    assert line.pop("ts") > 0
    assert line == {"level": "error", "event": "failed", "line": "\\xff\\x1b[2J", "count": 1.5}


@pytest.mark.parametrize("level", LEVELS)
def test_levels(level):
    log, out = written(level=level)
    for method in (log.debug, log.info, log.warning, log.error):
        method("event")
    assert out.getvalue().count("\n") == 4 - LEVELS.index(level)


def test_secrets_are_blotted_out():
    log, out = written()
    log.hide(["mcpb_canary", ""])
    log.info("x", a="Bearer mcpb_canary!", b=b"mcpb_canary", c=ValueError("mcpb_canary"))
    assert "canary" not in out.getvalue()
    assert out.getvalue().count("[secret]") == 3


def test_faults_are_told_on_one_line():
    log, out = written()
    try:
        raise RuntimeError("inside")
    except RuntimeError as fault:
        log.error("internal error", fault=fault)
    assert "RuntimeError: inside" in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_long_fields_are_cut():
    log, out = written()
    log.info("x", a="y" * 10_000)
    assert len(out.getvalue()) < 4200


def test_a_log_that_nobody_reads_hurts_nobody():
    log, out = written()
    out.close()
    log.info("x")


@given(st.text() | st.binary(), st.sampled_from(["text", "json"]))
@settings(max_examples=300, deadline=None)
def test_nothing_forges_a_line_or_steers_a_terminal(value, form):
    log, out = written(form)
    log.info("event", value=value)
    line = out.getvalue()
    assert line.count("\n") == 1
    assert len(line.splitlines()) == 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line[:-1])


def test_what_hides_or_turns_text_is_shown():
    assert escaped("a\u202eb\u200bc\U000e0041\ud800") == "a\\u202eb\\u200bc\\U000e0041\\ud800"
    assert escaped("plain é 世") == "plain é 世"
