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

# A server of revision 2026-07-28 with two pages of tools. It logs the calls that it receives and never answers them. Its
# second page: "good", "wrong" (an error), "hanging" (no answer), "waiting" (none until a file is there).
MODERN = """
import json, os, sys
page, log = sys.argv[1:]
done = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
for line in sys.stdin:
    asked = json.loads(line)
    method, params = asked["method"], asked.get("params", {})
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
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}), flush=True)
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
    """Both ends of the program's standard streams, and its log."""

    def __init__(self, process):
        self.process = process
        self.log = ""
        self._unread = b""
        self._next = 1

    async def write(self, *lines):
        await self.process.stdin.send_all(b"".join(line + b"\n" for line in lines))

    async def say(self, *messages):
        await self.write(*(json.dumps({"jsonrpc": "2.0", **message}).encode() for message in messages))

    async def hear(self):
        """Return the next message."""
        with trio.fail_after(45):
            while b"\n" not in self._unread:
                data = await self.process.stdout.receive_some()
                assert data, f"it has ended; its log:\n{self.log}"
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    async def ask(self, method, params=None, **more):
        """Return the response to a request, and the messages before it."""
        self._next += 1
        await self.say(request(method, params, id=self._next, **more))
        said = []
        while (message := await self.hear()).get("id") != self._next:
            said.append(message)
        return message, said

    async def result(self, method, params=None, **more):
        answer, _ = await self.ask(method, params, **more)
        assert "result" in answer, answer
        return answer["result"]

    async def text(self, name, /, **arguments):
        return (await self.result("tools/call", tool(name, **arguments)))["content"][0]["text"]

    async def error(self, method, params=None, **more):
        answer, _ = await self.ask(method, params, **more)
        assert "error" in answer, answer
        return answer["error"]

    async def names(self, method="tools/list"):
        return [found["name"] for found in (await self.result(method))[method.partition("/")[0]]]

    async def logged(self, text):
        """Wait until the log has it."""
        with trio.fail_after(10):
            while text not in self.log:
                await trio.sleep(0.01)

    async def keep_log(self):
        with suppress(trio.ClosedResourceError):  # at the end
            async for data in self.process.stderr:
                self.log += data.decode()


@asynccontextmanager
async def program(running, *names, patience=0):
    """Start it as the daemon does, or with this patience for servers that do not answer (seconds)."""
    how = ["-m", "mcpbridged.bridge.aggregate.server"]
    if patience:
        start = "import sys, trio; from mcpbridged.bridge.aggregate import server, timing; timing.PATIENCE = %d; trio.run(server.run, sys.argv[1], sys.argv[2:], '')"
        how = ["-c", start % patience]
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


# ---- all of them together


async def test_the_lists_of_all_are_one_in_the_order_of_the_servers(running):
    async with program(running, "two", "paged", "one") as talk:
        names = await talk.names()
        assert names.index("two__echo") < names.index("paged__a") < names.index("one__echo")
        assert [name for name in names if name.startswith("paged")] == ["paged__a", "paged__b"]
        assert await talk.names("prompts/list") == ["two__greet", "one__greet"]
        assert "paged" not in talk.log  # to have no prompts is no failure


async def test_one_server_alone_has_its_name_before_its_tools_too(running):
    async with program(running, "one") as talk:
        assert "one__echo" in await talk.names()


async def test_a_broken_server_is_left_out_and_named(running):
    async with program(running, "broken", "one", "half", "gone") as talk:
        assert {name.partition("__")[0] for name in await talk.names()} == {"one"}
        for complaint in (
            "broken: tools/list: ",
            "half: tools/list: no second page",
            "gone cannot be reached",
        ):
            await talk.logged(complaint)
        offered = await talk.result("server/discover")
        assert offered["capabilities"]["tools"] == {"listChanged": True}
        await talk.logged("broken: server/discover: ")
        assert GONE.search((await talk.error("tools/call", tool("broken__x")))["message"])
        assert "gone cannot be reached" in (await talk.error("tools/call", tool("gone__x")))["message"]
        assert await talk.text("one__echo", text="well") == "well"


async def test_where_all_fail_there_is_an_error(running):
    async with program(running, "broken", "gone") as talk:
        for method in ("server/discover", "tools/list", LISTEN):
            error = await talk.error(method, {"notifications": {}})
            assert (error["code"], error["message"]) == (-32603, "none of broken, gone answers")
        assert (await talk.error("resources/read", {"uri": "a://1"}))["code"] == -32603
    async with program(running, "paged") as talk:
        assert (await talk.error("prompts/list"))["code"] == -32601


async def test_a_server_that_does_not_answer_delays_no_other_server(running):
    async with program(running, "stuck", "one", patience=3) as talk:
        await talk.say(request("tools/list", id="list"))
        began = trio.current_time()
        assert await talk.text("one__echo", text="meanwhile") == "meanwhile"
        assert trio.current_time() - began < 3
        answer = await talk.hear()
        assert (answer["id"], answer["result"]["tools"][0]["name"]) == ("list", "one__echo")
        await talk.logged("stuck: tools/list: no answer within 3 s")


async def test_a_late_server_is_not_waited_for_again_until_it_answers(running, folder):
    async with program(running, "waiting", "one", patience=5) as talk:
        await talk.say(request(LISTEN, {"notifications": {"toolsListChanged": True}}, id="changes"))
        assert (await talk.hear())["method"] == ACKNOWLEDGED
        assert {name.partition("__")[0] for name in await talk.names()} == {"one"}
        await talk.logged("waiting: tools/list: no answer within 5 s")
        began = trio.current_time()
        for _ in range(3):
            assert {name.partition("__")[0] for name in await talk.names()} == {"one"}
            assert (await talk.result("server/discover"))["capabilities"]["tools"]
        assert trio.current_time() - began < 5
        (folder / "waiting.go").touch()
        told = []
        with trio.fail_after(30):
            while True:
                answer, said = await talk.ask("tools/list")
                told += [message["method"] for message in said]
                if "waiting__b" in [found["name"] for found in answer["result"]["tools"]]:
                    break
                await trio.sleep(0.2)
        assert told == ["notifications/tools/list_changed"]


# ---- calls


async def test_calls_go_where_their_names_say_and_run_together(running):
    async with program(running, "one", "two") as talk:
        await talk.say(request("tools/call", tool("one__slow", seconds=1, steps=1), id="slow"))
        assert await talk.text("two__echo", text="two") == "two"
        assert await talk.text("one__add", a=40, b=2) == "42"
        assert (await talk.hear())["id"] == "slow"
        prompt = await talk.result("prompts/get", {"name": "two__greet", "arguments": {"name": "Ada"}})
        assert prompt["messages"][0]["content"]["text"] == "Say hello to Ada."


@pytest.mark.parametrize("name", ["echo", "three__echo", "__echo"])
async def test_an_unknown_tool_is_named(running, name):
    async with program(running, "one") as talk:
        error = await talk.error("tools/call", tool(name))
        assert (error["code"], error["message"]) == (-32602, f"Unknown tool: {name}")
        error = await talk.error("prompts/get", {"name": name})
        assert (error["code"], error["message"]) == (-32602, f"Unknown prompt: {name}")
        ref = {"ref": {"type": "ref/prompt", "name": name}, "argument": {"name": "name", "value": ""}}
        assert (await talk.error("completion/complete", ref))["message"] == f"Unknown prompt: {name}"


async def test_notifications_of_a_call_come_before_its_response(running):
    async with program(running, "one", "two") as talk:
        slow = tool("two__slow", seconds=0.2, steps=2)
        _, said = await talk.ask("tools/call", slow, progressToken="p")
        assert [one["params"]["progress"] for one in said] == [0, 1, 2]
        assert {(one["method"], one["params"]["progressToken"]) for one in said} == {
            ("notifications/progress", "p")
        }
        _, said = await talk.ask("tools/call", tool("one__log", text="abc"), **{f"{PREFIX}logLevel": "info"})
        assert [(one["method"], one["params"]["data"]) for one in said] == [("notifications/message", "abc")]


async def test_a_call_that_is_cancelled_at_once_is_cancelled_at_the_server_and_not_answered(running, folder):
    async with program(running, "one", "paged") as talk:
        assert await talk.text("one__echo", text="awake") == "awake"
        before = len(done_by(folder))
        await talk.say(request("tools/call", tool("paged__a"), id="c"))
        with trio.fail_after(10):
            while len(done_by(folder)) == before:
                await trio.sleep(0.01)
        await talk.say({"method": "notifications/cancelled", "params": {"requestId": "c"}})
        with trio.fail_after(10):
            while done_by(folder)[before:] != ["tools/call", "notifications/cancelled"]:
                await trio.sleep(0.01)
        slow = request("tools/call", tool("one__slow", seconds=0.5, steps=1), id="d")
        await talk.say(slow, {"method": "notifications/cancelled", "params": {"requestId": "d"}})
        _, said = await talk.ask("tools/call", tool("one__slow", seconds=1, steps=1))
        assert said == []


# ---- resources


async def test_resources_keep_their_names_and_are_the_first_servers_that_lists_them(running):
    async with program(running, "broken", "two", "one") as talk:
        for method, key, uri in (
            ("resources/list", "resources", "example://greeting"),
            ("resources/templates/list", "resourceTemplates", "example://square/{number}"),
        ):
            listed = await talk.result(method)
            assert [found.get("uri", found.get("uriTemplate")) for found in listed[key]] == [uri]
            await talk.logged(f"{method}: left out of one, since a server before it has it: {uri}")
            log = talk.log
            await talk.result(method)
            assert log.count("left out") == talk.log.count("left out")
        read = partial(talk.result, "resources/read")
        assert (await read({"uri": "example://greeting"}))["contents"][0]["text"] == "Hello."


async def test_an_unlisted_resource_is_requested_of_all_servers(running):
    async with program(running, "broken", "paged", "one") as talk:
        read = await talk.result("resources/read", {"uri": "example://square/12"})
        assert read["contents"][0]["text"] == "144"
        error = await talk.error("resources/read", {"uri": "example://nothing"})
        assert GONE.search(error["message"])  # it might have it
    async with program(running, "paged", "one") as talk:
        error = await talk.error("resources/read", {"uri": "example://nothing"})
        assert (error["code"], error["message"]) == (-32602, "there is no resource example://nothing")


@pytest.mark.parametrize(
    "ref",
    [
        {"type": "ref/prompt", "name": "one__greet"},
        {"type": "ref/resource", "uri": "example://square/{number}"},
    ],
)
async def test_completions_come_from_the_server_of_the_reference(running, ref):
    async with program(running, "paged", "one") as talk:
        params = {"ref": ref, "argument": {"name": "name", "value": "A"}}
        result = await talk.result("completion/complete", params)
        assert result["completion"]["values"] == ["Ada", "Alan"]


# ---- subscriptions


async def listen(talk, **wanted):
    await talk.say(request(LISTEN, {"notifications": wanted}, id="l"))
    first = await talk.hear()
    assert first["method"] == ACKNOWLEDGED
    assert first["params"]["_meta"][SUBSCRIPTION] == "l"
    return first["params"]["notifications"]


async def test_a_subscription_outlives_a_restart_and_publishes_possible_changes(running):
    async with program(running, "one", "two") as talk:
        await listen(talk, toolsListChanged=True)
        await trio.to_thread.run_sync(running.do, "restart", "one")
        _, [told] = await talk.ask("tools/call", tool("two__toggle"))
        assert told["method"] == "notifications/tools/list_changed"
        told = await talk.hear()
        assert told["method"] == "notifications/tools/list_changed"  # of the restarted one
        _, [told] = await talk.ask("tools/call", tool("one__toggle"))
        assert told["params"]["_meta"][SUBSCRIPTION] == "l"


# ---- restarts


async def test_while_a_server_ends_its_last_call_others_are_its_successors(running):
    async with program(running, "one") as talk:
        await talk.say(request("tools/call", tool("one__slow", seconds=3, steps=1), id="last"))
        assert await talk.text("one__echo", text="a") == "a"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, running.do, "restart", "one")
            await trio.sleep(1)
            assert await talk.text("one__echo", text="b") == "b"
            answer = await talk.hear()
            assert (answer["id"], answer["result"]["content"][0]["text"]) == ("last", "done in 3 s")


async def test_a_daemon_that_exits_is_named_in_the_error(tmp_path):
    with daemon(tmp_path, {"one": {"command": EXAMPLE}}) as running:
        async with program(running, "one") as talk:
            await talk.say(request("tools/call", tool("one__slow", seconds=60, steps=1), id="c"))
            assert await talk.text("one__echo", text="a") == "a"
            running.kill()
            answer = await talk.hear()
            assert answer["error"]["message"] == "the connection to one is lost"
            assert "one cannot be reached" in (await talk.error("tools/call", tool("one__echo")))["message"]


# ---- the wire


async def test_an_unreadable_message_affects_no_other_message(running):
    async with program(running, "one") as talk:
        await talk.write(b"", b"no JSON", b"\xff", b'{"jsonrpc":"2.0","method":"notifications/odd"}')
        await talk.write(b'{"jsonrpc":"2.0","id":5,"method":"tools/list","params":[1]}')
        answer = await talk.hear()
        assert (answer["id"], answer["error"]["code"]) == (5, -32600)
        assert (await talk.error("no/such"))["code"] == -32601
        await talk.say({"id": "i", "method": "initialize", "params": {"protocolVersion": "2025-11-25"}})
        assert (await talk.hear())["error"]["data"]["supported"] == ["2026-07-28"]
        await talk.say({"id": "e", "method": "tools/list", "params": {}})
        assert (await talk.hear())["error"]["code"] == -32602
        twice = request("tools/call", tool("one__echo", text="x"), id="t")
        await talk.say(twice, twice)
        answers = [await talk.hear(), await talk.hear()]
        assert sorted("error" in answer for answer in answers) == [False, True]
        await talk.logged("not understood: ")


async def test_arguments_pass_byte_for_byte_on_one_line(running):
    async with program(running, "one") as talk:
        strange = "\u2028 \U0001f600 \\n \x00 9007199254740993"
        assert await talk.text("one__echo", text=strange) == strange
        big = await talk.text("one__big", size=3_000_000)
        assert len(big) == 3_000_000


async def test_it_ends_with_its_input_whatever_is_in_flight(running):
    async with program(running, "one") as talk:
        await talk.say(request("tools/call", tool("one__slow", seconds=60, steps=1), id="c"))
        assert await talk.text("one__echo", text="a") == "a"
