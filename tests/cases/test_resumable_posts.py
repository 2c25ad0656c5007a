"""A call that takes longer than a second can be resumed, where the revision has priming events (MCP 2025-11-25)."""

import contextlib
import json
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import mcp
import pytest
import trio
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from ..support.accept_headers import (
    BOTH,
    CARRIERS,
    COMMAND,
    EVENTS,
    JSON,
    Client,
    carriers,
    events_of,
    result_text,
    tool_call,
)
from ..support.handshake import VERSION
from ..support.sdk import SDK_WARNINGS

pytestmark = [*SDK_WARNINGS]
# This is longer than the second after which a stream begins, with the delay of the ticker and of a busy machine (seconds).
LONG = 2.5
# The duration of a call that is answered with JSON (seconds).
SHORT = 0.3


@pytest.fixture(scope="module")
def running(authority, tmp_path_factory):
    tables = {"echoing": {"command": COMMAND}, "shared": {"command": COMMAND, "share": "principal"}}
    tables |= {name: {"command": [*COMMAND, name]} for name in ("2024-10-07", "2030-01-01")}
    with carriers(tmp_path_factory.mktemp("resumable"), authority, tables) as found:
        yield found


@contextlib.contextmanager
def session(running, carrier, server="echoing", version=VERSION, accept=BOTH):
    with Client(running, carrier, server, accept) as client:
        client.initialize(version)
        yield client


def interrupted(client, id_, seconds=LONG):
    """Cut off a call on a connection of its own. Return the id of the last event."""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(
            client.http.stream(
                "POST",
                client.url,
                json=tool_call("slow", id_, arguments={"seconds": seconds}),
                headers=client.headers,
            )
        )
        assert stream.headers["content-type"] == EVENTS
        fields = {}
        for line in stream.iter_lines():
            if not line:
                break
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
    assert fields == {"id": fields["id"], "retry": "1000", "data": ""}
    return fields["id"]


def resumed(client, event_id):
    """Return the messages after an event, and the ids of their events."""
    headers = {**client.headers, "Accept": EVENTS, "Last-Event-ID": event_id}
    answer = client.http.get(client.url, headers=headers)
    assert answer.status_code == 200
    found = events_of(answer)
    # No event is empty, because the client has had its priming event.
    assert all(data for _, data, _ in found)
    return [json.loads(data) for _, data, _ in found], [raw_id for raw_id, _, _ in found]


# ---- clients that wait for a few seconds each, all at once


def resuming(running, carrier, server):
    with session(running, carrier, server) as client:
        event_id = interrupted(client, 7)
        # The call is still in flight.
        early = resumed(client, event_id)
        # The call has ended.
        late = resumed(client, event_id)
        return early, late, resumed(client, late[1][-1])


def resuming_many(running):
    with session(running, "http1") as client, ThreadPoolExecutor(8) as pool:
        event_ids = list(pool.map(lambda id_: interrupted(client, id_), range(8)))
        return [answers for answers, _ in pool.map(lambda event_id: resumed(client, event_id), event_ids)]


def calling(running, carrier, seconds, *, server="echoing", version=VERSION, accept=BOTH):
    with session(running, carrier, server, version, accept) as client:
        return client.call("slow", seconds=seconds)


def raw_call(client, seconds):
    """Return a new connection on which a call has been sent."""
    host, port = client.daemon.address
    body = json.dumps(tool_call("slow", 7, arguments={"seconds": seconds})).encode()
    head = {
        **client.headers,
        "Host": f"{host}:{port}",
        "Authorization": f"Bearer {client.daemon.token}",
        "Content-Type": JSON,
        "Content-Length": str(len(body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    sock = socket.create_connection((host, port))
    sock.sendall(f"POST /servers/echoing/mcp HTTP/1.1\r\n{lines}\r\n".encode() + body)
    return sock


def leaving(running, *, abruptly):
    """Return the messages on a GET stream about a call that is cut off before its stream has begun."""
    with session(running, "http1") as client, Client(running, "http1") as reader:
        reader.headers = {**client.headers, "Accept": EVENTS}
        sock = raw_call(client, 1.5)
        # A response to a later request shows that the call has arrived.
        assert client.call("echo").status_code == 200
        if abruptly:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        with reader.stream() as stream:
            seen = []
            listener = threading.Thread(target=lambda: seen.extend(stream.iter_lines()))
            listener.start()
            # A later call that takes longer has ended, and therefore also the first call.
            assert client.call("slow", id_=8, seconds=2).status_code == 200
            assert client.http.delete(client.url, headers=client.headers).status_code == 204
            listener.join()
        return [line for line in seen if line.startswith("data: {")]


def half_closing(running):
    with session(running, "http1") as client, raw_call(client, LONG) as sock:
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


class CuttingProxy:
    """A TCP proxy that cuts a call off after its first priming event."""

    def __init__(self, address):
        self.address = address
        self.cuts = 0

    async def serve(self, client):
        async with client, await trio.open_tcp_stream(*self.address) as upstream:
            sent = bytearray()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.pump, client, upstream, sent)
                received = bytearray()
                await self.pump(
                    upstream, client, received, lambda: b"tools/call" in sent and b"retry: " in received
                )
                nursery.cancel_scope.cancel()

    async def pump(self, source, sink, seen, is_over=lambda: False):
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some():
                seen += data
                await sink.send_all(data)
                if is_over():
                    self.cuts += 1
                    return


async def official(daemon):
    """Return the result of a long call of the client of the SDK through that proxy, and how often the call was cut off."""
    proxy, (host, port) = CuttingProxy(daemon.address), daemon.address
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
            headers = {"Authorization": f"Bearer {daemon.token}", "Host": f"{host}:{port}"}
            url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/servers/echoing/mcp"
            async with (
                create_mcp_http_client(headers=headers) as http,
                mcp.Client(streamable_http_client(url, http_client=http), mode="legacy") as client,
            ):
                result = await client.call_tool("slow", {"seconds": LONG})
            nursery.cancel_scope.cancel()
    return result.content[0].text, proxy.cuts


SERVERS = ("echoing", "shared", "2030-01-01")
# Clients that get no empty event: (server, revision, Accept, Content-Type).
UNPRIMED = [
    *(("echoing", version, BOTH, JSON) for version in ("2024-11-05", "2025-03-26", "2025-06-18")),
    ("2024-10-07", "2024-10-07", BOTH, JSON),
    ("echoing", "2025-06-18", EVENTS, EVENTS),
    ("echoing", VERSION, JSON, JSON),
]


@pytest.fixture(scope="module")
def begun(running):
    """Run all of these clients in threads. The values are futures, by name and arguments."""
    with ThreadPoolExecutor(40) as pool:

        def begin(function, *args, **options):
            return pool.submit(function, running, *args, **options)

        yield {
            **{
                ("resuming", carrier, one): begin(resuming, carrier, one)
                for carrier in CARRIERS
                for one in SERVERS
            },
            "resuming many": begin(resuming_many),
            **{("short", carrier): begin(calling, carrier, SHORT) for carrier in CARRIERS},
            **{("long", carrier): begin(calling, carrier, LONG) for carrier in CARRIERS},
            **{
                row: begin(calling, "http1", LONG, server=row[0], version=row[1], accept=row[2])
                for row in UNPRIMED
            },
            **{("leaving", how): begin(leaving, abruptly=how) for how in (True, False)},
            "half-closing": begin(half_closing),
            "official": pool.submit(trio.run, official, running["http1"][0]),
        }


# ---- and the tests


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_t23_a_call_that_was_cut_off_is_resumed(begun, carrier, server):
    early, late, after = begun["resuming", carrier, server].result()
    assert [(one["id"], result_text(one)) for one in early[0]] == [(7, "slow")]
    assert late == early
    assert after == ([], [])


def test_t23_calls_at_once_are_resumed_each_by_its_own_event(begun):
    found = begun["resuming many"].result()
    assert [[one["id"] for one in answers] for answers in found] == [[id_] for id_ in range(8)]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_t23_a_short_call_is_json_and_a_long_one_a_whole_stream(begun, carrier):
    assert begun["short", carrier].result().headers["content-type"] == JSON
    answer = begun["long", carrier].result()
    assert answer.headers["content-type"] == EVENTS
    (first, priming, retry), (second, last, _) = events_of(answer)
    assert (priming, retry) == ("", "1000")
    assert result_text(json.loads(last)) == "slow"
    assert first.rpartition("_")[0] == second.rpartition("_")[0]


@pytest.mark.parametrize("row", UNPRIMED)
def test_t23_earlier_revisions_and_json_only_see_no_empty_event(begun, row):
    """Clients of earlier revisions parse the data of each event as JSON, and report empty data as an error."""
    answer = begun[row].result()
    assert answer.headers["content-type"] == row[3]
    if row[3] == EVENTS:
        assert all(data for _, data, _ in events_of(answer))


@pytest.mark.parametrize("abruptly", [True, False])
def test_t23_a_call_that_was_cut_off_before_goes_on_and_is_kept_for_no_client(begun, abruptly):
    assert begun["leaving", abruptly].result() == []


def test_t23_a_client_that_only_closes_its_sending_side_gets_its_answer(begun):
    assert begun["half-closing"].result().count(b'"slow"') == 1


def test_t23_the_official_client_resumes_by_itself(begun):
    assert begun["official"].result() == ("slow", 1)
