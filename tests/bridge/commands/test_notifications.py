"""Progress and log messages of a call."""

import io

import pytest

from mcpbridged.bridge.commands.notifications import Notifications


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progress(**params):
    return {"method": "notifications/progress", "params": params}


def log(**params):
    return {"method": "notifications/message", "params": params}


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (progress(progress=1), "1\n"),
        (progress(progress=1, total=4, message="a\x1b\n"), "1/4: a\\x1b\\n\n"),
        (log(level="info", data="a\nb"), "info: a\\nb\n"),
        (log(level="error", logger="l\x1b", data={"a": [1]}), 'error l\\x1b: {"a": [1]}\n'),
        (log(data="x" * 5000), f"info: {'x' * 4096}\n"),
        ({"method": "notifications/other"}, ""),
        ({"method": "notifications/progress", "params": 5}, "\n"),
        ({"method": "notifications/message"}, "info: null\n"),
    ],
)
def test_each_notification_is_one_line(message, line):
    out = io.StringIO()
    Notifications(out)(message)
    assert out.getvalue() == line


def test_progress_is_written_over_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = Terminal()
    show = Notifications(out, {"NO_COLOR": "1"})
    show(progress(progress=1))
    show(progress(progress=2, message="x" * 200))
    show(log(data="now"))
    show(progress(progress=3))
    show.clear()
    show.clear()
    assert out.getvalue().split("\r\x1b[K") == ["", "1", f"2: {'x' * 75}…", "info: now\n", "3", ""]


def test_a_stream_that_is_closed_ends_no_call():
    out = io.StringIO()
    show = Notifications(out)
    out.close()
    show(progress(progress=1))
