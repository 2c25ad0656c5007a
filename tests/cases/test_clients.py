"""Identify clients, and give each of them a server process for a time. The client processes are real."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest
import trio
import trio_websocket

from ..support.client_process import (
    ASKABLE,
    INFO,
    Program,
    body_of,
    echoing,
    exists,
    question_in,
    questions_in,
    retry_of,
    text_of,
)
from ..support.correlation import constant
from ..support.daemon_process import child, daemon
from ..support.stateless_requests import request, tool
from ..support.waiting import wait_until

pytestmark = pytest.mark.anyio

COMMAND = [sys.executable, "-I", "-S", str(Path(__file__).parents[1] / "support/servers/eliciting.py")]
LEGACY = {"command": COMMAND, "era": "legacy"}
WIDER = {"elicitation": {"form": {}}, "roots": {}}
INVALID = {"code": -32602, "message": "Invalid or expired requestState"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    servers = {
        "it": LEGACY,
        "shared": {**LEGACY, "share": "principal"},
        "session": {**LEGACY, "share": "session"},
        "client": {**LEGACY, "share": "client"},
        "small": {**LEGACY, "limits": {"processes_per_principal": 2}},
        "short": {**LEGACY, "limits": {"client_exit_seconds": 0.1}},
        "keyed": {"command": child("variables.py"), "era": "legacy", "env_from_header": {"KEY": "X-Key"}},
    }
    with daemon(tmp_path_factory.mktemp("clients"), servers, aggregate={"servers": ["it"]}) as found:
        yield found


@pytest.fixture
def program(running):
    """Yield a function that starts client processes, by the carrier and the server."""
    with contextlib.ExitStack() as stack:

        def start(carrier="tcp", server="it", path=None):
            address = running.address if carrier == "tcp" else str(running.unix)
            token = running.token if carrier == "tcp" else ""
            return stack.enter_context(Program(address, token, path or f"/servers/{server}/mcp"))

        yield start


# ---- identity of a client


@pytest.mark.parametrize("carrier", ["tcp", "unix"])
def test_a1_two_processes_with_equal_client_info_have_a_server_process_each(program, carrier):
    one, two = program(carrier), program(carrier)
    mine, other = one.server(caps=ASKABLE), two.server(caps=ASKABLE)
    assert mine["pid"] != other["pid"]
    assert mine["capabilities"] == ASKABLE
    assert one.server(caps=ASKABLE) == mine


@pytest.mark.parametrize("carrier", ["tcp", "unix"])
def test_a1_a_server_request_reaches_the_process_whose_call_caused_it(program, carrier):
    waits, requests = program(carrier), program(carrier)
    waits.send("tools/call", {"name": "hold", "arguments": {}}, caps=ASKABLE)
    required = requests.call("ask", text="delete everything?", caps=ASKABLE)
    assert question_in(required) == "delete everything?"
    done = requests.call("ask", text="delete everything?", again=retry_of(required, "yes"), caps=ASKABLE)
    assert text_of(done) == "yes"
    waits.call("release", on="2", caps=ASKABLE)
    assert text_of(waits.read()[2]) == "released"


@pytest.mark.parametrize("carrier", ["tcp", "unix"])
def test_a2_the_connections_of_one_process_are_one_client_that_gets_requests_at_once(program, carrier):
    client = program(carrier)
    assert client.server(on="1", caps=ASKABLE) == client.server(on="2", caps=ASKABLE)
    for on in ("1", "2"):
        client.send("tools/call", {"name": "ask", "arguments": {"text": on}}, on=on, caps=ASKABLE)
    # The newest running call has its server request, and perhaps also the request of the other call.
    first = client.first("1", "2")
    results = {first: client.read(first)[2]}
    if len(questions_in(results[first])) == 1:
        second = "2" if first == "1" else "1"
        results[second] = client.read(second)[2]
    assert sorted(question for answer in results.values() for question in questions_in(answer)) == ["1", "2"]
    for on, answer in results.items():
        arguments = {"name": "ask", "arguments": {"text": on}}
        client.send("tools/call", {**arguments, **echoing(answer)}, on=on, caps=ASKABLE)
    assert [text_of(client.read(on)[2]) for on in ("1", "2")] == ["1", "2"]


def test_a1_a_process_with_two_client_infos_is_two_clients(program):
    client = program()
    pids = {client.server(caps=ASKABLE, info=info)["pid"] for info in (INFO, {**INFO, "version": "2"}, None)}
    assert len(pids) == 3
    spelled_otherwise = dict(reversed(INFO.items()))
    assert client.server(caps=ASKABLE, info=spelled_otherwise)["pid"] in pids


@pytest.mark.parametrize(
    "headers",
    [
        {"Via": "1.1 proxy"},
        {"Forwarded": "for=192.0.2.1"},
        {"X-Forwarded-For": "192.0.2.1"},
        {"X-Forwarded-Proto": "https"},
        {"X-Real-IP": "192.0.2.1"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_a1_requests_through_a_proxy_are_of_an_unknown_client(program, headers):
    one, two = program(), program()
    direct = one.server(caps=ASKABLE)["pid"]
    through = one.server(on="2", caps=ASKABLE, headers=headers)["pid"]
    assert through != direct
    # The client stays unknown on this connection, because the connection is that of the proxy.
    assert one.server(on="2", caps=ASKABLE)["pid"] == through
    # Unknown clients share, but not with another clientInfo.
    assert two.server(caps=ASKABLE, headers=headers)["pid"] == through
    assert two.server(caps=ASKABLE, headers=headers, info={**INFO, "name": "other"})["pid"] != through


def test_a1_a_server_request_that_may_belong_to_several_unknown_clients_is_refused(program):
    one, two, headers = program(), program(), {"Via": "1.1 proxy"}
    info = {"name": "unknown", "version": "1"}
    one.send("tools/call", {"name": "hold", "arguments": {}}, caps=ASKABLE, headers=headers, info=info)
    wait_until_calling(one, headers, info)
    assert text_of(two.call("ask", text="?", caps=ASKABLE, headers=headers, info=info)) == "refused: -32603"
    two.call("release", caps=ASKABLE, headers=headers, info=info)
    assert text_of(one.read()[2]) == "released"


def wait_until_calling(client, headers, info):
    # The process answers in order, so that earlier messages have arrived when this request is answered.
    client.server(on="check", caps=ASKABLE, headers=headers, info=info)


def test_a1_a_socket_that_two_processes_have_is_of_an_unknown_client(program):
    client = program()
    identified = client.server(caps=ASKABLE)["pid"]
    client.path = "/healthz"
    client.send("server/discover", on="2", verb="GET")
    assert client.read("2")[0] == 200
    client.path = "/servers/it/mcp"
    other = client.fork()
    assert client.server(on="2", caps=ASKABLE)["pid"] != identified
    # The client of this connection was determined earlier.
    assert client.server(caps=ASKABLE)["pid"] == identified
    client.end_child(other)
    assert client.server(on="3", caps=ASKABLE)["pid"] == identified


@pytest.mark.parametrize("carrier", ["tcp", "unix"])
def test_a3_a_client_that_reconnects_finds_its_server_process(program, carrier):
    client = program(carrier)
    before = client.server(caps=ASKABLE)
    client.close()
    assert client.server(caps=ASKABLE) == before


def test_a1_other_values_of_headers_are_another_server_process(program):
    client = program(server="keyed")
    client.send("tools/call", {"name": "variable", "arguments": {"name": "KEY"}}, headers={"X-Key": "a"})
    one = json.loads(text_of(client.read()[2]))
    client.send("tools/call", {"name": "variable", "arguments": {"name": "KEY"}}, headers={"X-Key": "b"})
    two = json.loads(text_of(client.read()[2]))
    assert (one["value"], two["value"]) == ("a", "b")
    assert one["pid"] != two["pid"]


def test_a1_clients_of_a_shared_process_share_it(program):
    one, two = program(server="shared"), program(server="shared")
    assert one.server(caps=ASKABLE)["pid"] == two.server(caps=ASKABLE)["pid"]


@pytest.mark.parametrize("share", ["session", "client"])
def test_a1_these_values_of_share_mean_the_default_for_clients_without_sessions(program, share):
    one, two = program(server=share), program(server=share)
    assert one.server(caps=ASKABLE)["pid"] != two.server(caps=ASKABLE)["pid"]


async def test_a1_a_websocket_is_a_client_and_its_server_process_ends_with_it(running):
    async def server(socket):
        await socket.send_message(json.dumps(request("tools/call", tool("self"), caps=ASKABLE)))
        answer = json.loads(await socket.get_message())
        return json.loads(text_of(answer))["pid"]

    def connected():
        return trio_websocket.open_websocket_url(
            running.url("it", "ws"), subprotocols=["mcp"], extra_headers=list(running.headers.items())
        )

    async with connected() as one:
        mine = await server(one)
        async with connected() as two:
            other = await server(two)
            assert other != mine
            assert await server(one) == mine
        await trio.to_thread.run_sync(wait_until, lambda: not exists(other))
        assert await server(one) == mine
    await trio.to_thread.run_sync(wait_until, lambda: not exists(mine))


# ---- capabilities


def test_a1_a_request_that_declares_less_uses_the_process_with_more_capabilities(program):
    client = program()
    wide = client.server(caps=WIDER)
    assert client.server(caps=ASKABLE) == wide
    assert client.server(caps={"roots": {}}) == wide


def test_a1_a_request_that_declares_more_gets_another_process_and_the_old_one_ends(program):
    client = program()
    narrow = client.server(caps=ASKABLE)["pid"]
    required = client.call("ask", text="?", caps=ASKABLE)
    wide = client.server(caps=WIDER)
    assert wide["pid"] != narrow
    # The older process gets no new call.
    assert client.server(caps=ASKABLE) == wide
    # A call of the older process is held.
    assert exists(narrow)
    done = client.call("ask", text="?", again=retry_of(required, "still here"), caps=WIDER)
    assert text_of(done) == "still here"
    wait_until(lambda: not exists(narrow))
    assert client.server(caps=ASKABLE) == wide


def test_a1_requests_with_alternating_capabilities_end_in_one_process(program):
    client = program()
    for _ in range(2):
        client.server(caps=ASKABLE)
        client.server(caps={"sampling": {}})
    both = client.server(caps=ASKABLE)
    assert client.server(caps={"sampling": {}}) == both
    assert both["capabilities"].keys() == {"elicitation", "sampling"}


def test_a1_a_request_without_capabilities_gets_a_server_process_without_them(program):
    client = program()
    with_capabilities = client.server(caps=ASKABLE)
    nothing = client.server()
    assert nothing["capabilities"] == {}
    assert client.server(caps=ASKABLE) == with_capabilities
    assert client.server() == nothing


# ---- retries


def test_a2_a_retry_goes_to_the_process_of_its_state(program):
    client, other = program(), program("unix")
    required = client.call("ask", text="?", caps=ASKABLE)
    again = retry_of(required, "from another connection")
    more = {"headers": {"Via": "1.1 proxy"}, "info": {"name": "other", "version": "9"}, "caps": WIDER}
    # The owner of the Unix socket is another principal.
    assert constant(other.call("ask", text="?", again=again, **more)["error"]) == INVALID
    assert client.call("ask", text="?", on="2", again=again, **more)["result"]["content"][0]["text"] == (
        "from another connection"
    )
    assert constant(client.call("ask", text="?", on="2", again=again, **more)["error"]) == INVALID


def test_a2_a_retry_whose_process_has_exited_is_refused(running, program):
    client = program()
    required = client.call("ask", text="?", caps=ASKABLE)
    pid = client.server(caps=ASKABLE)["pid"]
    os.kill(pid, signal.SIGKILL)
    # The daemon may handle the exit later than the kernel removes the process.
    wait_until(lambda: not any(pid in one["pids"] for one in running.status()["servers"]))
    assert (
        constant(client.call("ask", text="?", again=retry_of(required, "x"), caps=ASKABLE)["error"])
        == INVALID
    )


@pytest.mark.parametrize(
    "change", [lambda state: "x", lambda state: state[:-1] + "?", lambda state: "A" + state]
)
def test_a2_a_state_that_was_changed_is_refused(program, change):
    client = program()
    required = client.call("ask", text="?", caps=ASKABLE)
    again = retry_of(required, "x")
    forged = {**again, "requestState": change(again["requestState"])}
    assert constant(client.call("ask", text="?", again=forged, caps=ASKABLE)["error"]) == INVALID
    assert text_of(client.call("ask", text="?", again=again, caps=ASKABLE)) == "x"


# ---- life time


@pytest.mark.parametrize("carrier", ["tcp", "unix"])
def test_a1_the_server_process_ends_after_its_client_has_exited(program, carrier):
    client, other = program(carrier, "short"), program(carrier, "short")
    pid, lasts = client.server(caps=ASKABLE)["pid"], other.server(caps=ASKABLE)["pid"]
    client.call("ask", text="a question that is not answered any more", caps=ASKABLE)
    client.exit()
    wait_until(lambda: not exists(pid))
    assert other.server(caps=ASKABLE)["pid"] == lasts


def test_a1_at_the_limit_the_process_that_was_idle_longest_ends(program):
    one, two, three = (program(server="small") for _ in range(3))
    first = one.server(caps=ASKABLE)["pid"]
    two.send("tools/call", {"name": "hold", "arguments": {}}, caps=ASKABLE)
    two.server(on="2", caps=ASKABLE)
    third = three.server(caps=ASKABLE)["pid"]
    wait_until(lambda: not exists(first))
    # This call is held from now on.
    three.call("ask", text="?", caps=ASKABLE)
    one.send("tools/call", {"name": "self", "arguments": {}}, caps=ASKABLE)
    status, headers, answer = one.read()
    assert status == 503
    assert "retry-after" in headers
    assert "processes_per_principal = 2" in answer["error"]["message"]
    assert three.server(caps=ASKABLE)["pid"] == third
    two.call("release", on="2", caps=ASKABLE)
    assert text_of(two.read()[2]) == "released"


# ---- the aggregate


@pytest.mark.parametrize("carrier", ["tcp", "unix"])
def test_a1_two_clients_of_the_aggregate_have_a_process_each_and_their_own_server_requests(program, carrier):
    one, two = (program(carrier, path="/servers/aggregate/mcp") for _ in range(2))
    mine, other = (json.loads(text_of(client.call("it__self", caps=ASKABLE)))["pid"] for client in (one, two))
    assert mine != other
    one.send("tools/call", {"name": "it__hold", "arguments": {}}, caps=ASKABLE)
    required = two.call("it__ask", text="of the second?", caps=ASKABLE)
    assert question_in(required) == "of the second?"
    done = two.call("it__ask", text="of the second?", again=retry_of(required, "yes"), caps=ASKABLE)
    assert text_of(done) == "yes"
    assert text_of(one.call("it__release", on="2", caps=ASKABLE)) == str(mine)
    assert text_of(one.read()[2]) == "released"


def test_a1_a_client_is_the_same_through_the_aggregate_and_without_it(program):
    client = program()
    direct = client.server(caps=ASKABLE)["pid"]
    client.path = "/servers/aggregate/mcp"
    assert json.loads(text_of(client.call("it__self", caps=ASKABLE)))["pid"] == direct


async def test_a1_sessions_of_the_aggregate_have_a_process_each_that_ends_with_them(running):
    @contextlib.asynccontextmanager
    async def session():
        async with trio_websocket.open_websocket_url(
            running.url("aggregate", "ws"), subprotocols=["mcp"], extra_headers=list(running.headers.items())
        ) as socket:
            start = {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": INFO}
            opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": start}
            await socket.send_message(json.dumps(opening))
            await socket.get_message()
            await socket.send_message('{"jsonrpc":"2.0","method":"notifications/initialized"}')
            yield socket

    async def call(socket, name, **arguments):
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": arguments},
        }
        await socket.send_message(json.dumps(body))

    async def receive(socket):
        return json.loads(await socket.get_message())

    async with session() as one, session() as two:
        pids = []
        for socket in (one, two):
            await call(socket, "it__self")
            pids.append(json.loads(text_of(await receive(socket)))["pid"])
        assert pids[0] != pids[1]
        await call(one, "it__hold")
        await call(two, "it__ask", text="of the second?")
        question = await receive(two)
        assert "params" in question, question
        reply = {"action": "accept", "content": {"text": "yes"}}
        await two.send_message(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": reply}))
        assert text_of(await receive(two)) == "yes"
    await trio.to_thread.run_sync(wait_until, lambda: not any(map(exists, pids)))


@pytest.mark.parametrize("named", ["Mcp-Bridge-Principal", "Mcp-Bridge-Client"])
def test_a_process_that_is_not_the_aggregate_names_no_principal_and_no_client(program, named):
    client = program("unix")
    client.send("tools/list", headers={named: "somebody"})
    status, _, answer = client.read()
    assert (status, "for the aggregate only" in answer["error"]["message"]) == (403, True)
    # Over TCP such a header means nothing, as any other.
    over_tcp = program()
    over_tcp.send("tools/list", headers={named: "somebody"})
    assert over_tcp.read()[0] == 200


def test_a_client_cannot_name_another_client_to_the_aggregate(program):
    one, two = (program(path="/servers/aggregate/mcp") for _ in range(2))
    name = "mcp-bridge/client"

    def pid(client):
        body = body_of("tools/call", {"name": "it__self", "arguments": {}}, caps=ASKABLE)
        body["params"]["_meta"][name] = "stream-1"
        client.send(
            "tools/call",
            {"name": "it__self", "arguments": {}, "_meta": body["params"]["_meta"]},
            caps=ASKABLE,
        )
        return json.loads(text_of(client.read()[2]))["pid"]

    assert pid(one) != pid(two)
