"""Call a tool with the client of the official Python SDK."""

import asyncio

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main():
    command = StdioServerParameters(command="mcp-bridge", args=["connect", "example"])
    async with Client(stdio_client(command)) as client:
        tools = (await client.list_tools()).tools
        print(", ".join(tool.name for tool in tools))
        result = await client.call_tool("echo", {"text": "hello"})
        print(result.content[0].text)


asyncio.run(main())
