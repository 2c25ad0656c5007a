"""The aggregate as a program on its standard streams, in front of a real daemon."""

import json
import re
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing

from ..support.bridge_process import EXAMPLE
from ..support.daemon_process import daemon
from ..support.stateless_requests import PREFIX, SUBSCRIPTION, request, tool

pytestmark = pytest.mark.anyio
LISTEN = "subscriptions/listen"
# The error of a server that exits at once, before and after the circuit breaker opens.
GONE = re.compile("exited with code 1|ended unexpectedly 5 times")
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"

# A server of revision 2026-07-28 with two pages of tools. It logs the calls that it receives and sends no responses to them.
# Its second page: "good", "wrong" (an error), "hanging" (no response), "waiting" (no response until a file exists).
MODERN = """
import json, os, sys
page, log = sys.argv[1:]
done = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
for line in sys.stdin:
    message = json.loads(line)
    method, params = message["method"], message.get("params", {})
    if method in ("tools/call", "notifications/cancelled"):
        with open(log, "a") as file:
            file.write(method + "\\n")
        continue
    answer = {"error": {"code": -32601, "message": "no such method"}}
    if method == "server/discover":
        answer = {"result": {**done, "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}}
    elif method == "tools/list" and "cursor" not in params:
        answer = {"result": {**done, "tools": [{"name": "a", "inputSchema": {"type": "object"}}], "nextCursor": ""}}
    elif method == "tools/list" and (page == "hanging" or page == "waiting" and not os.path.exists(log + ".go")):
        continue
    elif method == "tools/list" and page == "wrong":
        answer = {"error": {"code": -32603, "message": "no second page"}}
    elif method == "tools/list":
        answer = {"result": {**done, "tools": [{"name": "b", "inputSchema": {"type": "object"}}]}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
"""


def modern(folder, page="good", **keys):
    return {"command": [sys.executable, "-c", MODERN, page, str(folder / page)], "era": "modern", **keys}


def done_by(folder, page="good"):
    path = folder / page
    return path.read_text().split() if path.exists() else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("program")


@pytest.fixture(scope="module")
def running(folder):
    servers = {
        "one": {"command": EXAMPLE},
        "two": {"command": EXAMPLE},
        "broken": {"command": ["false"]},
        "paged": modern(folder),
        "half": modern(folder, "wrong"),
        "stuck": modern(folder, "hanging"),
        "waiting": modern(folder, "waiting"),
        "silent": modern(folder, limits={"drain_seconds": 1}),
    }
    with daemon(folder, servers) as found:
        yield found


class Program:
    """A running aggregate: its standard streams, and its log."""

    def __init__(self, process):
        self.process = process
        self.log = ""
        self._unread = b""
        self._next = 1

    async def write(self, *lines):
        await self.process.stdin.send_all(b"".join(line + b"\n" for line in lines))

    async def send(self, *messages):
        await self.write(*(json.dumps({"jsonrpc": "2.0", **message}).encode() for message in messages))

    async def receive(self):
        """Return the next message."""
        with trio.fail_after(45):
            while b"\n" not in self._unread:
                data = await self.process.stdout.receive_some()
                assert data, f"the aggregate has exited; its log:\n{self.log}"
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    async def request(self, method, params=None, **more):
        """Return the response to a request, and the messages before it."""
        self._next += 1
        await self.send(request(method, params, id=self._next, **more))
        earlier = []
        while (message := await self.receive()).get("id") != self._next:
            earlier.append(message)
        return message, earlier

    async def result(self, method, params=None, **more):
        answer, _ = await self.request(method, params, **more)
        assert "result" in answer, answer
        return answer["result"]

    async def text(self, name, /, **arguments):
        return (await self.result("tools/call", tool(name, **arguments)))["content"][0]["text"]

    async def error(self, method, params=None, **more):
        answer, _ = await self.request(method, params, **more)
        assert "error" in answer, answer
        return answer["error"]

    async def names(self, method="tools/list"):
        return [found["name"] for found in (await self.result(method))[method.partition("/")[0]]]

    async def wait_for_log(self, text):
        """Wait until the log contains this text."""
        with trio.fail_after(10):
            while text not in self.log:
                await trio.sleep(0.01)

    async def keep_log(self):
        with suppress(trio.ClosedResourceError):
            async for data in self.process.stderr:
                self.log += data.decode()


@asynccontextmanager
async def program(running, *names, timeout=0):
    """Start the aggregate as the daemon does, or with this timeout for servers that do not respond (seconds)."""
    how = ["-m", "mcpbridged.bridge.aggregate.server"]
    if timeout:
        start = "import sys, trio; from mcpbridged.bridge.aggregate import server, timing; timing.PATIENCE = %d; trio.run(server.run, sys.argv[1], sys.argv[2:], '')"
        how = ["-c", start % timeout]
    command = [sys.executable, *how, str(running.unix), *names]
    pipes = {"stdin": -1, "stdout": -1, "stderr": -1}
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, **pipes, check=False))
        async with process.stdin, process.stdout, process.stderr:
            started = Program(process)
            nursery.start_soon(started.keep_log)
            yield started
            await process.stdin.aclose()
            with trio.fail_after(10):
                assert await process.wait() == 0, started.log
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert "Traceback" not in started.log, started.log
        nursery.cancel_scope.cancel()


# ---- lists


async def test_the_lists_of_all_servers_are_merged_in_the_order_of_the_servers(running):
    async with program(running, "two", "paged", "one") as client:
        names = await client.names()
        assert names.index("two__echo") < names.index("paged__a") < names.index("one__echo")
        assert [name for name in names if name.startswith("paged")] == ["paged__a", "paged__b"]
        assert await client.names("prompts/list") == ["two__greet", "one__greet"]
        # A server without prompts is not an error.
        assert "paged" not in client.log


async def test_one_server_alone_has_its_name_before_its_tools_too(running):
    async with program(running, "one") as client:
        assert "one__echo" in await client.names()


async def test_a_broken_server_is_left_out_and_named(running):
    async with program(running, "broken", "one", "half", "gone") as client:
        assert {name.partition("__")[0] for name in await client.names()} == {"one"}
        for complaint in (
            "member=broken method=tools/list reason=",
            'request_failed member=half method=tools/list reason="no second page"',
            "gone cannot be reached",
        ):
            await client.wait_for_log(complaint)
        offered = await client.result("server/discover")
        assert offered["capabilities"]["tools"] == {"listChanged": True}
        await client.wait_for_log("request_failed member=broken method=server/discover reason=")
        assert GONE.search((await client.error("tools/call", tool("broken__x")))["message"])
        assert "gone cannot be reached" in (await client.error("tools/call", tool("gone__x")))["message"]
        assert await client.text("one__echo", text="well") == "well"


async def test_a_list_is_an_error_if_all_servers_fail(running):
    async with program(running, "broken", "gone") as client:
        for method in ("server/discover", "tools/list", LISTEN):
            error = await client.error(method, {"notifications": {}})
            assert (error["code"], error["message"]) == (-32603, "none of broken, gone answers")
        assert (await client.error("resources/read", {"uri": "a://1"}))["code"] == -32603
    async with program(running, "paged") as client:
        assert (await client.error("prompts/list"))["code"] == -32601


async def test_a_server_that_does_not_answer_delays_no_other_server(running):
    async with program(running, "stuck", "one", timeout=3) as client:
        await client.send(request("tools/list", id="list"))
        began = trio.current_time()
        assert await client.text("one__echo", text="meanwhile") == "meanwhile"
        assert trio.current_time() - began < 3
        answer = await client.receive()
        assert (answer["id"], answer["result"]["tools"][0]["name"]) == ("list", "one__echo")
        await client.wait_for_log(
            'request_failed member=stuck method=tools/list reason="no answer within 3 s"'
        )


async def test_a_late_server_delays_only_the_first_list(running, folder):
    async with program(running, "waiting", "one", timeout=5) as client:
        await client.send(request(LISTEN, {"notifications": {"toolsListChanged": True}}, id="changes"))
        assert (await client.receive())["method"] == ACKNOWLEDGED
        assert {name.partition("__")[0] for name in await client.names()} == {"one"}
        await client.wait_for_log(
            'request_failed member=waiting method=tools/list reason="no answer within 5 s"'
        )
        began = trio.current_time()
        for _ in range(3):
            assert {name.partition("__")[0] for name in await client.names()} == {"one"}
            assert (await client.result("server/discover"))["capabilities"]["tools"]
        assert trio.current_time() - began < 5
        (folder / "waiting.go").touch()
        notifications = []
        with trio.fail_after(30):
            while True:
                answer, earlier = await client.request("tools/list")
                notifications += [message["method"] for message in earlier]
                if "waiting__b" in [found["name"] for found in answer["result"]["tools"]]:
                    break
                await trio.sleep(0.2)
        assert notifications == ["notifications/tools/list_changed"]


# ---- calls


async def test_calls_are_routed_by_the_prefix_of_their_names_and_run_concurrently(running):
    async with program(running, "one", "two") as client:
        await client.send(request("tools/call", tool("one__slow", seconds=1, steps=1), id="slow"))
        assert await client.text("two__echo", text="two") == "two"
        assert await client.text("one__add", a=40, b=2) == "42"
        assert (await client.receive())["id"] == "slow"
        prompt = await client.result("prompts/get", {"name": "two__greet", "arguments": {"name": "Ada"}})
        assert prompt["messages"][0]["content"]["text"] == "Say hello to Ada."


@pytest.mark.parametrize("name", ["echo", "three__echo", "__echo"])
async def test_an_unknown_tool_is_named(running, name):
    async with program(running, "one") as client:
        error = await client.error("tools/call", tool(name))
        assert (error["code"], error["message"]) == (-32602, f"Unknown tool: {name}")
        error = await client.error("prompts/get", {"name": name})
        assert (error["code"], error["message"]) == (-32602, f"Unknown prompt: {name}")
        ref = {"ref": {"type": "ref/prompt", "name": name}, "argument": {"name": "name", "value": ""}}
        assert (await client.error("completion/complete", ref))["message"] == f"Unknown prompt: {name}"


async def test_notifications_of_a_call_come_before_its_response(running):
    async with program(running, "one", "two") as client:
        slow = tool("two__slow", seconds=0.2, steps=2)
        _, earlier = await client.request("tools/call", slow, progressToken="p")
        assert [one["params"]["progress"] for one in earlier] == [0, 1, 2]
        assert {(one["method"], one["params"]["progressToken"]) for one in earlier} == {
            ("notifications/progress", "p")
        }
        _, earlier = await client.request(
            "tools/call", tool("one__log", text="abc"), **{f"{PREFIX}logLevel": "info"}
        )
        assert [(one["method"], one["params"]["data"]) for one in earlier] == [
            ("notifications/message", "abc")
        ]


async def test_a_call_that_is_cancelled_at_once_is_cancelled_at_the_server_and_not_answered(running, folder):
    async with program(running, "one", "paged") as client:
        assert await client.text("one__echo", text="awake") == "awake"
        before = len(done_by(folder))
        await client.send(request("tools/call", tool("paged__a"), id="c"))
        with trio.fail_after(10):
            while len(done_by(folder)) == before:
                await trio.sleep(0.01)
        await client.send({"method": "notifications/cancelled", "params": {"requestId": "c"}})
        with trio.fail_after(10):
            while done_by(folder)[before:] != ["tools/call", "notifications/cancelled"]:
                await trio.sleep(0.01)
        slow = request("tools/call", tool("one__slow", seconds=0.5, steps=1), id="d")
        await client.send(slow, {"method": "notifications/cancelled", "params": {"requestId": "d"}})
        _, earlier = await client.request("tools/call", tool("one__slow", seconds=1, steps=1))
        assert earlier == []


# ---- resources


async def test_resources_keep_their_uris_and_belong_to_the_first_server_that_lists_them(running):
    async with program(running, "broken", "two", "one") as client:
        for method, key, uri in (
            ("resources/list", "resources", "example://greeting"),
            ("resources/templates/list", "resourceTemplates", "example://square/{number}"),
        ):
            listed = await client.result(method)
            assert [found.get("uri", found.get("uriTemplate")) for found in listed[key]] == [uri]
            await client.wait_for_log(f"item_left_out method={method} member=one name={uri} reason=")
            log = client.log
            await client.result(method)
            assert log.count("left_out") == client.log.count("left_out")
        read = partial(client.result, "resources/read")
        assert (await read({"uri": "example://greeting"}))["contents"][0]["text"] == "Hello."


async def test_an_unlisted_resource_is_requested_of_all_servers(running):
    async with program(running, "broken", "paged", "one") as client:
        read = await client.result("resources/read", {"uri": "example://square/12"})
        assert read["contents"][0]["text"] == "144"
        error = await client.error("resources/read", {"uri": "example://nothing"})
        assert GONE.search(error["message"])
    async with program(running, "paged", "one") as client:
        error = await client.error("resources/read", {"uri": "example://nothing"})
        assert (error["code"], error["message"]) == (-32602, "there is no resource example://nothing")


@pytest.mark.parametrize(
    "ref",
    [
        {"type": "ref/prompt", "name": "one__greet"},
        {"type": "ref/resource", "uri": "example://square/{number}"},
    ],
)
async def test_completions_come_from_the_server_of_the_reference(running, ref):
    async with program(running, "paged", "one") as client:
        params = {"ref": ref, "argument": {"name": "name", "value": "A"}}
        result = await client.result("completion/complete", params)
        assert result["completion"]["values"] == ["Ada", "Alan"]


# ---- subscriptions


async def listen(client, **wanted):
    await client.send(request(LISTEN, {"notifications": wanted}, id="l"))
    first = await client.receive()
    assert first["method"] == ACKNOWLEDGED
    assert first["params"]["_meta"][SUBSCRIPTION] == "l"
    return first["params"]["notifications"]


async def test_a_subscription_outlives_a_restart_and_publishes_possible_changes(running):
    async with program(running, "one", "two") as client:
        await listen(client, toolsListChanged=True)
        await trio.to_thread.run_sync(running.do, "restart", "one")
        _, [notification] = await client.request("tools/call", tool("two__toggle"))
        assert notification["method"] == "notifications/tools/list_changed"
        notification = await client.receive()
        assert notification["method"] == "notifications/tools/list_changed"
        _, [notification] = await client.request("tools/call", tool("one__toggle"))
        assert notification["params"]["_meta"][SUBSCRIPTION] == "l"


# ---- restarts


async def test_while_a_server_ends_its_last_call_others_are_its_successors(running):
    async with program(running, "one") as client:
        await client.send(request("tools/call", tool("one__slow", seconds=3, steps=1), id="last"))
        assert await client.text("one__echo", text="a") == "a"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, running.do, "restart", "one")
            await trio.sleep(1)
            assert await client.text("one__echo", text="b") == "b"
            answer = await client.receive()
            assert (answer["id"], answer["result"]["content"][0]["text"]) == ("last", "done in 3 s")


async def test_a_daemon_that_exits_is_named_in_the_error(tmp_path):
    with daemon(tmp_path, {"one": {"command": EXAMPLE}}) as running:
        async with program(running, "one") as client:
            await client.send(request("tools/call", tool("one__slow", seconds=60, steps=1), id="c"))
            assert await client.text("one__echo", text="a") == "a"
            running.kill()
            answer = await client.receive()
            assert answer["error"]["message"] == "the connection to one is lost"
            assert "one cannot be reached" in (await client.error("tools/call", tool("one__echo")))["message"]


# ---- the wire


async def test_an_unreadable_message_affects_no_other_message(running):
    async with program(running, "one") as client:
        await client.write(b"", b"no JSON", b"\xff", b'{"jsonrpc":"2.0","method":"notifications/odd"}')
        await client.write(b'{"jsonrpc":"2.0","id":5,"method":"tools/list","params":[1]}')
        answer = await client.receive()
        assert (answer["id"], answer["error"]["code"]) == (5, -32600)
        assert (await client.error("no/such"))["code"] == -32601
        await client.send({"id": "i", "method": "initialize", "params": {"protocolVersion": "2025-11-25"}})
        assert (await client.receive())["error"]["data"]["supported"] == ["2026-07-28"]
        await client.send({"id": "e", "method": "tools/list", "params": {}})
        assert (await client.receive())["error"]["code"] == -32602
        twice = request("tools/call", tool("one__echo", text="x"), id="t")
        await client.send(twice, twice)
        answers = [await client.receive(), await client.receive()]
        assert sorted("error" in answer for answer in answers) == [False, True]
        await client.wait_for_log("message_dropped reason=")


async def test_arguments_pass_byte_for_byte_on_one_line(running):
    async with program(running, "one") as client:
        strange = "\u2028 \U0001f600 \\n \x00 9007199254740993"
        assert await client.text("one__echo", text=strange) == strange
        big = await client.text("one__big", size=3_000_000)
        assert len(big) == 3_000_000


async def test_the_program_exits_at_the_end_of_its_input_also_during_calls(running):
    async with program(running, "one") as client:
        await client.send(request("tools/call", tool("one__slow", seconds=60, steps=1), id="c"))
        assert await client.text("one__echo", text="a") == "a"
