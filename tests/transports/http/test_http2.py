"""HTTP/2 by Hypercorn: input that crashes, hangs or blocks Hypercorn's own server costs one connection here."""

import ssl

import h2.events
import pytest
import trio

from mcpbridged.transports.http import asgi, http2
from mcpbridged.transports.http.listen import tls_context
from mcpbridged.validators.bearer import TokenSet
from mcpbridged.validators.limits import Limits

from ...support.correlation import ids_in, without_ids
from ...support.http2_client import Client
from ...support.serving import TOKEN, listening
from ...support.tls import tls_client_context, write_certificate

pytestmark = pytest.mark.anyio

AUTHORITY = "127.0.0.1"


@pytest.fixture(scope="module")
def tls(authority, tmp_path_factory):
    return tls_context(*write_certificate(authority, tmp_path_factory.mktemp("tls"), "localhost"))


@pytest.fixture
def client_tls(authority):
    return tls_client_context(authority, "h2")


@pytest.fixture(autouse=True)
def closing():
    yield
    while OPENED:
        OPENED.pop().transport_stream.socket._sock.close()


OPENED = []


async def connect(server, client_tls):
    stream = await trio.open_ssl_over_tcp_stream(
        "127.0.0.1", server.port, ssl_context=client_tls, https_compatible=True
    )
    OPENED.append(stream)
    await stream.do_handshake()
    assert stream.selected_alpn_protocol() == "h2"
    client = Client(stream, server.port, TOKEN)
    await client.open()
    return client


async def check_alive(server, client_tls):
    client = await connect(server, client_tls)
    number = await client.send_request(client.head("POST", "/echo"), b"still here")
    assert (await client.answer(number))[::2] == [200, b"still here"]
    await client.stream.transport_stream.aclose()


async def test_requests_and_answers(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            first = await client.send_request(client.head(path="/echo"))
            second = await client.send_request(client.head("POST", "/echo"), b"x" * 300_000)
            assert (await client.answer(first))[::2] == [200, b"/echo"]
            status, headers, body, _ = await client.answer(second)
            assert (status, len(body)) == (200, 300_000)
            assert headers[b"cache-control"] == b"no-store"
            assert b"server" not in headers


async def test_each_part_of_the_work_gives_way_to_other_principals(tls, client_tls, monkeypatch):
    """Hypercorn has tasks for each request, which would all run in one round."""
    steps = []
    for name, module in (("asgi", asgi), ("http2", http2)):

        async def give_way(principal, name=name):
            steps.append((name, principal))
            await trio.lowlevel.checkpoint()

        monkeypatch.setattr(module, "give_way", give_way)
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            await client.answer(await client.send_request(client.head()))
            # The end of an answer may be on its way.
            await trio.sleep(0.1)
            steps.clear()
            await client.answer(await client.send_request(client.head("POST", "/echo"), b"x"))
            await trio.sleep(0.1)
    owners = {owner for _, owner in steps}
    assert len(owners) == 1
    assert owners != {""}
    names = [name for name, _ in steps]
    # Reading, and sending the head, the body and the end; the request, and each of the three events of the response.
    assert names.count("http2") >= 4
    assert names.count("asgi") == 4


@pytest.mark.parametrize(
    ("method", "path", "extra", "token", "status"),
    [
        ("GET", "/echo", (), None, 401),
        ("GET", "/echo", (), "wrong" * 10, 401),
        ("GET", "/nowhere", (), TOKEN, 404),
        ("GET", "/nowhere", (), None, 401),
        ("GET", "/echo", (("origin", "http://evil.example"),), TOKEN, 403),
        ("GET", "/echo", (("sec-fetch-site", "cross-site"),), TOKEN, 403),
        ("GET", f"/echo?token={TOKEN}", (), TOKEN, 400),
        ("GET", "/healthz", (), None, 200),
        ("GET", "/fail", (), TOKEN, 500),
        ("GET", "/echo", (("last-event-id", "a"), ("last-event-id", "b")), TOKEN, 400),
    ],
)
async def test_the_gate_is_that_of_http_1(tls, client_tls, method, path, extra, token, status):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            number = await client.send_request(client.head(method, path, *extra, token=token))
            assert (await client.answer(number))[0] == status


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_a_refusal_is_the_same_for_the_first_request_and_for_a_later_one(tls, client_tls, method):
    """The first request is refused without Hypercorn."""
    with trio.fail_after(10):
        async with listening(tls) as server:
            answers = []
            for known in (False, True):
                client = await connect(server, client_tls)
                if known:
                    assert (await client.answer(await client.send_request(client.head())))[0] == 200
                answers.append(
                    await client.answer(await client.send_request(client.head(method, token=None)))
                )
            assert answers[0][0] == 401
            for answer in answers:
                assert answer[1].pop(b"date")
            ids = [answer[1].pop(b"x-request-id").decode() for answer in answers]
            if method != "HEAD":
                assert ids == [one for answer in answers for one in ids_in(answer[2])]
            assert ids[0] != ids[1]
            assert [(*answer[:2], without_ids(answer[2])) for answer in answers[:1]] == [
                (*answer[:2], without_ids(answer[2])) for answer in answers[1:]
            ]


async def test_a_first_request_with_a_body_is_refused_at_its_head(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            number = client.h2.get_next_available_stream_id()
            client.h2.send_headers(number, client.head("POST", token="wrong" * 10))
            await client.flush()
            assert (await client.answer(number))[0] == 401
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await client.answer(99)
            await check_alive(server, client_tls)


async def test_another_authority_is_misdirected(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            headers = [
                (name, "evil.example" if name == ":authority" else value) for name, value in client.head()
            ]
            assert (await client.answer(await client.send_request(headers)))[0] == 421


# ---- inputs that end Hypercorn's own server. Those in HTTP/1.1 are refused by the grammar of http_head.


@pytest.mark.parametrize(
    "change",
    [
        {":path": b"/\xff"},
        {":method": b"G\xffT"},
        {":method": b"CONNECT", ":path": None, ":scheme": None},
        {":authority": b"\xff"},
    ],
    ids=["path", "method", "connect", "authority"],
)
async def test_a_head_that_crashes_hypercorn_costs_one_connection(tls, client_tls, change):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            headers = [
                (name, change.get(name, value))
                for name, value in client.head()
                if change.get(name, value) is not None
            ]
            number = await client.send_request(headers)
            try:
                assert (await client.answer(number))[0] >= 400
            except (EOFError, trio.BrokenResourceError):
                pass
            await check_alive(server, client_tls)


async def test_data_after_a_response_is_ignored(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            number = client.h2.get_next_available_stream_id()
            client.h2.send_headers(number, client.head("POST", "/nowhere"))
            await client.flush()
            while number not in client.answers:
                assert await client.receive()
            assert client.answers[number][0] == 404
            client.h2.send_data(number, b"late" * 1000, end_stream=True)
            await client.flush()
            other = await client.send_request(client.head(path="/echo"))
            assert (await client.answer(other))[0] == 200
            await check_alive(server, client_tls)


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /echo HTTP/1.1\r\nHost: {host}\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: {host}\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: \xff\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Extensions: \xff\r\n\r\n",
        (
            b"GET /echo HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=abc\r\n\r\n"
        ),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ],
    ids=["h2c-short", "h2c-long", "subprotocol", "extensions", "deflate", "prior-knowledge"],
)
async def test_what_crashes_hypercorn_on_http_1_never_reaches_it(request_head):
    with trio.fail_after(10):
        async with listening() as server:
            for _ in range(2):
                stream = await trio.open_tcp_stream("127.0.0.1", server.port)
                await stream.send_all(request_head.replace(b"{host}", b"127.0.0.1:%d" % server.port))
                answer = await stream.receive_some()
                assert answer.split()[1] in {b"400", b"401", b"505"}
                await stream.aclose()
            assert not [event for event in server.log.events if event[0] in {"error", "warning"}]


# ---- inputs that hang or block Hypercorn's own server


async def test_a_stalled_reader_does_not_hang_the_shutdown(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            client.h2.increment_flow_control_window(2**30)
            number = await client.send_request(client.head(path="/flood"))
            client.h2.increment_flow_control_window(2**30, number)
            await client.flush()
            await trio.sleep(0.5)  # by now the socket is full and Hypercorn is in its shielded send
        # leaving the block is the assertion


async def test_a_stalled_reader_is_disconnected(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls, Limits(write_stall_seconds=0.5)) as server:
            client = await connect(server, client_tls)
            client.h2.increment_flow_control_window(2**30)
            number = await client.send_request(client.head(path="/flood"))
            client.h2.increment_flow_control_window(2**30, number)
            await client.flush()
            await trio.sleep(1.5)
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await client.answer(number)
            await check_alive(server, client_tls)


async def test_data_without_a_flow_control_window_is_not_queued(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls, Limits(write_stall_seconds=0.5)) as server:
            client = await connect(server, client_tls)
            await client.send_request(client.head(path="/flood"))
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                while True:  # reads, and never opens its windows again
                    client.h2.receive_data(await client.stream.receive_some() or _end())
            assert server.flooded <= 3 * 65536
            assert ("warning", "client_stalled") in {event[:2] for event in server.log.events}
            await check_alive(server, client_tls)


async def test_a_stream_without_a_window_ends_alone_while_others_progress(tls, client_tls):
    with trio.fail_after(20):
        async with listening(tls, Limits(write_stall_seconds=0.5)) as server:
            client = await connect(server, client_tls)
            stuck = await client.send_request(client.head(path="/flood"))
            receive, acknowledge, resets = client.h2.receive_data, client.h2.acknowledge_received_data, []

            def received(data):
                events = receive(data)
                resets.extend(event for event in events if isinstance(event, h2.events.StreamReset))
                return events

            def acknowledged(size, number):
                if number != stuck:
                    acknowledge(size, number)

            client.h2.receive_data, client.h2.acknowledge_received_data = received, acknowledged
            client.h2.increment_flow_control_window(2**20)
            while not resets:
                assert (await client.answer(await client.send_request(client.head())))[0] == 200
                await trio.sleep(0.02)
            assert [event.stream_id for event in resets] == [stuck]
            assert (await client.answer(await client.send_request(client.head())))[0] == 200
            await check_alive(server, client_tls)


def _end():
    raise EOFError


@pytest.mark.parametrize("path", ["/stream", "/flood", "/ignore"])
async def test_a_connection_ends_with_its_peer(tls, client_tls, path):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            await client.send_request(client.head(path=path))
            while not (client.answers or path == "/ignore"):
                assert await client.receive()
            await client.stream.transport_stream.aclose()
            while server.quota._total:
                await trio.sleep(0.01)


async def test_messages_sent_before_a_disconnect_arrive(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            await client.send_request(client.head("POST", "/keep"), b"farewell")
            await client.stream.transport_stream.send_eof()
            while server.kept != b"farewell":
                await trio.sleep(0.01)


async def test_an_unread_body_does_not_block_other_requests(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            number = await client.send_request(client.head("POST", "/ignore"), b"x" * 1_000_000)
            assert (await client.answer(number))[::2] == [200, b"did not read it"]
            other = await client.send_request(client.head(path="/echo"))
            assert (await client.answer(other))[0] == 200


async def test_a_body_over_the_limit_is_refused(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls, Limits(body=1000)) as server:
            client = await connect(server, client_tls)
            number = await client.send_request(client.head("POST", "/echo"), b"x" * 2000)
            assert (await client.answer(number))[0] == 413


@pytest.mark.parametrize("piece", [b"", b"x"], ids=["pauses", "drips"])
async def test_a_body_that_comes_too_slowly_is_refused(tls, client_tls, piece):
    with trio.fail_after(10):
        async with listening(tls, Limits(body_grace_seconds=0.3)) as server:
            client = await connect(server, client_tls)
            number = client.h2.get_next_available_stream_id()
            client.h2.send_headers(number, client.head("POST", "/echo"))
            await client.flush()
            while number not in client.answers:
                with trio.move_on_after(0.1):
                    assert await client.receive()
                if piece:
                    client.h2.send_data(number, piece)
                    await client.flush()
            assert client.answers[number][0] == 408


async def test_a_slow_body_within_the_rate_is_accepted(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls, Limits(body_grace_seconds=0.3, body_rate=100)) as server:
            client = await connect(server, client_tls)
            number = client.h2.get_next_available_stream_id()
            client.h2.send_headers(number, client.head("POST", "/echo"))
            for _ in range(10):
                client.h2.send_data(number, b"x" * 100)
                await client.flush()
                await trio.sleep(0.1)
            client.h2.end_stream(number)
            await client.flush()
            assert (await client.answer(number))[::2] == [200, b"x" * 1000]


@pytest.mark.parametrize("piece", [b"", b"x"])
async def test_a_body_in_tiny_pieces_is_refused(tls, client_tls, piece):
    """Empty pieces as well, whose number has no limit in HTTP/2."""
    with trio.fail_after(10):
        async with listening(tls, Limits(body_grace_seconds=0.5)) as server:
            client = await connect(server, client_tls)
            number = client.h2.get_next_available_stream_id()
            client.h2.send_headers(number, client.head("POST", "/echo"))
            while number not in client.answers:
                client.h2.send_data(number, piece)
                await client.flush()
                with trio.move_on_after(0.05):
                    assert await client.receive()
            assert client.answers[number][0] == 408


async def test_streams_have_heartbeats_and_an_end(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls, Limits(heartbeat_seconds=0.3)) as server:
            client = await connect(server, client_tls)
            number = await client.send_request(client.head(path="/stream"))
            while b":\n\n" not in client.answers.get(number, [0, 0, b""])[2]:
                assert await client.receive()
            server.streams[0].enqueue(b"{}", b"k_1", last=True)
            _status, headers, body, _ = await client.answer(number)
            assert body.endswith(b"id: k_1\nevent: message\ndata: {}\n\n")
            assert headers[b"x-accel-buffering"] == b"no"


async def test_a_reset_stream_is_noticed(tls, client_tls):
    with trio.fail_after(10):
        async with listening(tls) as server:
            client = await connect(server, client_tls)
            number = await client.send_request(client.head(path="/stream"))
            while not server.streams:
                await client.receive()
            client.h2.reset_stream(number)
            await client.flush()
            while server.streams[0].state != "disconnected":
                await trio.sleep(0.01)


@pytest.mark.parametrize("revoked", [True, False])
async def test_a_stream_ends_when_its_token_is_revoked(tls, client_tls, revoked):
    with trio.fail_after(10):
        async with listening(tls, Limits(heartbeat_seconds=0.3)) as server:
            client = await connect(server, client_tls)
            number = await client.send_request(client.head(path="/stream"))
            while not server.streams:
                await client.receive()
            other = TOKEN[:-1] + "H"
            server.tokens.replace(TokenSet({other if revoked else TOKEN: "owner"}))
            server.routes.replace(
                {} if not revoked else {"/stream": server.stream}
            )  # a removed server is drained
            if revoked:
                await client.answer(number)
            else:
                while client.answers.get(number, [0, 0, b""])[2].count(b":\n\n") < 3:
                    assert await client.receive()
            assert server.streams[0].state == ("disconnected" if revoked else "open")


async def test_an_idle_connection_is_closed_earlier_without_a_credential(tls, client_tls):
    with trio.fail_after(20):
        async with listening(tls, Limits(head_seconds=1)) as server:
            known = await connect(server, client_tls)
            assert (await known.answer(await known.send_request(known.head())))[0] == 200
            nobody = await connect(server, client_tls)
            assert (await nobody.answer(await nobody.send_request(nobody.head(token=None))))[0] == 401
            silent = await connect(server, client_tls)
            for client in (nobody, silent):
                with pytest.raises((EOFError, trio.BrokenResourceError)):
                    await client.answer(99)
            assert (await known.answer(await known.send_request(known.head())))[0] == 200


async def test_old_tls_is_refused(tls, authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with trio.fail_after(10):
        async with listening(tls) as server:
            stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", server.port, ssl_context=context)
            OPENED.append(stream)
            with pytest.raises(trio.BrokenResourceError):
                await stream.do_handshake()
