"""Invariant I1: every response, log message, progress notification and server request reaches its own client only.

The clients use equal ids and equal progress tokens. The texts show which client a message belongs to.
"""

import json
from collections import Counter
from functools import partial
from itertools import count

import pytest
import trio
from mcp import Client, types

from ..support.bridge_process import Bridge
from ..support.mailbox import Mailbox
from ..support.raw_http import Connection, Session, tool_call
from ..support.raw_http import connect as connect_raw
from ..support.sdk import SDK_WARNINGS, TRANSPORTS, connect

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]

CALLS = 40


class ClientWithCalls:
    """One client with 40 concurrent calls, and the messages that it received."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.logged = Mailbox()
        self.questions: list[str] = []
        self.progress: Counter[str] = Counter()
        self.answers: dict[str, str] = {}

    async def run(self, bridge: Bridge, transport: str, meet: trio.Event, arrive: trio.Event) -> None:
        async with connect(
            bridge, transport, elicitation_callback=self._answer, logging_callback=self.logged.put
        ) as client:
            arrive.set()
            await meet.wait()
            async with trio.open_nursery() as nursery:
                for number in range(CALLS):
                    nursery.start_soon(self._call, client, number)
            await self.logged.until(lambda lines: len(lines) >= CALLS)

    async def _call(self, client: Client, number: int) -> None:
        word = f"{self.name}-{number}"
        kinds = [self._echo, self._log, self._slow, self._ask]
        # Each client starts with another kind, so that all four kinds run at any time.
        for turn in range(len(kinds)):
            await kinds[(number + turn) % len(kinds)](client, word)

    async def _echo(self, client: Client, word: str) -> None:
        result = await client.call_tool("echo", {"text": word})
        self.answers[f"echo {word}"] = result.content[0].text

    async def _log(self, client: Client, word: str) -> None:
        await client.call_tool("log", {"text": word})

    async def _slow(self, client: Client, word: str) -> None:
        async def progressed(_done: float, total: float | None, _message: str | None) -> None:
            # The number of steps identifies the word, because a progress notification has no other field for it.
            assert total == len(word)
            self.progress[word] += 1

        await client.call_tool("slow", {"seconds": 0.05, "steps": len(word)}, progress_callback=progressed)

    async def _ask(self, client: Client, word: str) -> None:
        result = await client.call_tool("ask", {"question": word})
        self.answers[f"ask {word}"] = result.content[0].text

    async def _answer(self, _context, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.questions.append(params.message)
        return types.ElicitResult(action="accept", content={"answer": f"{self.name} says {params.message}"})

    def check(self) -> None:
        words = {f"{self.name}-{number}" for number in range(CALLS)}
        assert sorted(line.data for line in self.logged) == sorted(words)
        assert sorted(self.questions) == sorted(words)
        assert self.progress == Counter({word: len(word) + 1 for word in words})
        assert self.answers == {f"echo {word}": word for word in words} | {
            f"ask {word}": f"accept: {self.name} says {word}" for word in words
        }


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_clients_with_forty_calls_each_receive_only_their_own_messages(
    bridge: Bridge, transport: str
) -> None:
    clients = [ClientWithCalls("one"), ClientWithCalls("another")]
    meet = trio.Event()
    async with trio.open_nursery() as nursery:
        for party in clients:
            arrived = trio.Event()
            nursery.start_soon(party.run, bridge, transport, meet, arrived)
            await arrived.wait()
        meet.set()
    for party in clients:
        party.check()


async def test_three_transports_at_once_do_not_mix(bridge: Bridge) -> None:
    clients = {transport: ClientWithCalls(f"over-{transport}") for transport in TRANSPORTS}
    meet = trio.Event()
    async with trio.open_nursery() as nursery:
        for transport, party in clients.items():
            arrived = trio.Event()
            nursery.start_soon(party.run, bridge, transport, meet, arrived)
            await arrived.wait()
        meet.set()
    for party in clients.values():
        party.check()


async def test_all_of_ten_thousand_responses_reach_their_own_client(bridge: Bridge) -> None:
    sessions, connections, calls = 4, 2, 1250
    wrong: list[str] = []

    async def talk(session: Session, ids: "count[int]", connection: Connection, name: str) -> None:
        for number in range(calls):
            # Equal in every session: the id. Equal in all of one session: the beginning of the text.
            call_id = next(ids)
            text = f"call {call_id} of {name}"
            answer = await session.post(connection, tool_call("echo", call_id, text=text))
            response = json.loads(answer.body)
            expected = {"content": [{"type": "text", "text": text}], "isError": False}
            if (answer.status, response) != (200, {"jsonrpc": "2.0", "id": call_id, "result": expected}):
                wrong.append(f"{name}, call {number}: {answer}")

    async def be_client(name: str) -> None:
        async with connect_raw(bridge) as first, trio.open_nursery() as nursery:
            session = await Session.begin(bridge, first)
            ids = count(1)
            nursery.start_soon(talk, session, ids, first, f"{name}/0")
            for other in range(1, connections):
                nursery.start_soon(partial(also, session, ids, f"{name}/{other}"))

    async def also(session: Session, ids: "count[int]", name: str) -> None:
        async with connect_raw(bridge) as connection:
            await talk(session, ids, connection, name)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(sessions):
                nursery.start_soon(be_client, f"session {number}")
    assert not wrong, wrong[:5]
