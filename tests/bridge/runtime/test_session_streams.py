"""The streams of one session, and what its client has still to read."""

from mcpbridged.bridge.runtime.session_log import SessionLog
from mcpbridged.bridge.runtime.session_streams import SessionStreams
from mcpbridged.transports.send_queue import CLOSED, OPEN, Backlog, SendQueue
from mcpbridged.validators.limits import Limits
from tests.support.owned_process import Log

LIMITS = Limits(unsent_bytes=1000, write_stall_seconds=20)


def streams(pipe=None):
    log = Log()
    return SessionStreams(LIMITS, SessionLog(log, "p", "the session"), pipe), log


def test_what_a_client_has_lost_is_logged_once():
    it, log = streams()
    assert it.on_tick(1) == ""
    assert log.events == []
    it.backlog.dropped = 2
    for now in (2, 3):
        assert it.on_tick(now) == ""
    assert log.events == [
        ("client_behind", {"session": "the sess", "principal": "p", "lost": 2, "unsent_bytes": 1000})
    ]


def test_a_client_that_has_stopped_reading_is_the_end():
    it, _ = streams()
    it.backlog.stalled = True
    assert it.on_tick(1) == ""
    assert it.on_tick(100) == "the client has not read for 20 s"


def test_a_message_goes_to_its_stream_or_else_to_the_only_one():
    pipe, queue = SendQueue(LIMITS), SendQueue(LIMITS)
    it, _ = streams(pipe)
    it.enqueue(None, b"x")
    it.enqueue(queue, b"y")
    assert (len(pipe), len(queue)) == (1, 1)
    streams()[0].enqueue(None, b"nowhere")


def test_the_backlog_of_a_connection_with_one_stream_is_that_of_its_client():
    pipe, client = SendQueue(LIMITS), Backlog(LIMITS)
    pipe.bind(client)
    assert streams(pipe)[0].backlog is client


def test_a_stream_is_closed_with_the_reason_unless_another_session_may_use_it():
    for stays in (False, True):
        pipe = SendQueue(LIMITS)
        it, _ = streams(pipe)
        if stays:
            it.keep_open()
        it.set_reason("over")
        it.close(it.pipe)
        assert pipe.state == (OPEN if stays else CLOSED)
        assert pipe.close_reason == "over"
    it, _ = streams()
    it.set_reason("over")
    it.close(it.pipe)
