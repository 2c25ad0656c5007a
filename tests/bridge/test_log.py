"""One event, one line, whatever is in it."""

import ast
import base64
import datetime as dt
import io
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpbridged.bridge.aggregate import output
from mcpbridged.bridge.log import LineLog, escaped
from mcpbridged.bridge.log_levels import LEVELS

ROOT = Path(__file__).parents[2]
# Objects whose method `error` is none of a log.
NO_LOGS = {"jsonrpc", "parser", "texts", "usage"}


def events_of(tree):
    """Yield the expression of the event of each log call."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(name), attr="error")) if name in NO_LOGS:
                pass
            case ast.Call(func=ast.Attribute(attr="debug" | "info" | "warning" | "error"), args=[event, *_]):
                yield event
            case ast.Call(func=ast.Attribute(attr="always") | ast.Name("_warn"), args=[_, event, *_]):
                yield event
            case ast.Call(func=ast.Name("log" | "LogDebug"), args=[event, *_]):
                yield event
            case ast.Dict(keys=[*keys], values=[*values]):
                yield from (
                    value
                    for key, value in zip(keys, values, strict=True)
                    if isinstance(key, ast.Constant) and key.value == "event"
                )


def is_identifier(event):
    match event:
        case ast.Constant(str(text)):
            return re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", text) is not None
        # An event that a function or an effect passes on.
        case ast.Name("event") | ast.Attribute(attr="event"):
            return True
    return False


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
    assert dt.datetime.fromisoformat(line.pop("ts")).utcoffset() == dt.timedelta(0)
    assert line == {"level": "error", "event": "failed", "line": "\\xff\\x1b[2J", "count": 1.5}


@pytest.mark.parametrize("level", LEVELS)
def test_levels(level):
    log, out = written(level=level)
    for method in (log.debug, log.info, log.warning, log.error):
        method("event")
    assert out.getvalue().count("\n") == 4 - LEVELS.index(level)


def test_secrets_are_redacted():
    log, out = written()
    log.hide(["mcpb_canary", ""])
    log.info("x", a="Bearer mcpb_canary!", b=b"mcpb_canary", c=ValueError("mcpb_canary"))
    assert "canary" not in out.getvalue()
    assert out.getvalue().count("[secret]") == 3


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_secret_is_found_in_json_and_in_json_that_is_a_text(times):
    log, out = written()
    secret = 'a "quoted" \\ canary'
    log.hide([secret])
    text = secret
    for _ in range(times - 1):
        text = json.dumps({"text": text})
    log.info("x", line=text)
    assert "canary" not in out.getvalue()
    assert "[secret]" in out.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sk-proj-1234", "[secret]"),
        ("<sk-proj->", "<[secret]>"),
        ("key=sk-proj-1234.", "[secret]."),
        ("sk-proj-sk-proj-", "[secret][secret]"),
    ],
)
def test_a_secret_that_another_begins_with_does_not_show_its_end(text, shown):
    log, _ = written()
    log.hide(["sk-proj-", "key=sk-p", "sk-proj-1234"])
    assert log.plain(text) == shown


@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=1), st.text("abc", max_size=30))
@settings(max_examples=300)
def test_redacting_one_secret_uncovers_no_part_of_another(secrets, text):
    log, _ = written()
    log.hide(secrets)
    covered = set()
    for secret in secrets:
        at = text.find(secret)
        while at >= 0:
            covered |= set(range(at, at + len(secret)))
            at = text.find(secret, at + len(secret))
    shown = str(log.plain(text)).replace("[secret]", "#")
    assert shown.replace("#", "") == "".join(one for at, one in enumerate(text) if at not in covered)
    assert ("#" in shown) == bool(covered)


@given(
    st.lists(st.lists(st.sampled_from(["", "first-one", "second", 'with "']), max_size=3), max_size=8),
    st.randoms(),
)
@settings(max_examples=200)
def test_a_secret_is_redacted_until_its_last_holder_is_gone(holders, random):
    log, _ = written()
    log.hide(["always hidden"])
    before = dict(log._hidden)
    for held in holders:
        log.hide(held)
    leaving = list(holders)
    random.shuffle(leaving)
    while leaving:
        for secret in filter(None, {one for held in leaving for one in held}):
            assert log.plain(f"<{secret}>") == "<[secret]>"
        log.unhide(leaving.pop())
    assert dict(log._hidden) == before
    assert log.plain("first-one always hidden") == "first-one [secret]"


def test_faults_are_written_on_one_line():
    log, out = written()
    try:
        raise RuntimeError("inside")
    except RuntimeError as fault:
        log.error("internal_error", fault=fault)
    assert "RuntimeError: inside" in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_long_fields_are_cut():
    log, out = written()
    log.info("x", a="y" * 10_000)
    assert len(out.getvalue()) < 4200


def test_a_closed_log_raises_no_error():
    log, out = written()
    out.close()
    log.info("x")


@given(st.text() | st.binary(), st.sampled_from(["text", "json"]))
@settings(max_examples=300)
def test_nothing_forges_a_line_or_steers_a_terminal(value, form):
    log, out = written(form)
    log.info("event", value=value)
    line = out.getvalue()
    assert line.count("\n") == 1
    assert len(line.splitlines()) == 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line[:-1])


def test_characters_that_hide_or_reorder_text_are_escaped():
    assert escaped("a\u202eb\u200bc\U000e0041\ud800") == "a\\u202eb\\u200bc\\U000e0041\\ud800"
    assert escaped("plain é 世") == "plain é 世"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_stalled_reader_loses_lines_and_blocks_no_writer(form):
    reading, writing = os.pipe()
    with open(writing, "w") as out:
        log = LineLog(form=form, out=out)
        for _ in range(40):  # more than a pipe holds, and then many more
            log.info("flood", text="y" * 4000)
        os.set_blocking(reading, False)
        before = os.read(reading, 1 << 20).decode()
        log.info("afterwards")
        lost = log.dropped_in_all
        after = os.read(reading, 1 << 20).decode().splitlines()
    os.close(reading)
    kept = before.count("\n")
    assert 0 < kept < 40
    assert 40 - kept - 1 <= lost <= 40 - kept
    assert f"{lost}" in after[-2]
    assert len(after) == 2 + (not before.endswith("\n"))
    assert "log_lines_dropped" in after[-2]
    assert str(40 - kept - (not before.endswith("\n"))) in after[-2]
    assert "afterwards" in after[-1]


def test_a_secret_is_hidden_in_base64_until_it_is_shown_again():
    log, _ = written()
    log.hide(["Basic pässword"])
    text = base64.b64encode("user:Basic pässword".encode()).decode()
    assert "[secret]" in str(log.plain(text))
    log.unhide(["Basic pässword"])
    assert log.plain(text) == text
    assert not log._needles


def test_every_event_is_an_identifier():
    paths = [path for room in ("bridge", "transports", "validators") for path in (ROOT / room).rglob("*.py")]
    found = [(path.name, event) for path in paths for event in events_of(ast.parse(path.read_text()))]
    assert len(found) > 100
    faulty = [(name, event.lineno, ast.unparse(event)) for name, event in found if not is_identifier(event)]
    assert not faulty


@pytest.mark.parametrize(
    "planted",
    [
        'self._log.info("the server is gone", pid=1)',
        'self.warning(f"{name} failed")',
        'log.always("error", "Cannot start", text)',
        "log(text)",
        'LogDebug("a response without a request")',
        '{"event": "internal error"}',
    ],
)
def test_an_event_that_is_a_sentence_is_found(planted):
    [event] = events_of(ast.parse(planted))
    assert not is_identifier(event)


def test_the_aggregate_writes_an_event_on_one_line(capsys):
    output.log("item_left_out", method="tools/list", name="a\nb", reason="too long a name")
    assert capsys.readouterr().err == (
        'item_left_out method=tools/list name=a\\nb reason="too long a name"\n'
    )


def test_a_line_below_the_log_is_written_again_after_each_event_and_removed():
    log, out = written()
    log.info("one")
    log.show_progress("waiting\x1b[1m")
    log.show_progress("waiting\x1b[1m")
    log.info("two")
    log.show_progress("")
    log.show_progress("")
    log.info("three")
    shown = "waiting\\x1b[1m"
    erase = "\r\x1b[K"
    assert out.getvalue() == (
        f"mcp-bridge: info: one\n{erase}{shown}{erase}mcp-bridge: info: two\n{shown}{erase}mcp-bridge: info: three\n"
    )


def test_a_text_that_is_always_written_keeps_the_line_below_it(capsys):
    log = LineLog()
    log.show_progress("waiting")
    log.always("info", "ready", "ready")
    log.show_progress("")
    erase = "\r\x1b[K"
    assert capsys.readouterr().err == f"{erase}waiting{erase}mcp-bridge: ready\nwaiting{erase}"


class TakenFile:
    """A file that takes lines, or as many as `room` allows."""

    reason = "No space left on device"

    def __init__(self):
        self.text, self.room = "", None

    def write(self, lines):
        taken = lines if self.room is None else b"".join(lines.splitlines(keepends=True)[: self.room])
        self.text += taken.decode()
        return lines.count(b"\n") - taken.count(b"\n")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_file_gets_the_lines_with_their_time_in_place_of_stderr(form):
    out = io.StringIO()
    log = LineLog("info", form, out=out)
    log.file = file = TakenFile()
    log.hide(["a long secret"])
    log.info("started", pid=7, word="a long secret")
    log.debug("hidden")
    [line] = file.text.splitlines()
    if form == "json":
        found = json.loads(line)
        assert (found["event"], found["word"]) == ("started", "[secret]")
    else:
        moment, _, rest = line.partition(" ")
        assert dt.datetime.fromisoformat(moment).tzinfo
        assert rest == "info: started pid=7 word=[secret]"
    assert out.getvalue() == ""


def test_what_is_always_written_is_on_stderr_and_in_the_file(capsys):
    log = LineLog("none", "text")
    log.file = file = TakenFile()
    log.always("info", "ready", "ready on http://x", url="http://x")
    assert capsys.readouterr().err == "mcp-bridge: ready on http://x\n"
    assert file.text.endswith(" info: ready url=http://x\n")


def test_lines_that_a_file_does_not_take_are_counted_and_shown_on_stderr_once():
    out = io.StringIO()
    log = LineLog(out=out)
    log.file = file = TakenFile()
    file.room = 0
    for number in range(3):
        log.info("lost", number=number)
    file.room = None
    log.info("kept")
    assert [line.partition(": ")[2] for line in file.text.splitlines()] == ["kept"]
    assert log.dropped_in_all == 3
    assert out.getvalue() == 'mcp-bridge: error: log_file_lost_lines reason="No space left on device"\n'


def test_the_line_of_a_gap_has_the_form_of_the_log():
    assert LineLog().gap_line(3, "reason").endswith(b"Z warning: log_lines_dropped count=3\n")
    assert json.loads(LineLog("info", "json").gap_line(3, "reason"))["count"] == 3
