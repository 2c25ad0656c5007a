"""`env_from_header`: client headers become variables of the server. Each value has a process of its own, and is redacted."""

import hashlib
import json
import subprocess
import time
from types import SimpleNamespace

import pytest
import trio
import trio_websocket
from mcp.shared.exceptions import MCPError

from ..support.bridge_process import PROGRAM, wait_until_gone
from ..support.daemon_process import child, daemon, write_config
from ..support.raw_http import BOTH, INITIALIZE, connect, message
from ..support.sdk import SDK_WARNINGS, client_of
from ..support.sdk import connect as connect_client
from ..support.stateless_requests import ASKABLE, headers_of, request, tool

pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]

CLIENTS = [("http", "legacy"), ("sse", "legacy"), ("ws", "legacy"), ("http", "auto"), ("ws", "auto")]
WANTED = {"KEY": "X-Key"}
TELL = {"name": "variable", "arguments": {"name": "KEY"}}
# A value that JSON escapes.
CANARY = 'canary-"7f3a\\91'


def server(**keys):
    return {"command": child("variables.py"), "env_from_header": WANTED, **keys}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    servers = {
        "one": server(env={"OTHER": "the operator's"}),
        "shared": server(share="principal"),
        "spared": server(spare=1),
        "default": server(env={"KEY": "the operator's"}),
        "modern": server(command=child("variables.py", "modern"), era="modern"),
    }
    with daemon(
        tmp_path_factory.mktemp("headers"), servers, aggregate={"servers": ["one", "shared"]}
    ) as found:
        yield found


async def variable_of(client, name="KEY"):
    """Return the value of the variable, and the pid of the process."""
    result = await client.call_tool("variable", {"name": name})
    found = json.loads(result.content[0].text)
    return found["value"], found["pid"]


# ---- which process a client gets


@pytest.mark.parametrize("name", ["one", "shared"])
@pytest.mark.parametrize(("transport", "mode"), CLIENTS)
async def test_clients_with_different_values_never_share_a_process(running, transport, mode, name):
    async with (
        client_of(running, name, transport, mode, "value of the first") as first,
        client_of(running, name, transport, mode, "value of the second") as second,
        client_of(running, name, transport, mode) as third,
        client_of(running, name, transport, mode, "value of the first") as fourth,
    ):
        found = [await variable_of(client) for client in (first, second, third, fourth, first, second)]
    assert [value for value, _ in found[:4]] == [
        "value of the first",
        "value of the second",
        None,
        "value of the first",
    ]
    pids = [pid for _, pid in found]
    assert len(set(pids[:3])) == 3
    assert pids[4:] == pids[:2]
    # Stateless requests with equal headers share a process. A WebSocket is a client of its own.
    assert (pids[3] == pids[0]) == (name == "shared" or (mode == "auto" and transport != "ws"))


async def test_all_transports_and_eras_of_a_shared_server_keep_values_apart(running):
    seen: dict[str, set[int]] = {"first of all": set(), "second of all": set()}
    for key, pids in seen.items():
        for transport, mode in CLIENTS:
            async with client_of(running, "shared", transport, mode, key) as client:
                value, pid = await variable_of(client)
                assert value == key
                pids.add(pid)
    assert not set.intersection(*seen.values())


async def test_no_other_header_of_a_request_reaches_an_environment(running):
    async with client_of(running, "one", "http", "legacy", "a value", OTHER="x", LD_PRELOAD="y") as client:
        assert (await variable_of(client, "OTHER"))[0] == "the operator's"
        assert (await variable_of(client, "LD_PRELOAD"))[0] is None
        assert (await variable_of(client, "HTTP_X_KEY"))[0] is None
        assert (await variable_of(client, "MCP_BRIDGE_PRINCIPAL"))[0] is None


@pytest.mark.parametrize(("header", "value"), [(None, "the operator's"), ("", "the operator's"), ("k", "k")])
async def test_a_missing_or_empty_header_leaves_the_variable_unchanged(running, header, value):
    async with client_of(running, "default", "http", "legacy", header) as client:
        assert (await variable_of(client))[0] == value


async def test_a_later_request_does_not_change_the_session(running):
    path, usual = "/servers/one/mcp", {"Accept": BOTH, "Content-Type": "application/json"}
    async with connect(running) as connection:
        body = message("initialize", INITIALIZE, id=0)
        answer = await connection.request("POST", path, {**usual, "X-Key": "the first"}, body)
        usual["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        found = []
        for key in ("the first", "the second"):
            body = message("tools/call", TELL, id=1)
            answer = await connection.request("POST", path, {**usual, "X-Key": key}, body)
            found.append(json.loads(answer.json["result"]["content"][0]["text"]))
    assert found[0] == found[1]
    assert found[0]["value"] == "the first"


async def test_a_stateless_client_may_change_its_headers(running):
    async with connect(running) as connection:
        found = []
        for key in ("now this", "now that", "now this"):
            body = request("tools/call", TELL)
            await connection.send(
                "POST",
                "/servers/one/mcp",
                headers_of(body, **{"X-Key": key}),
                json.dumps(body).encode(),
            )
            found.append(json.loads((await connection.answer()).json["result"]["content"][0]["text"]))
    assert [one["value"] for one in found] == ["now this", "now that", "now this"]
    assert found[0] == found[2]


def spares_of(running, name):
    [status] = [one for one in running.status()["servers"] if one["name"] == name]
    return status["pids"]


async def test_a_warm_standby_serves_only_clients_without_these_headers(running):
    [spare] = spares_of(running, "spared")
    async with client_of(running, "spared", "http", "legacy", "not of a spare") as client:
        value, pid = await variable_of(client)
        assert (value, pid != spare) == ("not of a spare", True)
    async with client_of(running, "spared", "http", "legacy") as client:
        assert await variable_of(client) == (None, spare)


async def test_the_aggregate_passes_no_headers_on(running):
    place = SimpleNamespace(mcp=running.mcp, headers={**running.headers, "X-Key": "for the aggregate"})
    async with connect_client(place, "http", mode="auto") as client:
        result = await client.call_tool("one__variable", {"name": "KEY"})
        assert json.loads(result.content[0].text)["value"] is None


async def test_a_process_that_is_replaced_has_the_same_values(running):
    async with client_of(running, "one", "http", "legacy", "again and again") as client:
        before = await variable_of(client)
        with pytest.raises(MCPError):
            await client.call_tool("die")
        after = await variable_of(client)
    assert before[0] == after[0] == "again and again"
    assert before[1] != after[1]


async def test_the_state_of_a_modern_server_is_refused_with_other_values(running):
    async def ask(connection, key, **more):
        params = {**tool("state"), **more}
        body = request("tools/call", params, caps=ASKABLE)
        headers = headers_of(body, **{"X-Key": key})
        await connection.send("POST", "/servers/modern/mcp", headers, json.dumps(body).encode())
        return (await connection.answer()).json

    async with connect(running) as connection:
        required = (await ask(connection, "mine"))["result"]
        retry = {"inputResponses": {"roots": {"roots": []}}, "requestState": required["requestState"]}
        assert (await ask(connection, "yours", **retry))["error"]["code"] == -32602
        assert (await ask(connection, "mine", **retry))["result"]["content"][0]["text"] == "mine"


# ---- refusals


TABBED = "begin\tend-of-it"


async def test_a_page_of_an_allowed_origin_may_send_the_configured_headers_only(tmp_path):
    page = "http://localhost:6274"
    with daemon(tmp_path, {"one": server()}, listen={"origins": [page]}) as running:
        asked = {
            "Origin": page,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-key, x-other, mcp-param-a, content-type",
        }
        async with connect(running) as connection:
            answer = await connection.request("OPTIONS", "/servers/one/mcp", asked)
    assert answer.status == 204
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"x-key", "mcp-param-a", "Content-Type"} < set(allowed)
    assert "x-other" not in allowed


@pytest.mark.parametrize("carrier", ["initialize", "modern", "sse"])
async def test_a_value_with_a_control_character_is_400_and_names_the_header(running, carrier):
    usual = {"Accept": BOTH, "Content-Type": "application/json", "X-Key": TABBED}
    async with connect(running) as connection:
        if carrier == "initialize":
            request_ = ("POST", "/servers/one/mcp", usual, message("initialize", INITIALIZE, id=0))
        elif carrier == "modern":
            body = request("tools/call", TELL)
            request_ = ("POST", "/servers/one/mcp", headers_of(body, **usual), json.dumps(body).encode())
        else:
            request_ = ("GET", "/servers/one/sse", {"Accept": "text/event-stream", "X-Key": TABBED})
        with trio.fail_after(20):
            answer = await connection.request(*request_)
    assert answer.status == 400
    assert answer.json["error"]["message"] == "the header x-key must hold visible ASCII and spaces only"
    assert b"end-of-it" not in answer.body


@pytest.mark.parametrize(
    "opening", [message("initialize", INITIALIZE, id=7), json.dumps(request("tools/list", id=7))]
)
async def test_over_websocket_the_error_answers_the_first_request_that_needs_a_process(running, opening):
    headers = [("Authorization", f"Bearer {running.token}"), ("X-Key", TABBED.encode())]
    async with trio_websocket.open_websocket_url(
        running.url("one", "ws"), subprotocols=["mcp"], extra_headers=headers
    ) as socket:
        await socket.send_message(opening if isinstance(opening, str) else opening.decode())
        with trio.fail_after(20):
            answer = json.loads(await socket.get_message())
    assert answer["id"] == 7
    assert answer["error"]["code"] == -32600
    assert "x-key" in answer["error"]["message"]
    assert "end-of-it" not in str(answer)


async def test_a_value_that_is_not_ascii_is_400(running):
    async with connect(running) as connection:
        headers = {"Accept": BOTH, "Content-Type": "application/json", "X-Key": "kéy"}
        answer = await connection.request(
            "POST", "/servers/one/mcp", headers, message("initialize", INITIALIZE, id=0)
        )
    assert answer.status == 400


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"env_from_header": {"KEY": "Authorization"}}, "the header Authorization is refused"),
        ({"env_from_header": {"LD_PRELOAD": "X-Key"}}, "LD_PRELOAD is refused"),
        ({"env_from_header": WANTED, "share": "server"}, 'with share = "server"'),
    ],
)
def test_an_unsafe_configuration_is_refused(tmp_path, keys, reason):
    write_config(
        tmp_path / "config.toml", {"one": {"command": child("variables.py"), "pass_env": [], **keys}}
    )
    done = subprocess.run(
        [PROGRAM, "serve", "--allow-root", "--config", str(tmp_path / "config.toml")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 78
    assert f"servers.one: env_from_header: {reason}" in done.stderr


# ---- redaction


@pytest.mark.parametrize(("transport", "mode"), CLIENTS)
async def test_a_value_is_redacted_until_its_process_has_ended(tmp_path, transport, mode):
    with (
        daemon(tmp_path, {"one": server()}, log={"level": "debug"}) as running,
        running.following("tap", "one") as tap,
    ):
        end = time.monotonic() + 20
        async with client_of(running, "one", transport, mode, CANARY) as client:
            while not any("tools/call" in line for line in tap):  # `tap` may begin after the first message.
                assert time.monotonic() < end, tap
                value, pid = await variable_of(client)
                assert value == CANARY
            with pytest.raises(MCPError) as caught:
                await client.call_tool("die")
            assert "I die of [secret]" in str(caught.value.error.data)
            assert (await variable_of(client))[0] == CANARY
            shown = [running.do(*words).stdout for words in (("status",), ("status", "--json"), ("ps",))]
            shown += [running.do("logs", "one").stdout, running.do("config", "show").stdout]
            seen = list(tap)
        assert wait_until_gone(lambda: running.children("variables.py") if mode == "legacy" else [], 10) == []
        for text in ("\n".join(shown), "\n".join(seen), "\n".join(running.lines)):
            assert "canary" not in text
            assert "7f3a" not in text
        assert "telling [secret]" in shown[3]
        assert any("[secret]" in line for line in seen)
        # A shared process stays until its principal was idle for a long time.
        if mode == "auto":
            running.do("restart", "one")
            assert wait_until_gone(lambda: [pid] if pid in running.children("variables.py") else [], 10) == []
        # No process has the value any more. It is therefore not redacted.
        before = len(tap)
        end = time.monotonic() + 20
        while not any("canary" in line for line in tap[before:]):
            assert time.monotonic() < end, tap[before:]
            running.do("call", "one", "variable", json.dumps({"name": CANARY}))


async def test_a_value_that_makes_the_server_exit_affects_its_principal_only(tmp_path):
    token = "mcpb_" + "0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
    digest = hashlib.sha256(token.encode()).hexdigest()
    with daemon(tmp_path, {"one": server(era="legacy")}, **{"tokens.guest": {"sha256": digest}}) as running:
        guest = {"Authorization": f"Bearer {token}"}
        path, usual = "/servers/one/mcp", {"Accept": BOTH, "Content-Type": "application/json"}
        async with connect(running) as connection:
            for number in range(6):
                headers = {**usual, **guest, "X-Key": f"bad key number {number}"}
                answer = await connection.request(
                    "POST", path, headers, message("initialize", INITIALIZE, id=0)
                )
                assert "bad key" not in str(answer)
        assert answer.status == 503
        assert "ended unexpectedly 5 times" in answer.json["error"]["message"]
        async with client_of(running, "one", "http", "legacy", "a good key") as client:
            assert (await variable_of(client))[0] == "a good key"
        async with client_of(running, "one", "http", "legacy", **guest) as client:
            assert (await variable_of(client))[0] is None
        assert "bad key" not in "\n".join(running.lines)
