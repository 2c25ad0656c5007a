"""`cwd = "client"`: a server runs in the directory of its client, and each directory has processes of its own."""

import json
import os
import signal
import socket
import subprocess
import tomllib

import pytest

from mcpbridged.validators.client_directory import encode_path

from ..support.bridge_process import PROGRAM, wait_until_gone
from ..support.client_process import exists
from ..support.daemon_process import child, daemon
from ..support.handshake import INITIALIZED, initialize_request
from ..support.stateless_requests import ASKABLE, headers_of, request, tool
from ..support.unix_client import USUAL, Answer, Connection, UnixClient, content

ERAS = ("legacy", "modern")
VARIABLE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "variable", "arguments": {"name": "getcwd()"}},
}


def cwd_of(path):
    return "Mcp-Cwd", encode_path(os.fsencode(path))


@pytest.fixture(scope="module")
def src(tmp_path_factory):
    """Return the allowed directory, with some projects."""
    folder = tmp_path_factory.mktemp("directories").resolve() / "src"
    for name in ("one", "two", "näïve %41", "line\nbreak", os.fsdecode(b"\xff")):
        (folder / name / "inner").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def running(src):
    common = {"cwd": "client", "cwd_allowed": [str(src)]}
    servers = {
        "legacy": {"command": child("variables.py"), **common},
        "modern": {"command": child("variables.py", "modern"), **common},
        "shared": {"command": child("variables.py"), "share": "principal", **common},
        "fixed": {"command": child("variables.py"), "cwd": str(src)},
        "keyed": {"command": child("variables.py"), "env_from_header": {"KEY": "X-Key"}, **common},
    }
    with daemon(src.parent, servers, aggregate={"servers": ["legacy", "fixed"]}) as found:
        yield found


class Session:
    """A session of a handshake revision in a directory."""

    def __init__(self, running, server, *headers):
        self._client, self._server = UnixClient(running.unix), server
        answer = self._client.initialize(server, *headers)
        assert answer.status == 200, answer
        self._id = answer.headers["mcp-session-id"]

    def read(self, name):
        return content(self._client.call(self._server, self._id, "variable", name=name))

    def die(self):
        return self._client.call(self._server, self._id, "die")


def stateless(running, server, directory, name="getcwd()"):
    return content(UnixClient(running.unix).stateless(server, "variable", cwd_of(directory), name=name))


@pytest.mark.parametrize("server", ["legacy", "modern", "shared"])
@pytest.mark.parametrize("name", ["one", "näïve %41", "line\nbreak", os.fsdecode(b"\xff")])
@pytest.mark.parametrize("era", ERAS)
def test_the_process_runs_in_the_directory_of_its_client(running, src, server, name, era):
    directory = src / name / "inner"
    if era == "legacy":
        session = Session(running, server, cwd_of(directory))
        found, variable = session.read("getcwd()"), session.read("PWD")
    else:
        found, variable = stateless(running, server, directory), stateless(running, server, directory, "PWD")
    assert found["value"] == variable["value"] == str(directory)


@pytest.mark.parametrize("server", ["legacy", "modern", "shared"])
def test_clients_with_different_directories_never_share_a_process(running, src, server):
    pids = {"one": set(), "two": set()}
    for _ in range(2):
        for name, found in pids.items():
            found.add(Session(running, server, cwd_of(src / name)).read("getcwd()")["pid"])
            found.add(stateless(running, server, src / name)["pid"])
    assert not pids["one"] & pids["two"]
    if server == "shared":
        assert [len(found) for found in pids.values()] == [1, 1]


@pytest.mark.parametrize("server", ["legacy", "modern", "shared", "aggregate"])
def test_requests_of_one_connection_can_name_different_directories(running, src, server):
    name = "legacy__variable" if server == "aggregate" else "variable"
    connection = Connection(str(running.unix))
    found = []
    for project in ("one", "two", "one", "two"):
        body = request("tools/call", {"name": name, "arguments": {"name": "getcwd()"}})
        headers = {**headers_of(body), **dict([cwd_of(src / project)])}
        connection.request("POST", f"/servers/{server}/mcp", json.dumps(body), headers)
        response = connection.getresponse()
        found.append(content(Answer(response.status, {}, response.read()))["value"])
    connection.close()
    assert found == [str(src / project) for project in ("one", "two", "one", "two")]


def test_a_link_to_a_directory_is_the_same_directory(running, src):
    link = src / "link"
    link.symlink_to("one")
    try:
        assert stateless(running, "shared", link) == stateless(running, "shared", src / "one")
    finally:
        link.unlink()


def test_variables_and_directory_of_a_client_are_both_kept_apart(running, src):
    keys = [("X-Key", "first"), ("X-Key", "second")]
    pids = {
        Session(running, "keyed", cwd_of(src / name), key).read("getcwd()")["pid"]
        for name in ("one", "two")
        for key in keys
    }
    assert len(pids) == 4
    assert Session(running, "keyed", cwd_of(src / "one"), keys[0]).read("KEY")["value"] == "first"


def test_a_server_that_exits_starts_again_in_the_directory_of_its_session(running, src):
    session = Session(running, "legacy", cwd_of(src / "two"))
    before = session.read("getcwd()")
    assert "exited" in session.die().text
    after = session.read("getcwd()")
    assert before["pid"] != after["pid"]
    assert after["value"] == str(src / "two")


def test_another_server_ignores_the_directory(running, src):
    assert Session(running, "fixed", cwd_of("/root/of/nothing")).read("getcwd()")["value"] == str(src)


@pytest.mark.parametrize("era", ERAS)
def test_a_client_without_a_directory_gets_an_error_that_names_the_way(running, era):
    client = UnixClient(running.unix)
    answer = (
        client.initialize("legacy") if era == "legacy" else client.stateless("legacy", "variable", name="x")
    )
    assert answer.status == 400
    assert "mcp-bridge connect legacy" in answer.text
    assert "Mcp-Cwd" in answer.text


def test_status_ps_and_the_log_show_the_directory_of_a_process(running, src):
    session = Session(running, "legacy", cwd_of(src / "line\nbreak"))
    pid = session.read("getcwd()")["pid"]
    [server] = [one for one in running.status()["servers"] if one["name"] == "legacy"]
    assert server["directories"][str(pid)] == str(src / "line\nbreak")
    assert {"pid": pid, "server": "legacy", "directory": str(src / "line\nbreak")} in json.loads(
        running.do("ps", "--json").stdout
    )
    assert f"{src}/line\\nbreak" in running.do("ps").stdout
    assert f"process {pid} runs in {src}/line\\nbreak" in running.do("status").stdout
    assert f"directory={src}/line\\nbreak" in running.do("logs", "legacy").stdout


def test_the_commands_use_the_directory_of_their_shell(running, src):
    def do(*words):
        return subprocess.run(
            [PROGRAM, *words, "--config", str(running.config)],
            cwd=src / "one",
            env=running.variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    assert "variable" in do("tools", "legacy")
    assert json.loads(do("call", "legacy", "variable", '{"name": "getcwd()"}'))["value"] == str(src / "one")


@pytest.mark.parametrize("server", ["legacy", "modern", "shared"])
@pytest.mark.parametrize("name", ["two", "näïve %41", "line\nbreak", os.fsdecode(b"\xff")])
def test_connect_passes_its_working_directory_on(running, src, server, name):
    lines = [initialize_request(), INITIALIZED, VARIABLE]
    done = subprocess.run(
        [PROGRAM, "connect", server, "--config", str(running.config)],
        cwd=src / name,
        input="".join(f"{json.dumps(line)}\n" for line in lines),
        env=running.variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    *_, last = map(json.loads, done.stdout.splitlines())
    assert json.loads(last["result"]["content"][0]["text"])["value"] == str(src / name)


def test_a_project_with_which_the_server_exits_blocks_no_other(src):
    script = (
        "import os, sys\nsys.exit('broken') if os.path.exists('broken') else exec(open(sys.argv[1]).read())"
    )
    program = src.parent / "maybe.py"
    program.write_text(script)
    (src / "broken-project").mkdir()
    (src / "broken-project/broken").touch()
    command = [*child("variables.py")[:1], str(program), *child("variables.py")[1:]]
    servers = {"maybe": {"command": command, "cwd": "client", "cwd_allowed": [str(src)], "era": "legacy"}}
    with daemon(src.parent / "breaker", servers) as running:
        for _ in range(12):
            answer = UnixClient(running.unix).initialize("maybe", cwd_of(src / "broken-project"))
        assert "the server ended unexpectedly" in answer.text
        found = Session(running, "maybe", cwd_of(src / "one")).read("getcwd()")
        assert found["value"] == str(src / "one")
        # The failure of one project is not a failure of the server.
        assert [one["state"] for one in running.status()["servers"]] == ["serving"]


def test_the_era_is_found_in_the_directory_of_the_first_client_and_holds_for_all(src, tmp_path):
    servers = {"new": {"command": child("variables.py"), "cwd": "client", "cwd_allowed": [str(src)]}}
    with daemon(tmp_path, servers) as running:
        stateless(running, "new", src / "one")
        stateless(running, "new", src / "two")
        log = running.do("logs", "new").stdout
    assert log.count("era_probed") == 1


@pytest.mark.parametrize("words", [[], ["modern", "only"]], ids=ERAS)
@pytest.mark.parametrize("share", ["client", "principal"])
@pytest.mark.parametrize("era", ERAS)
def test_the_era_of_a_server_that_needs_a_project_is_found(src, tmp_path, words, share, era):
    """The sibling process that finds the era runs in the directory of the client too."""
    program = tmp_path / "needs.py"
    program.write_text(
        "import os, sys\nos.path.exists('inner') or sys.exit('no project')\nexec(open(sys.argv[1]).read())"
    )
    interpreter, script = child("variables.py")
    command = [interpreter, str(program), script, *words]
    servers = {"x": {"command": command, "cwd": "client", "cwd_allowed": [str(src)], "share": share}}
    with daemon(tmp_path / "daemon", servers) as running:
        if era == "legacy":
            assert Session(running, "x", cwd_of(src / "one")).read("getcwd()")["value"] == str(src / "one")
        else:
            assert stateless(running, "x", src / "one")["value"] == str(src / "one")
        [server] = running.status()["servers"]
        assert running.do("logs", "x").stdout.count("era_probed") <= 1
    assert server["restarts"] == 0


def test_a_process_whose_client_has_ended_its_session_is_gone(running, src):
    client = UnixClient(running.unix)
    answer = client.initialize("legacy", cwd_of(src / "one"))
    session = answer.headers["mcp-session-id"]
    pid = content(client.call("legacy", session, "variable", name="PWD"))["pid"]
    client.exchange("DELETE", "/servers/legacy/mcp", [("Mcp-Session-Id", session)])
    assert not wait_until_gone(lambda: [pid] * exists(pid), 10)


def test_a_directory_that_was_replaced_is_not_entered_again(running, src):
    directory = src / "replaced"
    directory.mkdir()
    session = Session(running, "legacy", cwd_of(directory))
    pid = session.read("getcwd()")["pid"]
    directory.rename(src / "moved")
    directory.mkdir()
    os.kill(pid, signal.SIGKILL)
    assert not wait_until_gone(lambda: [pid] * exists(pid), 10)
    # The first call may have been sent before the daemon has noticed the exit.
    assert any("the directory of the client was replaced" in session.die().text for _ in range(3))
    assert Session(running, "legacy", cwd_of(src / "moved")).read("getcwd()")["value"] == str(src / "moved")


# ---- through the aggregate


@pytest.mark.parametrize("era", ERAS)
def test_the_aggregate_passes_the_directory_of_each_client_on(running, src, era):
    found = {}
    for name in ("one", "two", "näïve %41", "one"):
        if era == "legacy":
            client = UnixClient(running.unix)
            session = client.initialize("aggregate", cwd_of(src / name)).headers["mcp-session-id"]
            answer = client.call("aggregate", session, "legacy__variable", name="getcwd()")
        else:
            client = UnixClient(running.unix)
            answer = client.stateless("aggregate", "legacy__variable", cwd_of(src / name), name="getcwd()")
        found[name] = content(answer)
        assert found[name]["value"] == str(src / name)
    assert len({one["pid"] for one in found.values()}) == 3


def test_the_aggregate_gets_a_path_with_a_space_whole(running, src):
    (src / "a b").mkdir()
    headers = ("Mcp-Cwd", f"{src}/a b")
    answer = UnixClient(running.unix).stateless("aggregate", "legacy__variable", headers, name="getcwd()")
    assert content(answer)["value"] == str(src / "a b")


@pytest.mark.parametrize("headers", [(), (("Mcp-Cwd", "/etc"),)])
def test_the_aggregate_passes_the_refusal_of_a_directory_on(running, headers):
    client = UnixClient(running.unix)
    answer = client.stateless("aggregate", "legacy__variable", *headers, name="getcwd()")
    assert ("cwd_allowed" if headers else "Mcp-Cwd") in answer.text
    # Other members are not affected.
    content(client.stateless("aggregate", "fixed__variable", *headers, name="getcwd()"))


# ---- other transports and requests


def head_of(path, directory):
    name, value = cwd_of(directory)
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n".encode()


def line_of(stream, start):
    """Return the rest of the next line that begins so."""
    while line := stream.readline():
        if line.startswith(start):
            return line.removeprefix(start).strip()
    raise AssertionError("the stream ended")


def test_an_event_stream_has_the_directory_of_its_get(running, src):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(running.unix))
        sock.sendall(head_of("/servers/legacy/sse", src / "two") + b"Accept: text/event-stream\r\n\r\n")
        with sock.makefile("rb") as stream:
            posts = "/servers/legacy/" + line_of(stream, b"data: ").decode()
            client = UnixClient(running.unix)
            answer = None
            for body in (initialize_request(), INITIALIZED, VARIABLE):
                # The directory of a later request changes nothing.
                assert client.exchange("POST", posts, [*USUAL, cwd_of(src / "one")], body).status == 202
                answer = json.loads(line_of(stream, b"data: ")) if "id" in body else answer
    assert json.loads(answer["result"]["content"][0]["text"])["value"] == str(src / "two")


def test_the_aggregate_and_connect_together_pass_the_directory_on(running, src):
    lines = [
        initialize_request(),
        INITIALIZED,
        {**VARIABLE, "params": {**VARIABLE["params"], "name": "legacy__variable"}},
    ]
    done = subprocess.run(
        [PROGRAM, "connect", "aggregate", "--config", str(running.config)],
        cwd=src / "two",
        input="".join(f"{json.dumps(line)}\n" for line in lines),
        env=running.variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    last = json.loads(done.stdout.splitlines()[-1])
    assert json.loads(last["result"]["content"][0]["text"])["value"] == str(src / "two")


def test_the_state_of_a_modern_server_is_refused_in_another_directory(running, src):
    def send(directory, **more):
        body = request("tools/call", {**tool("state"), **more}, caps=ASKABLE)
        headers = [*headers_of(body).items(), cwd_of(directory)]
        return UnixClient(running.unix).exchange("POST", "/servers/modern/mcp", headers, body)

    required = send(src / "one").json["result"]
    retry = {"inputResponses": {"roots": {"roots": []}}, "requestState": required["requestState"]}
    assert send(src / "two", **retry).json["error"]["code"] == -32602
    assert "result" in send(src / "one", **retry).json


def test_doctor_tests_a_server_in_an_allowed_directory(tmp_path):
    (tmp_path / "src").mkdir()
    allowed = [str(tmp_path / "src"), str(tmp_path / "missing")]
    servers = {"x": {"command": child("variables.py"), "cwd": "client", "cwd_allowed": allowed}}
    with daemon(tmp_path / "daemon", servers) as running:
        printed = running.do("doctor", check=False).stdout
        assert "servers.x: responded after" in printed
        assert f"servers.x: cwd_allowed: there is no directory {tmp_path}/missing" in printed
    (tmp_path / "src").rmdir()
    with daemon(tmp_path / "daemon", servers) as running:
        printed = running.do("doctor", check=False).stdout
        assert f"servers.x: no response in the directory {tmp_path}/src" in printed
    shown = running.do("config", "show").stdout
    assert tomllib.loads(shown)["servers"]["x"]["cwd_allowed"] == allowed


def test_a_pin_does_not_depend_on_the_directory(src, tmp_path):
    common = {"cwd": "client", "cwd_allowed": [str(src)]}
    servers = {"x": {"command": child("variables.py"), **common}}
    with daemon(tmp_path, servers) as running:
        assert "that of each client" in running.do("approve", "x").stdout
        running.reload()
        for name in ("one", "two"):
            assert Session(running, "x", cwd_of(src / name)).read("getcwd()")["value"] == str(src / name)
        assert "sha256:" in running.config.read_text()
