"""The output of a process until its first response."""

from mcpbridged.bridge.runtime.startup import Startup
from mcpbridged.validators.limits import Limits

ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'


class Process:
    """Where the lines of a child go."""

    def set_line_handler(self, on_line):
        self.on_line = on_line


def begun():
    process, printed, answers = Process(), [], []
    return process, Startup(process, Limits(), printed.append, answers.append), printed, answers


def test_text_before_the_first_answer_is_no_answer():
    process, startup, printed, answers = begun()
    for line in (
        b"Server listening on 3000",
        b'{"level":30}',
        b'{"jsonrpc":"2.0","method":"notifications/message"}',
    ):
        process.on_line(line)
    assert printed == [b"Server listening on 3000", b'{"level":30}']
    assert not answers
    assert not startup.over
    process.on_line(ANSWER)
    assert [answer.id for answer in answers] == [b"1"]
    assert startup.over


def test_lines_go_to_the_holder_and_after_the_first_answer_only_there():
    process, startup, printed, answers = begun()
    lines = []
    startup.attach(lines.append)
    process.on_line(b"a banner")
    process.on_line(b"[%b]" % ANSWER)
    assert answers == [None]
    process.on_line(b"more text")
    assert lines == [b"a banner", b"[%b]" % ANSWER, b"more text"]
    assert printed == [b"a banner"]


def test_a_holder_that_comes_after_the_first_answer_gets_all_lines():
    process, startup, _, _ = begun()
    process.on_line(ANSWER)
    lines = []
    startup.attach(lines.append)
    process.on_line(b"x")
    assert lines == [b"x"]


def test_a_flood_of_text_is_bounded():
    process, _, printed, _ = begun()
    for _ in range(100):
        process.on_line(b"noise")
    assert len(printed) == 20
