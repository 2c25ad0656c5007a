"""The log of one server."""

import io

from mcpbridged.bridge.core.effects import RequestFinished
from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.runtime.server_log import ServerLog
from mcpbridged.validators.jsonrpc import Response
from mcpbridged.validators.rejection import Rejection


def test_a_secret_at_the_cut_of_a_message_is_redacted_before_the_cut():
    log = LineLog(out=io.StringIO())
    log.hide(["correct horse"])
    server_log = ServerLog("one", log)
    assert server_log.shown(b"x" * 10 + b"correct horse", 20) == "x" * 10 + "[secret]"
    assert server_log.shown(b"x" * 30, 20) == "x" * 20


def test_the_last_lines_of_a_process_exclude_those_of_an_earlier_process_with_its_pid():
    log = LineLog(out=io.StringIO())
    server_log = ServerLog("one", log)
    assert server_log.buffer.tail(7) == []
    server_log.started(7)
    server_log.stderr(7, b"of the first")
    assert server_log.buffer.tail(7) == ["of the first"]
    server_log.started(7)
    assert server_log.buffer.tail(7) == []
    server_log.stderr(7, b"of the second")
    for pid in range(1000, 3000):
        server_log.started(pid)
    server_log.started(8)
    for at in range(40):  # more than is kept
        server_log.stderr(8, b"%d" % at + b"x" * 4000)
    assert [line[:3] for line in server_log.buffer.tail(8)] == ["35x", "36x", "37x", "38x", "39x"]
    assert len(server_log.buffer._before) == 1024


def test_an_event_is_stored_with_its_fields_and_its_pid():
    server_log = ServerLog("one", LineLog(out=io.StringIO()))
    server_log.warning("event", pid=7, reason="a b")
    server_log.debug("too much")
    [entry] = server_log.buffer.entries()
    assert (entry.kind, entry.pid, entry.text) == ("warning", 7, "event reason=a b")


def test_the_output_of_a_process_ends_with_its_unfinished_lines():
    server_log = ServerLog("one", LineLog(out=io.StringIO()))
    server_log.started(7)
    for line in (b"1", b"2", b"3", b"4", b"5"):
        server_log.stderr(7, line)
    server_log.stdout(7, b"no message")
    assert server_log.output(7, (b" ", b"rest")) == (("no message",), ("2", "3", "4", "5", "rest"))


def test_a_refused_request_is_a_call_and_an_error():
    server_log = ServerLog("one", LineLog(out=io.StringIO()))
    server_log.refused()
    assert (server_log.calls, server_log.errors) == (1, 1)


def test_the_access_log_has_no_content_and_only_the_beginning_of_a_session_id(monkeypatch):
    out = io.StringIO()
    server_log = ServerLog("one", LineLog(out=out))
    server_log.record_calls(logs=True, counts=False)
    monkeypatch.setattr("mcpbridged.bridge.runtime.server_log.monotonic", lambda: 10.25)
    server_log.finish(RequestFinished(b"7", "tools/call", "add", 10.0, "ok"), "owner", "0123456789abcdef")
    assert out.getvalue() == (
        "mcp-bridge: info: call server=one principal=owner session=01234567 id=7 method=tools/call name=add"
        " outcome=ok ms=250.0\n"
    )


def test_requests_are_logged_or_counted_as_the_settings_say(monkeypatch):
    out = io.StringIO()
    server_log = ServerLog("one", LineLog(out=out))
    monkeypatch.setattr("mcpbridged.bridge.runtime.server_log.monotonic", lambda: 10.25)
    request = RequestFinished(b"7", "tools/call", "add", 10.0, "ok", "owner")
    assert not server_log.records_ends
    server_log.record_calls(logs=False, counts=True)
    assert server_log.records_ends
    # Without a log a response is counted where it ends.
    assert server_log.recorder.counts is server_log.metrics
    server_log.finish(request)
    server_log.record_calls(logs=True, counts=True)
    assert server_log.recorder.counts is None
    server_log.finish(request)
    [series] = server_log.metrics
    assert (series.tool, series.count, series.failed) == ("add", 2, 0)
    assert out.getvalue().count("principal=owner session=") == 1
    server_log.record_calls(logs=False, counts=False)
    assert (server_log.records_ends, server_log.metrics, server_log.recorder.counts) == (False, None, None)


def test_latencies_are_settled_in_each_round():
    server_log = ServerLog("one", LineLog(out=io.StringIO()))
    server_log.on_tick()
    server_log.record_calls(logs=False, counts=True)
    for _ in range(2):
        server_log.recorder.counts.on_response("ping", "", 10.0, Response(b"7", b"{}", b""))
    server_log.on_tick()
    assert server_log.metrics._methods["ping"].unsettled == []


def test_a_server_log_is_watched_while_a_client_follows_it_or_its_messages():
    server_log = ServerLog("one", LineLog(out=io.StringIO()))
    assert not server_log.watched
    server_log.taps.add(print)
    assert server_log.watched


def test_a_connection_to_a_remote_server_is_no_process():
    log = LineLog(out=(lines := io.StringIO()))
    server_log = ServerLog("one", log)
    server_log.started(-7)
    server_log.stderr(-7, b"a remark")
    server_log.warning("event", reason="x", pid=-7)
    assert [line.split(": ", 2)[2] for line in lines.getvalue().splitlines()] == [
        "started server=one connection=7",
        'stderr server=one connection=7 line="a remark"',
        "event server=one reason=x connection=7",
    ]
    assert server_log.output(-7).stderr == ("a remark",)
    assert server_log.stderr_lines == 1


def test_the_audit_log_gets_each_request_with_or_without_the_others():
    out, got = io.StringIO(), []
    server_log = ServerLog("one", LineLog(out=out))
    request = RequestFinished(b"7", "tools/call", "add", 10.0, "ok", "owner")
    server_log.record_calls(logs=False, counts=False, audit=lambda *found: got.append(found))
    assert server_log.records_ends
    server_log.finish(request, "p", "s")
    assert out.getvalue() == ""
    server_log.record_calls(logs=True, counts=True, audit=lambda *found: got.append(found))
    server_log.finish(request)
    assert got == [("one", request, "p", "s"), ("one", request, "", "")]
    assert out.getvalue().count(" call ") == 1
    [series] = server_log.metrics
    assert series.count == 1


def test_denials_and_failures_are_events_with_the_id_of_the_response():
    out = io.StringIO()
    server_log = ServerLog("one", LineLog(out=out))
    denied = Rejection(200, -32602, "Unknown tool: x", reason="tool_denied")
    server_log.denied(denied, "ci", "tools/call", "x", "0123456789")
    server_log.denied(Rejection(200, -32602, "another reason"), "ci", "tools/call")
    server_log.request_failed("abc", "no response", "ci")
    server_log.request_failed("def", "no response", "other")
    server_log.request_failed("ghi", "gone", "ci")
    server_log.counted.flush()
    assert [line.partition("info: ")[2] for line in out.getvalue().splitlines()] == [
        (
            "policy_denied server=one reason=tool_denied count=1 principal=ci session=01234567 method=tools/call name=x"
            f" correlation_id={denied.correlation_id}"
        ),
        'request_failed server=one reason="no response" count=1 principal=ci correlation_id=abc',
        'request_failed server=one reason="no response" count=1 principal=other correlation_id=def',
        "request_failed server=one reason=gone count=1 principal=ci correlation_id=ghi",
    ]
