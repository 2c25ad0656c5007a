"""Remote servers of other clients' configurations: their URLs, their transports, and where their secrets go."""

import json
import tomllib

import pytest

from mcpbridged.bridge.config import tables
from mcpbridged.bridge.config.import_clients import import_servers

URL = "https://example.com/mcp"
SECRET = "ghp_abcdefghijklmnopqrst"


def imported(entry, name="x"):
    found = import_servers(json.dumps({"mcpServers": {name: entry}}))
    tables.parse(found.toml.encode())
    return tomllib.loads(found.toml).get("servers", {}), found.notes


def one(entry):
    servers, notes = imported(entry)
    return servers["x"], notes


@pytest.mark.parametrize(
    ("entry", "table"),
    [
        ({"url": URL}, {"url": URL}),
        ({"serverUrl": URL}, {"url": URL}),
        ({"httpUrl": URL}, {"url": URL}),
        ({"type": "http", "url": URL}, {"url": URL}),
        ({"type": "streamable-http", "url": URL}, {"url": URL}),
        ({"type": "streamableHttp", "url": URL}, {"url": URL}),
        ({"type": "sse", "url": URL}, {"url": URL, "transport": "sse"}),
        ({"transport": "sse", "url": URL}, {"url": URL, "transport": "sse"}),
        ({"type": "ws", "url": URL}, {"url": URL, "transport": "websocket"}),
        ({"type": "http", "url": "wss://example.com/ws"}, {"url": "wss://example.com/ws"}),
        ({"type": "", "url": URL}, {"url": URL}),
        ({"url": URL, "disabled": True}, {"url": URL, "enabled": False}),
        ({"url": URL, "enabled": False}, {"url": URL, "enabled": False}),
        ({"url": URL, "headers": None}, {"url": URL}),
        (
            {"url": URL, "headers": {"X-Team": "red", "X-N": 7}},
            {"url": URL, "headers": {"X-Team": "red", "X-N": "7"}},
        ),
        ({"url": "http://10.0.0.1/mcp"}, {"url": "http://10.0.0.1/mcp"}),
    ],
)
def test_a_remote_server_becomes_a_server_with_a_url(entry, table):
    assert one(entry) == (table, ())


@pytest.mark.parametrize(
    ("headers", "file"),
    [
        ({"Authorization": f"Bearer {SECRET}"}, "x.authorization"),
        ({"authorization": "x"}, "x.authorization"),
        ({"X-Api-Key": "${input:key}"}, "x.x-api-key"),
        ({"X-Value": "${env:VALUE}"}, "x.x-value"),
        ({"X_Odd!": SECRET}, "x.x-odd"),
    ],
)
def test_the_value_of_a_secret_header_goes_into_a_file(headers, file):
    found, notes = one({"url": URL, "headers": {**headers, "X-Team": "red"}})
    [header] = headers
    assert found == {"url": URL, "headers": {"X-Team": "red"}, "secret_headers": {header: file}}
    [note] = notes
    assert note.startswith("x: secrets are not written to the configuration; ")
    assert note.endswith(f"the value of the header {header} into {file} beside it, mode 0600.")
    assert SECRET not in str((found, notes))


@pytest.mark.parametrize(
    ("headers", "note"),
    [
        ({"Host": "x"}, "a header is left out: headers: the header Host is refused: the bridge sets it"),
        ({"X Y": "x"}, "a header is left out: headers: 'X Y' is not the name of a header"),
        ({"X": ["a"]}, "X is left out: it is neither a text nor a number"),
        ({"X": "caf\u00e9"}, "X is left out: headers: the value of X must be visible ASCII"),
        ({"X": "1", "x": "2"}, "x is left out: it is the same header as another"),
    ],
)
def test_a_header_that_cannot_be_sent_is_left_out_with_the_reason(headers, note):
    _, notes = one({"url": URL, "headers": headers})
    assert any(text.startswith(f"x: {note}") for text in notes)


def test_unknown_keys_and_secrets_in_the_url_are_noted():
    url = f"{URL}?api_key={SECRET}"
    found, notes = one({"url": url, "timeout": 5, "oauth": {}})
    assert found == {"url": url}
    assert notes == (
        "x: its url has a part that looks like a secret, and was copied to the configuration.",
        "x: ignored unsupported keys: 'oauth', 'timeout'.",
    )


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"url": "https://u:pw@example.com"}, "url: the URL has a user name or password"),
        ({"url": "example.com"}, "url: the URL must begin with http://"),
        ({"url": 7}, "it is a remote server without a url"),
        ({"type": "http"}, "it is a remote server without a url"),
        ({"url": "https://${HOST}/"}, "its url holds a placeholder"),
        ({"url": "https://e/" + "x" * 5000}, "its url has more than 4096 characters"),
        ({"url": URL, "type": "grpc"}, "its type is not known"),
        ({"url": URL, "type": ["http"]}, "its type is not known"),
        ({"url": URL, "headers": ["x"]}, "its headers are not an object"),
        ({"url": URL, "command": "npx"}, "it has a command and is a remote server"),
        (
            {"url": "http://example.com", "headers": {"Authorization": "x"}},
            "it gets a credential over a connection without encryption",
        ),
    ],
)
def test_a_remote_server_that_cannot_be_used_is_left_out_with_the_reason(entry, reason):
    servers, notes = imported(entry)
    assert servers == {}
    assert notes[0].startswith(f"'x' is left out: {reason}")


def test_a_remote_server_gets_a_valid_name():
    servers, notes = imported({"url": URL, "headers": {"Authorization": SECRET}}, "My Server")
    assert servers["my-server"]["secret_headers"] == {"Authorization": "my-server.authorization"}
    assert notes[0].startswith("'My Server' is renamed to my-server")
