import json

import pytest
import trio

from mcpbridged.transports.client.carrier_state import Inbox, Outbox
from mcpbridged.transports.client.ports import CarrierBusy, Lost
from mcpbridged.validators.limits import Limits

pytestmark = pytest.mark.anyio


def opened(limits):
    outbox = Outbox(limits)
    outbox.open = True
    return outbox


async def test_messages_are_taken_in_their_order_and_without_line_ends(autojump_clock):
    outbox = opened(Limits())
    outbox.put(b"1\r\n")
    outbox.put(b"2")
    assert [await outbox.get(), await outbox.get()] == [b"1", b"2"]
    with trio.move_on_after(1) as waited:
        await outbox.get()
    assert waited.cancelled_caught


async def test_unsent_bytes_are_limited_until_they_are_settled():
    outbox = opened(Limits(stdin_bytes=10))
    outbox.put(b"x" * 20)
    with pytest.raises(CarrierBusy, match="20 bytes wait to be sent and the limit is 10"):
        outbox.put(b"y")
    outbox.settled(await outbox.get())
    outbox.put(b"x" * 10)
    outbox.open = False
    with pytest.raises(Lost):
        outbox.put(b"")


async def test_messages_are_passed_on_as_lines():
    found = []
    outbox = opened(Limits())
    inbox = Inbox(Limits(), outbox)
    await inbox.take(b"dropped")
    inbox.start(lambda text, related: found.append((text, related)))
    for text in (b'{\r\n"a":1}', b"", b" \n ", b"{}"):
        await inbox.take(text)
    assert found == [(b'{  "a":1}', b""), (b"{}", b"")]


async def test_a_paused_inbox_waits(autojump_clock):
    found = []
    inbox = Inbox(Limits(), opened(Limits()))
    inbox.start(lambda text, _related: found.append(text))
    inbox.pause()
    with trio.move_on_after(1) as waited:
        await inbox.take(b"1")
    assert waited.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.take, b"2")
        await trio.sleep(1)
        assert found == []
        inbox.resume()
    assert found == [b"2"]


@pytest.mark.parametrize(
    ("edges", "to_client", "to_server"),
    [
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":"xx', 1, None),
        (b'{"result":{"a":"xxxx"},"jsonrpc":"2.0","id":"a"}', "a", None),
        (b'{"jsonrpc":"2.0","id":2,"method":"m","params":"xx', None, 2),
        (b'{"jsonrpc":"2.0","method":"m","params":"xx', None, None),
        (b"nonsense", None, None),
    ],
)
async def test_a_cut_message_is_answered_by_its_id(edges, to_client, to_server):
    found = []
    outbox = opened(Limits())
    inbox = Inbox(Limits(line=100), outbox)
    inbox.start(lambda text, _related: found.append(json.loads(text)))
    await inbox.take_cut(edges)
    assert [message["id"] for message in found] == ([] if to_client is None else [to_client])
    if to_server is not None:
        assert json.loads(await outbox.get())["id"] == to_server
    outbox.open = False
    await inbox.take_cut(edges)


async def test_a_server_that_reads_too_slowly_gets_no_error_for_its_large_request(autojump_clock):
    outbox = opened(Limits(stdin_bytes=5))
    outbox.put(b"12345")
    inbox = Inbox(Limits(), outbox)
    await inbox.take_cut(b'{"jsonrpc":"2.0","id":2,"method":"m","params":"xx')
    assert await outbox.get() == b"12345"
    with trio.move_on_after(1) as waited:
        await outbox.get()
    assert waited.cancelled_caught
