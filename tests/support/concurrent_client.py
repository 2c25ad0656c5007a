"""A modern client program for tests: calls the tool `work` of servers/concurrent_elicitation.py many times concurrently.

Usage: concurrent_client.py http|ws URL TOKEN NAME CALLS SEED TOOL. Prints a JSON object: `wrong` elicitations of another client,
`mixed` results with the answer to another call, `refused` elicitations, `finished`, and `cancelled` and `abandoned` calls.
"""

import json
import random
import sys
import urllib.parse
from collections import Counter

import trio
import trio_websocket

PREFIX = "io.modelcontextprotocol/"
META = {
    f"{PREFIX}protocolVersion": "2026-07-28",
    f"{PREFIX}clientCapabilities": {"elicitation": {}},
    f"{PREFIX}clientInfo": {"name": "mcp", "version": "0.1.0"},
}
AT_ONCE = 4


class Http:
    """Requests over Streamable HTTP, a connection for each."""

    def __init__(self, url, token):
        parts = urllib.parse.urlsplit(url)
        self.address, self.path, self.token = (parts.hostname, parts.port), parts.path, token

    async def request(self, id_, tool, params, leave_after=None):
        body = json.dumps({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}).encode()
        fields = {
            "Host": "{}:{}".format(*self.address),
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
            "Content-Length": len(body),
            "Connection": "close",
        }
        head = f"POST {self.path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items())
        async with await trio.open_tcp_stream(*self.address) as stream:
            await stream.send_all(head.encode() + b"\r\n" + body)
            if leave_after is not None:
                await trio.sleep(leave_after)
                return None
            received = bytearray()
            async for data in stream:
                received += data
        _, _, answer = bytes(received).partition(b"\r\n\r\n")
        # The response is the last message of an event stream.
        if b"data: " in answer:
            answer = answer[answer.rindex(b"data: ") + 6 :].partition(b"\n")[0]
        return json.loads(answer)


class WebSocket:
    """Requests over one WebSocket."""

    def __init__(self, socket):
        self.socket = socket
        self.waiting = {}

    async def read(self):
        while True:
            message = json.loads(await self.socket.get_message())
            if "id" in message and "method" not in message and message["id"] in self.waiting:
                self.waiting[message["id"]].send_nowait(message)

    async def request(self, id_, tool, params, leave_after=None):
        body = {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}
        send, receive = trio.open_memory_channel(1)
        self.waiting[id_] = send
        try:
            await self.socket.send_message(json.dumps(body))
            if leave_after is not None:
                await trio.sleep(leave_after)
                gone = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id_}}
                await self.socket.send_message(json.dumps(gone))
                return None
            return await receive.receive()
        finally:
            del self.waiting[id_]


async def call(carrier, name, number, rng, counts, tool):
    who = f"{name}-{number}"
    asks = rng.choice([0, 0, 1, 1, 2])
    fate = rng.choice(["answer"] * 6 + ["cancel", "abandon"])
    # The server cancels an elicitation after this time, also after its call was abandoned.
    arguments = {"who": who, "ask": asks, "seconds": rng.random() / 50, "patience": 1}
    params = {"name": tool, "arguments": arguments, "_meta": META}
    rounds = 0
    while True:
        leave = rng.random() / 30 if fate == "cancel" else None
        answer = await carrier.request(f"{who}.{rounds}", tool, params, leave)
        if answer is None:
            counts["cancelled"] += 1
            return
        result = answer.get("result", {})
        if result.get("resultType") != "input_required":
            break
        asked = [one["params"]["message"] for one in result["inputRequests"].values()]
        counts["wrong"] += sum(not one.startswith(f"{name}-") for one in asked)
        if fate == "abandon":
            counts["abandoned"] += 1
            return
        await trio.sleep(rng.random() / 30)
        replies = {
            key: {"action": "accept", "content": {"who": one["params"]["message"]}}
            for key, one in result["inputRequests"].items()
        }
        params = {**params, "requestState": result["requestState"], "inputResponses": replies}
        rounds += 1
    text = result["content"][0]["text"] if "content" in result else json.dumps(answer)
    found, *came = text.split(":")
    counts["refused"] += sum(one.startswith("error") for one in came)
    counts["mixed"] += found != who or any(
        one not in (who, "gave up") and not one.startswith("error") for one in came
    )
    counts["finished"] += 1


async def run(carrier, name, calls, seed, tool):
    counts = Counter(wrong=0, mixed=0, refused=0, finished=0, cancelled=0, abandoned=0)
    rng = random.Random(seed)
    at_once = trio.CapacityLimiter(AT_ONCE)

    async def one(number):
        async with at_once:
            await call(carrier, name, number, rng, counts, tool)

    async with trio.open_nursery() as nursery:
        for number in range(calls):
            nursery.start_soon(one, number)
    return counts


async def main(transport, url, token, name, calls, seed, tool):
    if transport == "http":
        counts = await run(Http(url, token), name, int(calls), int(seed), tool)
    else:
        headers = [("Authorization", f"Bearer {token}")]
        async with (
            trio_websocket.open_websocket_url(url, subprotocols=["mcp"], extra_headers=headers) as socket,
            trio.open_nursery() as nursery,
        ):
            carrier = WebSocket(socket)
            nursery.start_soon(carrier.read)
            counts = await run(carrier, name, int(calls), int(seed), tool)
            nursery.cancel_scope.cancel()
    print(json.dumps(counts))


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
