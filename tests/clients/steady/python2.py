"""The official Python SDK 2.x calls a tool steadily: `python2.py legacy|auto LABEL COMMAND...`, until its stdin ends. See restarts.py."""

import asyncio
import json
import os
import sys

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError

MODE, LABEL, COMMAND, *WORDS = sys.argv[1:]
SECONDS = json.loads(os.environ["STEADY_SECONDS"])
PAUSE = float(os.environ["STEADY_PAUSE"])
TIMEOUT = float(os.environ["STEADY_TIMEOUT"])
over = asyncio.Event()
last = 0


def tell(**members):
    print(json.dumps(members), flush=True)


async def work(client, seconds):
    global last  # noqa: PLW0603 - all workers number their calls
    while not over.is_set():
        last += 1
        number = f"{LABEL}-{last}"
        arguments = {"number": number, "seconds": seconds}
        try:
            result = await client.call_tool("count", arguments, read_timeout_seconds=TIMEOUT)
            tell(number=number, text=result.content[0].text)
        except MCPError as fault:
            tell(number=number, error=str(fault))
        await asyncio.sleep(PAUSE)


async def main():
    server = StdioServerParameters(command=COMMAND, args=WORDS, env=dict(os.environ))
    async with Client(stdio_client(server), mode=MODE) as client:
        tell(ready=client.protocol_version)
        workers = [asyncio.create_task(work(client, seconds)) for seconds in SECONDS]
        await asyncio.to_thread(sys.stdin.read)
        over.set()
        await asyncio.gather(*workers)
        tell(over=True)


asyncio.run(main())
