"""The official Python SDK 1.x calls a tool steadily: `python1.py LABEL COMMAND...`, until its stdin ends. See restarts.py."""

import asyncio
import json
import os
import sys
from datetime import timedelta

from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client

LABEL, COMMAND, *WORDS = sys.argv[1:]
SECONDS = json.loads(os.environ["STEADY_SECONDS"])
PAUSE = float(os.environ["STEADY_PAUSE"])
TIMEOUT = timedelta(seconds=float(os.environ["STEADY_TIMEOUT"]))
over = asyncio.Event()
last = 0


def tell(**members):
    print(json.dumps(members), flush=True)


async def work(client, seconds):
    global last  # noqa: PLW0603 - all workers number their calls
    while not over.is_set():
        last += 1
        number = f"{LABEL}-{last}"
        try:
            result = await client.call_tool("count", {"number": number, "seconds": seconds}, TIMEOUT)
            tell(number=number, text=result.content[0].text)
        except McpError as fault:
            tell(number=number, error=str(fault))
        await asyncio.sleep(PAUSE)


async def main():
    server = StdioServerParameters(command=COMMAND, args=WORDS, env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as client:
        result = await client.initialize()
        tell(ready=result.protocolVersion)
        workers = [asyncio.create_task(work(client, seconds)) for seconds in SECONDS]
        await asyncio.to_thread(sys.stdin.read)
        over.set()
        await asyncio.gather(*workers)
        tell(over=True)


asyncio.run(main())
