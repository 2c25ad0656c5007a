"""Invalid WebSocket upgrades and frames.

An invalid frame ends its WebSocket with the right close code, ends the child, and does not reach the child. Valid frames with
invalid messages are in test_carriers.
"""

import time

import pytest

from ..support.waiting import wait_until_empty
from ..support.wire import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    TIMEOUT,
    Broken,
    NothingReceived,
    Socket,
    frame,
    fresh_key,
)

pytestmark = pytest.mark.usefixtures("still_serving")

CONTINUATION = 0
ECHO = b'{"jsonrpc":"2.0","id":1,"method":"test/echo"}'


def key(text):
    return f"Sec-WebSocket-Key: {text}"


# ---- W01 to W03, W10: the upgrade

UPGRADES = [
    ("W01 HTTP/1.0", lambda r: r.with_version("HTTP/1.0"), {400}),
    ("W01 POST", lambda r: r.with_method("POST"), {400, 405}),
    ("W01 POST with a length", lambda r: r.with_method("POST").with_body(b""), {400, 405}),
    ("W01 no key", lambda r: r.without_field("Sec-WebSocket-Key"), {400}),
    ("W01 empty key", lambda r: r.replace_field(key("")), {400}),
    ("W01 key of 1 byte", lambda r: r.replace_field(key("QQ==")), {400}),
    ("W01 key of 15 bytes", lambda r: r.replace_field(key("QUFBQUFBQUFBQUFBQUFB")), {400}),
    ("W01 key of 17 bytes", lambda r: r.replace_field(key("QUFBQUFBQUFBQUFBQUFBQUE=")), {400}),
    ("W01 garbage key", lambda r: r.replace_field(key("!!!!!!!!!!!!!!!!!!!!!!==")), {400}),
    ("W01 key without padding", lambda r: r.replace_field(key("QUFBQUFBQUFBQUFBQUFBQQ")), {400}),
    ("W01 key with stray bits", lambda r: r.replace_field(key("QUFBQUFBQUFBQUFBQUFBQR==")), {400}),
    ("W01 URL-safe key", lambda r: r.replace_field(key("_-_-_-_-_-_-_-_-_-_-_A==")), {400}),
    ("W01 key with a space", lambda r: r.replace_field(key("QUFBQUFBQUF BQUFBQUFBQQ==")), {400}),
    ("W01 two keys", lambda r: r.add(key(fresh_key())), {400}),
    ("W01 a list of keys", lambda r: r.replace_field(key(f"{fresh_key()}, {fresh_key()}")), {400}),
    ("W01 a body", lambda r: r.with_body(b"abc"), {400}),
    ("W01 a chunked body", lambda r: r.add("Transfer-Encoding: chunked").with_raw_body(b"0\r\n\r\n"), {400}),
    ("W02 version 8", lambda r: r.replace_field("Sec-WebSocket-Version: 8"), {426}),
    ("W02 version 14", lambda r: r.replace_field("Sec-WebSocket-Version: 14"), {426}),
    ("W02 version 13, 8", lambda r: r.replace_field("Sec-WebSocket-Version: 13, 8"), {426}),
    ("W02 version 013", lambda r: r.replace_field("Sec-WebSocket-Version: 013"), {426}),
    ("W02 no version", lambda r: r.without_field("Sec-WebSocket-Version"), {400, 426}),
    ("W02 two versions", lambda r: r.add("Sec-WebSocket-Version: 13"), {400}),
    ("W02 h2c", lambda r: r.replace_field("Upgrade: h2c"), {400, 426}),
    ("W02 two protocols", lambda r: r.replace_field("Upgrade: h2c, websocket"), {400, 426}),
    ("W02 two fields", lambda r: r.add("Upgrade: h2c"), {400, 426}),
    ("W02 websocketx", lambda r: r.replace_field("Upgrade: websocketx"), {400, 426}),
    ("W02 no Upgrade", lambda r: r.without_field("Upgrade"), {400, 426}),
    ("W02 no Connection", lambda r: r.without_field("Connection"), {400, 426}),
    ("W02 Connection: close", lambda r: r.replace_field("Connection: close"), {400, 426}),
    ("W02 Connection: xUpgrade", lambda r: r.replace_field("Connection: xUpgrade"), {400, 426}),
    ("W03 foreign Origin", lambda r: r.add("Origin: http://evil.example"), {403}),
    ("W03 Origin null", lambda r: r.add("Origin: null"), {403}),
    ("W03 Sec-WebSocket-Origin alone", lambda r: r.without_field("Authorization").add("Sec-WebSocket-Origin: x"), {401}),
    ("W03 cross-site", lambda r: r.add("Sec-Fetch-Site: cross-site"), {403}),
    ("W03 no token", lambda r: r.without_field("Authorization"), {401}),
    ("W03 wrong token", lambda r: r.replace_field("Authorization: Bearer " + "x" * 48), {401}),
    ("W03 an empty list of subprotocols", lambda r: r.replace_field("Sec-WebSocket-Protocol:"), {400}),
    ("W03 another subprotocol", lambda r: r.replace_field("Sec-WebSocket-Protocol: graphql-ws"), {400}),
    ("W03 another case", lambda r: r.replace_field("Sec-WebSocket-Protocol: MCP"), {400}),
    ("W03 a longer name", lambda r: r.replace_field("Sec-WebSocket-Protocol: mcpx, xmcp, m cp"), {400}),
    ("W03 a session id", lambda r: r.without_field("Authorization").add("Mcp-Session-Id: " + "A" * 43), {401}),
]  # fmt: skip


@pytest.mark.parametrize("target", ["/ws", "/servers/stdio/ws"])
@pytest.mark.parametrize(("change", "statuses"), [pytest.param(c, s, id=i) for i, c, s in UPGRADES])
def test_an_invalid_upgrade_is_refused_and_starts_no_server(bridge, target, change, statuses):
    children, journal = bridge.children(), bridge.journal.stat().st_size
    reply = bridge.exchange(change(bridge.upgrade(target)))
    assert reply.status in statuses, reply
    assert "upgrade" not in reply.headers.get("connection", "").lower() or reply.status == 426
    if reply.status == 426:
        assert reply.headers["sec-websocket-version"] == "13"
    assert "sec-websocket-accept" not in reply.headers
    assert not bridge.children() - children
    assert bridge.journal.stat().st_size == journal


@pytest.mark.parametrize("place", ["Sec-WebSocket-Protocol: mcp, TOKEN", "Sec-WebSocket-Protocol: mcp, Bearer.TOKEN", "Cookie: token=TOKEN"])  # fmt: skip
def test_w03_the_token_is_taken_from_one_place_only(bridge, place):
    request = (
        bridge.upgrade().without_field("Authorization").replace_field(place.replace("TOKEN", bridge.token))
    )
    assert bridge.exchange(request).status == 401
    assert bridge.token not in "".join(bridge.stderr)


@pytest.mark.parametrize(
    "offer",
    ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame, permessage-deflate", "a, b, c", '"'],
)  # fmt: skip
def test_w10_no_extension_is_ever_negotiated(bridge, offer):
    with bridge.connect() as connection:
        connection.send(bridge.upgrade().add(f"Sec-WebSocket-Extensions: {offer}"))
        reply = connection.head()
        assert reply.status == 101
        assert "sec-websocket-extensions" not in reply.headers
        assert reply.headers["sec-websocket-protocol"] == "mcp"
        connection.send(frame(TEXT, b"\xca\x48\xcd\xc9\xc9\x07\x00", rsv=4))  # "Hello", deflated
        assert Socket(connection).closing() == 1002


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "WEBSOCKET"])
@pytest.mark.parametrize("connection_field", ["Upgrade", "upgrade", "keep-alive, Upgrade"])
@pytest.mark.parametrize("offered", ["mcp", "x, mcp", "mcp,x"])
def test_a_valid_upgrade_is_served(bridge, upgrade, connection_field, offered):
    request = (
        bridge.upgrade().replace_field(f"Upgrade: {upgrade}").replace_field(f"Connection: {connection_field}")
    )
    with bridge.connect() as connection:
        connection.send(request.replace_field(f"Sec-WebSocket-Protocol: {offered}"))
        reply = connection.head()
        assert reply.status == 101
        assert reply.headers["sec-websocket-protocol"] == "mcp"


def test_frames_in_one_segment_with_the_upgrade_are_answered_or_refused(bridge):
    """Respond to a client that does not wait for the 101, although RFC 6455 section 4.1 requires that."""
    ping = b'{"jsonrpc":"2.0","id":0,"method":"ping"}'
    with bridge.connect() as connection:
        connection.send(bytes(bridge.upgrade()) + frame(TEXT, ping) + frame(PING, b"behind"))
        if connection.head().status == 101:
            found = {Socket(connection).next(2)[0] for _ in range(2)}
            assert found <= {TEXT, PONG, CLOSE}


# ---- W04, W05, W06, W08, W09: frames; (case, bytes, code)


def text(payload, **more):
    return frame(TEXT, payload, **more)


FRAMES = [
    ("W04 unmasked text", text(ECHO, masked=False), {1002}),
    ("W04 unmasked ping", frame(PING, b"x", masked=False), {1002}),
    ("W04 RSV1", text(ECHO, rsv=4), {1002}),
    ("W04 RSV2", text(ECHO, rsv=2), {1002}),
    ("W04 RSV3", text(ECHO, rsv=1), {1002}),
    ("W04 RSV1 on a ping", frame(PING, b"", rsv=4), {1002}),
    ("W04 RSV1 on a continuation", text(b"{", fin=False) + frame(CONTINUATION, b"}", rsv=4), {1002}),
    *[(f"W04 opcode {opcode}", frame(opcode, ECHO), {1002}) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    ("W04 ping of 126 bytes", frame(PING, b"x" * 126), {1002}),
    ("W04 pong of 126 bytes", frame(PONG, b"x" * 126), {1002}),
    ("W04 close of 126 bytes", frame(CLOSE, b"\x03\xe8" + b"x" * 124), {1002}),
    ("W04 fragmented ping", frame(PING, b"x", fin=False), {1002}),
    ("W04 fragmented close", frame(CLOSE, b"\x03\xe8", fin=False), {1002}),
    ("W04 continuation first", frame(CONTINUATION, ECHO), {1002}),
    ("W04 continuation behind a message", text(b"[]") + frame(CONTINUATION, ECHO), {1002}),
    ("W04 text in a message", text(b"{", fin=False) + text(ECHO), {1002}),
    ("W04 binary in a message", text(b"{", fin=False) + frame(BINARY, ECHO), {1002, 1003}),
    ("W04 length 2^63", text(b"", length=1 << 63), {1002}),
    ("W04 length 2^64-1", text(b"", length=(1 << 64) - 1), {1002}),
    ("W04 5 in 16 bits", text(b"[1,2]", length_bytes=2), {1002}),
    ("W04 125 in 16 bits", text(b"1" * 125, length_bytes=2), {1002}),
    ("W04 5 in 64 bits", text(b"[1,2]", length_bytes=8), {1002}),
    ("W04 65535 in 64 bits", text(b"1" * 65535, length_bytes=8), {1002}),
    ("W04 5 in 16 bits, ping", frame(PING, b"hello", length_bytes=2), {1002}),
    ("W04 HTTP", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", {1002}),
    ("W04 TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {1002}),
    ("W04 ones", b"\xff" * 4096, {1002}),
    ("W04 zeros", b"\0" * 4096, {1002}),
    ("W05 FF", text(b'"\xff"'), {1007}),
    ("W05 surrogate", text(b'"\xed\xa0\x80"'), {1007}),
    ("W05 surrogate pair", text(b'"\xed\xa0\xbd\xed\xb8\x80"'), {1007}),
    ("W05 overlong", text(b'"\xc0\xaf"'), {1007}),
    ("W05 above U+10FFFF", text(b'"\xf4\x90\x80\x80"'), {1007}),
    ("W05 cut off", text(b'"\xe2\x82'), {1007}),
    ("W05 cut off in fragments", text(b'"\xe2', fin=False) + frame(CONTINUATION, b"\x82"), {1007}),
    ("W05 wrong in the second fragment", text(b'"\xe2', fin=False) + frame(CONTINUATION, b'A"'), {1007}),
    ("W05 wrong before the end", text(b'"\xff', fin=False), {1007}),
    ("W05 in a reason", frame(CLOSE, b"\x03\xe8\xff"), {1002, 1007}),
    ("W06 length 2^62", text(b"", length=1 << 62), {1009}),
    ("W06 length 2^63-1", text(b"", length=(1 << 63) - 1), {1009}),
    ("W06 length 2^32", text(b"", length=1 << 32), {1009}),
    ("W06 length 1 GiB + 1", text(b"", length=1024**3 + 1), {1009}),
    ("W06 2^62 in a continuation", text(b"{", fin=False) + frame(CONTINUATION, b"", length=1 << 62), {1009}),
    ("W06 1 GiB + 1 in two", text(b" " * 65536, fin=False) + frame(CONTINUATION, b"", length=1024**3), {1009}),
    ("W08 binary JSON", frame(BINARY, ECHO), {1003}),
    ("W08 empty binary", frame(BINARY, b""), {1003}),
    ("W08 binary of 2^40", frame(BINARY, b"", length=1 << 40), {1003, 1009}),
    ("W09 close with half a code", frame(CLOSE, b"\x03"), {1002}),
    *[
        (f"W09 close {code}", frame(CLOSE, code.to_bytes(2, "big")), {1002})
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    ],
]  # fmt: skip


@pytest.mark.parametrize(("data", "codes"), [pytest.param(d, c, id=i) for i, d, c in FRAMES])
def test_an_invalid_frame_ends_the_websocket_and_its_child(bridge, data, codes):
    children, size = bridge.children(), bridge.journal.stat().st_size
    resident = bridge.resident()
    with bridge.websocket() as socket:
        socket.send({"jsonrpc": "2.0", "id": "before", "method": "ping"})
        assert socket.message()["id"] == "before"
        began = time.monotonic()
        socket.connection.try_send(data)
        assert socket.closing() in codes
        assert time.monotonic() - began < 1
    assert b"test/echo" not in bridge.journal.read_bytes()[size:]
    assert bridge.resident() - resident < 8 * 1024
    assert not wait_until_empty(lambda: bridge.children() - children)


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe9bye", b"\x0b\xb8", b"\x13\x87" + b"x" * 123])
def test_w09_a_close_is_answered_by_a_close(bridge, payload):
    with bridge.websocket() as socket:
        socket.connection.send(frame(CLOSE, payload))
        assert socket.closing() == (int.from_bytes(payload[:2], "big") if payload else 1005)


def test_w09_frames_behind_a_close_are_ignored(bridge):
    size = bridge.journal.stat().st_size
    with bridge.websocket() as socket:
        socket.connection.send(frame(CLOSE, b"\x03\xe8") + frame(TEXT, ECHO) + frame(PING, b"x"))
        assert socket.closing() == 1000
    assert b"test/echo" not in bridge.journal.read_bytes()[size:]


def test_w09_a_client_that_never_answers_a_ping_is_closed(short_limits):
    with short_limits.websocket() as socket:
        began = time.monotonic()
        assert socket.closing(8) == 1011
        assert time.monotonic() - began < 5
    assert not wait_until_empty(short_limits.children)


def test_w09_a_client_that_answers_pings_is_kept(short_limits):
    with short_limits.websocket() as socket:
        # Without pongs the bridge would close after about 3 s.
        until = time.monotonic() + 3.3
        while time.monotonic() < until:
            try:
                opcode, payload = socket.next(0.5)
            except NothingReceived:
                continue
            assert opcode == PING
            socket.connection.send(frame(PONG, payload))
        socket.send({"jsonrpc": "2.0", "id": 3, "method": "ping"})
        assert socket.message()["id"] == 3


# ---- W07


def test_w07_a_message_of_1025_fragments_is_closed(bridge):
    with bridge.websocket() as socket:
        socket.connection.send(text(b"{", fin=False) + frame(CONTINUATION, b"", fin=False) * 1023)
        socket.connection.send(frame(PING, b"still here"))
        assert socket.next() == (PONG, b"still here")
        socket.connection.send(frame(CONTINUATION, b"", fin=False))
        assert socket.closing() == 1008


def test_w07_empty_messages_are_ignored(bridge):
    with bridge.websocket() as socket:
        socket.connection.send(text(b"") * 2000)
        socket.send({"jsonrpc": "2.0", "id": 3, "method": "ping"})
        while (found := socket.message())["id"] is None:
            pass
        assert found == {"jsonrpc": "2.0", "id": 3, "result": {}}


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_w07_a_flood_of_control_frames_is_closed(bridge, opcode):
    with bridge.websocket() as socket:
        socket.connection.try_send(frame(opcode, b"x" * 125) * 1000)
        assert socket.closing() == 1008


def test_w07_a_ping_now_and_then_is_answered(bridge):
    with bridge.websocket() as socket:
        for number in range(10):
            socket.connection.send(frame(PING, b"%d" % number))
        for number in range(10):
            assert socket.next() == (PONG, b"%d" % number)


def test_a_control_frame_inside_of_a_message_is_answered_before_it(bridge):
    with bridge.websocket() as socket:
        socket.connection.send(
            text(ECHO[:10], fin=False) + frame(PING, b"x") + frame(CONTINUATION, ECHO[10:])
        )
        assert socket.next() == (PONG, b"x")
        assert socket.message()["result"]["method"] == "test/echo"


def test_a_message_in_many_fragments_is_one_message(bridge):
    body = '{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"x":"é€𝄞"}}'.encode()
    frames = [text(body[:1], fin=False)] + [
        frame(CONTINUATION, body[n : n + 1], fin=False) for n in range(1, len(body))
    ]
    with bridge.websocket() as socket:
        socket.connection.send(b"".join(frames) + frame(CONTINUATION, b""))
        assert socket.message()["result"]["params"]["x"] == "é€𝄞"


def test_a_frame_byte_by_byte_is_one_frame(bridge):
    with bridge.websocket() as socket:
        for byte in text(ECHO + b" " * 100):
            socket.connection.send(bytes([byte]))
        assert socket.message()["result"]["method"] == "test/echo"


# ---- clients that leave, or never read


@pytest.mark.parametrize("how", ["close", "reset", "half", "mid-frame", "before the answer", "during a call"])
def test_a_lost_websocket_ends_its_child(bridge, how):
    children = bridge.children()
    if how == "before the answer":
        with bridge.connect() as connection:
            connection.send(bridge.upgrade())
            connection.reset()
    else:
        with bridge.websocket() as socket:
            match how:
                case "reset":
                    socket.connection.reset()
                case "half":
                    socket.connection.sock.shutdown(1)
                    assert not wait_until_empty(lambda: bridge.children() - children)
                case "mid-frame":
                    socket.connection.send(text(ECHO)[:7])
                case "during a call":
                    socket.send({"jsonrpc": "2.0", "id": 1, "method": "test/hold"})
                    socket.send({"jsonrpc": "2.0", "id": 2, "method": "ping"})
                    assert socket.message()["id"] == 2
    assert not wait_until_empty(lambda: bridge.children() - children)


def test_a_reset_at_any_byte_affects_no_other_client(bridge):
    data = bytes(bridge.upgrade()) + text(ECHO) + frame(PING, b"x") + frame(CLOSE, b"\x03\xe8")
    children = bridge.children()
    for at in range(len(bytes(bridge.upgrade())) - 2, len(data), 5):
        with bridge.connect() as connection:
            connection.send(data[:at])
            connection.reset()
    assert not wait_until_empty(lambda: bridge.children() - children, 5)


def test_a_client_that_never_reads_is_closed_and_its_child_ended(short_limits):
    bridge = short_limits
    children, resident, before = bridge.children(), bridge.resident(), len(bridge.stderr)
    with bridge.connect() as connection:
        # SOL_SOCKET, SO_RCVBUF. With less, reading what the kernel holds takes minutes.
        connection.sock.setsockopt(1, 8, 65536)
        connection.send(bridge.upgrade())
        assert connection.head().status == 101
        socket = Socket(connection)
        socket.send(bridge.initialize())
        assert socket.message()["id"] == 0
        # More than the kernel and `pause_bytes` hold: the child waits until its client is closed after 2 s.
        params = {"count": 30_000, "more": {"fill": "x" * 1000}}
        socket.send({"jsonrpc": "2.0", "id": 1, "method": "test/notify", "params": params})
        assert bridge.children() != children
        warning = "the client has not read its WebSocket for 2 s"
        assert not wait_until_empty(
            lambda: not any(warning in line for line in bridge.stderr[before:]), TIMEOUT
        )
        code = None
        try:
            while code is None:
                opcode, payload = socket.next()
                code = int.from_bytes(payload[:2], "big") if opcode == CLOSE else None
        except Broken:
            pass
    assert code in (None, 1008, 1013)
    assert bridge.resident() - resident < 24 * 1024
    assert not wait_until_empty(lambda: bridge.children() - children)
