"""The link of a login, and redirect URLs that are typed."""

import os

import pytest
import trio

from mcpbridged.bridge.commands.terminal_prompt import TerminalPrompt, stderr_prompt
from mcpbridged.validators.oauth_refusal import OAuthRefusal, WrongState

pytestmark = pytest.mark.anyio


def accept(query):
    if query == "hostile":
        raise OAuthRefusal("refused")
    if "state=good" not in query:
        raise WrongState("wrong")
    return query


class Typing:
    def __init__(self):
        self.reading, self.writing = os.pipe()
        self.said, self.links = [], []
        self.prompt = TerminalPrompt(self.said.append, self.links.append, self.reading)

    def type(self, text):
        os.write(self.writing, text)


@pytest.fixture
def typing():
    found = Typing()
    yield found
    os.close(found.reading)
    if found.writing >= 0:
        os.close(found.writing)


def test_control_characters_of_a_link_are_escaped(typing):
    typing.prompt.show("https://as.example/\x1b[2J\r\n")
    assert typing.links == [r"https://as.example/\x1b[2J\r\n"]
    assert "paste the URL" in typing.said[-1]


def test_nothing_is_asked_for_where_nothing_can_be_typed():
    said = []
    TerminalPrompt(said.append, said.append, None).show("https://as.example/")
    assert said == ["to log in, open this link in a browser:", "https://as.example/"]


def test_a_link_on_stderr_is_marked_as_ours(capsys):
    stderr_prompt().show("https://as.example/")
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("", "mcp-bridge: https://as.example/")


@pytest.mark.parametrize(
    "text",
    [
        b"http://127.0.0.1:4/callback?code=c&state=good\n",
        b"  code=c&state=good \r\n",
        b"\n\nhttp://127.0.0.1:4/callback?code=c&state=good#fragment\n",
        b"http://127.0.0.1:4/callback?code=a&state=other\nhello\nhttp://x/?code=c&state=good\n",
    ],
)
async def test_the_query_of_a_typed_url_is_used(typing, text):
    typing.type(text)
    assert await typing.prompt.typed(accept) == "code=c&state=good"
    assert sum("not the URL" in line for line in typing.said) == (2 if b"hello" in text else 0)


async def test_a_refused_url_ends_the_login(typing):
    typing.type(b"hostile\n")
    with pytest.raises(OAuthRefusal):
        await typing.prompt.typed(accept)


async def test_a_line_may_arrive_in_pieces(typing):
    async with trio.open_nursery() as nursery:

        async def type_slowly():
            for byte in b"?code=c&state=good\n":
                typing.type(bytes((byte,)))
                await trio.sleep(0)

        nursery.start_soon(type_slowly)
        assert await typing.prompt.typed(accept) == "code=c&state=good"


@pytest.mark.parametrize("end", ["closed", "a file", "no descriptor", "none"])
async def test_after_the_end_of_the_input_only_the_redirect_counts(typing, end, tmp_path):
    descriptor = typing.reading
    if end == "closed":
        os.close(typing.writing)
        typing.writing = -1
    elif end == "a file":
        (tmp_path / "empty").write_text("not the URL\n")
        descriptor = os.open(tmp_path / "empty", os.O_RDONLY)
    elif end == "no descriptor":
        descriptor = 10_000
    else:
        descriptor = None
    prompt = TerminalPrompt(typing.said.append, typing.links.append, descriptor)
    with trio.move_on_after(0.05) as waited:
        await prompt.typed(accept)
    assert waited.cancelled_caught
    if end == "a file":
        os.close(descriptor)


async def test_the_descriptor_stays_blocking(typing):
    typing.type(b"?state=good\n")
    await typing.prompt.typed(accept)
    assert os.get_blocking(typing.reading)


async def test_a_long_line_takes_little_memory(typing):
    async def flood():
        for _ in range(100):
            await trio.to_thread.run_sync(typing.type, b"x" * 4096)
        typing.type(b"\n?state=good\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        assert await typing.prompt.typed(accept) == "state=good"
    assert len(typing.prompt._buffer) < 40_000
