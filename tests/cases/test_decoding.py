"""Decode every line of a peer at one boundary into a message or a refusal of this message only."""

import json

import pytest

from ..support.loop_budget import raw_answer, running

# The bytes of the payload occur in the message before the payload. `json.dumps` of Python writes spaces.
ANSWERS = [
    b'{"jsonrpc": "2.0", "id": $ID, "result": "id"}',
    b'{"jsonrpc":"2.0","id":$ID, "result":"result"}',
    b'{"jsonrpc": "2.0", "id": $ID, "result": 2}',
    b'{"jsonrpc": "2.0", "id": $ID, "result": 0}',
    b'{"id": $ID, "result": "jsonrpc", "jsonrpc": "2.0"}',
    b'{"jsonrpc": "2.0", "id": $ID, "result": {}, "x": {}}',
    b'{"jsonrpc": "2.0", "id": $ID, "error": {"code": 2, "message": "2.0"}}',
]
SENT = [b'{"jsonrpc":"2.0","id":5, "result":"result"}', b'{"jsonrpc": "2.0", "id": 10, "result": 1}']


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    with running(tmp_path_factory.mktemp("decoding")) as bridge:
        yield bridge


@pytest.mark.parametrize("text", ANSWERS)
def test_r05_an_answer_whose_payload_stands_elsewhere_in_it_is_delivered(bridge, text):
    session = bridge.open_session()
    reply = bridge.exchange(bridge.post(raw_answer(7, text + b"\n"), session))
    wanted = json.loads(text.replace(b"$ID", b"7"))
    assert reply.status == 200
    assert reply.json == {key: wanted[key] for key in wanted if key != "x"}
    assert bridge.exchange(bridge.post(session=session)).status == 200


@pytest.mark.parametrize("text", SENT)
def test_r05_a_response_of_a_client_whose_payload_stands_elsewhere_in_it_is_accepted(bridge, text):
    session = bridge.open_session()
    assert bridge.exchange(bridge.post(text, session)).status == 202
    with bridge.event_stream() as (events, path):
        assert bridge.exchange(bridge.post(bridge.initialize(), target=path)).status == 202
        next(events)
        assert bridge.exchange(bridge.post(text, target=path)).status == 202
    with bridge.websocket() as socket:
        socket.send(text)
        socket.send({"jsonrpc": "2.0", "id": 3, "method": "ping"})
        assert socket.message()["id"] == 3


@pytest.mark.parametrize("levels", [100, 512])
def test_t10_structured_content_of_512_levels_is_delivered(bridge, levels):
    # The value is inside of the message, its result and the structured content.
    inner = levels - 3
    text = b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"structuredContent":{"a":%b}}}' % (
        b"[" * inner + b"]" * inner
    )
    session = bridge.open_session()
    reply = bridge.exchange(bridge.post(raw_answer(1, text + b"\n"), session))
    assert reply.body == text.replace(b"$ID", b"1")


def test_t10_a_response_that_cannot_be_decoded_fails_its_call_only(bridge):
    session = bridge.open_session()
    text = b'{"jsonrpc":"2.0","id":$ID,"result":%b}' % (b"[" * 100_000 + b"]" * 100_000)
    reply = bridge.exchange(bridge.post(raw_answer(1, text + b"\n"), session))
    assert "deeper than the decoder can follow" in reply.json["error"]["message"]
    assert bridge.exchange(bridge.post(session=session)).status == 200
