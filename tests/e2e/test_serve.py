"""`mcp-bridge serve`: many servers, a service manager, reloads, tokens, and commands."""

import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
import trio_websocket

from mcpbridged.bridge.commands.control_client import follow

from ..support.bridge_process import EXAMPLE, MODERN, PROGRAM, Bridge
from ..support.correlation import constant
from ..support.daemon_clients import example, open_socket, stateless_request
from ..support.daemon_process import Daemon, ServiceManager, child, daemon, write_config
from ..support.raw_http import BOTH, INITIALIZE, connect
from ..support.stateless_requests import headers_of, request, tool
from ..support.tls import tls_client_context, write_certificate
from ..support.waiting import wait_until_async

pytestmark = pytest.mark.anyio


async def echo(running, server, token=None):
    status, answer = await stateless_request(running, server, "tools/call", tool("echo", text=server), token)
    assert status == 200, answer
    return answer["result"]["content"][0]["text"]


# ---- many servers


async def test_every_server_has_its_paths_and_a_broken_server_affects_no_other(tmp_path):
    servers = {
        "one": example(),
        "two": example(share="server"),
        "broken": {"command": ["false"]},
        "missing": {"command": ["no-such-program-here"]},
    }
    with daemon(tmp_path, servers) as running:
        assert await echo(running, "one") == "one"
        assert await echo(running, "two") == "two"
        status, answer = await stateless_request(running, "broken", "tools/list")
        assert "exited with code 1" in answer["error"]["message"]
        status, answer = await stateless_request(running, "missing", "tools/list")
        assert status == 503
        assert "no-such-program-here" in answer["error"]["message"]
        status, answer = await stateless_request(running, "three", "tools/list")
        assert status == 404
        assert await echo(running, "one") == "one"
        assert any("there is no program 'no-such-program-here'" in line for line in running.lines)


async def test_the_last_lines_of_a_server_that_exits_are_in_the_error(tmp_path):
    talkative = [sys.executable, "-c", "import sys; sys.exit('the key is missing')"]
    with daemon(tmp_path, {"one": {"command": talkative, "era": "legacy"}}) as running:
        _, answer = await stateless_request(running, "one", "tools/list")
        assert answer["error"]["data"]["stderr"] == ["the key is missing"]
        shown = running.do("status").stdout
        assert (
            "one: failed: the last process exited with code 1 before it answered initialize; "
            "it printed 'the key is missing'\n  the key is missing\n"
        ) in shown


# ---- tokens


async def test_a_token_of_the_configuration_is_a_principal_with_the_servers_it_names(tmp_path):
    token = "mcpb_" + "0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
    digest = hashlib.sha256(token.encode()).hexdigest()
    servers = {"one": example(), "two": example()}
    with daemon(tmp_path, servers, **{"tokens.cursor": {"sha256": digest, "servers": ["one"]}}) as running:
        assert await echo(running, "one", token) == "one"
        status, answer = await stateless_request(running, "two", "tools/list", token=token)
        assert (status, answer["error"]["message"]) == (403, "the token of 'cursor' has no right to 'two'")
        status, _ = await stateless_request(running, "one", "tools/list", token=token[:-1] + "G")
        assert status == 401
        assert await echo(running, "two") == "two"
        # A revoked token is refused from the next request on, also on a connection that it has opened.
        body = request("tools/list")
        async with connect(running) as connection:
            sent = (
                "POST",
                "/servers/one/mcp",
                headers_of(body, Authorization=f"Bearer {token}"),
                json.dumps(body).encode(),
            )
            await connection.send(*sent)
            assert (await connection.answer()).status == 200
            running.do("token", "revoke", "cursor")
            running.do("reload")
            await connection.send(*sent)
            assert (await connection.answer()).status == 401
        made = running.do("token", "new", "ide", "--servers", "two").stdout.strip()
        running.do("reload")
        assert await echo(running, "two", made) == "two"
        assert made not in running.config.read_text()
        assert "ide    two" in running.do("token", "list").stdout


async def test_sessions_and_streams_end_with_their_token_or_its_access(tmp_path):
    tokens = {name: f"mcpb_{name:x<40}" for name in ("gone", "narrowed", "rotated", "kept")}

    def tables(names, **changes):
        return {
            f"tokens.{name}": {"sha256": hashlib.sha256(tokens[name].encode()).hexdigest()}
            | changes.get(name, {})
            for name in names
        }

    servers = {"one": example(), "two": example()}
    with daemon(tmp_path, servers, **tables(tokens)) as running:
        async with AsyncExitStack() as stack:
            sockets, streams = {}, {}
            for name, token in tokens.items():
                sockets[name] = await open_socket(running, "one", stack, token)
                streams[name] = await stack.enter_async_context(connect(running))
                head = {"Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
                await streams[name].send("GET", "/servers/one/sse", head)
                assert (await streams[name].head())[0] == 200
                assert await streams[name].event()
            tokens["rotated"] = tokens["rotated"].upper()
            now = tables(("narrowed", "rotated", "kept"), narrowed={"servers": ["two"]})
            write_config(running.config, servers, **now)
            running.do("reload")
            with trio.fail_after(10):
                for name in ("gone", "narrowed", "rotated"):
                    with pytest.raises(trio_websocket.ConnectionClosed):
                        await sockets[name].answers(1)
                    with pytest.raises(ConnectionResetError):
                        await streams[name].event()
                await sockets["kept"].begin(1, tool("echo", text="still here"))
                assert "result" in (await sockets["kept"].answers(1))[1]
                with trio.move_on_after(1) as patience:
                    await streams["kept"].event()
                assert patience.cancelled_caught
            for name, status in (("gone", 401), ("narrowed", 403), ("rotated", 200)):
                assert (await stateless_request(running, "one", "tools/list", token=tokens[name]))[
                    0
                ] == status


async def test_a_renewed_certificate_is_shown_after_a_reload(authority, tmp_path):
    client = tls_client_context(authority)
    files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}

    def issue():
        certificate, _ = write_certificate(authority, tmp_path)
        return ssl.PEM_cert_to_DER_cert(certificate.read_text())

    def shown(running):
        with socket.create_connection(running.address, timeout=5) as sock:
            with client.wrap_socket(sock, server_hostname="127.0.0.1") as secured:
                return secured.getpeercert(binary_form=True)

    first = issue()
    listen = {key: str(path) for key, path in files.items()}
    with daemon(tmp_path, {"one": example()}, listen=listen) as running:
        assert shown(running) == first
        second = issue()
        assert shown(running) == first
        running.do("reload")
        assert shown(running) == second
        files["tls_cert"].write_text("no certificate")
        refused = running.do("reload", check=False)
        assert refused.returncode == 78
        assert (
            f"the TLS certificate {files['tls_cert']} or its key {files['tls_key']} cannot be used: "
            in refused.stderr
        )
        refused = running.do("config", "check", check=False)
        assert refused.returncode == 78
        assert "cannot be used" in refused.stderr
        assert f"{files['tls_key']} cannot be used" in running.do("doctor", check=False).stdout
        assert shown(running) == second


async def test_the_control_socket_is_not_on_tcp(tmp_path):
    with daemon(tmp_path) as running:
        async with connect(running) as connection:
            for path in (
                "/control/status",
                "/control/sessions",
                "/control/restart",
                "/control/tap",
                "/admin",
                "/docs",
            ):
                await connection.send("GET", path)
                assert (await connection.answer()).status == 404
        assert running.unix.stat().st_mode & 0o777 == 0o600


# ---- reload and shutdown


async def test_a_reload_touches_only_what_has_changed(tmp_path):
    servers = {"kept": example(), "changed": example(), "removed": example()}
    with daemon(tmp_path, servers) as running:
        async with AsyncExitStack() as stack:
            kept = [await open_socket(running, "kept", stack) for _ in range(2)]
            changed = await open_socket(running, "changed", stack)
            removed = await open_socket(running, "removed", stack)
            for opened in (*kept, changed, removed):
                await opened.begin(50)
            before = {one["name"]: one["pids"] for one in running.status()["servers"]}
            now = {"kept": example(), "changed": example(share="principal"), "added": example()}
            write_config(running.config, now)
            output = running.do("reload").stdout
            assert output == "added: added\nchanged: changed\nremoved: removed\nkept: kept\n"
            for opened in (*kept, changed, removed):
                found = await opened.answers(50)
                assert sorted(found) == list(range(1, 51))
                assert all("result" in answer for answer in found.values())
            assert (await stateless_request(running, "removed", "tools/list"))[0] == 404
            assert await echo(running, "added") == "added"
            assert await echo(running, "changed") == "changed"
            after = {one["name"]: one["pids"] for one in running.status()["servers"]}
            assert after["kept"] == before["kept"]
            await kept[0].begin(1, tool("echo", text="still here"))
            assert "result" in (await kept[0].answers(1))[1]


def test_a_reload_names_settings_that_need_a_restart_until_they_are_as_at_the_start(tmp_path):
    with daemon(tmp_path, {"one": example()}) as running:
        write_config(
            running.config, {"one": example()}, listen={"health": ["/alive"]}, log={"level": "debug"}
        )
        for _ in range(2):
            done = running.do("reload")
            assert (
                done.stderr == "mcp-bridge: what has changed in listen, log needs a restart of the daemon\n"
            )
            assert any("restart_needed tables=listen,log" in line for line in running.lines)
        write_config(running.config, {"one": example()})
        assert running.do("reload").stderr == ""


@pytest.mark.parametrize("content", ["nonsense = 1\n", "[servers.one]\ncommand = 1\n", "[["])
async def test_a_broken_file_changes_nothing(tmp_path, content):
    with daemon(tmp_path, {"one": example()}) as running:
        assert await echo(running, "one") == "one"
        running.config.write_text(content)
        running.process.send_signal(signal.SIGHUP)
        refused = running.do("reload", check=False)
        assert refused.returncode == 78
        assert str(running.config) in refused.stderr
        while not any("reload_failed" in line for line in running.lines):
            await trio.sleep(0.02)
        assert await echo(running, "one") == "one"


async def test_a_hundred_sighups_do_not_end_the_daemon(tmp_path):
    with daemon(tmp_path, {"one": example()}) as running:
        for _ in range(100):
            running.process.send_signal(signal.SIGHUP)
            await trio.sleep(0.005)
        assert await echo(running, "one") == "one"


async def test_calls_in_flight_are_answered_before_shutdown(tmp_path):
    with daemon(tmp_path, {"one": example(), "two": example(share="principal")}) as running:
        async with AsyncExitStack() as stack:
            opened = [await open_socket(running, server, stack) for server in ("one", "one", "two", "two")]
            for one in opened:
                await one.begin(50)
            while sum(one["in_flight"] for one in running.status()["servers"]) < 3:
                await trio.sleep(0.05)
            running.process.send_signal(signal.SIGTERM)
            for one in opened:
                found = await one.answers(50)
                assert not [answer for answer in found.values() if "result" not in answer]
        assert await trio.to_thread.run_sync(running.process.wait, 10) == 0
        running._stopped = True


async def test_new_requests_during_shutdown_are_refused_and_a_second_signal_ends_at_once(tmp_path):
    with daemon(tmp_path, {"one": example()}) as running:
        async with AsyncExitStack() as stack:
            opened = await open_socket(running, "one", stack)
            await opened.begin(1, {"name": "slow", "arguments": {"seconds": 60, "steps": 2}})
            while not running.status()["servers"][0]["in_flight"]:
                await trio.sleep(0.02)
            running.process.send_signal(signal.SIGTERM)
            while not any("info: stopping" in line for line in running.lines):
                await trio.sleep(0.02)
            await opened._send({"id": "late", "method": "tools/list"})
            assert (await opened.answers(1))["late"]["error"]["message"] == "the bridge is stopping"
            assert running.process.poll() is None
            began = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            assert await trio.to_thread.run_sync(running.process.wait, 10) == 0
            assert time.monotonic() - began < 5
            running._stopped = True


async def test_calls_of_a_server_that_was_just_replaced_are_answered_before_shutdown(tmp_path):
    with daemon(tmp_path, {"one": example()}) as running:
        async with AsyncExitStack() as stack:
            opened = await open_socket(running, "one", stack)
            await opened.begin(1)
            write_config(running.config, {"one": example(env={"CHANGED": "yes"})})
            await trio.to_thread.run_sync(running.do, "reload")
            running.process.send_signal(signal.SIGTERM)
            assert (await opened.answers(1))[1]["result"]["content"][0]["text"] == "done in 2 s"
        assert await trio.to_thread.run_sync(running.process.wait, 10) == 0
        running._stopped = True


async def test_a_reload_that_is_interrupted_by_shutdown_changes_nothing(tmp_path):
    manager = ServiceManager(tmp_path)
    secret = {"secrets": {"KEY": f"exec:cat {tmp_path}/key"}}
    (tmp_path / "key").write_text("the first key")
    write_config(tmp_path / "config.toml", {"one": example(**secret)})
    with Daemon(tmp_path, environment={"NOTIFY_SOCKET": str(manager.path)}) as running:
        async with AsyncExitStack() as stack:
            opened = await open_socket(running, "one", stack)
            (tmp_path / "key").unlink()
            # The credential helper waits until the file is written.
            os.mkfifo(tmp_path / "key")
            write_config(running.config, {"one": example(**secret), "two": example(start="eager")})
            running.process.send_signal(signal.SIGHUP)
            manager.wait_for("RELOADING=1")
            await opened.begin(1)
            while not running.status()["servers"][0]["in_flight"]:
                await trio.sleep(0.05)
            running.process.send_signal(signal.SIGTERM)
            manager.wait_for("STOPPING=1")
            await trio.to_thread.run_sync((tmp_path / "key").write_text, "the second key")
            assert "result" in (await opened.answers(1))[1]
        assert await trio.to_thread.run_sync(running.process.wait, 10) == 0
        running._stopped = True
    assert "READY=1" not in manager.received[manager.received.index("STOPPING=1") :]
    assert not [line for line in running.lines if "server=two" in line]


# ---- a service manager


def test_a_service_manager_is_notified_of_every_state(tmp_path):
    manager = ServiceManager(tmp_path)
    write_config(tmp_path / "config.toml", {"one": example()})
    variables = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "300000"}
    with Daemon(tmp_path, environment=variables) as running:
        manager.wait_for("READY=1")
        manager.wait_for("STATUS=serving 1 server on http://127.0.0.1:")
        manager.wait_for("WATCHDOG=1", 5)
        running.process.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("MONOTONIC_USEC=")
        manager.wait_for("READY=1", 2)
        # A blocked event loop sends no watchdog message.
        running.process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        signs = manager.received.count("WATCHDOG=1")
        time.sleep(0.5)
        assert manager.received.count("WATCHDOG=1") == signs
        running.process.send_signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG=1", signs + 2)
        running.stop()
        manager.wait_for("STOPPING=1")
    ready, stopping = manager.received.index("READY=1"), manager.received.index("STOPPING=1")
    assert ready < stopping


@pytest.fixture
def passed(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "passed.sock"))
        unix.listen()
        yield [tcp, unix]


async def test_passed_sockets_are_served_and_a_restart_refuses_no_connection(tmp_path, passed):
    write_config(tmp_path / "config.toml", {"one": example(share="server")})
    port = passed[0].getsockname()[1]
    refused = answered = 0
    over = False

    async def keep_connecting():
        nonlocal refused, answered
        while not over:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                refused += 1
                continue
            async with stream:
                await stream.send_all(
                    b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % port
                )
                data = b""
                try:
                    while more := await stream.receive_some():
                        data += more
                except trio.BrokenResourceError:
                    pass
                answered += data.endswith(b"ok")
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(keep_connecting)
        for daemons in range(1, 4):
            running = await trio.to_thread.run_sync(start, tmp_path, passed)
            assert running.address[1] == port
            with trio.fail_after(20):
                while answered <= 60 * daemons:
                    await trio.sleep(0.01)
            running.process.send_signal(signal.SIGTERM)
            assert await trio.to_thread.run_sync(running.process.wait, 10) == 0
        over = True
        last = await trio.to_thread.run_sync(start, tmp_path, passed)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "passed.sock"))
        client.sendall(b"GET /control/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    last.stop()
    assert (tmp_path / "passed.sock").exists()
    assert refused == 0
    assert answered > 150


def start(folder: Path, sockets: list[socket.socket]) -> Daemon:
    return Daemon(folder, listeners=sockets).__enter__()


def test_descriptors_that_are_meant_for_another_process_are_not_touched(tmp_path):
    write_config(tmp_path / "config.toml", {"one": example()})
    with Daemon(tmp_path, environment={"LISTEN_FDS": "2", "LISTEN_PID": "1"}) as running:
        assert running.unix.exists()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "not a listening stream socket"),
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), "not a listening stream socket"),
        (lambda: socket.create_server(("0.0.0.0", 0)), "0.0.0.0 is not a loopback address"),
    ],
)
def test_a_passed_socket_that_cannot_be_served_is_named(tmp_path, make, reason):
    write_config(tmp_path / "config.toml", {"one": example()})
    with make() as sock, pytest.raises(RuntimeError, match=reason), Daemon(tmp_path, listeners=[sock]):
        pass


def test_servers_inherit_no_descriptor_and_no_variable_of_the_service_manager(tmp_path, passed):
    secret = tmp_path / "secret"
    secret.write_text("canary-in-a-file\n")
    secret.chmod(0o600)
    spy = "import os, sys; print(*os.environ, *os.listdir('/proc/self/fd'), file=sys.stderr)"
    write_config(
        tmp_path / "config.toml",
        {"spy": {"command": [sys.executable, "-c", spy], "secrets": {"KEY": str(secret)}, "era": "legacy"}},
    )
    manager = ServiceManager(tmp_path)
    variables = {
        "NOTIFY_SOCKET": str(manager.path),
        "WATCHDOG_USEC": "60000000",
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "CANARY": "canary-of-ours",
    }
    with Daemon(tmp_path, listeners=passed, environment=variables) as running:
        sock = tmp_path / "passed.sock"
        listen = f'[listen]\nunix = "{sock}"\n'
        running.config.write_text(running.config.read_text().replace("[listen]\n", listen))
        running.do("tools", "spy", check=False)
        words = running.do("logs", "spy").stdout.partition("stderr: ")[2].splitlines()[0].split()
        hidden = {
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "LISTEN_PID",
            "WATCHDOG_USEC",
            "CANARY",
            "CREDENTIALS_DIRECTORY",
        }
        assert not hidden & set(words)
        assert "KEY" in words
        # Descriptors 0 to 2, and that of the listing.
        assert sorted(word for word in words if word.isdecimal()) == ["0", "1", "2", "3"]


# ---- commands


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("keys", [{}, {"share": "principal"}])
async def test_requests_and_those_that_failed_are_counted_once(tmp_path, era, keys):
    def counts():
        [found] = (one for one in running.status()["servers"] if one["name"] == "one")
        return found["calls"], found["errors"]

    async def call(name, arguments=None):
        params = {"name": name, "arguments": arguments or {}}
        if era == "modern":
            return (await stateless_request(running, "one", "tools/call", params))[1]
        message = {"id": 1, "method": "tools/call", "params": params}
        await opened._send(message)
        return (await opened.answers(1))[1]

    with daemon(tmp_path, {"one": example(**keys), "none": {"command": ["no-such-program"]}}) as running:
        async with AsyncExitStack() as stack:
            if era == "legacy":
                opened = await open_socket(running, "one", stack)
            assert "result" in await call("echo", {"text": "x"})
            calls, errors = counts()
            assert (calls, errors) == ((2, 0) if era == "legacy" else (1, 0))
            assert "error" in await call("no such tool")
            assert counts() == (calls + 1, 1)
            assert "error" in await call("crash")
            assert counts() == (calls + 2, 2)
            assert "result" in await call("echo", {"text": "x"})
            assert counts() == (calls + 3, 2)
        assert (await stateless_request(running, "none", "tools/list"))[0] == 503
        assert (
            "none: failed: there is no program 'no-such-program' in its PATH" in running.do("status").stdout
        )
        assert [one["errors"] for one in running.status()["servers"]] == [2, 1]


def test_a_configuration_that_is_broken_later_does_not_hide_the_daemon(tmp_path):
    with daemon(tmp_path, {"one": example()}) as running:
        running.config.write_text("[[")
        for words in (("status",), ("call", "one", "echo", '{"text": "on"}'), ("connect", "one")):
            done = running.shell('"$@" </dev/null', *words)
            assert done.returncode == 0, done
            assert f"using the daemon at {running.unix}" in done.stderr
        assert running.do("reload", check=False).returncode == 78
    with daemon(tmp_path / "other", {"one": example()}) as running:
        running.config.chmod(0o666)
        assert running.do("status").returncode == 0
        running.unix.unlink()
        done = running.do("status", check=False)
        assert done.returncode == 78
        assert "chmod go-w" in done.stderr


def test_a_connection_can_be_interrupted(one_daemon):
    with subprocess.Popen(
        [PROGRAM, "connect", "one", "--config", str(one_daemon.config)],
        env=one_daemon.variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as connection:
        hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}
        connection.stdin.write(json.dumps(hello) + "\n")
        connection.stdin.flush()
        assert "result" in connection.stdout.readline()
        connection.send_signal(signal.SIGINT)
        assert connection.wait(10) == -signal.SIGINT
        assert connection.stderr.read() == ""


@pytest.mark.parametrize(
    ("result", "code", "shown"),
    [
        ({"content": "text"}, 0, '{"content": "text"}\n'),
        ({"content": [{"type": "text"}, 5, {"text": "x"}]}, 0, '{"type": "text"}\n5\nx\n'),
        ({"content": []}, 0, '{"content": []}\n'),
        ({}, 0, "{}\n"),
    ],
)
def test_an_invalid_result_is_printed_unchanged(tmp_path, result, code, shown):
    servers = {"one": {"command": child("strange.py", json.dumps(result)), "era": "legacy"}}
    with daemon(tmp_path, servers) as running:
        done = running.do("call", "one", "it", check=False)
        assert (done.returncode, done.stderr) == (code, "")
        answer = (
            json.loads(done.stdout.splitlines()[0])
            if shown.startswith('{"content') or shown == "{}\n"
            else None
        )
        if answer is None:
            assert done.stdout == shown
        else:
            assert json.loads(shown).items() <= answer.items()


def test_commands_show_and_control_the_daemon(tmp_path):
    with daemon(tmp_path, {"one": example(), "two": example()}) as running:
        assert "echo" in running.do("tools", "one").stdout
        assert running.do("call", "one", "echo", '{"text": "hello"}').stdout == "hello\n"
        shown = running.do("status").stdout.splitlines()
        assert shown[0].startswith("mcp-bridge ")
        row = next(line.split() for line in shown if line.startswith("one"))
        assert row[1:3] == ["serving", "legacy"]
        assert next(line.split() for line in shown if line.startswith("two"))[1] == "idle"
        [one] = running.status()["servers"][:1]
        assert one["calls"] == 3
        assert one["memory"] > 2**20
        [pid] = one["pids"]
        assert f"{pid}" in running.do("ps").stdout
        assert f"[{pid}] info: started" in running.do("logs", "one").stdout
        running.do("restart", "one")
        assert running.do("call", "one", "echo", '{"text": "again"}').stdout == "again\n"
        assert running.status()["servers"][0]["pids"] != [pid]
        slow = running.do("call", "one", "slow", '{"seconds": 0.2, "steps": 2}')
        assert slow.stderr.splitlines() == ["0/2", "1/2", "2/2"]
        shown = running.do("doctor").stdout
        assert "wrong" not in shown
        assert shown.count("responded after ") == 2


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("call", "nobody", "echo"), 1, "there is no server 'nobody'; there are: one"),
        (("call", "one", "nothing"), 1, "one has no tool 'nothing'"),
        (("call", "one", "echo", "[1]"), 64, "a JSON object"),
        (("call", "one", "echo", "{"), 64, "not valid JSON"),
        (("logs", "nobody"), 1, "there is no server 'nobody'; there are: one"),
        (("restart", "nobody"), 1, "there is no server 'nobody'"),
        (("tap", "nobody"), 1, "there is no server 'nobody'"),
        (("logs", "ä"), 1, "there is no server 'ä'"),
        (("tap", "a b"), 1, "there is no server 'a b'"),
        (("restart", "x&server=one"), 1, "there is no server 'x&server=one'"),
        (("connect", "a b"), 69, "there is no server 'a b'"),
        (("call", "one", "echo", '{"text": NaN}'), 64, "ARGUMENTS: not valid JSON: NaN is not a JSON number"),
        (
            ("call", "one", "echo", '{"text": "\\ud800"}'),
            64,
            "ARGUMENTS: not valid JSON: a string has half of a surrogate pair",
        ),
        (("logs", "--since", "soon"), 64, "--since"),
        (("token", "new"), 64, "needs a NAME"),
        (("token", "new", "BAD NAME"), 78, "BAD NAME"),
        (("token", "new", "x", "--servers", "one", "two"), 78, "there is no server 'two'; there are one"),
        (("stauts",), 64, "unknown command 'stauts'; did you mean 'status'?"),
        (("help", "stauts"), 64, "unknown command 'stauts'; did you mean 'status'?"),
        (("config", "shwo"), 64, "did you mean 'show'?"),
        (("logs", "oen"), 1, "there is no server 'oen'; there are: one; did you mean 'one'?"),
        (("tools", "oen"), 1, "there is no server 'oen'; there are: one; did you mean 'one'?"),
        (("env", "oen"), 78, "there is no server 'oen'; there are one; did you mean 'one'?"),
        (("call", "one", "ecoh"), 1, "one has no tool 'ecoh'; did you mean 'echo'?"),
        (("token", "new", "x", "--json"), 64, "--json is for token list"),
        (("token", "revoke", "nobody"), 78, "there is no token 'nobody'"),
        (("client-config", "cursor", "nobody"), 78, "there is no server 'nobody'; there are one\n"),
        (("client-config", "cursor", "off"), 78, "servers.off is disabled (enabled = false)"),
        (("env", "nobody"), 78, "there is no server 'nobody'; there are one\n"),
        (("config", "import"), 64, "FILE"),
        (
            ("config", "import", "/no/such/file"),
            78,
            "/no/such/file cannot be read: No such file or directory\n",
        ),
        (("config", "import", PROGRAM.with_name("python")), 78, "is not UTF-8 at byte "),
        (("config", "check", "other.toml"), 64, "config check takes no FILE; use --config other.toml"),
        (("token", "list", "nobody"), 64, "token list takes no NAME"),
        (
            ("status", "--jsn"),
            64,
            "unrecognized arguments: --jsn; did you mean '--json'?\nTry 'mcp-bridge status --help'.\n",
        ),
        (("tap", "one", "two"), 64, "unrecognized arguments: two\nTry 'mcp-bridge tap --help'.\n"),
    ],
)
def test_a_wrong_command_is_answered_with_the_reason(one_daemon, words, code, reason):
    done = one_daemon.do(*words, check=False)
    assert reason in done.stderr
    assert done.returncode == code
    assert done.stderr.startswith("mcp-bridge: ")


def test_the_environment_of_a_server_is_shown_without_its_secrets(tmp_path):
    # This secret is too short to be found in other text.
    (tmp_path / "pin").write_text("4711")
    (tmp_path / "more.env").write_text("WORD=rosebud\n")
    for name in ("pin", "more.env"):
        (tmp_path / name).chmod(0o600)
    one = example(
        pass_env=["DAEMON_TOKEN", "DAEMON_MODE"],
        env={"COLOUR": "\x1b[31mred", "USED": "mine"},
        env_file="more.env",
        secrets={"PIN": "pin"},
        env_from_header={"USED": "X-Used", "BROUGHT": "X-Brought"},
        private_tmp=True,
    )
    write_config(tmp_path / "config.toml", {"one": one})
    ours = {
        "DAEMON_TOKEN": "canary",
        "DAEMON_MODE": "quiet",
        "NOT_ITS_BUSINESS": "x",
        "HOME": "/home/me",
        "LANG": "C.UTF-8",
    }
    outputs = {}
    for words in (("env", "one"), ("config", "show", "--effective")):
        outputs[words[0]] = subprocess.run(
            [PROGRAM, *words, "--config", str(tmp_path / "config.toml")],
            env={**ours, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
    assert outputs["env"].splitlines() == [
        "BROUGHT=[client header x-brought]",
        r"COLOUR=\x1b[31mred",
        "DAEMON_MODE=quiet",
        "DAEMON_TOKEN=[secret]",
        "HOME=/home/me",
        "LANG=C.UTF-8",
        f"PATH={os.environ['PATH']}",
        "PIN=[secret]",
        "TERM=dumb",
        "TMPDIR=[private directory]",
        "USED=[client header x-used, or mine]",
        "WORD=[secret]",
    ]
    for line in outputs["env"].splitlines():
        assert f"# env: {line}\n" in outputs["config"]


async def test_a_secret_of_a_server_is_not_logged(tmp_path):
    variables = {"TOKEN": "canary-in-a-file", "PASSED_KEY": "canary-passed-on"}
    (tmp_path / "token").write_text(f"TOKEN={variables['TOKEN']}\n")
    (tmp_path / "token").chmod(0o600)
    talkative = child("variables.py")
    wrapped = ["--log-level", "debug", "--env-file", str(tmp_path / "token"), "--env", "PASSED_KEY"]
    environment = {"PASSED_KEY": variables["PASSED_KEY"]}
    with Bridge(tmp_path / "run", talkative, *wrapped, environment=environment) as running:
        for name, value in variables.items():
            body = request("tools/call", {"name": "variable", "arguments": {"name": name}})
            async with connect(running) as connection:
                await connection.send("POST", "/mcp", headers_of(body), json.dumps(body).encode())
                answer = await connection.answer()
            assert json.loads(answer.json["result"]["content"][0]["text"])["value"] == value
    logged = [line for line in running.lines if "stderr" in line]
    assert len(logged) == 2
    assert all("telling [secret]" in line for line in logged)
    assert "canary" not in "\n".join(running.lines)


@pytest.mark.parametrize("words", [("status",), ("tools", "one"), ("config", "schema"), ("connect", "one")])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_does_not_prevent_a_command(one_daemon, words, closed):
    done = one_daemon.shell(f'"$@" </dev/null {closed}', *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (">&-" not in closed.replace("2>&-", "") and words[0] != "connect")


@pytest.mark.parametrize("words", [("status",), ("config", "schema")])
def test_output_that_cannot_be_written_is_no_traceback(one_daemon, words):
    done = one_daemon.shell('"$@" >/dev/full', *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("mcp-bridge: ")
    assert done.stderr.endswith("No space left on device\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [(("tools", "nobody"), 1), (("stauts",), 64), (("approve", "off"), 78), (("tools", "one"), 0)],
)
def test_output_that_cannot_be_written_changes_no_exit_code(one_daemon, words, code):
    done = one_daemon.shell('"$@" 2>/dev/full', *words)
    assert (done.returncode, done.stderr) == (code, "")
    assert bool(done.stdout) == (code == 0)


def test_a_reader_that_stops_reading_connect_ends_it(one_daemon):
    opening = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE})
    done = one_daemon.shell(
        f"(echo '{opening}'; sleep 1; echo '{opening}'; sleep 3) | \"$@\" | head -c 5", "connect", "one"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"jso', "")


@pytest.fixture(scope="module")
def one_daemon(tmp_path_factory):
    servers = {"one": example(), "off": {**example(), "enabled": False}}
    with daemon(tmp_path_factory.mktemp("one"), servers) as running:
        yield running


def test_tap_prints_no_terminal_control_sequences(one_daemon):
    with one_daemon.following("tap", "one") as lines:
        end = time.monotonic() + 20
        while not any("[31mred" in line and line.startswith("<-") for line in lines):
            assert time.monotonic() < end, lines
            one_daemon.do("call", "one", "echo", json.dumps({"text": "\x1b[31mred\u202e" + "x" * 20_000}))
    assert any(line.startswith("-> ") and "tools/call" in line for line in lines)
    longest = max(len(line) for line in lines)
    # The limit is 16384 characters (mcp-bridge(1)). Escapes may take more.
    assert 16_384 < longest < 16_500
    assert "\x1b" not in "".join(lines)
    assert "\u202e" not in "".join(lines)


def test_the_log_can_be_followed(one_daemon):
    before = time.strftime("%Y-%m-%d")
    with one_daemon.following("logs", "one", "-f") as lines:
        end = time.monotonic() + 20
        while sum("info: started" in line for line in lines) < 2:
            assert time.monotonic() < end, lines
            one_daemon.do("restart", "one")
            one_daemon.do("call", "one", "echo", '{"text": "x"}')
    assert lines[0].startswith(before[:8])


def test_a_followed_log_begins_with_the_stored_lines(one_daemon):
    one_daemon.do("call", "one", "echo", '{"text": "x"}')
    followed = follow(one_daemon.unix, "/control/logs?server=one&follow=1")
    # Stored and new lines are in one response, so that no line is missed.
    kept = next(followed)
    assert "started" in [entry["text"] for entry in kept]
    one_daemon.do("restart", "one")
    one_daemon.do("call", "one", "echo", '{"text": "x"}')
    assert next(entry for entry in followed if entry["text"] == "started")["at"] > kept[-1]["at"]
    followed.close()


def test_commands_without_a_daemon_print_how_to_start_one(tmp_path):
    done = subprocess.run(
        [PROGRAM, "status"],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69
    assert "start it with `mcp-bridge serve`" in done.stderr


def test_a_daemon_that_exits_during_a_command_is_reported(tmp_path):
    folder = tmp_path / "mcp-bridge"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "mcp-bridge.sock"))
        listening.listen()
        command = subprocess.Popen(
            [PROGRAM, "status"],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        listening.accept()[0].close()
        errors = command.communicate(timeout=20)[1]
    assert command.returncode == 69
    assert "the connection to the daemon was lost" in errors


@pytest.mark.parametrize("client", ["claude-code", "cursor", "vscode", "codex"])
def test_a_client_gets_its_configuration(one_daemon, client):
    done = one_daemon.do("client-config", client, "one")
    assert str(one_daemon.config) in done.stdout
    refused = one_daemon.do("client-config", client, "one", "--http", check=False)
    assert refused.returncode == 78
    assert "http is off or uses port 0 (random); set a fixed port" in refused.stderr


def test_the_printed_command_of_a_client_is_served(one_daemon):
    pasted = json.loads(one_daemon.do("client-config", "cursor", "one").stdout)["mcpServers"]["one"]
    hello = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}) + "\n"
    answer = subprocess.run(
        [pasted["command"], *pasted["args"]],
        input=hello,
        env={"XDG_RUNTIME_DIR": str(one_daemon.folder / "run"), "PATH": "/nonexistent"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert json.loads(answer.stdout)["result"]["serverInfo"]


@pytest.mark.parametrize("token", ["", "minted", "file", "off"])
async def test_the_printed_http_configuration_is_served(tmp_path, token):
    secret = "mcpb_" + "0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
    (tmp_path / "token").write_text(secret)
    (tmp_path / "token").chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listen = {"http": f"127.0.0.1:{port}"} | {"file": {"token": "token"}, "off": {"authenticate": False}}.get(
        token, {}
    )
    with daemon(tmp_path, {"one": example()}, listen=listen) as running:
        pasted = json.loads(running.do("client-config", "cursor", "one", "--http").stdout)["mcpServers"][
            "one"
        ]
        assert ("headers" in pasted) == (token != "off")
        assert secret not in str(pasted)
        opening = urllib.request.Request(
            pasted["url"],
            json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}).encode(),
            {"Accept": BOTH, "Content-Type": "application/json", **pasted.get("headers", {})},
        )
        with await trio.to_thread.run_sync(lambda: urllib.request.urlopen(opening, timeout=20)) as answer:
            assert answer.status == 200
        assert running.do("client-config", "claude", "one", "--http", check=False).returncode == 64


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_command(one_daemon, shell):
    script = one_daemon.do("completion", shell).stdout
    for word in ("serve", "status", "client-config", "stdio"):
        assert word in script
    if shell == "bash":
        check = f'{script}\nCOMP_WORDS=(mcp-bridge sta) COMP_CWORD=1; _mcp_bridge; echo "${{COMPREPLY[@]}}"'
        assert (
            subprocess.run(["bash", "-c", check], capture_output=True, text=True, check=True).stdout
            == "status\n"
        )


def test_all_processes_end_with_the_daemon(tmp_path):
    family = {"family": {"command": child("family.py", EXAMPLE[1]), "share": "server"}}
    with daemon(tmp_path, family) as running:
        running.do("tools", "family")
        assert len(running.family()) >= 3
    # The end of the block looks for processes that are left.


# ---- warm standbys and call timeouts


async def test_a_warm_standby_waits_for_the_next_session(tmp_path):
    with daemon(tmp_path, {"one": example(spare=1)}) as running:

        async def pids(count):
            while len(found := running.status()["servers"][0]["pids"]) != count:
                await trio.sleep(0.02)
            return found

        [spare] = await pids(1)
        async with AsyncExitStack() as stack:
            opened = await open_socket(running, "one", stack)
            assert spare in await pids(2)
            await opened.begin(1)
            while not running.status()["servers"][0]["in_flight"]:
                await trio.sleep(0.02)
            # The standby serves the session, otherwise the session would not be affected.
            os.kill(spare, signal.SIGKILL)
            answer = (await opened.answers(1))[1]
            assert "was killed by signal 9" in answer["error"]["message"]
        [spare] = [pid for pid in await pids(1) if pid != spare]
        os.kill(spare, signal.SIGKILL)
        while await pids(1) == [spare]:
            await trio.sleep(0.02)
        assert await echo(running, "one") == "one"


async def test_an_eager_server_is_started_once_before_any_request(tmp_path):
    with daemon(tmp_path, {"one": example(start="eager"), "two": example()}) as running:
        end = time.monotonic() + 20
        while (found := running.status()["servers"])[0]["era"] == "not known yet" or not found[0]["pids"]:
            assert time.monotonic() < end
            await trio.sleep(0.02)
        assert len(found[0]["pids"]) == 1
        assert found[1]["pids"] == []
        assert found[1]["era"] == "not known yet"
        async with AsyncExitStack() as stack:
            await open_socket(running, "one", stack)
            await trio.sleep(0.3)
            assert running.status()["servers"][0]["pids"] == found[0]["pids"]


# ---- health


async def ready(running, server=""):
    async with connect(running) as connection:
        await connection.send("GET", f"/readyz?server={server}" if server else "/readyz", {})
        answer = await connection.answer()
    assert answer.body == (b"ready" if answer.status == 200 else b"not ready")
    return answer.status


async def test_a_broken_eager_server_is_reported_before_any_request(tmp_path):
    manager = ServiceManager(tmp_path)
    write_config(
        tmp_path / "config.toml", {"one": {"command": ["false"], "start": "eager"}, "two": example()}
    )
    with Daemon(tmp_path, environment={"NOTIFY_SOCKET": str(manager.path)}) as running:

        async def failing():
            return running.status()["servers"][0]["state"] == "failing"

        await wait_until_async(failing)
        assert await ready(running) == await ready(running, "one") == await ready(running, "none") == 503
        assert await ready(running, "two") == 200
        manager.wait_for("STATUS=serving 2 servers on http")
        status = f"STATUS=serving 2 servers on {running._base}; failing: one"
        manager.wait_for(status)
        assert running.status()["servers"][0]["starts"] <= 8


@pytest.mark.parametrize(
    ("era", "command", "named"),
    [("legacy", EXAMPLE, tool("echo", text="x")), ("modern", MODERN, tool("test_simple_text"))],
    ids=["legacy", "modern"],
)
async def test_a_process_that_hangs_is_reported_and_continues(tmp_path, era, command, named):
    one = {"command": command, "limits": {"ping_seconds": 1}, "era": era}
    with daemon(tmp_path, {"one": one, "two": example()}) as running:
        async with AsyncExitStack() as stack:
            opened = await open_socket(running, "one", stack)
            assert "result" in (await stateless_request(running, "one", "tools/call", named))[1]
            # The process gets a ping and answers.
            await trio.sleep(2.5)
            assert await ready(running, "one") == 200
            assert running.status()["servers"][0]["state"] == "serving"
            pids = running.status()["servers"][0]["pids"]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)

            async def silent():
                return await ready(running, "one") == 503

            await wait_until_async(silent)
            assert running.status()["servers"][0]["state"] == "silent"
            assert await ready(running, "two") == 200
            assert "process_silent" in running.do("logs", "one").stdout
            await opened.begin(1, named)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            assert "result" in (await opened.answers(1))[1]

            async def well():
                return await ready(running, "one") == 200

            await wait_until_async(well)
            assert running.status()["servers"][0]["pids"] == pids


async def test_a_call_is_cancelled_after_a_time_without_progress(tmp_path):
    limits = {"limits": {"call_idle_seconds": 1}}
    with daemon(tmp_path, {"one": example(**limits), "two": example()}) as running:
        slow = {"seconds": 3, "steps": 1}
        _, answer = await stateless_request(running, "one", "tools/call", tool("slow", **slow))
        assert answer["error"]["code"] == -32001
        assert answer["error"]["message"] == "the call has made no progress for 1 s, the limit"
        assert await echo(running, "one") == "one"
        _, answer = await stateless_request(running, "two", "tools/call", tool("slow", **slow))
        assert answer["result"]["content"][0]["text"] == "done in 3 s"
        async with AsyncExitStack() as stack:
            opened = await open_socket(running, "one", stack)
            await opened.begin(1, {"name": "slow", "arguments": slow})
            assert constant((await opened.answers(1))[1]["error"])["data"] == {"reason": "timeout"}


# ---- limits of a process


def test_a_process_has_its_configured_limits_and_directories(tmp_path):
    tell = (
        "import os, resource as r, sys, tempfile\n"
        "open(os.path.join(tempfile.gettempdir(), 'left'), 'w').close()\n"
        "print(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_AS), oct(os.umask(0)), os.getcwd(),"
        " tempfile.gettempdir(), oct(os.stat(tempfile.gettempdir()).st_mode), sep='|', file=sys.stderr)"
    )
    keys = {
        "command": [sys.executable, "-c", tell],
        "cwd": str(tmp_path),
        "umask": "0027",
        "rlimits": {"nofile": 100, "as": 2**32},
        "private_tmp": True,
        "era": "legacy",
    }
    with daemon(tmp_path, {"one": keys}) as running:
        running.do("tools", "one", check=False)
        line = next(line for line in running.do("logs", "one").stdout.splitlines() if "stderr: " in line)
        files, memory, umask, cwd, scratch, mode = line.partition("stderr: ")[2].split("|")
        assert (files, memory) == ("(100, 100)", f"({2**32}, {2**32})")
        assert (umask, cwd) == ("0o27", str(tmp_path))
        assert mode == "0o40700"
        assert "mcp-bridge-" in scratch
        end = time.monotonic() + 10
        while Path(scratch).exists():
            assert time.monotonic() < end
            time.sleep(0.02)


async def test_a_process_that_takes_too_much_memory_ends_alone(tmp_path):
    greedy = "import sys; sys.stdin.readline(); x = bytearray(2**32)"
    servers = {
        "greedy": {
            "command": [sys.executable, "-c", greedy],
            "rlimits": {"as": 2**30},
            "era": "legacy",
        },
        "one": example(),
    }
    with daemon(tmp_path, servers) as running:
        _, answer = await stateless_request(running, "greedy", "tools/list")
        assert "MemoryError" in answer["error"]["data"]["stderr"]
        assert await echo(running, "one") == "one"
        assert running.status()["memory"] < 100 * 2**20


# ---- servers that exit


async def test_no_request_can_start_what_the_configuration_does_not_name(tmp_path):
    evil = {
        "command": "touch",
        "args": [str(tmp_path / "evil")],
        "env": {"LD_PRELOAD": "/x.so"},
        "cwd": "/",
        "transport": "stdio",
        "url": "http://127.0.0.1:9",
        "serverPath": "/bin/sh",
    }
    with daemon(tmp_path, {"one": example()}) as running:
        await echo(running, "one")
        # Those of the probe for the era, among them, may end meanwhile.
        before = set(running.family())
        bodies = [
            evil,
            {**request("tools/list"), **evil},
            request("tools/list", evil),
            {"mcpServers": {"evil": evil}},
            request("servers/add", evil),
        ]
        for path in (
            *(f"/servers/one/{end}" for end in ("mcp", "sse", "messages", "ws")),
            "/mcp",
            "/servers",
            "/servers/evil",
            "/servers/evil/mcp",
            "/control/restart",
            "/control/reload",
            "/admin/servers",
        ):
            for body in bodies:
                async with connect(running) as connection:
                    more = headers_of(body) if "params" in body else {"Content-Type": "application/json"}
                    target = f"{path}?command=touch&args={tmp_path}/evil"
                    await connection.send("POST", target, more, json.dumps(body).encode())
                    assert (await connection.answer()).status in {200, 202, 400, 404, 405, 406}
        assert set(running.family()) <= before
    assert not (tmp_path / "evil").exists()


async def test_a_server_that_exits_at_once_is_not_started_endlessly(tmp_path):
    with daemon(tmp_path, {"one": {"command": ["false"], "era": "legacy"}, "two": example()}) as running:
        end = time.monotonic() + 4
        found_errors = set()
        while time.monotonic() < end:
            status, answer = await stateless_request(running, "one", "tools/list")
            found_errors.add((status, answer["error"]["message"].partition(";")[0]))
        assert running.status()["servers"][0]["starts"] <= 8
        assert running.status()["servers"][0]["state"] == "failing"
        assert (503, "the server ended unexpectedly 5 times within 60 s") in found_errors
        assert running.do("doctor", check=False).stdout.count("restarts repeatedly") == 1
        assert await echo(running, "two") == "two"


def test_a_second_daemon_does_not_replace_the_first(tmp_path):
    with daemon(tmp_path) as running:
        second = subprocess.run(
            [PROGRAM, "serve", "--allow-root", "--config", str(running.config)],
            env=running.variables,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert second.returncode == 75
        assert f"{running.unix} is in use" in second.stderr
        assert running.status()["pid"] == running.process.pid


async def test_other_signals_do_not_end_the_daemon(tmp_path):
    with daemon(tmp_path, {"one": example()}) as running:
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
            running.process.send_signal(number)
        await trio.sleep(0.2)
        assert await echo(running, "one") == "one"


@pytest.mark.parametrize("after", [0.0, 0.1, *(0.15 + step / 50 for step in range(12))])
def test_a_signal_during_the_start_leaves_no_process(tmp_path, after):
    write_config(tmp_path / "config.toml", {"one": example(spare=2)})
    running = Daemon(tmp_path)
    time.sleep(after)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) in {0, -signal.SIGTERM}
    running._reader.join(5)
    assert running.wait_until_alone(5) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_text("nonsense = 1"), "there is no key 'nonsense'"),
        (lambda path: path.chmod(0o666), "mode 0666: others could change it"),
        (lambda path: path.unlink(), "there is no such file"),
    ],
)
def test_an_unusable_configuration_prevents_the_start(tmp_path, change, reason):
    path = tmp_path / "config.toml"
    write_config(path, {"one": example()})
    change(path)
    began = time.monotonic()
    done = subprocess.run(
        [PROGRAM, "serve", "--allow-root", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 78
    assert reason in done.stderr
    assert str(path) in done.stderr
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("token", "words", "code", "reason"),
    [
        (
            "short",
            ("config", "check"),
            78,
            "the token from {token}: a token has 32 to 512 characters, this one has 5",
        ),
        ("mcpb_0123456789abcdefghijklmnopqrstuvwxyz", ("config", "check"), 0, ""),
        (
            "mcpb_0123456789abcdefghijklmnopqrstuvwxyz",
            ("serve", "--allow-root"),
            78,
            "{runtime} cannot be made: Not a directory",
        ),
        (
            "mcpb_0123456789abcdefghijklmnopqrstuvwxyz",
            ("status",),
            69,
            "cannot connect to the daemon at {runtime}/mcp-bridge.sock: Not a directory",
        ),
    ],
)
def test_a_start_names_what_is_missing_besides_the_configuration(tmp_path, token, words, code, reason):
    path, kept, file = tmp_path / "config.toml", tmp_path / "token", tmp_path / "file"
    kept.write_text(token)
    kept.chmod(0o600)
    file.touch()
    write_config(path, {"one": example()}, listen={"token": str(kept)})
    done = subprocess.run(
        [PROGRAM, *words, "--config", str(path)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(file), "MCP_BRIDGE_TEST_MARK": "x"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == code
    assert reason.format(token=kept, runtime=file / "mcp-bridge") in done.stderr
    assert done.stderr.count("\n") == bool(reason)


def test_an_impossible_socket_path_is_explained(tmp_path):
    done = subprocess.run(
        [PROGRAM, "status"],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": f"/{'x' * 120}"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 78
    assert "mcp-bridge.sock has 148 bytes, and the limit is 107" in done.stderr


def test_the_doctor_finds_a_server_that_hangs_or_is_missing(tmp_path):
    # A program of this name that downloads no package.
    npx = tmp_path / "npx"
    npx.write_text("#!/bin/sh\nexit 1\n")
    npx.chmod(0o755)
    privileged = tmp_path / "privileged"
    privileged.write_text("#!/bin/false\n")
    privileged.chmod(0o4700)
    servers = {
        "deaf": {"command": ["sleep", "1000"], "era": "legacy", "limits": {"start_seconds": 1}},
        "missing": {"command": ["no-such-program-here"]},
        "floating": {"command": [str(npx), "-y", "some-server"], "era": "legacy"},
        "privileged": {"command": [str(privileged)], "era": "legacy"},
    }
    with daemon(tmp_path, servers) as running:
        done = running.do("doctor", check=False)
        assert done.returncode == 1
        assert "servers.deaf: no response: the server did not answer initialize within 1 s" in done.stdout
        assert "servers.missing: there is no program 'no-such-program-here'" in done.stdout
        assert f"servers.privileged: {privileged} is set-user-ID or set-group-ID, which has no" in done.stdout
        assert "package version not pinned: some-server" in done.stdout


async def test_denied_tools_do_not_exist_for_clients_of_any_era(tmp_path):
    some = example(tools={"allow": ["e*", "slow"], "deny": ["env"]})
    with daemon(tmp_path, {"own": some, "shared": {**some, "share": "principal"}}) as running:
        for server in ("own", "shared"):
            _, answer = await stateless_request(running, server, "tools/list")
            names = {found["name"] for found in answer["result"]["tools"]}
            assert {"echo", "slow"} <= names
            assert not names & {"env", "add", "ask"}
            assert await echo(running, server) == server
            _, answer = await stateless_request(running, server, "tools/call", tool("add", a=1, b=2))
            assert answer["error"]["message"] == "Unknown tool: add"
            async with AsyncExitStack() as stack:
                opened = await open_socket(running, server, stack)
                await opened._send({"id": 5, "method": "tools/list"})
                listed = (await opened.answers(1))[5]["result"]["tools"]
                assert {found["name"] for found in listed} == names
                await opened.begin(1, tool("add", a=1, b=2))
                assert (await opened.answers(1))[1]["error"]["message"] == "Unknown tool: add"
                await opened.begin(1, tool("echo", text="x"))
                assert "result" in (await opened.answers(1))[1]


async def test_a_process_that_does_not_read_affects_its_own_calls_only_and_they_end(tmp_path):
    limits = {"stdin_bytes": 1, "call_seconds": 1, "stdin_stall_seconds": 60, "ping_seconds": 60}
    with daemon(tmp_path, {"one": example(era="legacy", limits=limits)}) as running:
        async with AsyncExitStack() as stack:
            stopped = await open_socket(running, "one", stack)
            [pid] = running.status()["servers"][0]["pids"]
            other = await open_socket(running, "one", stack)
            os.kill(pid, signal.SIGSTOP)
            with trio.fail_after(30):
                for number, text in ((1, "x" * 3_000_000), (2, "too much"), (3, "too much")):
                    params = tool("echo", text=text)
                    await stopped._send({"id": number, "method": "tools/call", "params": params})
                found = await stopped.answers(3)
                assert found[1]["error"]["message"] == "the call has taken more than 1 s, the limit"
                for number in (2, 3):
                    assert "the server does not read" in found[number]["error"]["message"]
                assert running.status()["servers"][0]["in_flight"] == 0
                await other.begin(1, tool("echo", text="not concerned"))
                assert "result" in (await other.answers(1))[1]
                os.kill(pid, signal.SIGCONT)
                answer = {}
                # The process has read the lines before.
                while "result" not in answer:
                    await stopped._send(
                        {"id": 2, "method": "tools/call", "params": tool("echo", text="again")}
                    )
                    answer = (await stopped.answers(1))[2]
        assert not any("internal_error" in line for line in running.lines)


@pytest.mark.parametrize("share", ["session", "principal", "server"])
async def test_a_session_continues_after_a_restart_of_its_server(tmp_path, share):
    with daemon(tmp_path, {"one": example(share=share, spare=1)}) as running:
        async with AsyncExitStack() as stack:
            opened = await open_socket(running, "one", stack)
            await opened.begin(1, tool("echo", text="before"))
            assert "result" in (await opened.answers(1))[1]
            before = set((await status_with_two_processes(running))["pids"])
            await opened.begin(1)
            while not running.status()["servers"][0]["in_flight"]:
                await trio.sleep(0.01)
            await trio.to_thread.run_sync(running.do, "restart", "one")
            assert "result" in (await opened.answers(1))[1]
            with trio.fail_after(20):
                while before & set(running.status()["servers"][0]["pids"]):
                    await trio.sleep(0.05)
            await opened.begin(1, tool("echo", text="after"))
            assert (await opened.answers(1))[1]["result"]["content"][0]["text"] == "after"
            after = await status_with_two_processes(running)
            # Only requested restarts count.
            assert after["restarts"] == 0
            assert after["sessions"] == 1
        assert not any("internal_error" in line for line in running.lines)


async def status_with_two_processes(running):
    """Wait until the first server has two processes, one of them the warm standby. Return its status."""

    async def found():
        [status] = running.status()["servers"]
        return status if len(status["pids"]) == 2 else None

    return await wait_until_async(found)


async def test_a_server_that_failed_is_started_at_once_after_a_restart(tmp_path):
    flag = tmp_path / "mended"
    script = f"[ -e {flag} ] || exit 1; exec {' '.join(EXAMPLE)}"
    with daemon(tmp_path, {"one": {"command": ["sh", "-c", script], "era": "legacy"}}) as running:
        while running.status()["servers"][0]["state"] != "failing":
            await stateless_request(running, "one", "tools/list")
        flag.touch()
        assert (await stateless_request(running, "one", "tools/list"))[0] == 503
        await trio.to_thread.run_sync(running.do, "restart", "one")
        assert await echo(running, "one") == "one"


@pytest.mark.parametrize("start", ["eager", "lazy"])
def test_a_failure_before_a_correction_is_not_shown_below_the_corrected_server(tmp_path, start):
    broken = {"command": [sys.executable, "-c", "import sys; sys.exit('not yet')"], "start": start}
    with daemon(tmp_path, {"one": broken}) as running:
        running.do("call", "one", "echo", "text=x", check=False)
        assert "not yet" in running.do("status").stdout
        write_config(running.config, {"one": {**broken, "command": EXAMPLE}})
        running.do("reload")
        shown = running.do("status").stdout
        assert "exited with code 1" not in shown
        assert "not yet" not in shown
        # The log keeps it.
        assert "not yet" in running.do("logs", "one").stdout
