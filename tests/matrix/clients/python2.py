"""The official Python SDK 2.x carries out the steps that stdin has as JSON: `python2.py legacy|auto http|sse|stdio URL`.

Prints a line of JSON for the connection and for each step: {"said": TEXT} or {"fault": TEXT}. servers.py tells what
steps there are. With `stdio` URL is a command as JSON. The variable MCP_TOKEN is a bearer token.
"""

import asyncio
import json
import os
import sys
import warnings
from contextlib import AsyncExitStack, suppress

from mcp import Client, types
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

SECONDS = 20
TRANSPORTS = {"http": streamable_http_client, "sse": sse_client}
MODERN = "2026-07-28"
TOKEN = os.environ.get("MCP_TOKEN")
# Whatever the form wants to know, it is something blue, one or true.
FILLED_IN = {"string": "blue", "integer": 1, "number": 1, "boolean": True}


def filled_in(schema: dict):
    return schema.get("default", (schema.get("enum") or [FILLED_IN.get(schema.get("type"))])[0])


async def answer_elicitation(_context, params: types.ElicitRequestParams) -> types.ElicitResult:
    form = params.requested_schema
    content = {name: filled_in(form["properties"][name]) for name in form.get("required", form["properties"])}
    return types.ElicitResult(action="accept", content=content)


async def answer_sampling(_context, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    words = params.messages[0].content.text.upper()
    return types.CreateMessageResult(
        role="assistant", model="loud", content=types.TextContent(type="text", text=words)
    )


async def answer_roots(_context) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///here"), types.Root(uri="file:///there")])


notified = asyncio.Queue()


async def notify(message) -> None:
    await notified.put(message)


async def heard(kind: type):
    while not isinstance(item := await notified.get(), kind):
        pass
    return item


def text_of(result: types.CallToolResult) -> str:
    texts = [getattr(item, "text", f"({item.type})") for item in result.content]
    return "error: " * bool(result.is_error) + "\n".join(texts)


async def carry_out(client: Client, step: dict) -> str:
    name, arguments = step.get("name"), step.get("arguments", {})
    match step["do"]:
        case "tools":
            return ", ".join(tool.name for tool in (await client.list_tools()).tools)
        case "resources":
            return ", ".join(item.name for item in (await client.list_resources()).resources)
        case "prompts":
            return ", ".join(prompt.name for prompt in (await client.list_prompts()).prompts)
        case "read":
            return (await client.read_resource(step["uri"])).contents[0].text
        case "prompt":
            return (await client.get_prompt(name, arguments)).messages[0].content.text
        case "call":
            return text_of(await client.call_tool(name, arguments))
        case "progress":
            return await progress(client, name, arguments)
        case "cancel":
            return await cancel(client, name, arguments)
        case "log":
            await client.call_tool(name, arguments)
            return str((await heard(types.LoggingMessageNotification)).params.data)
        case "list change":
            return await list_change(client, name)
        case "subscription":
            return await subscription(client, name, step["uri"])
    raise ValueError(step)


async def progress(client: Client, name: str, arguments: dict) -> str:
    seen = []

    async def progressed(done: float, total: float | None, _message: str | None) -> None:
        seen.append(f"{done:g}/{total:g}")

    await client.call_tool(name, arguments, progress_callback=progressed)
    return " ".join(seen)


async def cancel(client: Client, name: str, arguments: dict) -> str:
    begun = asyncio.Event()

    async def progressed(_done: float, _total: float | None, _message: str | None) -> None:
        begun.set()

    call = asyncio.create_task(client.call_tool(name, arguments, progress_callback=progressed))
    await begun.wait()
    call.cancel()
    with suppress(asyncio.CancelledError):
        return f"not cancelled: {text_of(await call)}"
    # A client that is closed at once may not have sent its notification yet.
    await client.list_tools()
    return "cancelled"


async def list_change(client: Client, name: str) -> str:
    if client.protocol_version == MODERN:
        async with client.listen(tools_list_changed=True) as changes:
            await client.call_tool(name)
            await anext(aiter(changes))
    else:
        await client.call_tool(name)
        await heard(types.ToolListChangedNotification)
    return "the tools have changed"


async def subscription(client: Client, name: str, uri: str) -> str:
    if client.protocol_version == MODERN:
        async with client.listen(resource_subscriptions=[uri]) as changes:
            await client.call_tool(name, {"uri": uri})
            updated = (await anext(aiter(changes))).uri
    else:
        await client.subscribe_resource(uri)
        await client.call_tool(name, {"uri": uri})
        updated = (await heard(types.ResourceUpdatedNotification)).params.uri
        await client.unsubscribe_resource(uri)
    return f"{updated} has changed"


async def report(work) -> bool:
    try:
        line = {"said": await asyncio.wait_for(work, SECONDS)}
    except Exception as fault:  # noqa: BLE001 - whatever it is, the step has failed
        line = {"fault": str(fault) or repr(fault)}
    print(json.dumps(line), flush=True)
    return "said" in line


def open_transport(transport: str, url: str):
    if transport == "stdio":
        command, *args = json.loads(url)
        return stdio_client(StdioServerParameters(command=command, args=args, env=dict(os.environ)))
    if TOKEN is None:
        return TRANSPORTS[transport](url)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if transport == "sse":
        return sse_client(url, headers=headers)
    return streamable_http_client(url, http_client=create_mcp_http_client(headers))


async def connect(stack: AsyncExitStack, mode: str, transport: str, url: str) -> Client:
    return await stack.enter_async_context(
        Client(
            open_transport(transport, url),
            mode=mode,
            elicitation_callback=answer_elicitation,
            sampling_callback=answer_sampling,
            list_roots_callback=answer_roots,
            message_handler=notify,
        )
    )


async def main(mode: str, transport: str, url: str) -> None:
    steps = json.load(sys.stdin)
    async with AsyncExitStack() as stack:
        try:
            # Not under a timeout: that would be a task of its own, and what is entered here is left in ours.
            client = await connect(stack, mode, transport, url)
        except Exception as fault:  # noqa: BLE001 - there is nothing to try the steps on
            print(json.dumps({"fault": str(fault) or repr(fault)}), flush=True)
            return
        print(json.dumps({"said": f"{client.protocol_version} {client.server_info.name}"}), flush=True)
        for step in steps:
            await report(carry_out(client, step))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main(*sys.argv[1:]))
