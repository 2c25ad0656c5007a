"""Schemas of a server that are made to hold the event loop, to fill the memory, or to have the bridge load a document."""

import json
import socket
import sys
import time
from contextlib import AsyncExitStack

import pytest
import trio

from ..support.daemon_clients import example, open_socket
from ..support.daemon_process import CHILDREN, daemon

pytestmark = pytest.mark.anyio
REFUSE = {"arguments": "refuse", "output": "refuse"}
# How long a call of another server may take beside one that is checked (seconds). The machine may be busy.
PATIENCE = 2.0


def doubling(keyword, levels=40):
    chain = {f"a{one}": {keyword: [{"$ref": f"#/$defs/a{one + 1}"}] * 2} for one in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**chain, f"a{levels}": {"type": "string"}}}


def branching():
    branch = {"properties": {"x": {"$ref": "#"}}, "required": ["x"], "maxProperties": 0}
    return {"type": "object", "anyOf": [branch, {**branch}]}


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"x": value}
    return value


def deep(levels):
    schema = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


# By the name of a tool: its schema, the arguments of a call, and whether the call is refused.
HOSTILE = {
    "doubling_all": (doubling("allOf"), {}, True),
    "doubling_any": (doubling("anyOf"), {}, True),
    "branching": (branching(), nested(50), True),
    "itself": ({"$ref": "#"}, {}, False),
    "circle": ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, {}, False),
    "deep": (deep(450), {}, False),
    "backtracking": ({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 30_000 + "!"}, True),
    "alternation": ({"properties": {"a": {"pattern": "^(a|a)*$"}}}, {"a": "a" * 30_000 + "!"}, True),
    "reference": ({"properties": {"a": {"pattern": r"^(.*)\1$"}}}, {"a": "ab" * 10_000}, False),
    "repetition": ({"properties": {"a": {"pattern": "(a{1,1000}){1,1000}"}}}, {"a": "b"}, False),
    "patterns": ({"properties": {str(one): {"pattern": r"\w{500}"} for one in range(500)}}, {}, False),
    "large": ({"description": "x" * 2**20}, {}, False),
    "many": ({"properties": {f"p{one}": {} for one in range(5000)}}, {}, False),
    "unique": ({"properties": {"a": {"uniqueItems": True}}}, {"a": [[one] for one in range(20_000)]}, False),
    "explained": (
        {"$defs": doubling("anyOf", 8)["$defs"], "additionalProperties": {"$ref": "#/$defs/a0"}},
        {str(one): one for one in range(400)},
        True,
    ),
}


def server(folder, tools, **keys):
    (folder / "one.json").write_text(json.dumps({"era": "legacy", "tools": tools, **keys}))
    command = [sys.executable, str(CHILDREN / "definitions.py"), str(folder / "one.json")]
    return {"command": command, "content": REFUSE}


async def call(client, number, name, arguments):
    await client._send(
        {"id": number, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    )
    while True:
        message = json.loads(await client._connection.get_message())
        if message.get("id") == number:
            return message


async def test_no_schema_holds_the_event_loop_or_opens_a_connection(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        remote = {"$ref": url, "$schema": url, "$id": url}
        loading = {f"load_{key}": ({key.replace("_", "$"): url}, {}, False) for key in ("_ref", "_schema")}
        loading["load_all"] = (remote, {}, False)
        loading["load_inner"] = ({"properties": {"a": {"$id": url, "$ref": url}}}, {"a": 1}, False)
        loading["load_file"] = ({"$ref": "file:///etc/passwd"}, {}, False)
        cases = {**HOSTILE, **loading}
        tools = [{"name": name, "inputSchema": schema} for name, (schema, *_) in cases.items()]
        with daemon(tmp_path, {"one": server(tmp_path, tools), "two": example()}) as running:
            async with AsyncExitStack() as stack:
                stack.enter_context(trio.fail_after(60))
                one = await open_socket(running, "one", stack)
                two = await open_socket(running, "two", stack)
                await call(two, 1, "echo", {"text": "x"})
                for number, (name, (_, arguments, refused)) in enumerate(cases.items(), 1):
                    for attempt in (0, 1000):
                        await one._send(
                            {
                                "id": number + attempt,
                                "method": "tools/call",
                                "params": {"name": name, "arguments": arguments},
                            }
                        )
                        started = time.monotonic()
                        await call(two, number + attempt, "echo", {"text": "x"})
                        assert time.monotonic() - started < PATIENCE, name
                        answer = json.loads(await one._connection.get_message())
                        assert answer["id"] == number + attempt
                        assert bool(answer["result"].get("isError")) == refused, (name, answer)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("page", [0, 1000])
async def test_ten_thousand_tools_do_not_hold_the_event_loop(tmp_path, page):
    schema = {"type": "object", "required": ["a"]}
    tools = [{"name": f"t{one}", "inputSchema": {**schema, "title": str(one)}} for one in range(10_000)]
    with daemon(tmp_path, {"one": server(tmp_path, tools, page=page)}) as running:
        async with AsyncExitStack() as stack:
            stack.enter_context(trio.fail_after(60))
            one = await open_socket(running, "one", stack)
            started = time.monotonic()
            answer = await call(one, 1, "t9999", {})
            assert time.monotonic() - started < 10 * PATIENCE
            # The last tools are known. One page of all is too large to be read.
            assert bool(answer["result"].get("isError")) == bool(page)
            assert "isError" not in (await call(one, 2, "t0", {}))["result"]
        events = [
            line for line in running.do("logs", "one", "-n", "50").stdout.splitlines() if "content_" in line
        ]
        assert any("reason=schema" in line and "keyword=unchecked" in line for line in events) == (not page)
