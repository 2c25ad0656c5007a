"""Authentication on every route, with every method and every credential.

Without a valid credential no server is started, no response shows what exists, and every refusal has the same bytes.
"""

import os
import stat
import time

import pytest

from ..support.hostile_bridge import STATE, await_ready, running, start_refused, started

pytestmark = pytest.mark.usefixtures("still_serving")

OPEN = ("/healthz",)
CLOSED = (
    "/mcp", "/sse", "/messages", "/messages?sessionId=x", "/ws", "/servers/stdio/mcp", "/servers/stdio/sse",
    "/servers/stdio/messages", "/servers/stdio/ws", "/servers/other/mcp", "/", "/nothing", "/metrics", "/health",
    "/bridge", "/config", "/healthz//", "/healthz2", "//.well-known/x", "/x/register", "/registers",
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE")


def credentials(token):
    """Return values of Authorization that are not valid, by name."""
    wrong = "mcpb_" + "A" * 43
    return {
        "none": None,
        "empty": "",
        "a wrong one": f"Bearer {wrong}",
        "all but the last character": f"Bearer {token[:-1]}",
        "one character more": f"Bearer {token}A",
        "another case": f"Bearer {token.swapcase()}",
        "Bearer and nothing": "Bearer",
        "Bearer and a space": "Bearer ",
        "no scheme": token,
        "Basic": f"Basic {token}",
        "Digest": f"Digest {token}",
        "Bearer, no space": f"Bearer{token}",
        "Bearer, tab": f"Bearer\t{token}",
        "Bearer, colon": f"Bearer: {token}",
        "quoted": f'Bearer "{token}"',
        "twice in one": f"Bearer {token},{token}",
        "a list of two": f"Bearer {token}, Bearer {token}",
        "the wrong one first": f"Bearer {wrong}, Bearer {token}",
        "a parameter": f'Bearer token="{token}"',
        "padded": f"Bearer {token}=",
        "two words": f"Bearer {token} {token}",
        "512 that are no base64": "Bearer " + "%" * 512,
        "512": "Bearer " + "A" * 512,
        "513": "Bearer " + "A" * 513,
        "8 KB": "Bearer " + "A" * 8000,
    }


KINDS = tuple(credentials("mcpb_x"))


def request(bridge, method, target, kind):
    found = bridge.bare(method, target).add("Content-Type: application/json", "Accept: */*")
    value = credentials(bridge.token)[kind]
    return found if value is None else found.add(f"Authorization: {value}")


def refusal(bridge):
    return bridge.exchange(bridge.bare("POST", "/mcp"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a01_every_closed_path_gives_one_and_the_same_401(bridge, method, kind):
    children, journal = bridge.children(), bridge.journal.stat().st_size
    same = refusal(bridge)
    assert same.headers["www-authenticate"] == "Bearer"
    for target in CLOSED:
        # A refusal closes its connection.
        with bridge.connect() as connection:
            connection.send(request(bridge, method, target, kind))
            reply = connection.reply(to_head=method == "HEAD")
            assert reply.status == 401, (target, reply)
            if method != "HEAD":
                assert reply.constant_part == same.constant_part
    assert bridge.children() <= children
    assert bridge.journal.stat().st_size == journal


@pytest.mark.parametrize("method", METHODS)
def test_a01_health_needs_no_credential_and_reveals_nothing(bridge, session, method):
    for kind in ("none", "a wrong one"):
        reply = bridge.exchange(request(bridge, method, "/healthz", kind))
        assert reply.status == (200 if method in ("GET", "HEAD") else 405)
        assert session.id.encode() not in reply.body
        if method == "GET":
            assert reply.body == b"ok"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", CLOSED)
def test_a_valid_credential_reaches_the_route_and_its_methods(bridge, method, target):
    known = target.startswith(("/mcp", "/sse", "/messages", "/ws", "/servers/stdio/"))
    with bridge.connect() as connection:
        connection.send(
            bridge.request(method, target)
            .replace_field("Accept: text/html")
            .replace_field("Content-Length: 0")
        )
        reply = connection.reply(to_head=method == "HEAD")
    if not known:
        assert reply.status == 404
    elif method in ("PUT", "OPTIONS", "HEAD", "PATCH", "TRACE"):
        assert reply.status == 405
        assert reply.headers["allow"]
    else:
        assert reply.status in (400, 405, 406, 415, 426)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  ", " Bearer"])
def test_a01_the_scheme_is_case_insensitive(bridge, session, scheme):
    reply = bridge.exchange(
        bridge.post(session=session).replace_field(f"Authorization: {scheme} {bridge.token}")
    )
    assert reply.status == 200


@pytest.mark.parametrize("route", ["/mcp", "/sse", "/messages", "/ws", "/healthz"])
def test_a02_two_credentials_are_400_even_if_both_are_good(bridge, route):
    reply = bridge.exchange(bridge.request("GET", route).add(f"Authorization: Bearer {bridge.token}"))
    assert reply.status == 400


def test_a02_white_space_behind_the_value_is_not_part_of_it(bridge, session):
    """Accept trailing white space (RFC 9110 section 5.5) and refuse a NUL."""
    line = f"Authorization: Bearer {bridge.token}"
    assert bridge.exchange(bridge.post(session=session).replace_field(line + "\t")).status == 200
    assert bridge.exchange(bridge.post(session=session).replace_field(line + " \t ")).status == 200
    assert bridge.exchange(bridge.post(session=session).replace_field(line + "\0")).status == 400


@pytest.mark.parametrize(
    "line",
    ["Cookie: token=TOKEN", "X-API-Key: TOKEN", "Proxy-Authorization: Bearer TOKEN", "Mcp-Token: TOKEN"],
)
def test_a_token_outside_of_authorization_is_no_credential(bridge, line):
    reply = bridge.exchange(
        bridge.post().without_field("Authorization").add(line.replace("TOKEN", bridge.token))
    )
    assert reply.status == 401


def test_the_body_is_not_read_before_the_credential_is_known(bridge):
    with bridge.connect() as connection:
        connection.send(
            bridge.post().without_field("Authorization").replace_field("Content-Length: 4000000").head()
        )
        reply = connection.reply(timeout=1)
        assert reply.status == 401
        assert reply.headers["connection"] == "close"
        assert connection.to_the_end() == b""


def test_each_request_of_a_connection_is_authenticated(bridge, session):
    with bridge.connect() as connection:
        connection.send(bridge.post(session=session))
        assert connection.reply().status == 200
        connection.send(bridge.post(session=session).without_field("Authorization"))
        refusal = connection.reply()
        assert refusal.status == 401
        assert refusal.headers["connection"] == "close"
        assert connection.to_the_end() == b""


def test_a06_ten_thousand_guesses_do_not_disturb_an_authenticated_client(bridge, session):
    wrong = bytes(bridge.post().replace_field("Authorization: Bearer " + "x" * 48))
    slowest = 0.0
    with bridge.connect() as good:
        for _ in range(20):
            guesses = [bridge.connect() for _ in range(20)]
            connections = [guess.__enter__() for guess in guesses]
            for guessing in connections:
                guessing.send(wrong)
            began = time.monotonic()
            good.send(bridge.post(session=session))
            assert good.reply().status == 200
            slowest = max(slowest, time.monotonic() - began)
            for guess, guessing in zip(guesses, connections, strict=True):
                assert guessing.reply().status in (401, 429)
                guess.__exit__(None, None, None)
    assert slowest < 1


def test_the_created_token_is_readable_by_its_owner_only(bridge):
    path = bridge.runtime / STATE / "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(bridge.token) >= 43
    stderr = "".join(bridge.stderr)
    assert bridge.token not in stderr
    for pid in (bridge.process.pid, *bridge.children()):
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                assert bridge.token.encode() not in file.read()


# ---- token files

GOOD = "mcpb_0123456789abcdefghijklmnopqrstuvwxyzABCDEF"


def write(path, content, mode=0o600):
    path.write_bytes(content)
    path.chmod(mode)


def bad_files(path, kind):
    """Write a file that must not be used as a token. Return a word of the expected reason."""
    good = GOOD.encode() + b"\n"
    match kind:
        case "0644":
            write(path, good, 0o644)
            return "0644"
        case "0660":
            write(path, good, 0o660)
            return "0660"
        case "0604":
            write(path, good, 0o604)
            return "0604"
        case "symlink":
            write(path.with_name("real"), good)
            path.symlink_to("real")
            return "symbolic link"
        case "dangling":
            path.symlink_to("nowhere")
            return "symbolic link"
        case "missing":
            return "No such file"
        case "directory":
            path.mkdir(0o700)
            return "not a regular file"
        case "FIFO":
            os.mkfifo(path, 0o600)
            return "not a regular file"
        case "device":
            path.symlink_to("/dev/zero")
            return "symbolic link"
        case "another owner":
            write(path, good)
            os.chown(path, 65534, 65534)
            return "65534"
        case "1 GB":
            with path.open("wb") as file:
                file.truncate(10**9)
            path.chmod(0o600)
            return "1000000000"
        case "4097 bytes":
            write(path, good * 91)
            return "limit"
        case "empty":
            write(path, b"")
            return "0"
        case "a newline":
            write(path, b"\n")
            return "0"
        case "short":
            write(path, GOOD[:31].encode())
            return "31"
        case "repeated":
            write(path, b"ab" * 32)
            return "different"
        case "CRLF":
            write(path, good.replace(b"\n", b"\r\n"))
            return "usable"
        case "two lines":
            write(path, good + good)
            return "usable"
        case "a space":
            write(path, GOOD.encode() + b" \n")
            return "usable"
        case "BOM":
            write(path, b"\xef\xbb\xbf" + good)
            return "ASCII"
        case "UTF-16":
            write(path, GOOD.encode("utf-16"))
            return "ASCII"
        case "NUL":
            write(path, GOOD.encode() + b"\0")
            return "usable"
    raise AssertionError(kind)


BAD = [
    "0644", "0660", "0604", "symlink", "dangling", "missing", "directory", "FIFO", "device", "another owner", "1 GB",
    "4097 bytes", "empty", "a newline", "short", "repeated", "CRLF", "two lines", "a space", "BOM", "UTF-16", "NUL",
]  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a08_a_bad_token_file_prevents_the_start(tmp_path, kind):
    path = tmp_path / "the-token"
    reason = bad_files(path, kind)
    code, stderr = start_refused(tmp_path, "--allow-root", "--port", "0", "--token-file", str(path))
    assert code == 78, stderr
    assert str(path) in stderr
    assert reason in stderr
    assert GOOD[:8] not in stderr
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["0644", "symlink", "FIFO", "empty", "another owner"])
def test_a08_a_bad_stored_token_prevents_the_start(tmp_path, kind):
    directory = tmp_path / STATE
    directory.mkdir(0o700, parents=True)
    reason = bad_files(directory / "token", kind)
    code, stderr = start_refused(tmp_path, "--allow-root", "--port", "0")
    assert code == 78, stderr
    assert str(directory / "token") in stderr
    assert reason in stderr
    assert GOOD[:8] not in stderr


@pytest.mark.parametrize("kind", ["writable by all", "another owner", "a symlink", "a file"])
def test_a08_a_directory_that_others_could_change_prevents_the_start(tmp_path, kind):
    directory = tmp_path / STATE
    directory.parent.mkdir(parents=True)
    match kind:
        case "writable by all":
            directory.mkdir()
            directory.chmod(0o777)
        case "another owner":
            directory.mkdir(0o700)
            os.chown(directory, 65534, 65534)
        case "a symlink":
            (directory.parent / "real").mkdir(0o700)
            directory.symlink_to("real")
        case _:
            directory.touch()
    code, stderr = start_refused(tmp_path, "--allow-root", "--port", "0")
    assert code == 78, stderr
    assert str(directory) in stderr
    assert "Traceback" not in stderr


def test_a_valid_token_file_is_used_and_no_token_is_created(tmp_path):
    write(tmp_path / "the-token", GOOD.encode() + b"\n")
    with started(tmp_path, "--allow-root", "--port", "0", "--token-file", str(tmp_path / "the-token")) as (
        process,
        stderr,
    ):
        await_ready(process, stderr)
        assert not (tmp_path / "mcp-bridge").exists()
        process.terminate()
        assert process.wait(10) == 0
    assert GOOD not in "".join(stderr)


def test_a06_guesses_are_slowed_down_and_other_clients_are_not(tmp_path):
    with running(tmp_path / "run", "--limit=wrong_credentials_per_second=20") as bridge:
        session = bridge.open_session()
        replies = []
        with bridge.connect() as using:
            for number in range(200):
                wrong = bridge.bare("POST", "/mcp").add(f"Authorization: Bearer mcpb_{number:043}")
                replies.append(bridge.exchange(wrong))
                if number % 10 == 0:
                    using.send(bridge.post(session=session))
                    assert using.reply().status == 200
            assert {reply.status for reply in replies} == {401, 429}
            assert all(reply.headers["retry-after"] == "1" for reply in replies if reply.status == 429)
            time.sleep(1)
            assert bridge.exchange(wrong).status == 401
