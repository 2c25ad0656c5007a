"""The official Python SDK 1.x against a bridge in front of examples/server.py: `client.py http|sse|ws URL`.

Runs in an environment of its own, because the SDK's major versions share a name. The token is in the environment,
TOKEN. Prints `ok NAME` or `failed NAME: WHY` for each check.
"""

import asyncio
import os
import sys
import warnings
from contextlib import AsyncExitStack
from functools import partial

import mcp.client.websocket
from mcp import ClientSession, McpError, types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client

CHECKS = []
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
SECONDS = 15


def check(function):
    CHECKS.append(function)
    return function


class Mailbox:
    """The messages that the client has received."""

    def __init__(self) -> None:
        self.items = asyncio.Queue()

    async def __call__(self, item) -> None:
        await self.items.put(item)

    async def next(self, kind: type):
        while not isinstance(item := await self.items.get(), kind):
            pass
        return item


logged, notified = Mailbox(), Mailbox()


async def notify(message) -> None:
    if isinstance(message, types.ServerNotification):
        await notified(message.root)


async def answer_elicitation(_context, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"answer": f"re: {params.message}"})


async def answer_sampling(_context, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    words = params.messages[0].content.text.upper()
    return types.CreateMessageResult(
        role="assistant", model="loud", content=types.TextContent(type="text", text=words)
    )


async def answer_roots(_context) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///here"), types.Root(uri="file:///there")])


async def text(client: ClientSession, tool: str, **arguments) -> str:
    result = await client.call_tool(tool, arguments)
    assert not result.isError, result
    return result.content[0].text


@check
async def initialize(client: ClientSession) -> None:
    result = await client.initialize()
    assert result.serverInfo.name == "example"


@check
async def list_tools(client: ClientSession) -> None:
    assert "echo" in {tool.name for tool in (await client.list_tools()).tools}


@check
async def call_a_tool(client: ClientSession) -> None:
    assert await text(client, "add", a=2, b=40) == "42"


@check
async def text_arrives_as_it_was_sent(client: ClientSession) -> None:
    words = 'line\nbreak "quotes" \\ \t \u2028 é 🦀'
    assert await text(client, "echo", text=words) == words


@check
async def a_large_request_and_answer(client: ClientSession) -> None:
    # The WebSocket library refuses messages of more than 1 MiB.
    words = "y" * 900_000
    assert await text(client, "echo", text=words) == words


@check
async def progress(client: ClientSession) -> None:
    seen = []

    async def progressed(done: float, total: float | None, _message: str | None) -> None:
        seen.append((done, total))

    await client.call_tool("slow", {"seconds": 0.1, "steps": 4}, progress_callback=progressed)
    assert seen == [(step, 4) for step in range(5)], seen


@check
async def logging(client: ClientSession) -> None:
    await client.set_logging_level("warning")
    await text(client, "log", text="too low", level="info")
    await text(client, "log", text="high enough", level="warning")
    line = await logged.next(types.LoggingMessageNotificationParams)
    assert (line.level, line.data) == ("warning", "high enough"), line


@check
async def elicitation(client: ClientSession) -> None:
    assert await text(client, "ask", question="why?") == "accept: re: why?"


@check
async def sampling(client: ClientSession) -> None:
    assert await text(client, "think", prompt="hello") == "loud: HELLO"


@check
async def roots(client: ClientSession) -> None:
    assert await text(client, "roots") == "file:///here\nfile:///there"


@check
async def a_changed_list(client: ClientSession) -> None:
    assert await text(client, "toggle") == "on"
    await notified.next(types.ToolListChangedNotification)
    assert "extra" in {tool.name for tool in (await client.list_tools()).tools}


@check
async def a_changed_resource(client: ClientSession) -> None:
    await client.subscribe_resource("example://greeting")
    assert await text(client, "touch", uri="example://greeting") == "touched"
    assert str((await notified.next(types.ResourceUpdatedNotification)).params.uri) == "example://greeting"


@check
async def prompts_and_completion(client: ClientSession) -> None:
    prompt = await client.get_prompt("greet", {"name": "Ada"})
    assert prompt.messages[0].content.text == "Say hello to Ada."
    reference = types.PromptReference(type="ref/prompt", name="greet")
    completed = await client.complete(reference, {"name": "name", "value": "A"})
    assert completed.completion.values == ["Ada", "Alan"]


@check
async def ping(client: ClientSession) -> None:
    await client.send_ping()


@check
async def forty_calls_at_once(client: ClientSession) -> None:
    answers = await asyncio.gather(*(text(client, "echo", text=f"call {i}") for i in range(40)))
    assert answers == [f"call {i}" for i in range(40)]


@check
async def a_server_that_crashes_is_replaced(client: ClientSession) -> None:
    [fault] = await asyncio.gather(client.call_tool("crash", {"code": 3}), return_exceptions=True)
    assert isinstance(fault, McpError), fault
    assert "3" in fault.error.message, fault
    assert await text(client, "echo", text="back") == "back"


async def main(transport: str, url: str) -> None:
    async with AsyncExitStack() as stack:
        if transport == "http":
            streams = streamablehttp_client(url, headers=HEADERS)
        elif transport == "sse":
            streams = sse_client(url, headers=HEADERS)
        else:
            # This client has no parameter for headers.
            connect = partial(mcp.client.websocket.ws_connect, additional_headers=HEADERS)
            mcp.client.websocket.ws_connect = connect
            streams = mcp.client.websocket.websocket_client(url)
        read, write, *_ = await stack.enter_async_context(streams)
        session = ClientSession(
            read,
            write,
            elicitation_callback=answer_elicitation,
            sampling_callback=answer_sampling,
            list_roots_callback=answer_roots,
            logging_callback=logged,
            message_handler=notify,
        )
        client = await stack.enter_async_context(session)
        for function in CHECKS:
            name = function.__name__.replace("_", " ")
            try:
                await asyncio.wait_for(function(client), SECONDS)
            except Exception as fault:  # noqa: BLE001 - whatever it is, the check has failed
                print(f"failed {name}: {fault!r}", flush=True)
            else:
                print(f"ok {name}", flush=True)
    print("ok goodbye", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main(*sys.argv[1:]))
