"""What a session adds to the log and to the counts of its server."""

from mcpbridged.bridge.core.effects import LogDebug, RequestFinished, ServerRequestRefused
from mcpbridged.bridge.runtime.session_log import SessionLog
from mcpbridged.transports.send_queue import Backlog, SendQueue
from mcpbridged.validators.jsonrpc import Request
from mcpbridged.validators.limits import Limits
from tests.support.owned_process import Log


def test_events_name_the_beginning_of_the_session_id():
    log = Log()
    it = SessionLog(log, "p", "0123456789")
    queue = SendQueue(Limits())
    it.stream_closed(queue)
    queue.bind(Backlog(Limits(), 7))
    it.stream_closed(queue)
    it.message_dropped("full")
    it.closed("over")
    it.log_debug(LogDebug("response_unmatched", ("server", b"1")))
    it.log_debug(ServerRequestRefused("roots/list", "no client"))
    it.count_errors()
    it.count_errors(2)
    assert log.errors == 3
    assert log.events == [
        ("stream_closed", {"session": "01234567", "reason": "client behind", "bytes": 0}),
        ("stream_closed", {"session": "01234567", "reason": "client behind", "bytes": 7}),
        ("message_dropped", {"session": "01234567", "direction": "to server", "reason": "full"}),
        ("session_closed", {"session": "01234567", "reason": "over"}),
        ("response_unmatched", {"session": "01234567"}),
        ("unmatched", "server", b"1"),
    ]


def test_a_request_is_logged_once_and_with_what_it_names(monkeypatch):
    monkeypatch.setattr("trio.current_time", lambda: 1.0)
    log = Log()
    it = SessionLog(log, "p", "session")
    message = Request(b"7", "tools/call", b'{"name":"echo"}')
    assert it.call(message) is None
    log.log_calls = True
    call = it.call(message)
    assert call == ("p", "session", b"7", "tools/call", "echo", 1.0)
    it.begin(call)
    for request in (b"8", b"7", b"7", object()):
        it.finish(RequestFinished(request, "ok"))
    assert log.done_calls == [("tools/call", "ok")]
    assert it.call(Request(b"7", "ping", b"{}")).name == ""
