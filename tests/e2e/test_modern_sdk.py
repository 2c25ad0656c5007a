"""The official Python client as a modern client, in front of a legacy server and of a modern server."""

import pytest
import trio
from mcp import types
from mcp.shared.exceptions import MCPError

from ..support.bridge_process import EXAMPLE, MODERN, Bridge
from ..support.processes import threads_of
from ..support.sdk import SDK_WARNINGS, answer_elicitation, answer_roots, answer_sampling, connect, text_of

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]


@pytest.fixture(scope="module")
def modern(tmp_path_factory):
    with Bridge(tmp_path_factory.mktemp("modern") / "run", MODERN) as running:
        yield running


@pytest.fixture(params=["http", "ws"])
def transport(request):
    return request.param


def connected(bridge: Bridge, transport: str):
    return connect(
        bridge,
        transport,
        mode="auto",
        elicitation_callback=answer_elicitation,
        sampling_callback=answer_sampling,
        list_roots_callback=answer_roots,
    )


async def test_a_call_at_a_legacy_server_uses_every_feature(bridge: Bridge, transport: str) -> None:
    async with connected(bridge, transport) as client:
        assert client.protocol_version == "2026-07-28"
        assert client.server_info.name == "example"
        assert "echo" in {tool.name for tool in (await client.list_tools()).tools}
        text = 'line\nbreak, "quotes", \\, tab\t, \u2028, é, \U0001f980, \x7f'
        assert text_of(await client.call_tool("echo", {"text": text})) == text
        assert text_of(await client.call_tool("ask", {"question": "abc"})) == "accept: cba"
        assert text_of(await client.call_tool("think", {"prompt": "hello"})) == "loud: HELLO"
        assert text_of(await client.call_tool("roots")) == "file:///here\nfile:///there"
        prompt = await client.get_prompt("greet", {"name": "Ada"})
        assert prompt.messages[0].content.text == "Say hello to Ada."
        assert (await client.read_resource("example://square/12")).contents[0].text == "144"
        with pytest.raises(MCPError) as caught:
            await client.read_resource("example://nothing")
        assert caught.value.error.code == -32602


async def test_progress(bridge: Bridge, transport: str) -> None:
    async with connected(bridge, transport) as client:
        seen = []

        async def progressed(done: float, total: float | None, _message: str | None) -> None:
            seen.append((done, total))

        arguments = {"seconds": 0.05, "steps": 5}
        assert "done" in text_of(await client.call_tool("slow", arguments, progress_callback=progressed))
        assert seen[:5] == [(step, 5) for step in range(5)]


async def test_cancelling_a_call_stops_it_on_the_server(bridge: Bridge, transport: str) -> None:
    async with connected(bridge, transport) as client:
        assert text_of(await client.call_tool("echo", {"text": "start"})) == "start"
        progressed = trio.Event()

        async def note(_done: float, _total: float | None, _message: str | None) -> None:
            progressed.set()

        def busy() -> bool:
            return any(threads_of(pid) > 1 for pid in bridge.children())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call_tool, "slow", {"seconds": 60, "steps": 6000}, None, note)
            await progressed.wait()
            assert busy()
            nursery.cancel_scope.cancel()
        # The timeout of the client ends this call.
        while busy():
            await trio.sleep(0.01)
        assert text_of(await client.call_tool("echo", {"text": "still here"})) == "still here"


async def test_calls_without_server_requests_run_concurrently(start_bridge, transport: str) -> None:
    bridge = start_bridge(EXAMPLE)
    async with connected(bridge, transport) as client:
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(client.call_tool, "slow", {"seconds": 0.5, "steps": 1})
        assert trio.current_time() - started < 40 * 0.5 / 2


async def test_many_concurrent_elicitations_are_all_answered(bridge: Bridge, transport: str) -> None:
    async with connected(bridge, transport) as client:
        answers = {}

        async def ask(question: str) -> None:
            answers[question] = text_of(await client.call_tool("ask", {"question": question}))

        async with trio.open_nursery() as nursery:
            for i in range(10):
                nursery.start_soon(ask, f"question {i}")
        assert answers == {f"question {i}": f"accept: {f'question {i}'[::-1]}" for i in range(10)}


async def test_input_that_a_modern_server_requires_is_sent(modern: Bridge, transport: str) -> None:
    async def answer(_context, params: types.ElicitRequestParams) -> types.ElicitResult:
        [field] = params.requested_schema["properties"]
        return types.ElicitResult(action="accept", content={field: "blue"})

    async with connect(
        modern,
        transport,
        mode="auto",
        elicitation_callback=answer,
        sampling_callback=answer_sampling,
        list_roots_callback=answer_roots,
    ) as client:
        assert client.protocol_version == "2026-07-28"
        call = client.call_tool
        assert text_of(await call("test_input_required_result_elicitation", {})) == "Hello, blue!"
        assert text_of(await call("test_input_required_result_multi_round", {})) == "blue likes blue"
        assert text_of(await call("test_input_required_result_multiple_inputs", {})) == "all inputs are here"
