import pytest

from mcpbridged.bridge.runtime.message_reader import MessageReader, note_sent, tick_reader
from mcpbridged.transports.server_io import Overlong
from mcpbridged.validators.json_object import LARGE
from mcpbridged.validators.jsonrpc import Notification, Response
from mcpbridged.validators.limits import Limits

NOTE = b'{"jsonrpc":"2.0","method":"a/b"}'


class Said:
    """The messages that a reader has passed on, and the events that it has logged."""

    def __init__(self):
        self.messages = []
        self.spoiled = []
        self.warnings = []
        self.hearing = MessageReader(
            Limits(), self, self.messages.append, lambda raw_id, text: self.spoiled.append((raw_id, text))
        )

    def warning(self, event, **fields):
        self.warnings.append((event, fields))


def on_line(*lines):
    said = Said()
    for line in lines:
        said.hearing.on_line(line)
    return said


def test_messages_and_the_messages_of_batches_are_handed_on():
    said = on_line(NOTE, b"[" + NOTE + b", " + NOTE + b"]")
    assert said.messages == [Notification("a/b", b"")] * 3
    assert said.spoiled == []


@pytest.mark.parametrize(
    "line", [b"[]", b"[1", b"[" + b"1," * 40 + b"1]", b"[[" + NOTE + b"]]", b"[" * 300 + NOTE + b"]" * 300]
)
def test_an_array_that_is_no_batch_of_messages_is_one_line_that_is_none(line):
    """However deep: each level would be read anew."""
    said = on_line(line)
    assert (said.messages, said.spoiled) == ([], [])
    assert len(said.warnings) == 1


def test_one_bad_message_of_a_batch_costs_no_other():
    said = on_line(b"[" + NOTE + b",1," + NOTE + b',{"jsonrpc":"2.0","id":2}]')
    assert len(said.messages) == 2
    assert [raw_id for raw_id, _ in said.spoiled] == [b"2"]
    assert [fields["line"] for _, fields in said.warnings] == [b"1", b'{"jsonrpc":"2.0","id":2}']


def test_c03_what_is_no_message_is_shown_three_times_and_cut():
    said = on_line(*[b"x" * 1000] * 10)
    assert said.spoiled == []
    assert [len(fields["line"]) for _, fields in said.warnings] == [200] * 3


def test_a_line_over_the_limit_is_named_by_it():
    said = on_line(Overlong(20_000_000, b'{"id":1,"result":"x'))
    assert said.spoiled == [(b"1", "the server wrote a line of more than 16777216 bytes, the limit")]
    said = on_line(Overlong(20_000_000, b'{"result":{"content":[{"x":"', b'yy"}]},"jsonrpc":"2.0","id":7}'))
    assert [raw_id for raw_id, _ in said.spoiled] == [b"7"]
    assert on_line(Overlong(20_000_000, b'{"level":30,"msg":"x', b'yy","id":7}')).spoiled == []


def test_r04b_a_large_line_is_decoded_in_one_turn_and_handed_on_in_the_next():
    said = Said()
    line = b'{"jsonrpc":"2.0","id":1,"result":{"x":"%b"}}' % (b"x" * 2_000_000)
    rest = said.hearing.on_line(line)
    assert said.messages == []
    rest()
    assert [message.id for message in said.messages] == [b"1"]
    said.hearing.on_line(line[:-1])()
    assert [raw_id for raw_id, _ in said.spoiled] == [b"1"]
    assert said.hearing.on_line(b'{"jsonrpc":"2.0","id":2,"result":{}}') is None
    assert said.messages[-1].id == b"2"


def test_t7_an_id_that_the_server_has_made_a_string_of_is_the_number_that_it_was():
    said = on_line(b'{"jsonrpc":"2.0","id":"7","result":{}}', b'[{"jsonrpc":"2.0","id":8.0,"error":{}}]')
    assert said.messages == [Response(b"7", b"{}", b""), Response(b"8", b"", b"{}")]


def test_surplus_notifications_are_dropped_or_held_and_responses_always_pass():
    messages, log = [], Said()
    limits = Limits(notifications_per_second=1)
    reader = MessageReader(limits, log, messages.append, lambda raw_id, text: None)
    answer = b'{"jsonrpc":"2.0","id":1,"result":{}}'
    progress = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}'
    changed = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
    for line in [progress] * 100 + [changed] * 100 + [answer] * 100 + [b"[%b,%b]" % (progress, answer)]:
        reader.on_line(line)
    assert sum(type(message) is Response for message in messages) == 101
    # One more may have come while the lines were read.
    assert 10 <= len(messages) - 101 <= 15
    tick_reader(reader.on_line)
    [(event, fields)] = log.warnings
    assert (event, fields["notifications_per_second"]) == ("notifications_dropped", 1)
    assert 85 <= fields["count"] <= 91
    tick_reader(reader.on_line)
    assert len(log.warnings) == 1
    tick_reader(lambda line: None)


def test_without_a_limit_every_notification_passes():
    messages = []
    reader = MessageReader(
        Limits(notifications_per_second=0), Said(), messages.append, lambda raw_id, text: None
    )
    for _ in range(100_000):
        reader.on_line(NOTE)
    tick_reader(reader.on_line)
    assert len(messages) == 100_000


class Gate:
    """Admits responses whose request was sent."""

    def __init__(self):
        self.sent = []

    def on_sent(self, line):
        self.sent.append(line)

    def admits(self, message):
        return message.id in self.sent


def test_a_message_that_the_gate_does_not_admit_is_not_passed_on():
    messages, gate, limits = [], Gate(), Limits(notifications_per_second=0)
    reader = MessageReader(limits, Said(), messages.append, lambda raw_id, text: None, gate)
    note_sent(reader.on_line, b"1")
    small = b'{"jsonrpc":"2.0","id":%d,"result":{}}'
    large = b'{"jsonrpc":"2.0","id":%d,"result":{"a":"' + b"x" * LARGE + b'"}}'
    for form in (small, large):
        for number in (1, 2):
            rest = reader.on_line(form % number)
            if rest is not None:
                rest()
    assert [message.id for message in messages] == [b"1", b"1"]
    reader.on_line(b"[%b,%b]" % (small % 2, small % 1))
    assert len(messages) == 3


def test_lines_to_a_server_are_recorded_only_for_a_reader_with_a_gate():
    reader = MessageReader(Limits(), Said(), print, lambda raw_id, text: None)
    note_sent(reader.on_line, b"1")
    note_sent(lambda line: None, b"1")
    assert reader.gate is None
