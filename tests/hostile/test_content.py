r"""Media types, base64, addresses and hidden characters of hostile servers, over each transport, with the checks off and on.

The same lines are compared on a bare pipe, through a daemon without checks, and through one with checks.
"""

import json
import subprocess
import sys

import pytest

from ..support.daemon_process import CHILDREN, daemon
from ..support.handshake import initialize_params
from ..support.scripted_servers import CARRIERS, PAIRS, SCRIPTED, SERVERS, Pair, client, served
from ..support.wire import NothingReceived

CHECKS = {"mime": "refuse", "schemes": "refuse", "characters": "rewrite"}
DEFINITIONS = [sys.executable, str(CHILDREN / "definitions.py")]
# Text with an escape sequence, an override of the direction, tags and characters without width: as escapes and as itself.
HIDDEN = "a\\u001B[31mb\\u202ec\\udb40\\uDC41d\\u200b\\/\\u0041\u200b\u202e\U000e0041 \u2764\ufe0f \\ud83d".encode()
VISIBLE = "a[31mbcd\\/\\u0041 \u2764\ufe0f \\ud83d".encode()
RESULT = b'{"jsonrpc":"2.0","id":$ID,"result":{"resultType":"complete","content":[%b]}}'
TEXT = b'{"type":"text","text":"%b"}'
GOOD = RESULT % (TEXT % b"good")
BAD = {
    "mime": (
        b'{"type":"image","mimeType":"image/png\\n","data":"AAAA"}',
        "/content/0/mimeType is not a media type",
    ),
    "base64": (
        b'{"type":"image","mimeType":"image/png","data":"!!notbase64!!"}',
        "/content/0/data is not base64",
    ),
    "url-safe": (
        b'{"type":"resource","resource":{"uri":"a:b","blob":"ab-_"}}',
        "/content/0/resource/blob is not base64: it is in the URL-safe alphabet",
    ),
    "javascript": (
        b'{"type":"resource_link","name":"n","uri":"JaVa\\tscr\\u0069pt:alert(1)"}',
        "/content/0/uri has a refused scheme (javascript)",
    ),
    "name": (b'{"type":"text","text":"x","a\\u200b":1}', "/content/0 has hidden characters (zero-width)"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with served(tmp_path_factory.mktemp("plain")) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory, plain):
    folder = tmp_path_factory.mktemp("strict")
    secret = folder / "secret"
    secret.write_text(plain.headers["Authorization"])
    secret.chmod(0o600)
    icons = [{"src": "javascript:alert(1)"}]
    lists = {
        "tools": [
            {"name": "good", "description": "x\u200b", "inputSchema": {"type": "object"}},
            {"name": "icon", "icons": icons, "inputSchema": {"type": "object"}},
            {"name": "na\u200bme", "inputSchema": {"type": "object"}},
        ],
        "prompts": [{"name": "icon", "icons": icons}, {"name": "good"}],
        "resources": [
            {"uri": "javascript:alert(1)", "name": "a"},
            {"uri": "file:///x", "name": "b", "icons": [{"src": "data:image/png;base64,AAAA"}]},
            {"uri": "file:///y", "name": "c", "mimeType": "text"},
        ],
        "resourceTemplates": [
            {"uriTemplate": "vbscript:{x}", "name": "a"},
            {"uriTemplate": "{x}", "name": "b"},
        ],
    }
    answers = {
        "prompts/get": {
            "messages": [{"role": "user", "content": {"type": "image", "mimeType": "x", "data": ""}}]
        },
        "resources/read": {"contents": [{"uri": "file:///x", "text": "x\x1b]0;title\x07"}]},
        "completion/complete": {"completion": {"values": ["a\u202eb"]}},
    }
    (folder / "lists.json").write_text(json.dumps({**lists, "answers": answers}))
    site = {"name": "n", "version": "1", "websiteUrl": "java\tscript:alert(1)"}
    (folder / "site.json").write_text(json.dumps({**lists, "serverInfo": site}))
    servers = {
        **SERVERS,
        "one": SERVERS["legacy"],
        "lists": {"command": [*DEFINITIONS, str(folder / "lists.json")]},
        "site": {"command": [*DEFINITIONS, str(folder / "site.json")]},
        "far": {"url": plain.url("legacy"), "secret_headers": {"Authorization": str(secret)}},
        "all": {**SERVERS["legacy"], "share": "server"},
        "off": {**SERVERS["legacy"], "content": {"characters": "off", "schemes": "off", "mime": "off"}},
        "warn": {**SERVERS["legacy"], "content": {"characters": "warn", "schemes": "warn", "mime": "warn"}},
    }
    with daemon(folder, servers, aggregate={"servers": ["one"]}, content=CHECKS) as running:
        yield running


@pytest.fixture(params=PAIRS, ids=str)
def pair(request):
    return request.param


def bare(line):
    """Return what a client on a bare pipe reads for this line of the server."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    call["params"] = {"name": "raw", "arguments": {"hex": (line + b"\n").hex()}}
    done = subprocess.run(
        [*SCRIPTED, "legacy"],
        input=json.dumps(call).encode() + b"\n",
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def name_of(pair):
    return {"aggregate": "one"}.get(pair.server, pair.server)


def events(running, name, server):
    return [line for line in running.logs(server) if name in line]


def test_a_text_is_that_of_a_bare_pipe_without_checks_and_loses_only_hidden_characters_with_them(
    plain, strict, pair
):
    line = RESULT % (TEXT % HIDDEN)
    on_pipe = bare(line)
    assert on_pipe == line.replace(b"$ID", b"1")
    found = []
    for running in (plain, strict):
        with client(running, pair) as peer:
            found.append(peer.exchange(peer.raw(b"1", line)))
    unchecked, checked = found
    assert HIDDEN in unchecked
    if not pair.translates:
        assert unchecked in (on_pipe, on_pipe.replace(b'"resultType":"complete",', b""))
    assert checked == unchecked.replace(HIDDEN, VISIBLE)


@pytest.mark.parametrize("kind", BAD)
def test_bad_content_is_refused_with_its_place_and_the_session_continues(plain, strict, pair, kind):
    block, reason = BAD[kind]
    with client(plain, pair) as peer:
        assert block in peer.exchange(peer.raw(b"1", RESULT % block))
    with client(strict, pair) as peer:
        error = peer.exchange_json(peer.raw(b"1", RESULT % block))["error"]
        assert error["code"] == -32603
        assert error["message"].startswith(f"a response of the server {name_of(pair)} was refused: {reason}")
        assert "good" in json.dumps(peer.exchange_json(peer.raw(b"2", GOOD), b"2")["result"])


@pytest.mark.parametrize("server", ["far", "all"])
@pytest.mark.parametrize(("era", "transport"), [("legacy", "H"), ("legacy", "W"), ("modern", "H")])
def test_remote_servers_and_processes_of_all_clients_are_checked(strict, era, transport, server):
    with client(strict, Pair(era, transport, server)) as peer:
        assert VISIBLE in peer.exchange(peer.raw(b"1", RESULT % (TEXT % HIDDEN)))
        for number, (block, reason) in enumerate(BAD.values(), 2):
            id_ = b"%d" % number
            error = peer.exchange_json(peer.raw(id_, RESULT % block), id_)["error"]
            assert error["message"].startswith(f"a response of the server {server} was refused: {reason}")


@pytest.mark.parametrize("path", CARRIERS, ids=str)
def test_a_notification_is_dropped_or_rewritten(strict, path):
    dropped = b'{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"javascript:x"}}'
    log = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"%b"}}'
    with client(strict, path) as peer:
        peer.send(peer.raw(b"1", dropped, log % HIDDEN, GOOD))
        assert peer.receive() == log % VISIBLE
        assert json.loads(peer.receive())["id"] == 1


@pytest.mark.parametrize("path", CARRIERS, ids=str)
def test_a_request_of_the_server_is_refused_or_rewritten(strict, path):
    request = b'{"jsonrpc":"2.0","id":"%b","method":"elicitation/create","params":{"mode":"url","elicitationId":"1","url":"%b","message":"%b"}}'
    with client(strict, path, opened=False) as peer:
        params = {**initialize_params(name="lines"), "capabilities": {"elicitation": {"url": {}, "form": {}}}}
        assert "result" in peer.exchange_json(peer.call(b"0", "initialize", params), b"0")
        peer.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        lines = (
            request % (b"q1", b"javascript:x", b"bad"),
            request % (b"q2", b"https://example.com", HIDDEN),
            GOOD,
        )
        peer.send(peer.raw(b"1", *lines))
        asked = peer.receive()
        assert json.loads(asked)["params"]["url"] == "https://example.com"
        assert VISIBLE in asked
        assert json.loads(peer.receive())["id"] == 1


@pytest.mark.parametrize("transport", ["H", "W", "P"])
def test_a_request_for_input_is_refused_or_rewritten(strict, transport):
    request = b'{"jsonrpc":"2.0","id":"%b","method":"elicitation/create","params":{"mode":"url","elicitationId":"1","url":"%b","message":"%b"}}'
    empty = b'"io.modelcontextprotocol/clientCapabilities": {}'
    able = b'"io.modelcontextprotocol/clientCapabilities": {"elicitation":{"url":{},"form":{}}}'
    with client(strict, Pair("modern", transport, "legacy")) as peer:
        text = peer.raw(b"1", request % (transport.encode() + b"1", b"javascript:x", b"bad")).replace(
            empty, able
        )
        error = peer.exchange_json(text)["error"]
        assert "/inputRequests/0/params/url has a refused scheme (javascript)" in error["message"]
    with client(strict, Pair("modern", transport, "legacy")) as peer:
        text = peer.raw(
            b"1", request % (transport.encode() + b"2", b"https://x.example", b"a\\u200bb")
        ).replace(empty, able)
        [asked] = peer.exchange_json(text)["result"]["inputRequests"].values()
        assert asked["params"]["message"] == "ab"


@pytest.mark.parametrize(
    ("era", "transport"),
    [("legacy", "H"), ("legacy", "S"), ("legacy", "W"), ("legacy", "P"), ("modern", "H"), ("modern", "W")],
)
def test_bad_items_of_lists_are_removed(strict, era, transport):
    with client(strict, Pair(era, transport, "lists")) as peer:
        tools, prompts, resources, templates = (
            peer.exchange_json(peer.call(b"%d" % number, method), b"%d" % number)["result"]
            for number, method in enumerate(
                ("tools/list", "prompts/list", "resources/list", "resources/templates/list"), 1
            )
        )
        assert [(one["name"], one.get("description")) for one in tools["tools"]] == [("good", "x")]
        assert [one["name"] for one in prompts["prompts"]] == ["good"]
        assert [one["uri"] for one in resources["resources"]] == ["file:///x"]
        assert [one["uriTemplate"] for one in templates["resourceTemplates"]] == ["{x}"]
        prompt = peer.exchange_json(peer.call(b"5", "prompts/get", {"name": "good"}), b"5")["error"]
        assert "/messages/0/content/mimeType is not a media type (content.mime)" in prompt["message"]
        read = peer.exchange_json(peer.call(b"6", "resources/read", {"uri": "file:///x"}), b"6")["result"]
        assert read["contents"][0]["text"] == "x]0;title"
    found = events(strict, "content_refused", "lists")
    assert any("reason=characters" in line and "path=/tools/2/name" in line for line in found)
    assert any("reason=schemes" in line and "keyword=javascript" in line for line in found)
    assert events(strict, "content_rewritten", "lists")


@pytest.mark.parametrize(
    ("era", "transport"), [("legacy", "H"), ("legacy", "S"), ("legacy", "W"), ("legacy", "P")]
)
def test_a_server_with_a_bad_website_is_refused_by_its_handshake(strict, era, transport):
    with client(strict, Pair(era, transport, "site"), opened=False) as peer:
        error = peer.exchange_json(peer.call(b"0", "initialize", initialize_params(name="lines")), b"0")[
            "error"
        ]
    assert "server site" in error["message"]
    assert "/serverInfo/websiteUrl has a refused scheme (javascript)" in error["message"]


@pytest.mark.parametrize("transport", ["H", "W"])
def test_a_server_with_a_bad_website_is_refused_by_its_discovery(strict, transport):
    with client(strict, Pair("modern", transport, "site")) as peer:
        error = peer.exchange_json(peer.call(b"1", "server/discover"))["error"]
    assert "websiteUrl has a refused scheme (javascript)" in error["message"]


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("server", ["off", "warn"])
def test_a_server_may_have_other_checks_than_all(strict, server, kind):
    block, _ = BAD[kind]
    with client(strict, Pair("legacy", "W", server)) as peer:
        assert peer.exchange(peer.raw(b"1", RESULT % block)) == (RESULT % block).replace(b"$ID", b"1")
    assert bool(events(strict, "content_warning", server)) is (server == "warn")


def test_events_have_no_content(strict):
    with client(strict, Pair("legacy", "W", "legacy")) as peer:
        for block in (b'{"type":"resource_link","uri":"javascript:payload-1"}', TEXT % b"payload-2\\u200b"):
            peer.exchange(peer.raw(b"1", RESULT % block))
    lines = strict.do("logs", "legacy", "-n", "500").stdout
    assert "content_refused" in lines
    assert "content_rewritten" in lines
    assert "payload" not in lines


def test_an_invalid_line_of_a_server_is_still_an_error(strict):
    with client(strict, CARRIERS[0]) as peer, pytest.raises(NothingReceived):
        assert peer.exchange_json(peer.raw(b"1", b'{"jsonrpc":"2.0","id":$ID,"result":{"content":"\x1b"}'))[
            "error"
        ]
        peer.receive()
