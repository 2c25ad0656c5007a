"""Every feature of MCP, used by the official Python client over every transport."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio
from mcp import Client, types
from mcp.shared.exceptions import MCPError

from ..support.bridge_process import Bridge
from ..support.mailbox import Mailbox
from ..support.processes import threads_of
from ..support.sdk import (
    SDK_WARNINGS,
    TRANSPORTS,
    answer_elicitation,
    answer_roots,
    answer_sampling,
    connect,
    text_of,
)

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


Connect = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture
def connected(bridge: Bridge, transport: str, logged: Mailbox, notified: Mailbox) -> Connect:
    """Return a function for `async with connected() as client`, because a fixture with tasks hangs if a task fails."""
    return partial(
        connect,
        bridge,
        transport,
        elicitation_callback=answer_elicitation,
        sampling_callback=answer_sampling,
        list_roots_callback=answer_roots,
        logging_callback=logged.put,
        message_handler=notified.put,
    )


@pytest.fixture
def logged() -> Mailbox:
    return Mailbox()


@pytest.fixture
def notified() -> Mailbox:
    return Mailbox()


async def test_initialize(connected: Connect) -> None:
    async with connected() as client:
        assert client.protocol_version == "2025-11-25"
        assert client.server_info.name == "example"
        assert client.server_capabilities.resources.subscribe


async def test_a_client_that_tries_the_newest_era_first_gets_it(bridge: Bridge, transport: str) -> None:
    async with connect(bridge, transport, mode="auto") as client:
        # HTTP+SSE does not support the modern era, and the client falls back.
        assert client.protocol_version == ("2025-11-25" if transport == "sse" else "2026-07-28")
        assert text_of(await client.call_tool("add", {"a": 2, "b": 40})) == "42"


async def test_tools_are_listed_and_called(connected: Connect) -> None:
    async with connected() as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"echo", "add", "slow"} <= names
        assert text_of(await client.call_tool("add", {"a": 2, "b": 40})) == "42"


async def test_text_arrives_as_it_was_sent(connected: Connect) -> None:
    async with connected() as client:
        text = 'line\nbreak, "quotes", \\, tab\t, \u2028, é, \U0001f980, \x7f'
        assert text_of(await client.call_tool("echo", {"text": text})) == text


async def test_a_large_answer(connected: Connect) -> None:
    # The SDK takes no event of more than 1 MiB.
    async with connected() as client:
        assert len(text_of(await client.call_tool("big", {"size": 1_000_000}))) == 1_000_000


async def test_a_large_request(connected: Connect) -> None:
    async with connected() as client:
        text = "y" * 1_000_000
        assert text_of(await client.call_tool("echo", {"text": text})) == text


async def test_an_error_of_the_server_keeps_its_code(connected: Connect) -> None:
    async with connected() as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource("example://nothing")
        assert caught.value.error.code == -32002
        assert "example://nothing" in caught.value.error.message


async def test_progress_precedes_the_answer_in_order(connected: Connect) -> None:
    async with connected() as client:
        seen = []

        async def progressed(done: float, total: float | None, _message: str | None) -> None:
            seen.append((done, total))

        arguments = {"seconds": 0.05, "steps": 5}
        assert "done" in text_of(await client.call_tool("slow", arguments, progress_callback=progressed))
        assert seen == [(step, 5) for step in range(6)]


async def test_log_messages_arrive(connected: Connect, logged: Mailbox) -> None:
    async with connected() as client:
        await client.call_tool("log", {"text": "what happened", "level": "warning"})
        await logged.until(bool)
        assert [(line.level, line.data) for line in logged] == [("warning", "what happened")]


async def test_the_log_level_is_the_clients(connected: Connect, logged: Mailbox) -> None:
    async with connected() as client:
        await client.set_logging_level("error")
        await client.call_tool("log", {"text": "too low", "level": "info"})
        await client.call_tool("log", {"text": "high enough", "level": "error"})
        await logged.until(bool)
        assert [line.data for line in logged] == ["high enough"]


async def test_elicitation(connected: Connect) -> None:
    async with connected() as client:
        assert text_of(await client.call_tool("ask", {"question": "abc"})) == "accept: cba"


async def test_sampling(connected: Connect) -> None:
    async with connected() as client:
        assert text_of(await client.call_tool("think", {"prompt": "hello"})) == "loud: HELLO"


async def test_roots(connected: Connect) -> None:
    async with connected() as client:
        assert text_of(await client.call_tool("roots")) == "file:///here\nfile:///there"


async def test_a_changed_list_is_notified(connected: Connect, notified: Mailbox) -> None:
    async with connected() as client:
        assert text_of(await client.call_tool("toggle")) == "on"
        await notified.wait_for_one(types.ToolListChangedNotification)
        assert "extra" in {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}


async def test_a_resource_is_read_and_its_change_notified(connected: Connect, notified: Mailbox) -> None:
    async with connected() as client:
        uri = (await client.list_resources()).resources[0].uri
        assert (await client.read_resource(uri)).contents[0].text == "Hello."
        assert text_of(await client.call_tool("touch", {"uri": uri})) == "nobody is subscribed"
        await client.subscribe_resource(uri)
        assert text_of(await client.call_tool("touch", {"uri": uri})) == "touched"
        assert (await notified.wait_for_one(types.ResourceUpdatedNotification)).params.uri == uri
        await client.unsubscribe_resource(uri)
        assert text_of(await client.call_tool("touch", {"uri": uri})) == "nobody is subscribed"


async def test_a_resource_template(connected: Connect) -> None:
    async with connected() as client:
        templates = (await client.list_resource_templates()).resource_templates
        assert [template.uri_template for template in templates] == ["example://square/{number}"]
        assert (await client.read_resource("example://square/12")).contents[0].text == "144"


async def test_prompts_and_completion(connected: Connect) -> None:
    async with connected() as client:
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["greet"]
        prompt = await client.get_prompt("greet", {"name": "Ada"})
        assert prompt.messages[0].content.text == "Say hello to Ada."
        reference = types.PromptReference(type="ref/prompt", name="greet")
        completed = await client.complete(reference, {"name": "name", "value": "A"})
        assert completed.completion.values == ["Ada", "Alan"]


async def test_ping(connected: Connect) -> None:
    async with connected() as client:
        assert await client.send_ping() == types.EmptyResult()


async def test_cancelling_a_call_stops_it_on_the_server(bridge: Bridge, connected: Connect) -> None:
    async with connected() as client:
        # The newest process is that of this session.
        server = bridge.newest_child()
        progressed = trio.Event()

        async def note(_done: float, _total: float | None, _message: str | None) -> None:
            progressed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call_tool, "slow", {"seconds": 60, "steps": 6000}, None, note)
            await progressed.wait()
            assert threads_of(server) == 2
            nursery.cancel_scope.cancel()
        # The timeout of the client ends this call.
        while threads_of(server) > 1:
            await trio.sleep(0.01)
        assert text_of(await client.call_tool("echo", {"text": "still here"})) == "still here"


async def test_forty_calls_at_once_overlap(connected: Connect) -> None:
    async with connected() as client:
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(client.call_tool, "slow", {"seconds": 0.5, "steps": 1})
        assert trio.current_time() - started < 40 * 0.5 / 2
