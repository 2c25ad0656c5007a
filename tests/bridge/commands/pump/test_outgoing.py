"""The queue of lines for the daemon, and the parts of them that the kernel takes."""

from hypothesis import given
from hypothesis import strategies as st

from mcpbridged.bridge.commands.pump.lines import Line, line_of
from mcpbridged.bridge.commands.pump.outgoing import Outgoing

BOTH = {"ahead": True, "waiting": True}


def request(number):
    return line_of(b'{"jsonrpc":"2.0","id":%d,"method":"a"}' % number)


def taken(outgoing, count, **which):
    """Let the kernel take so many bytes, and return them and the lines that are complete."""
    data = b"".join(outgoing.pieces(**(which or BOTH)))[:count]
    return data, outgoing.advance(len(data))


@given(st.lists(st.integers(1, 50), max_size=60))
def test_all_bytes_are_sent_once_and_in_order(counts):
    outgoing = Outgoing()
    lines = [Line([b"%d" % number * 20, b"\n"]) for number in range(9)]
    for line in lines:
        outgoing.append(line)
    sent, complete = b"", []
    for count in [*counts, *([50] * 60)]:
        data, lines_sent = taken(outgoing, count)
        sent += data
        complete += lines_sent
    assert sent == b"".join(line.text() + b"\n" for line in lines)
    assert complete == lines
    assert not outgoing
    assert outgoing.size == 0


def test_lines_ahead_are_sent_after_the_line_that_is_cut_and_before_all_others():
    outgoing = Outgoing()
    for number in (1, 2):
        outgoing.append(request(number))
    taken(outgoing, 5)
    assert outgoing.is_cut
    outgoing.add_ahead([line_of(b"ahead")])
    data, sent = taken(outgoing, 1000)
    assert [line.text() for line in sent] == [request(1).text(), b"ahead", request(2).text()]
    assert data == (request(1).text() + b"\nahead\n" + request(2).text() + b"\n")[5:]


def test_lines_that_wait_can_be_held_back():
    outgoing = Outgoing()
    outgoing.append(request(1))
    outgoing.add_ahead([line_of(b"ahead")])
    assert taken(outgoing, 1000, ahead=True, waiting=False)[0] == b"ahead\n"
    assert outgoing.pieces(ahead=True, waiting=False) == []
    assert outgoing.pieces(ahead=False, waiting=False) == []


def test_a_line_that_was_cut_is_sent_again_as_a_whole():
    outgoing = Outgoing()
    for number in (1, 2):
        outgoing.append(request(number))
    outgoing.add_ahead([line_of(b"ahead")])
    taken(outgoing, 10)
    assert outgoing.rewind() is None
    assert not outgoing.is_cut
    assert taken(outgoing, 1000)[0] == request(1).text() + b"\n" + request(2).text() + b"\n"
    assert outgoing.size == 0


def test_a_line_ahead_that_was_cut_is_dropped():
    outgoing = Outgoing()
    outgoing.add_ahead([line_of(b"ahead")])
    taken(outgoing, 2)
    assert outgoing.rewind() is None
    assert not outgoing
    assert outgoing.size == 0


def test_a_line_whose_end_has_not_arrived_is_not_kept_and_holds_back_all_others():
    outgoing = Outgoing()
    line = Line([b"x" * 10], finished=False)
    outgoing.append(line)
    assert taken(outgoing, 4) == (b"xxxx", [])
    ahead = line_of(b"ahead")
    outgoing.add_ahead([ahead])
    assert taken(outgoing, 100) == (b"xxxxxx", [])
    assert (outgoing.size, line.pieces) == (6, [])
    outgoing.grow(line, [b"yy\n"], finished=True)
    assert taken(outgoing, 100) == (b"yy\nahead\n", [line, ahead])
    assert not outgoing


def test_a_line_whose_begin_is_not_kept_cannot_be_sent_again():
    outgoing = Outgoing()
    line = Line([b"x" * 10], finished=False)
    outgoing.append(line)
    taken(outgoing, 100)
    outgoing.grow(line, [b"more"], finished=False)
    outgoing.append(request(2))
    assert outgoing.rewind() is line
    assert taken(outgoing, 100)[0] == request(2).text() + b"\n"
    assert outgoing.size == 0


def test_requests_of_which_nothing_was_sent_can_be_removed():
    outgoing = Outgoing()
    for number in (1, 2, 3):
        outgoing.append(request(number))
    taken(outgoing, 5)
    assert outgoing.remove_request(b"2")
    assert not outgoing.remove_request(b"1")
    assert not outgoing.remove_request(b"9")
    assert outgoing.has_requests
    assert outgoing.take_requests() == [b"1", b"3"]
    assert (bool(outgoing), outgoing.size, outgoing.has_requests) == (False, 0, False)


def test_responses_and_notifications_can_be_removed():
    outgoing = Outgoing()
    for text in (
        b'{"id":1,"result":{}}',
        b'{"id":"1","result":{}}',
        b'{"method":"a"}',
        b'{"method":"b"}',
        b"noise",
    ):
        outgoing.append(line_of(text))
    assert outgoing.take_responses() == [b"1", b'"1"']
    outgoing.remove_notifications(b"a")
    assert taken(outgoing, 1000)[0] == b'{"method":"b"}\nnoise\n'
    assert outgoing.size == 0


def test_one_system_call_gets_a_bounded_number_of_pieces():
    outgoing = Outgoing()
    for _ in range(1000):
        outgoing.append(request(1))
    assert len(outgoing.pieces(**BOTH)) == 64
    outgoing = Outgoing()
    outgoing.append(Line([b"x" * 65536] * 100))
    assert len(outgoing.pieces(**BOTH)) == 4
