"""`connect --as TOKENNAME` and the header Mcp-Token-Name: the owner as the narrower principal of a token."""

import hashlib
import http.client
import json
import subprocess
import time

import pytest

from ..support.bridge_process import PROGRAM
from ..support.connect_process import exchange, start_connect
from ..support.daemon_process import child, daemon, write_config
from ..support.handshake import INITIALIZED, initialize_request
from ..support.unix_client import USUAL, UnixClient, content

TOKEN = f"mcpb_{'reader':x<40}reader"
SERVERS = {
    "own": {"command": child("variables.py"), "share": "principal"},
    "keyed": {
        "command": child("variables.py"),
        "env_from_header": {"KEY": "X-Key", "TEAM": "X-Team"},
        "share": "principal",
    },
    "closed": {"command": child("variables.py")},
}
READER = {
    "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(),
    "servers": ["own", "keyed"],
    "tools": {"deny": ["die"]},
}
AS_READER = ("Mcp-Token-Name", "reader")


def tables(**changes):
    return {"tokens.reader": {**READER, **changes}}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with daemon(tmp_path_factory.mktemp("names"), SERVERS, **tables()) as found:
        yield found


def read(answer):
    return content(answer)["pid"]


def test_the_owner_gets_the_rights_of_the_token_only(running):
    client = UnixClient(running.unix)
    assert client.initialize("own", AS_READER).status == 200
    refused = client.initialize("closed", AS_READER)
    assert (refused.status, refused.text) == (403, "the token of 'reader' has no right to 'closed'")
    assert client.initialize("closed").status == 200
    denied = client.stateless("own", "die", AS_READER)
    assert denied.text == "Unknown tool: die"


def test_the_owner_shares_the_process_of_the_token_and_not_its_own(running):
    client = UnixClient(running.unix)
    own = read(client.stateless("own", "variable", name="PWD"))
    narrow = read(client.stateless("own", "variable", AS_READER, name="PWD"))
    assert narrow != own
    connection = http.client.HTTPConnection(*running.address, timeout=10)
    headers = {**dict(USUAL), "Authorization": f"Bearer {TOKEN}"}
    connection.request("POST", "/servers/own/mcp", json.dumps(initialize_request()), headers)
    answer = connection.getresponse()
    answer.read()
    headers["Mcp-Session-Id"] = session = answer.headers["mcp-session-id"]
    body = {"name": "variable", "arguments": {"name": "PWD"}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": body}
    connection.request("POST", "/servers/own/mcp", json.dumps(call), headers)
    text = json.loads(connection.getresponse().read())["result"]["content"][0]["text"]
    connection.close()
    assert json.loads(text)["pid"] == narrow
    # A session belongs to the principal that has opened it.
    assert client.call("own", session, "variable", name="PWD").status == 404


def test_a_token_that_does_not_exist_is_named_in_the_refusal(running):
    answer = UnixClient(running.unix).initialize("own", ("Mcp-Token-Name", "writer"))
    assert answer.status == 403
    assert answer.text == "there is no token 'writer': no table [tokens.writer]"


@pytest.mark.parametrize("name", ["owner", "local", "aggregate", "stdio"])
def test_no_other_principal_can_be_named(running, name):
    assert UnixClient(running.unix).initialize("own", ("Mcp-Token-Name", name)).status == 403


@pytest.mark.parametrize("name", ["", "reader.x", "reader x", "*", "reader\xe9", "r" * 33, "../reader"])
def test_a_text_that_is_no_name_is_refused(running, name):
    assert UnixClient(running.unix).initialize("own", ("Mcp-Token-Name", name)).status == 400


@pytest.mark.parametrize("other", [AS_READER, ("Mcp-Token-Name", "owner"), ("Mcp-Bridge-Principal", "owner")])
def test_a_second_name_is_refused(running, other):
    assert UnixClient(running.unix).initialize("own", AS_READER, other).status == 400


def test_the_header_over_tcp_is_refused(running):
    for token, status in ((running.token, 403), (TOKEN, 403), ("x" * 40, 401)):
        connection = http.client.HTTPConnection(*running.address, timeout=10)
        headers = {**dict(USUAL), "Authorization": f"Bearer {token}", "Mcp-Token-Name": "reader"}
        connection.request("POST", "/servers/own/mcp", json.dumps(initialize_request()), headers)
        assert connection.getresponse().status == status
        connection.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "status"),
        ("GET", "sessions"),
        ("GET", "daemon"),
        ("POST", "reload"),
        ("POST", "restart?server=own"),
        ("GET", "logs?server=closed"),
        ("GET", "tap?server=own"),
    ],
)
def test_a_token_has_no_right_to_the_control_api(running, method, path):
    answer = UnixClient(running.unix).exchange(method, f"/control/{path}", [AS_READER])
    assert answer.status == 403
    assert answer.text == "the token of 'reader' has no right to the control API"


# ---- connect


def call_of(name, number=1):
    return {
        "jsonrpc": "2.0",
        "id": number,
        "method": "tools/call",
        "params": {"name": "variable", "arguments": {"name": name}},
    }


def run(running, *words, call="KEY"):
    lines = [initialize_request(), INITIALIZED, call_of(call)]
    return subprocess.run(
        [PROGRAM, "connect", *words, "--config", str(running.config)],
        input="".join(f"{json.dumps(line)}\n" for line in lines),
        env=running.variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def value_in(done):
    assert done.returncode == 0, done.stderr
    return json.loads(json.loads(done.stdout.splitlines()[-1])["result"]["content"][0]["text"])["value"]


def test_connect_as_a_token_gets_its_rights(running):
    assert value_in(run(running, "own", "--as", "reader", call="MCP_NOTHING")) is None
    refused = run(running, "closed", "--as", "reader")
    assert refused.returncode != 0
    assert "the token of 'reader' has no right to 'closed'" in refused.stderr
    missing = run(running, "own", "--as", "writer")
    assert "there is no token 'writer'" in missing.stderr


def test_connect_sends_the_headers_that_were_chosen(running, tmp_path):
    assert value_in(run(running, "keyed", "--header", "X-Key: one", "--header", "x-team:two")) == "one"
    file = tmp_path / "headers"
    file.write_text("# secrets\n\nX-Key:  from the file \r\n")
    file.chmod(0o600)
    words = ("keyed", "--header-file", str(file), "--header", "X-Other: 1", "--as", "reader")
    assert value_in(run(running, *words)) == "from the file"
    # A header that the server does not name reaches nothing.
    assert value_in(run(running, "own", "--header", "X-Key: one")) is None


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["--header", "X-Key"], 64, "must be NAME: VALUE"),
        (["--header", "Authorization: Bearer x"], 64, "Authorization is refused"),
        (["--header", "Mcp-Cwd: /"], 64, "Mcp-Cwd is refused"),
        (["--header", "mcp-token-name: owner"], 64, "refused"),
        (["--header", "Mcp-Bridge-Principal: owner"], 64, "refused"),
        (["--header", "Host: x"], 64, "refused"),
        (["--header", "Content-Length: 1"], 64, "refused"),
        (["--header", "X Key: 1"], 64, "is not the name of a header"),
        (["--header", "X-Key: 1\r\nMcp-Cwd: /"], 64, "visible ASCII"),
        (["--header", "X-Key\r\nMcp-Cwd: /"], 64, "is not the name of a header"),
        (["--header", "X-Key: \u00e9"], 64, "visible ASCII"),
        (["--header", "X-Key: 1", "--header", "x-key: 2"], 64, "given twice"),
        (["--as", "reader.x"], 64, "name of a token"),
        (["--as", "reader\r\nMcp-Cwd: /"], 64, "name of a token"),
        (["--header-file", "/nowhere"], 78, "cannot be read"),
    ],
)
def test_a_header_that_must_not_be_sent_is_a_usage_error(running, words, code, reason):
    done = run(running, "keyed", *words)
    assert done.returncode == code
    assert reason in done.stderr
    assert not done.stdout


def test_a_name_of_a_token_means_nothing_for_a_url():
    words = [PROGRAM, "connect", "http://127.0.0.1:1/mcp", "--as", "reader"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 64
    assert "--as is for servers of the daemon" in done.stderr


def still_open(client, session, *headers):
    given = [*USUAL, ("Mcp-Session-Id", session), ("MCP-Protocol-Version", "2025-11-25"), *headers]
    return client.exchange("POST", "/servers/own/mcp", given, call_of("PWD")).status


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        (None, 403, "there is no token 'reader'"),
        ({"servers": ["keyed"]}, 403, "its token is no longer accepted for this server"),
        ({"tools": {"deny": ["die", "variable"]}}, 404, "Unknown tool: variable"),
    ],
)
def test_a_reload_that_changes_the_token_ends_what_it_has_open(tmp_path, changes, status, reason):
    with daemon(tmp_path, SERVERS, **tables()) as running:
        client = UnixClient(running.unix)
        session = client.initialize("own", AS_READER).headers["mcp-session-id"]
        owners = client.initialize("own").headers["mcp-session-id"]
        with start_connect(running, "own", "--as", "reader", "--wait", "2") as process:
            exchange(process, initialize_request())
            write_config(running.config, SERVERS, **({} if changes is None else tables(**changes)))
            running.reload()
            assert still_open(client, session, AS_READER) == status
            assert still_open(client, owners) == 200
            # As for a client with the token, its stream ends within a second.
            end = time.monotonic() + 10
            while not any(
                "access_revoked" in line or "rights of its token" in line for line in running.lines
            ):
                assert time.monotonic() < end
                time.sleep(0.05)
            process.stdin.write(json.dumps(call_of("PWD")).encode() + b"\n")
            output, errors = process.communicate(timeout=30)
        assert reason in output.decode() + errors.decode()
        assert (process.returncode == 0) == (status == 404)


def test_a_token_that_a_reload_adds_can_be_named(tmp_path):
    with daemon(tmp_path, SERVERS) as running:
        client = UnixClient(running.unix)
        assert client.initialize("own", AS_READER).status == 403
        write_config(running.config, SERVERS, **tables())
        running.reload()
        assert client.initialize("own", AS_READER).status == 200
