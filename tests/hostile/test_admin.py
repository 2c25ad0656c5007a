"""The page at /admin: who gets it, and what another page, another user or another port cannot do with it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

import pytest

from mcpbridged.bridge.admin.api import MOST_STREAMS
from mcpbridged.bridge.commands.control_client import ErrorResponse, call_server

from ..support.admin_client import TOKEN_HEADER, AdminClient, events
from ..support.bridge_process import EXAMPLE
from ..support.daemon_process import daemon, write_config
from ..support.waiting import wait_until

DATA = ("/admin/api/state", "/admin/api/events")
ACTIONS = ("/admin/api/restart?server=example", "/admin/api/reload")
PRIVATE = ("/admin/admin.js", "/admin/views.js", "/admin/unknown", *DATA)
INJECTION = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Yield a daemon whose page can act. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("admin")
    tokens = {"tokens.editor": {"sha256": "0" * 64}}
    with daemon(folder, admin={"enabled": True, "actions": True}, **tokens) as running:
        yield running


@pytest.fixture
def page(served):
    return AdminClient(served)


def call(running, arguments=None, server="example"):
    params = {"name": "echo", "arguments": arguments or {"text": "x"}}
    return [*call_server(running.unix, server, "tools/call", params)][-1]


# ---- without a session


def test_the_page_is_off_by_default(tmp_path):
    with daemon(tmp_path) as running:
        page = AdminClient(running)
        for path in ("/admin", "/admin/", "/admin/open", "/admin/session", *DATA):
            assert page.send("GET", path)[0] == 401
            assert page.send("GET", path, running.headers)[0] == 404
        with pytest.raises(ErrorResponse, match="enabled = true"):
            page.new_code()
        done = running.do("admin", check=False)
        assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("path", PRIVATE)
def test_without_a_session_only_the_sign_in_is_served(page, path):
    for headers in ({}, {"Cookie": ""}, {"Cookie": f"mcp-bridge-admin-{page.port}=x"}, {TOKEN_HEADER: "x"}):
        status, sent, body = page.send("GET", path, headers)
        assert (status, sent["WWW-Authenticate"]) == (401, "Bearer")
        assert b"mcp-bridge admin" in body


def test_without_a_session_the_page_shows_how_to_sign_in(page):
    status, headers, body = page.send("GET", "/admin")
    assert status == 401
    assert b"<h1>mcp-bridge</h1>" in body
    assert b"/admin/admin.js" not in body
    assert "require-trusted-types-for 'script'" in headers["Content-Security-Policy"]
    assert headers.get_all("Content-Security-Policy") == [headers["Content-Security-Policy"]]


@pytest.mark.parametrize(
    ("method", "path"), [*(("GET", path) for path in DATA), *(("POST", path) for path in ACTIONS)]
)
def test_a_token_of_the_owner_opens_the_page_and_no_other_token_does(page, method, path):
    if path.endswith("events"):
        with page.stream(headers=page.daemon.headers) as response:
            assert next(events(response))[0] == "state"
    else:
        assert page.send(method, path, page.daemon.headers)[0] == 200
    assert (
        page.send(method, path, {"Authorization": "Bearer mcpb_0123456789abcdefghijklmnopqrstuvwxyz"})[0]
        == 401
    )


def test_a_token_with_fewer_rights_does_not_open_the_page(tmp_path):
    with daemon(tmp_path, admin={"enabled": True, "actions": True}) as running:
        page = AdminClient(running)
        token = running.do("token", "new", "editor", "--servers", "*").stdout.strip()
        running.reload()
        for method, path in (("GET", DATA[0]), ("GET", DATA[1]), ("POST", ACTIONS[0]), ("POST", ACTIONS[1])):
            assert page.send(method, path, {"Authorization": f"Bearer {token}"})[0] == 403
        for path in ("/admin", "/admin/admin.js"):
            assert page.send("GET", path, {"Authorization": f"Bearer {token}"})[0] == 403
            assert page.send("GET", path, running.headers)[0] == 200
        connection = socket.socket(socket.AF_UNIX)
        with connection:
            connection.connect(str(running.unix))
            connection.sendall(
                b"POST /control/admin-link HTTP/1.1\r\nHost: localhost\r\nMcp-Token-Name: editor\r\n\r\n"
            )
            assert connection.recv(65536).startswith(b"HTTP/1.1 403 ")


# ---- links


def test_a_link_works_once(page):
    code = page.new_code()
    assert page.exchange(code)[0] == 200
    assert page.exchange(code)[0] == 401
    assert page.exchange(code[:-1])[0] == 401
    assert page.exchange("")[0] == 401


def test_a_link_is_not_used_up_by_a_request_that_shows_the_page(page):
    code = page.new_code()
    for method in ("GET", "HEAD"):
        assert page.send(method, f"/admin/open?{code}")[0] == 200
    assert page.exchange(code)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 415),
    ],
)
def test_another_page_cannot_use_a_link(page, headers, status):
    code = page.new_code()
    assert page.exchange(code, **headers)[0] == status
    # It was not used up either.
    assert page.exchange(code)[0] == 200


def test_a_sign_in_without_an_origin_is_refused(page):
    body = json.dumps({"code": page.new_code()})
    assert page.send("POST", "/admin/session", {"Content-Type": "application/json"}, body)[0] == 403


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"code":1}', b'{"code":"\xff"}', b'{"code":"' + b"x" * 400]
)
def test_a_malformed_sign_in_is_refused(page, body):
    headers = {"Origin": page.origin, "Content-Type": "application/json"}
    assert page.send("POST", "/admin/session", headers, body)[0] == 400


def test_the_body_of_a_sign_in_is_not_read_above_its_limit(page):
    with socket.create_connection((page.host, page.port), 20) as connection:
        head = f"POST /admin/session HTTP/1.1\r\nHost: {page.host}:{page.port}\r\nOrigin: {page.origin}\r\n"
        head += "Content-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 16000000\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection((page.host, page.port), 20) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_process_of_another_user_cannot_use_a_link_or_a_session(page):
    # As one that has read the link in the arguments of a process, or the cookie on a port of its own.
    page.sign_in()
    script = (
        # Loaded before the interpreter is out of reach.
        "import encodings.idna, http.client, json, os, sys\n"
        "os.setgid(65534), os.setuid(65534)\n"
        "host, port, code, cookie, token = json.loads(sys.argv[1])\n"
        "def send(method, path, headers, body=None):\n"
        "    connection = http.client.HTTPConnection(host, port)\n"
        "    connection.request(method, path, body, headers)\n"
        "    print(connection.getresponse().status)\n"
        "own = {'Origin': f'http://{host}:{port}', 'Content-Type': 'application/json'}\n"
        "send('POST', '/admin/session', own, json.dumps({'code': code}))\n"
        f"send('GET', '/admin/api/state', {{'Cookie': cookie, '{TOKEN_HEADER}': token}})\n"
        "send('GET', '/admin', {'Cookie': cookie})\n"
        "send('GET', '/admin/open', {})\n"
    )
    secrets = [page.host, page.port, page.new_code(), page.cookie, page.token]
    found = subprocess.run(
        [sys.executable, "-c", script, json.dumps(secrets)], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["403"] * 4


# ---- with a session


def test_the_cookie_is_accepted_by_the_page_only(page):
    page.sign_in()
    for path in (
        "/servers/example/mcp",
        "/servers/example/sse",
        "/servers/example/ws",
        "/servers/example/pipe",
    ):
        for method in ("GET", "POST"):
            assert page.send(method, path, page.headers)[0] == 401
    assert page.send("GET", "/control/status", page.headers)[0] == 401
    for path in ("/admin/../servers/example/mcp", "/admin/%2e%2e/servers/example/mcp", "/admin//"):
        assert page.send("GET", path, page.headers)[0] == 404


def test_the_cookie_does_not_authenticate_a_later_request_of_its_connection(page):
    page.sign_in()
    with socket.create_connection((page.host, page.port), 20) as connection:
        host = f"Host: {page.host}:{page.port}\r\nCookie: {page.cookie}\r\n{TOKEN_HEADER}: {page.token}\r\n"
        connection.sendall(f"GET /admin/icon.svg HTTP/1.1\r\n{host}\r\n".encode())
        found = b""
        while not found.endswith(b"</svg>\n"):
            found += connection.recv(65536)
        connection.sendall(
            f"GET /servers/example/sse HTTP/1.1\r\nAccept: text/event-stream\r\n{host}\r\n".encode()
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_cookie_without_the_page_token_gives_no_data(page):
    """A browser sends the cookie to every port of the host, so another program may have it."""
    page.sign_in()
    other = AdminClient(page.daemon).sign_in()
    for headers in ({"Cookie": page.cookie}, {"Cookie": page.cookie, TOKEN_HEADER: other.token}):
        for path in DATA:
            assert page.send("GET", path, headers)[0] == 401
        for path in ACTIONS:
            assert page.send("POST", path, {**headers, "Origin": page.origin})[0] == 401
        assert page.send("DELETE", "/admin/session", {**headers, "Origin": page.origin})[0] == 401
    assert page.send("GET", DATA[0], page.headers)[0] == 200


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:{port}"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "{origin}", "Sec-Fetch-Site": "same-origin", "Host": "rebound.example:{port}"}, 421),
    ],
)
@pytest.mark.parametrize("path", ACTIONS)
def test_a_forged_action_is_refused(page, path, more, status):
    page.sign_in()
    filled = {key: value.format(port=page.port, origin=page.origin) for key, value in more.items()}
    starts = page.daemon.status()["servers"][0]["starts"]
    assert page.send("POST", path, {**page.headers, **filled})[0] == status
    assert page.send("GET", path, {**page.headers, "Origin": page.origin})[0] == 405
    assert page.daemon.status()["servers"][0]["starts"] == starts


def test_a_name_that_leads_to_this_machine_is_no_host_of_the_page(page):
    """DNS rebinding, with everything that a browser would send after it."""
    page.sign_in()
    for host in (
        "evil.example",
        f"evil.example:{page.port}",
        "127.0.0.1",
        "0.0.0.0",
        f"127.0.0.1.:{page.port}",
    ):
        for path in ("/admin", "/admin/open", "/admin/admin.css", *DATA):
            assert page.send("GET", path, {**page.headers, "Host": host})[0] in (400, 421)


def test_allowed_hosts_and_origins_of_clients_do_not_reach_the_page(tmp_path):
    listen = {"hosts": ["bridge.example"], "origins": ["https://inspector.example"]}
    with daemon(tmp_path, listen=listen, admin={"enabled": True, "actions": True}) as running:
        page = AdminClient(running).sign_in()
        client = {**running.headers, "Host": "bridge.example"}
        assert page.send("POST", "/servers/example/mcp", client)[0] == 415
        assert page.send("GET", "/admin", {**page.headers, "Host": "bridge.example"})[0] == 421
        foreign = {"Origin": "https://inspector.example"}
        assert page.send("GET", DATA[0], {**page.headers, **foreign})[0] == 403
        assert page.send("POST", ACTIONS[1], {**page.headers, **foreign})[0] == 403
        assert page.exchange(page.new_code(), **foreign)[0] == 403


def test_without_actions_nothing_can_be_changed(tmp_path):
    with daemon(tmp_path, admin={"enabled": True}) as running:
        page = AdminClient(running).sign_in()
        call(running)
        for path in ACTIONS:
            for headers in ({**page.headers, "Origin": page.origin}, running.headers):
                status, _, body = page.send("POST", path, headers)
                assert status == 403
                assert b"actions = true" in body
        assert json.loads(page.send("GET", DATA[0], page.headers)[2])["actions"] is False
        assert running.status()["servers"][0]["restarts"] == 0


def test_with_actions_a_server_is_restarted_and_the_configuration_reloaded(tmp_path):
    with daemon(tmp_path, admin={"enabled": True, "actions": True}) as running:
        page = AdminClient(running).sign_in()
        call(running)
        (pid,) = running.status()["servers"][0]["pids"]
        own = {**page.headers, "Origin": page.origin}
        assert page.send("POST", ACTIONS[0], own)[0] == 200
        wait_until(lambda: pid not in running.status()["servers"][0]["pids"])
        assert page.send("POST", "/admin/api/restart?server=unknown", own)[0] == 404
        assert page.send("POST", "/admin/api/restart", own)[0] == 404
        write_config(
            running.config, {"other": {"command": EXAMPLE}}, admin={"enabled": True, "actions": True}
        )
        status, _, body = page.send("POST", ACTIONS[1], own)
        assert (status, json.loads(body)["result"]["added"]) == (200, ["other"])
        running.config.write_text("broken")
        status, _, body = page.send("POST", ACTIONS[1], own)
        assert (status, b"broken" in body or b"config.toml" in body) == (409, True)


# ---- ends of a session


def test_a_session_ends_with_the_sign_out(page):
    page.sign_in()
    with page.stream() as response:
        found = events(response)
        assert next(found)[0] == "state"
        assert page.send("DELETE", "/admin/session", page.headers)[0] == 403
        status, headers, _ = page.send("DELETE", "/admin/session", {**page.headers, "Origin": page.origin})
        assert (status, "Max-Age=0" in headers["Set-Cookie"]) == (200, True)
        # The open stream ends as well.
        assert {kind for kind, _ in found} <= {"state"}
    assert page.send("GET", DATA[0], page.headers)[0] == 401
    assert page.send("GET", "/admin", page.headers)[0] == 401


def test_a_session_that_has_ended_is_refused_on_a_kept_connection(page):
    page.sign_in()
    with socket.create_connection((page.host, page.port), 20) as connection:
        head = f"GET /admin/api/state HTTP/1.1\r\nHost: {page.host}:{page.port}\r\nCookie: {page.cookie}\r\n"
        request = f"{head}{TOKEN_HEADER}: {page.token}\r\n\r\n".encode()
        connection.sendall(request)
        found = connection.recv(65536)
        assert found.startswith(b"HTTP/1.1 200 ")
        length = int(found.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        while len(found.partition(b"\r\n\r\n")[2]) < length:
            found += connection.recv(65536)
        assert page.send("DELETE", "/admin/session", {**page.headers, "Origin": page.origin})[0] == 200
        # The same bytes again.
        connection.sendall(request)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_session_ends_with_the_token_of_the_owner_and_with_the_daemon(tmp_path):
    with daemon(tmp_path, admin={"enabled": True}) as running:
        page = AdminClient(running).sign_in()
        with page.stream() as response:
            found = events(response)
            assert next(found)[0] == "state"
            running.do("token", "rotate")
            with contextlib.suppress(ConnectionError):
                assert {kind for kind, _ in found} <= {"state"}
        assert page.send("GET", DATA[0], page.headers)[0] == 401
        page.sign_in()
        cookie, token = page.cookie, page.token
    with daemon(tmp_path, admin={"enabled": True}) as running:
        page = AdminClient(running)
        name = f"mcp-bridge-admin-{page.port}"
        headers = {"Cookie": f"{name}={cookie.partition('=')[2]}", TOKEN_HEADER: token}
        assert page.send("GET", DATA[0], headers)[0] == 401


def test_a_session_ends_when_the_page_is_switched_off(tmp_path):
    with daemon(tmp_path, admin={"enabled": True}) as running:
        page = AdminClient(running).sign_in()
        with page.stream() as response:
            found = events(response)
            next(found)
            write_config(running.config, {"example": {"command": EXAMPLE}}, admin={"enabled": False})
            running.reload()
            with contextlib.suppress(ConnectionError):
                assert {kind for kind, _ in found} <= {"state"}
        assert page.send("GET", "/admin", page.headers)[0] == 401
        assert page.send("GET", "/admin", running.headers)[0] == 404
        write_config(running.config, {"example": {"command": EXAMPLE}}, admin={"enabled": True})
        running.reload()
        assert page.send("GET", DATA[0], page.headers)[0] == 401


# ---- streams


def test_the_number_of_streams_is_limited_and_clients_are_served(page):
    page.sign_in()
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_STREAMS):
            response = stack.enter_context(page.stream())
            assert next(events(response))[0] == "state"
        for _ in range(50):
            with page.stream() as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert call(page.daemon)["result"]
    end = time.monotonic() + 20
    status = 503
    while status == 503 and time.monotonic() < end:
        with page.stream() as response:
            status = response.status
    assert status == 200


def test_a_page_that_does_not_read_slows_no_server_down_and_is_sent_what_it_missed(page):
    page.sign_in()
    with page.stream("tap=example") as response:
        found = events(response)
        assert next(found)[0] == "state"
        # More than the buffers of the kernel hold, while nothing is read.
        text = "x" * 20_000
        for _ in range(2000):
            assert call(page.daemon, {"text": text})["result"]["content"][0]["text"] == text
        kinds = []
        for kind, data in found:
            kinds.append(kind)
            if kind == "dropped":
                assert data > 0
                break
        assert "message" in kinds


def test_names_and_messages_of_servers_are_json_text(tmp_path):
    servers = {"example": {"command": EXAMPLE}}
    with daemon(tmp_path, servers, admin={"enabled": True}) as running:
        page = AdminClient(running).sign_in()
        with page.stream("tap=*&logs=*") as response:
            found = events(response)
            assert next(found)[0] == "state"
            call(running, {"text": f"{INJECTION}\u2028\ndata: x\n\n"})
            lines = [data["line"] for kind, data in zip_until(found, "message", 6)]
        assert any(INJECTION in line for line in lines)


def zip_until(found, kind, count):
    """Return the events of one kind, until there are so many."""
    wanted = []
    for event in found:
        wanted += [event] if event[0] == kind else []
        if len(wanted) == count:
            return wanted
    return wanted


def test_a_stream_of_an_unknown_server_is_refused(page):
    page.sign_in()
    for query in ("tap=unknown", "logs=unknown", "tap=example&logs=%00"):
        with page.stream(query) as response:
            assert response.status == 404


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(page, method):
    page.sign_in()
    for path in ("/admin", "/admin/open", "/admin/admin.css", *DATA):
        assert page.send(method, path, page.headers)[0] == 405
