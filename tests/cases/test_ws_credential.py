"""Accept the credential of WebSocket clients without headers, and clients that offer no subprotocol (W2, W3)."""

import time
from hashlib import sha256

import pytest

from ..support.bridge_process import EXAMPLE, Bridge
from ..support.daemon_process import daemon
from ..support.websocket_handshake import open_session
from ..support.wire import connect, fresh_key

OTHER = "mcpb_other-token-0123456789abcdefghijkLMNOPQ"
WRONG = "mcpb_" + "wrong0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    options = ("--cors", "http://page.example", "--log-level", "debug")
    with Bridge(tmp_path_factory.mktemp("credential"), EXAMPLE, *options) as running:
        yield running
        running.stop()
        log = "\n".join(running.lines)
        assert running.token not in log
        assert WRONG not in log


def ask(bridge, *fields, method="GET", target="/ws", upgrade=True):
    """Return the status and the whole text of the response to a request with these fields."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{bridge.address[1]}"]
    if upgrade:
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        lines.append(f"Sec-WebSocket-Key: {fresh_key()}")
    with connect(bridge.address) as connection:
        connection.send("\r\n".join([*lines, *fields, "", ""]).encode())
        reply = connection.reply()
    return reply.status, (reply.raw_head + reply.body).decode()


def offers(*values):
    return [f"Sec-WebSocket-Protocol: {value}" for value in values]


SERVED = [
    ("mcp, bearer.TOKEN",),
    ("bearer.TOKEN, mcp",),
    ("mcp,bearer.TOKEN",),
    ("  mcp  ,   bearer.TOKEN  ",),
    ("mcp", "bearer.TOKEN"),
    ("bearer.TOKEN", "mcp"),
    ("x, bearer.TOKEN, graphql-ws, mcp",),
]


@pytest.mark.parametrize("offer", SERVED)
@pytest.mark.parametrize("target", ["/ws", "/servers/stdio/ws"])
def test_w2_a_token_as_a_subprotocol_is_a_credential_and_only_mcp_is_answered(bridge, offer, target):
    status, reply = ask(
        bridge, *offers(*(value.replace("TOKEN", bridge.token) for value in offer)), target=target
    )
    assert status == 101, reply
    assert reply.lower().count("sec-websocket-protocol") == 1
    assert "Sec-WebSocket-Protocol: mcp\r\n" in reply
    assert bridge.token not in reply


REFUSED = [
    (["mcp, bearer.WRONG"], 401),
    (["mcp, bearer."], 401),
    (["mcp, bearer"], 401),
    (["mcp, TOKEN"], 401),
    (["mcp, Bearer.TOKEN"], 401),
    (["mcp, bearer TOKEN"], 401),
    (["mcp, bearer.bearer.TOKEN"], 401),
    (["mcp, bearer.TOKENx"], 401),
    (["mcp, bearer.TOKEN, bearer.WRONG"], 401),
    (["mcp, bearer.TOKEN, bearer.TOKEN"], 401),
    (["mcp, bearer.TOKEN", "bearer.WRONG"], 401),
    (["mcp, bearer." + "a" * 600], 401),
    (["bearer.TOKEN"], 400),
    (["MCP, bearer.TOKEN"], 400),
]


@pytest.mark.parametrize(("offer", "status"), REFUSED)
def test_w2_any_other_offer_is_refused_and_shows_no_token(bridge, offer, status):
    values = [value.replace("TOKEN", bridge.token).replace("WRONG", WRONG) for value in offer]
    found, reply = ask(bridge, *offers(*values))
    assert found == status, reply
    assert bridge.token not in reply
    assert WRONG not in reply


@pytest.mark.parametrize(
    ("offered", "authorization", "status"),
    [
        ("TOKEN", "Bearer TOKEN", 101),
        ("WRONG", "Bearer TOKEN", 401),
        ("TOKEN", "Bearer WRONG", 401),
        ("TOKEN", "Basic eDp5", 401),
        ("", "Bearer TOKEN", 401),
    ],
)
def test_w2_two_credentials_must_be_the_same(bridge, offered, authorization, status):
    def filled(text):
        return text.replace("TOKEN", bridge.token).replace("WRONG", WRONG)

    found, reply = ask(
        bridge, *offers(f"mcp, bearer.{filled(offered)}"), f"Authorization: {filled(authorization)}"
    )
    assert found == status, reply


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Origin: http://page.example"], 101),
        (["Origin: http://127.0.0.1:PORT"], 101),
        (["Origin: http://evil.example"], 403),
        (["Origin: null"], 403),
        (["Origin: http://page.example.evil.example"], 403),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Origin: http://page.example", "Sec-Fetch-Site: cross-site"], 101),
    ],
)
def test_w2_a_page_needs_an_allowed_origin_as_well(bridge, fields, status):
    fields = [field.replace("PORT", str(bridge.address[1])) for field in fields]
    found, reply = ask(bridge, *offers(f"mcp, bearer.{bridge.token}"), *fields)
    assert found == status, reply


@pytest.mark.parametrize("how", ["no upgrade", "POST", "h2c"])
def test_w2_the_subprotocol_is_no_credential_of_other_requests(bridge, how):
    fields = [*offers(f"mcp, bearer.{bridge.token}"), "Accept: text/event-stream"]
    if how == "POST":
        fields += ["Content-Length: 0"]
        status, reply = ask(bridge, *fields, method="POST", target="/mcp")
    elif how == "h2c":
        fields += ["Connection: Upgrade", "Upgrade: h2c"]
        status, reply = ask(bridge, *fields, target="/mcp", upgrade=False)
    else:
        status, reply = ask(bridge, *fields, target="/mcp", upgrade=False)
    assert status == 401, reply


def test_w2_wrong_subprotocol_tokens_count_like_every_wrong_credential(tmp_path):
    with Bridge(tmp_path, EXAMPLE, "--limit", "wrong_credentials_per_second=3") as running:

        def attempt(number):
            fields = offers(f"mcp, bearer.{WRONG}")
            if number % 2:
                fields = [*offers("mcp"), f"Authorization: Bearer {WRONG}"]
            return ask(running, *fields)[0]

        end = time.monotonic() + 10
        while time.monotonic() < end:
            found = [attempt(number) for number in range(6)]
            if found == [401, 401, 401, 429, 429, 429]:
                break
        assert found == [401, 401, 401, 429, 429, 429]
        assert ask(running, *offers(f"mcp, bearer.{running.token}"))[0] == 101


def test_w2_the_token_names_its_principal_and_its_removal_closes_the_connection(tmp_path):
    tokens = {"page": {"sha256": sha256(OTHER.encode()).hexdigest(), "servers": ["one"]}}
    servers = {name: {"command": EXAMPLE} for name in ("one", "two")}
    with daemon(tmp_path, servers, **{f"tokens.{name}": table for name, table in tokens.items()}) as running:
        fields = offers(f"mcp, bearer.{OTHER}")
        assert ask(running, *fields, target="/servers/two/ws")[0] in (403, 404)
        with connect(running.address) as connection:
            socket = open_session(running, connection, *fields, target="/servers/one/ws")
            running.config.write_text(running.config.read_text().partition("[tokens")[0])
            running.reload()
            connection.to_the_end(10)
        assert socket is not None
        assert ask(running, *fields, target="/servers/one/ws")[0] == 401


def test_w2_where_no_credential_is_needed_the_offer_is_not_echoed(tmp_path):
    with Bridge(tmp_path, EXAMPLE, "--no-auth") as running:
        status, reply = ask(running, *offers(f"mcp, bearer.{WRONG}"))
        assert status == 101
        assert "Sec-WebSocket-Protocol: mcp\r\n" in reply
        assert WRONG not in reply


# ---- W3


def test_w3_without_an_offer_no_subprotocol_is_answered_and_the_connection_is_served(bridge):
    authorization = f"Authorization: Bearer {bridge.token}"
    status, reply = ask(bridge, authorization)
    assert status == 101, reply
    assert "sec-websocket-protocol" not in reply.lower()
    with connect(bridge.address) as connection:
        socket = open_session(bridge, connection, authorization)
        socket.send({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        assert socket.message() == {"jsonrpc": "2.0", "id": 2, "result": {}}


@pytest.mark.parametrize("offer", ["graphql-ws", "MCP", "mcpx, xmcp", "m cp", '"mcp"', "mcp;q=1", ""])
def test_w3_an_offer_without_mcp_stays_refused(bridge, offer):
    status, reply = ask(bridge, f"Sec-WebSocket-Protocol: {offer}", f"Authorization: Bearer {bridge.token}")
    assert status == 400, reply
    assert "must offer mcp" in reply


def test_w3_without_an_offer_and_a_credential_there_is_no_connection(bridge):
    assert ask(bridge)[0] == 401
