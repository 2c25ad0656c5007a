"""Remote servers of other clients' configurations: their URLs, their transports, and where their secrets go."""

import json
import tomllib

import pytest

from mcpbridged.bridge.config import tables
from mcpbridged.bridge.config.import_clients import Import, Origin, import_servers
from mcpbridged.bridge.config.import_variables import Surroundings

URL = "https://example.com/mcp"
SECRET = "ghp_abcdefghijklmnopqrst"


def imported(entry, name="x", **around):
    into = Import()
    import_servers(json.dumps({"mcpServers": {name: entry}}), into, Origin(around=Surroundings(**around)))
    tables.parse(into.toml.encode())
    return tomllib.loads(into.toml).get("servers", {}), into


def one(entry, **around):
    servers, into = imported(entry, **around)
    return servers["x"], [*into.notes, *into.problems]


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
        ({"url": URL, "headers": None}, {"url": URL}),
        ({"url": URL, "timeout": 30000}, {"url": URL, "limits": {"call_seconds": 30}}),
        ({"url": URL, "excludeTools": ["a"]}, {"url": URL, "tools": {"deny": ["a"]}}),
        (
            {"url": URL, "headers": {"X-Team": "red", "X-N": 7}},
            {"url": URL, "headers": {"X-Team": "red", "X-N": "7"}},
        ),
        ({"url": "http://10.0.0.1/mcp"}, {"url": "http://10.0.0.1/mcp"}),
        (
            {"url": URL, "oauth": {"clientId": "id", "callbackPort": 5}, "scopes": ["a", "b"]},
            {"url": URL, "oauth": {"client_id": "id", "scopes": ["a", "b"]}},
        ),
        (
            {"url": URL, "auth": {"CLIENT_ID": "id", "scope": "a b"}},
            {"url": URL, "oauth": {"client_id": "id", "scopes": ["a", "b"]}},
        ),
        ({"url": URL, "connectionTimeout": 500}, {"url": URL, "connect_seconds": 1}),
        ({"url": URL, "requestOptions": {"caBundlePath": "/ca.pem"}}, {"url": URL, "ca_file": "/ca.pem"}),
    ],
)
def test_a_remote_server_becomes_a_server_with_a_url(entry, table):
    assert one(entry) == (table, [])


@pytest.mark.parametrize(
    ("headers", "file", "known"),
    [
        ({"Authorization": f"Bearer {SECRET}"}, "x.authorization", True),
        ({"authorization": "x"}, "x.authorization", True),
        ({"X-Api-Key": "${input:key}"}, "x.x-api-key", False),
        ({"X-Value": "${env:VALUE}"}, "x.x-value", False),
        ({"X_Odd!": SECRET}, "x.x-odd", True),
        ({"!": SECRET}, "x.header", True),
    ],
)
def test_the_value_of_a_secret_header_goes_into_a_file(headers, file, known):
    servers, into = imported({"url": URL, "headers": {**headers, "X-Team": "red"}})
    [header] = headers
    assert servers["x"] == {"url": URL, "headers": {"X-Team": "red"}, "secret_headers": {header: file}}
    [found] = into.files
    assert (found.name, found.value) == (file, headers[header] if known else None)
    assert into.notes[0].startswith(f"x: the header {header} ")
    assert SECRET not in str((into.toml, into.notes)) + repr(into)


def test_a_variable_that_is_set_is_written_into_the_file():
    servers, into = imported(
        {"url": URL, "headers": {"Authorization": "Bearer ${T}", "X-A": "${A}"}},
        environment={"T": "hunter2", "A": "b"},
    )
    assert servers["x"]["headers"] == {"X-A": "b"}
    assert [file.value for file in into.files] == ["Bearer hunter2"]
    assert "x: X-A gets the present value of A." in into.notes


def test_the_value_of_a_secret_variable_is_a_secret_in_any_header():
    servers, into = imported(
        {"url": URL, "headers": {"X-Team": "${MY_TOKEN}"}}, environment={"MY_TOKEN": "abc"}
    )
    assert servers["x"] == {"url": URL, "secret_headers": {"X-Team": "x.x-team"}}
    assert [file.value for file in into.files] == ["abc"]


def test_codex_names_variables():
    entry = {"url": URL, "bearer_token_env_var": "T", "env_http_headers": {"X-Team": "TEAM"}}
    servers, into = imported(entry, environment={"T": "hunter2", "TEAM": "red"})
    assert servers["x"]["headers"] == {"X-Team": "red"}
    assert servers["x"]["secret_headers"] == {"Authorization": "x.authorization"}
    assert [file.value for file in into.files] == ["Bearer hunter2"]


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
    assert any(text.startswith(f"x: {note}") for text in one({"url": URL, "headers": headers})[1])


def test_secrets_in_the_url_and_keys_of_a_process_are_noted():
    url = f"{URL}?api_key={SECRET}"
    servers, into = imported({"url": url, "args": ["a"], "env": {"A": "b"}})
    assert servers == {"x": {"url": url}}
    assert into.notes == [
        "x: its env is ignored: a remote server is no process of this machine.",
        "x: its args is ignored: a remote server is no process of this machine.",
        "x: its url has a part that looks like a secret, and was copied to the configuration.",
    ]
    assert SECRET in into.hidden


def test_variables_in_a_url():
    found, notes = one({"url": "https://${HOST}/"}, environment={"HOST": "e.com"})
    assert found == {"url": "https://e.com/"}
    assert notes == ["x: its url has the present value of HOST."]


@pytest.mark.parametrize(
    ("entry", "keys", "note"),
    [
        ({"oauth": False}, {}, "oauth = false is ignored"),
        ({"oauth": True}, {}, ""),
        ({"oauth": True, "oauthScopes": ["read"]}, {"oauth": {"scopes": ["read"]}}, ""),
        (
            {"oauth": {"issuer": "i", "x\n": 1, "enabled": True}},
            {},
            "ignored keys of oauth: 'issuer', 'x\\n'",
        ),
        ({"oauth": {"clientId": 5, "clientSecret": "s"}}, {}, ""),
        (
            {"oauth": {"clientId": "a"}, "headers": {"Authorization": "b"}},
            {"secret_headers": {"Authorization": "x.authorization"}},
            "its oauth is ignored: it has an Authorization header",
        ),
        (
            {"oauth": {}, "headers": {"Authorization": "b"}},
            {"secret_headers": {"Authorization": "x.authorization"}},
            "the header Authorization goes into",
        ),
        (
            {"oauth": {"clientId": "a", "clientSecret": SECRET}},
            {"oauth": {"client_id": "a", "client_secret": "x.client-secret"}},
            "the client secret goes into x.client-secret",
        ),
        ({"requestOptions": {"verifySsl": False}}, {"enabled": False}, "verifySsl = false is not supported"),
        ({"requestOptions": {"proxy": "http://p"}}, {"enabled": False}, "its proxy is not carried over"),
        ({"requestOptions": {"timeout": 5, "proxy": ""}}, {}, "ignored keys of requestOptions: 'timeout'"),
        ({"requestOptions": {"caBundlePath": ["a"], "headers": {"X-A": "b"}}}, {"headers": {"X-A": "b"}}, ""),
    ],
)
def test_other_keys_of_remote_servers(entry, keys, note):
    found, notes = one({"url": URL, **entry})
    assert found == {"url": URL, **keys}
    assert note in "\n".join(notes)
    assert SECRET not in str(notes)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"url": "https://u:pw@example.com"}, "url: the URL has a user name or password"),
        ({"url": "example.com"}, "url: the URL must begin with http://"),
        ({"url": 7}, "it is a remote server without a url"),
        ({"type": "http"}, "it is a remote server without a url"),
        ({"url": "https://${NONE}/"}, "its url needs the variable NONE"),
        ({"url": "https://e/?k=${T_KEY}"}, "its url has the secret of T_KEY"),
        ({"url": "https://e/" + "x" * 5000}, "its url has more than 4096 characters"),
        ({"url": URL, "type": "grpc"}, "its type is not known"),
        ({"url": URL, "type": ["http"]}, "its type is not known"),
        ({"url": URL, "headers": ["x"]}, "its headers are not an object"),
        ({"url": URL, "env_http_headers": ["x"]}, "its headers are not an object"),
        ({"url": URL, "requestOptions": ["x"]}, "its requestOptions are not an object"),
        ({"url": URL, "oauth": ["x"]}, "its oauth is not an object"),
        ({"url": URL, "type": "http", "command": "npx"}, "it has a command and is a remote server"),
        (
            {"url": "http://example.com", "headers": {"Authorization": "x"}},
            "it gets a credential over a connection without encryption",
        ),
    ],
)
def test_a_remote_server_that_cannot_be_used_is_left_out_with_the_reason(entry, reason):
    servers, into = imported(entry, environment={"T_KEY": SECRET})
    assert servers == {}
    assert into.problems[0].startswith(f"'x' is left out: {reason}")
    assert SECRET not in str(into.problems)


def test_a_local_server_may_have_a_url_as_in_cline():
    assert one({"type": "stdio", "command": "a", "url": URL})[0] == {"command": ["a"]}
