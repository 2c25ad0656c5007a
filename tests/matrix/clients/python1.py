"""The official Python SDK 1.x carries out the steps that stdin has as JSON: `python1.py http|sse|ws|stdio URL`.

Runs in an environment of its own, because the SDK's major versions share a name. Prints a line of JSON for the
connection and for each step: {"said": TEXT} or {"fault": TEXT}. servers.py tells what steps there are. With `stdio`
URL is a command as JSON. The variable MCP_TOKEN is a bearer token; over WebSocket, where this SDK sends no header, it is offered as a second subprotocol.
"""

import asyncio
import json
import os
import sys
import warnings
from contextlib import suppress

import mcp.client.websocket
from mcp import ClientSession, types
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.client.websocket import websocket_client

SECONDS = 20
TRANSPORTS = {"http": streamablehttp_client, "sse": sse_client, "ws": websocket_client}
TOKEN = os.environ.get("MCP_TOKEN")
# Whatever the form wants to know, it is something blue, one or true.
FILLED_IN = {"string": "blue", "integer": 1, "number": 1, "boolean": True}


def filled_in(schema: dict):
    return schema.get("default", (schema.get("enum") or [FILLED_IN.get(schema.get("type"))])[0])


async def answer_elicitation(_context, params: types.ElicitRequestParams) -> types.ElicitResult:
    form = params.requestedSchema
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
    if isinstance(message, types.ServerNotification):
        await notified.put(message.root)


async def heard(kind: type):
    while not isinstance(item := await notified.get(), kind):
        pass
    return item


def text_of(result: types.CallToolResult) -> str:
    texts = [getattr(item, "text", f"({item.type})") for item in result.content]
    return "error: " * bool(result.isError) + "\n".join(texts)


async def carry_out(client: ClientSession, step: dict) -> str:
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
            await client.call_tool(name)
            await heard(types.ToolListChangedNotification)
            return "the tools have changed"
        case "subscription":
            await client.subscribe_resource(step["uri"])
            await client.call_tool(name, {"uri": step["uri"]})
            updated = await heard(types.ResourceUpdatedNotification)
            await client.unsubscribe_resource(step["uri"])
            return f"{updated.params.uri} has changed"
    raise ValueError(step)


async def progress(client: ClientSession, name: str, arguments: dict) -> str:
    seen = []

    async def progressed(done: float, total: float | None, _message: str | None) -> None:
        seen.append(f"{done:g}/{total:g}")

    await client.call_tool(name, arguments, progress_callback=progressed)
    return " ".join(seen)


async def cancel(client: ClientSession, name: str, arguments: dict) -> str:
    """Cancel the call with a notification of our own: this SDK's client has nothing that does."""
    begun = asyncio.Event()

    async def progressed(_done: float, _total: float | None, _message: str | None) -> None:
        begun.set()

    # The id of the next request, which the client does not expose.
    number = client._request_id
    call = asyncio.create_task(client.call_tool(name, arguments, progress_callback=progressed))
    await begun.wait()
    params = types.CancelledNotificationParams(requestId=number, reason="enough")
    await client.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
    call.cancel()
    with suppress(asyncio.CancelledError):
        return f"not cancelled: {text_of(await call)}"
    # A client that is closed at once may not have sent its notification yet.
    await client.list_tools()
    return "cancelled"


async def report(work) -> bool:
    try:
        line = {"said": await asyncio.wait_for(work, SECONDS)}
    except Exception as fault:  # noqa: BLE001 - whatever it is, the step has failed
        line = {"fault": str(fault) or repr(fault)}
    print(json.dumps(line), flush=True)
    return "said" in line


async def greet(client: ClientSession) -> str:
    result = await client.initialize()
    return f"{result.protocolVersion} {result.serverInfo.name}"


def open_transport(transport: str, url: str):
    if transport == "stdio":
        command, *args = json.loads(url)
        return stdio_client(StdioServerParameters(command=command, args=args, env=dict(os.environ)))
    if TOKEN is None:
        return TRANSPORTS[transport](url)
    if transport != "ws":
        return TRANSPORTS[transport](url, headers={"Authorization": f"Bearer {TOKEN}"})
    connect = mcp.client.websocket.ws_connect
    mcp.client.websocket.ws_connect = lambda url, subprotocols: connect(
        url, subprotocols=[*subprotocols, f"bearer.{TOKEN}"]
    )
    return websocket_client(url)


async def main(transport: str, url: str) -> None:
    steps = json.load(sys.stdin)
    async with (
        open_transport(transport, url) as (read, write, *_),
        ClientSession(
            read,
            write,
            elicitation_callback=answer_elicitation,
            sampling_callback=answer_sampling,
            list_roots_callback=answer_roots,
            message_handler=notify,
        ) as client,
    ):
        if await report(greet(client)):
            for step in steps:
                await report(carry_out(client, step))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main(*sys.argv[1:]))
