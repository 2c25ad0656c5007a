"""What a session adds to the log and to the counts of its server."""

import pytest

from mcpbridged.bridge.core.effects import LogDebug, RequestFinished, ServerRequestRefused
from mcpbridged.bridge.runtime.session_log import SessionLog
from mcpbridged.transports.send_queue import Backlog, SendQueue
from mcpbridged.validators.jsonrpc import Request
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.rejection import Rejection
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
        ("stream_closed", {"session": "01234567", "principal": "p", "reason": "client behind", "bytes": 0}),
        ("stream_closed", {"session": "01234567", "principal": "p", "reason": "client behind", "bytes": 7}),
        (
            "message_dropped",
            {"session": "01234567", "principal": "p", "direction": "to server", "reason": "full"},
        ),
        ("session_closed", {"session": "01234567", "principal": "p", "reason": "over"}),
        ("response_unmatched", {"session": "01234567"}),
        ("unmatched", "server", b"1"),
    ]


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", b'{"name":"echo"}', "echo"),
        ("tools/call", b'{"name":"echo","n":[' + b"1," * 40_000 + b"1]}", ""),
        ("ping", b'{"name":"echo"}', ""),
    ],
)
def test_a_refused_request_is_recorded_with_what_it_names(method, params, name):
    log = Log()
    it = SessionLog(log, "p", "session")
    rejection = Rejection(429, -32000, "full")
    message = Request(b"7", method, params)
    assert it.refuse(message, None, rejection) is rejection
    assert log.finished == []
    assert it.refuse(message, 1.0, rejection) is rejection
    assert log.finished == [(RequestFinished(b"7", method, name, 1.0, "error -32000"), "p", "session")]
