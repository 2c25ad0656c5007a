"""The events of the log and the classes of the audit events agree."""

from mcpbridged.bridge.events import schema
from mcpbridged.bridge.events.catalog import AUDIT_ONLY, EVENTS, FIELDS, is_abstract, make
from tests.support.event_calls import calls

# Fields that the log has and an audit event has not: tracebacks.
LOG_ONLY = {"fault"}
# Events that are not written by a call with a literal name.
ELSEWHERE = {
    "call": "audit_log makes it without the log",
    "audit_events_lost": "likewise",
    "process_exited": "start_history chooses between it and connection_failed",
    "connection_failed": "likewise",
    "client_behind": "session_log writes it through _warn",
    "refused": "refusals chooses between it and authentication_failed",
    "authentication_failed": "likewise",
}


def test_make_keeps_the_fields_of_the_event_only():
    fields = {"reason": "r", "server": "s", "unknown": 1, "principal": None}
    assert make("server_not_started", "t", "error", fields) == schema.ServerNotStarted(
        ts="t", level="error", reason="r", server="s"
    )


def test_bases_are_no_events():
    assert is_abstract(schema.Event)
    assert not is_abstract(schema.Stopped)
    assert EVENTS.keys() == FIELDS.keys()
    assert EVENTS.keys() >= AUDIT_ONLY


def test_each_log_call_of_an_audit_event_has_fields_of_its_class_only():
    wrong = {
        place: (event, fields - FIELDS[event] - LOG_ONLY)
        for event, fields, place in calls()
        if event in EVENTS and fields is not None and not fields <= FIELDS[event] | LOG_ONLY
    }
    assert not wrong


def test_each_log_call_of_an_audit_event_has_its_required_fields():
    wrong = {
        place: event
        for event, fields, place in calls()
        if event in EVENTS and fields is not None and (required(EVENTS[event]) - fields)
    }
    assert not wrong


def required(cls):
    config = cls.__struct_fields__
    optional = config[len(config) - len(cls.__struct_defaults__) :]
    return set(config) - set(optional) - {"ts", "level"}


def test_each_audit_event_is_written_somewhere():
    written = {event for event, _, _ in calls()}
    assert EVENTS.keys() - written <= ELSEWHERE.keys()
