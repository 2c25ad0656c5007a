"""Each refusal of the gate, on each transport, is one audit event with the id of the response, and without a secret."""

import json
import socket

import pytest
import trio

from tests.support.correlation import header_ids, ids_in
from tests.support.daemon_clients import example
from tests.support.daemon_process import Daemon, write_config
from tests.support.http2_client import Client
from tests.support.tls import tls_client_context, write_certificate

pytestmark = pytest.mark.anyio
CANARY = "CANARY-7f3a9c"
UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module", params=["plain", "tls"])
def daemon(request, tmp_path_factory, authority):
    folder = tmp_path_factory.mktemp("audit")
    listen = {}
    if request.param == "tls":
        certificate, key = write_certificate(authority, folder)
        listen = {"tls_cert": str(certificate), "tls_key": str(key)}
    write_config(
        folder / "config.toml",
        {"one": example(), "two": example()},
        listen=listen,
        audit={"file": "audit.jsonl"},
        limits={"body": 2000, "wrong_credentials_per_second": 1000},
        **{"tokens.ci": {"sha256": "0" * 64, "servers": ["two"]}},
    )
    with Daemon(folder) as running:
        running.authority = authority if request.param == "tls" else None
        yield running


def events(running):
    return [json.loads(line) for line in (running.folder / "audit.jsonl").read_text().splitlines()]


# By name: what is sent in addition to a valid request, and the event and status that follow.
CASES = {
    "wrong host": ({"host": f"{CANARY}.example"}, "refused", "host", 421, ""),
    "forbidden origin": ({"origin": f"https://{CANARY}.example"}, "refused", "origin", 403, ""),
    "no credential": ({"authorization": None}, "authentication_failed", "credential_missing", 401, ""),
    "wrong credential": (
        {"authorization": f"Bearer {CANARY}"},
        "authentication_failed",
        "credential_wrong",
        401,
        "",
    ),
    "token in the url": (
        {":path": f"/servers/one/mcp?access_token={CANARY}"},
        "refused",
        "token_in_url",
        400,
        "",
    ),
    "unknown path": ({":path": f"/servers/{CANARY}/mcp"}, "refused", "not_found", 404, "owner"),
    "wrong method": ({":method": "PUT"}, "refused", "method", 405, "owner"),
    "media type": ({"content-type": f"text/{CANARY}"}, "refused", "content_type", 415, "owner"),
    "too large": ({":body": b"x" * 3000}, "refused", "too_large", 413, "owner"),
    "no json": ({":body": CANARY.encode()}, "refused", "bad_request", 400, "owner"),
}
# The server is not named where its path is not reached, or is not one of a server.
WITHOUT_SERVER = {"unknown path"}
POST = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def port_of(running):
    return running.address[1]


def headers_of(running, changes, more):
    found = {
        "host": f"127.0.0.1:{port_of(running)}",
        "authorization": f"Bearer {running.token}",
        "x-request-id": CANARY,
        "cookie": f"a={CANARY}",
        "x-forged": "x" + CANARY,
        **more,
        **{key: value for key, value in changes.items() if not key.startswith(":")},
    }
    return {key: value for key, value in found.items() if value is not None}


def connected(running):
    sock = socket.create_connection(running.address, 10)
    if running.authority is None:
        return sock
    context = tls_client_context(running.authority, "http/1.1")
    return context.wrap_socket(sock, server_hostname="127.0.0.1")


def http1(running, changes, *, websocket=False):
    """Return the response of one request on a connection of its own."""
    headers = headers_of(running, changes, UPGRADE if websocket else POST)
    method = changes.get(":method", "GET" if websocket else "POST")
    path = changes.get(":path", f"/servers/one/{'ws' if websocket else 'mcp'}")
    body = b"" if websocket else changes.get(":body", b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    if body:
        headers["content-length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items()), "", ""]
    with connected(running) as sock:
        sock.sendall("\r\n".join(lines).encode() + body)
        sock.settimeout(10)
        received = b""
        while b"}}" not in received and b"101 Switching" not in received:
            piece = sock.recv(65536)
            if not piece:
                break
            received += piece
        return received


async def http2(running, changes):
    stream = await trio.open_tcp_stream("127.0.0.1", port_of(running))
    context = tls_client_context(running.authority, "h2")
    client = Client(
        trio.SSLStream(stream, context, server_hostname="127.0.0.1"), port_of(running), running.token
    )
    await client.open()
    headers = headers_of(running, changes, POST)
    host = headers.pop("host")
    body = changes.get(":body", b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    pseudo = {
        ":method": changes.get(":method", "POST"),
        ":path": changes.get(":path", "/servers/one/mcp"),
        ":scheme": "https",
        ":authority": host,
    }
    number = await client.send_request([*pseudo.items(), *headers.items()], body)
    status, found, content, _ = await client.answer(number)
    await stream.aclose()
    return status, found[b"x-request-id"].decode(), content


async def event_after(running, known):
    """Return the events after `known`, which are awaited."""
    with trio.fail_after(20):
        while len(events(running)) <= known:
            await trio.sleep(0.02)
    # Another event would follow at the next tick.
    await trio.sleep(0.6)
    return events(running)[known:]


def check(running, found, name, status, header_id, body):
    _, event_name, reason, expected_status, principal = CASES[name]
    assert status == expected_status, body
    assert ids_in(body) == [header_id]
    (event,) = found
    assert (event["event"], event["reason"], event["status"]) == (event_name, reason, expected_status)
    assert event["count"] == 1
    assert event["correlation_id"] == header_id
    assert event.get("principal", "") == principal
    assert event.get("server", "") == ("one" if principal and name not in WITHOUT_SERVER else "")
    assert event["peer"].startswith("127.0.0.1:")
    text = (running.folder / "audit.jsonl").read_text() + "".join(running.lines)
    assert CANARY not in text
    assert running.token not in text
    assert sum(header_id in line for line in running.lines) == 1


@pytest.mark.parametrize("name", CASES)
async def test_a_refusal_over_http_1_is_one_event(daemon, name):
    known = len(events(daemon))
    reply = await trio.to_thread.run_sync(http1, daemon, CASES[name][0])
    head, _, body = reply.partition(b"\r\n\r\n")
    (header_id,) = header_ids(head + b"\r\n")
    check(daemon, await event_after(daemon, known), name, int(head.split()[1]), header_id, body)


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if ":body" not in case[0] and name != "media type"]
)
async def test_a_refusal_of_a_websocket_is_one_event(daemon, name):
    known = len(events(daemon))
    changes = dict(CASES[name][0])
    if ":path" in changes:
        changes[":path"] = changes[":path"].replace("mcp", "ws")

    def handshake():
        return http1(daemon, changes, websocket=True)

    head, _, body = (await trio.to_thread.run_sync(handshake)).partition(b"\r\n\r\n")
    (header_id,) = header_ids(head + b"\r\n")
    check(daemon, await event_after(daemon, known), name, int(head.split()[1]), header_id, body)


@pytest.mark.parametrize("name", CASES)
async def test_a_refusal_over_http_2_is_one_event(daemon, name):
    if daemon.authority is None:
        pytest.skip("HTTP/2 needs TLS")
    known = len(events(daemon))
    status, header_id, body = await http2(daemon, CASES[name][0])
    check(daemon, await event_after(daemon, known), name, status, header_id, body)


async def test_a_wrong_credential_on_the_connection_of_a_client_is_not_the_principal_of_that_client(daemon):
    known = len(events(daemon))
    host = f"Host: 127.0.0.1:{port_of(daemon)}"
    first = f"GET /readyz?server=one HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {daemon.token}\r\n\r\n"
    second = f"GET /readyz?server=one HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {CANARY}\r\n\r\n"

    def talk():
        with connected(daemon) as sock:
            sock.settimeout(10)
            for request, status in ((first, b"200"), (second, b"401")):
                sock.sendall(request.encode())
                assert sock.recv(65536).split()[1] == status

    await trio.to_thread.run_sync(talk)
    (event,) = await event_after(daemon, known)
    assert event["event"] == "authentication_failed"
    assert "principal" not in event
