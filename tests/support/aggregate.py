"""An aggregate with chosen members (`servers/member.py`), and its clients."""

import contextlib
import json
import sys
from pathlib import Path

import trio

from .daemon_process import daemon, write_config
from .raw_http import connect
from .stateless_requests import SUBSCRIPTION, headers_of, request

PROGRAM = str(Path(__file__).with_name("servers") / "member.py")
CHANGES = {f"notifications/{name}/list_changed" for name in ("tools", "prompts", "resources")}
KINDS = {f"{name}ListChanged": True for name in ("tools", "prompts", "resources")}
EVERYTHING = {
    "tools": ["client", "slow", "log", "touch", "subscribed", "ask", "exit", "echo"],
    "prompts": ["greet"],
    "resources": ["note://{name}/1"],
    "templates": ["note://{name}/{{number}}"],
    "prefixes": ["note://{name}/"],
}


def member(name, share="", limits=None, **options):
    """Return the configuration of a member with every feature, or with these options only."""
    given = options or {
        key: [value.format(name=name) for value in values] for key, values in EVERYTHING.items()
    }
    table = {"command": [sys.executable, "-I", "-S", PROGRAM, json.dumps({"name": name, **given})]}
    table |= {"era": "legacy"}
    table |= {"share": share} if share else {}
    return {**table, "limits": limits} if limits else table


class Configuration:
    """The configuration of a running daemon with an aggregate."""

    def __init__(self, running, servers, about, tables):
        self.running = running
        self.servers, self._about, self._tables = servers, about, tables

    def write(self, servers=None, /, **aggregate):
        """Write these servers, all of them members, or with those that the aggregate names."""
        about = self._about if servers is None else {}
        servers = self.servers if servers is None else servers
        tables = {"aggregate": {"servers": list(servers), **about, **aggregate}, **self._tables}
        write_config(self.running.config, servers, **tables)

    async def reload(self, servers=None, /, **aggregate):
        """Write these servers as `write` does, and reload."""
        self.write(servers, **aggregate)
        await trio.to_thread.run_sync(self.running.reload)

    @contextlib.asynccontextmanager
    async def reloaded_with(self, servers, /, **aggregate):
        await self.reload(servers, **aggregate)
        try:
            yield
        finally:
            await self.reload()


@contextlib.contextmanager
def aggregate(folder, servers, about=None, **tables):
    with daemon(folder, servers, aggregate={"servers": list(servers), **(about or {})}, **tables) as running:
        running.configuration = Configuration(running, servers, about or {}, tables)
        yield running


async def wait_for_list_changes(client):
    """Wait until the client was notified of possible changes of all lists."""
    left = set(CHANGES)
    while left:
        message = await client.until(lambda one: "method" in one)
        left.discard(message["method"])


async def names(client, method="tools/list"):
    key, item = {
        "tools/list": ("tools", "name"),
        "prompts/list": ("prompts", "name"),
        "resources/list": ("resources", "uri"),
        "resources/templates/list": ("resourceTemplates", "uriTemplate"),
    }[method]
    answer = await client.request(method)
    assert "result" in answer, answer
    return [one[item] for one in answer["result"][key]]


def servers_of(found):
    return {name.partition("__")[0] for name in found}


class Modern:
    """A modern client over HTTP."""

    def __init__(self, running, path="/mcp", **meta):
        self._running, self._path, self._meta = running, path, meta

    async def request(self, method, params=None, **more):
        body = request(method, params, **{**self._meta, **more})
        async with connect(self._running) as connection:
            await connection.send("POST", self._path, headers_of(body), json.dumps(body).encode())
            with trio.fail_after(20):
                return (await connection.answer()).json

    async def result(self, method, params=None, **more):
        answer = await self.request(method, params, **more)
        assert "result" in answer, answer
        return answer["result"]

    async def text(self, tool, **arguments):
        result = await self.result("tools/call", {"name": tool, "arguments": arguments})
        return result["content"][0]["text"]

    async def tools(self):
        return [one["name"] for one in (await self.result("tools/list"))["tools"]]

    @contextlib.asynccontextmanager
    async def listening(self, **notifications):
        """Open a subscription. Yield a function that returns its next message."""
        body = request("subscriptions/listen", {"notifications": notifications}, id="l")
        async with connect(self._running) as connection:
            await connection.send("POST", self._path, headers_of(body), json.dumps(body).encode())
            await connection.head()

            async def following():
                with trio.fail_after(20):
                    message = await connection.message()
                assert message["params"]["_meta"][SUBSCRIPTION] == "l"
                return message

            yield following


async def wait_for_all_list_changes(following):
    left = set(CHANGES)
    while left:
        left.discard((await following())["method"])


def text_of(answer):
    return answer["result"]["content"][0]["text"]
