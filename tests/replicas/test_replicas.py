"""Two daemons behind nginx and HAProxy, with the configurations of docs/CONTAINER.md, and clients of the official SDK.

Run by `make replicas`. Ports and directories are replaced in the configurations, and nothing else.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest
from mcp import MCPError, types

from mcpbridged.bridge.config.credentials import new_token

from ..support.bridge_process import REPOSITORY
from ..support.daemon_process import Daemon
from ..support.raw_http import BOTH, INITIALIZE
from ..support.sdk import SDK_WARNINGS, connect, text_of

GUIDE = (REPOSITORY / "docs/CONTAINER.md").read_text()
SERVER = REPOSITORY / "tests/support/servers/replica.py"
HOST = "mcp.example.org"
STATE_KEY = "the key of the states, of which 32 bytes are needed"
PROXIES = ("nginx", "haproxy")
REFUSED = "-32602 Invalid or expired requestState"
pytestmark = [pytest.mark.anyio, *SDK_WARNINGS]


def block(name):
    (found,) = re.findall(rf"<!-- run: {name} -->\n```\w+\n(.*?)```", GUIDE, re.DOTALL)
    return found


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


def listens(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def wait_until(found, what):
    end = time.monotonic() + 20
    while not found():
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.05)


def replica(stack, folder, name, ports, tokens, *, keys=True):
    """Start a daemon with the configuration of the guide, the servers of the tests and the credentials."""
    place = folder / name
    place.mkdir()
    credentials = {"laptop": tokens["laptop"], "other": tokens["other"], "state-key": STATE_KEY}
    (place / "credentials").mkdir()
    for credential, text in credentials.items():
        (place / "credentials" / credential).write_text(text)
        (place / "credentials" / credential).chmod(0o600)
    text = block("replica").replace("127.0.0.1:8808", f"127.0.0.1:{ports[name]}")
    text = text.replace(f'"{HOST}"', f'"{HOST}", "127.0.0.1:{ports["proxy"]}"')
    if not keys:
        text = "".join(line for line in text.splitlines(keepends=True) if "request_state_keys" not in line)
    text += '[tokens.other]\nsecret = "credential:other"\n'
    for server, eras in (("both", "both"), ("legacy", "legacy")):
        text += f"[servers.{server}]\ncommand = {json.dumps([sys.executable, str(SERVER), name, eras])}\n"
    (place / "config.toml").write_text(text)
    (place / "config.toml").chmod(0o600)
    return stack.enter_context(
        Daemon(place, environment={"CREDENTIALS_DIRECTORY": str(place / "credentials")})
    )


@contextmanager
def proxy(name, text, folder, ports):
    for old, new in (("8808", ports["a"]), ("8809", ports["b"]), (":80\n", f":{ports['proxy']}\n")):
        text = text.replace(f":{old}" if old.isdigit() else old, f":{new}" if old.isdigit() else new)
    text = text.replace("listen 80;", f"listen 127.0.0.1:{ports['proxy']};")
    file = folder / f"{name}.conf"
    if name == "nginx":
        temporary = "".join(
            f"{part}_temp_path {folder}/{part};"
            for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file.write_text(
            f"daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr;"
            f"events {{}}\nhttp {{ access_log off; {temporary}\n{text}}}\n"
        )
        words = ["nginx", "-c", str(file), "-e", "stderr"]
    else:
        file.write_text(text)
        words = ["haproxy", "-f", str(file)]
    log = folder / f"{name}.log"
    with log.open("wb") as output, subprocess.Popen(words, stdout=output, stderr=output) as process:
        try:
            wait_until(lambda: listens(ports["proxy"]) or process.poll() is not None, log.read_text)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def replicas(folder, name, *, keys=True, guide=""):
    """Yield the proxy of this name in front of two daemons."""
    if shutil.which(name) is None:
        pytest.skip(f"NOT RUN: there is no program {name}")
    ports = dict(zip(("a", "b", "proxy"), free_ports(3), strict=True))
    tokens = {"laptop": new_token(), "other": new_token()}
    with ExitStack() as stack:
        daemons = {one: replica(stack, folder, one, ports, tokens, keys=keys) for one in ("a", "b")}
        stack.enter_context(proxy(name, block(guide or name), folder, ports))
        yield SimpleNamespace(daemons=daemons, tokens=tokens, base=f"http://127.0.0.1:{ports['proxy']}")


def client(front, server, transport="http", token="laptop", **options):
    base = f"{front.base}/servers/{server}"
    at = SimpleNamespace(
        mcp=f"{base}/mcp",
        sse=f"{base}/sse",
        ws=f"{base}/ws".replace("http", "ws", 1),
        headers={"Authorization": f"Bearer {front.tokens[token]}"},
    )
    return connect(at, transport, **options)


async def accept(_context, _params):
    return types.ElicitResult(action="accept", content={"ok": True})


async def confirm(front, server, mode="auto", **options):
    """Return the result of a call that needs an input, or its error."""
    async with client(front, server, mode=mode, elicitation_callback=accept, **options) as one:
        try:
            return text_of(await one.call_tool("confirm"))
        except MCPError as error:
            return f"{error.error.code} {error.error.message}"


async def counted(one, times=6):
    """Return the answers of `count`, each the name of a replica and the number of calls of its process."""
    return [text_of(await one.call_tool("count")).split() for _ in range(times)]


# ---- clients of the modern era


@pytest.mark.parametrize("name", PROXIES)
async def test_calls_of_the_modern_era_go_to_both_replicas(tmp_path, name):
    with replicas(tmp_path, name) as front:
        async with client(front, "both", mode="auto") as one:
            assert one.protocol_version == "2026-07-28"
            assert set(Counter(replica for replica, _ in await counted(one))) == {"a", "b"}


@pytest.mark.parametrize("name", PROXIES)
async def test_a_request_for_input_that_one_replica_has_sent_is_continued_by_the_other(tmp_path, name):
    with replicas(tmp_path, name) as front:
        # Round robin: a call and its continuation go to different replicas, whichever request comes in between.
        found = [await confirm(front, "both") for _ in range(4)]
        pairs = [re.fullmatch(r"accept begun by (\w), ended by (\w)", text).groups() for text in found]
        assert any(begun != ended for begun, ended in pairs), pairs


async def test_without_a_common_key_the_other_replica_refuses_the_state(tmp_path):
    with replicas(tmp_path, "haproxy", keys=False) as front:
        # Round robin: the continuation of each call goes to the other replica.
        assert {await confirm(front, "both") for _ in range(4)} == {REFUSED}


async def test_a_held_call_of_a_server_with_a_handshake_needs_a_sticky_credential(tmp_path):
    with replicas(tmp_path, "nginx") as front:
        assert REFUSED in {await confirm(front, "legacy") for _ in range(4)}
    (tmp_path / "sticky").mkdir()
    with replicas(tmp_path / "sticky", "nginx", guide="nginx-credential") as front:
        # One call for each token, because behind a proxy calls of unknown clients must be some seconds apart.
        for token in front.tokens:
            begun, ended = re.findall(r"by (\w)", await confirm(front, "legacy", token=token))
            assert begun == ended


# ---- clients with sessions


@pytest.mark.parametrize("transport", ["http", "sse", "ws"])
@pytest.mark.parametrize("name", PROXIES)
async def test_a_session_stays_at_its_replica(tmp_path, name, transport):
    with replicas(tmp_path, name) as front:
        for token in ("laptop", "other"):
            async with client(front, "both", transport, token, mode="legacy") as one:
                found = await counted(one)
                assert len({replica for replica, _ in found}) == 1
                assert [number for _, number in found] == ["1", "2", "3", "4", "5", "6"]


async def test_sessions_of_one_credential_are_spread_over_the_replicas_of_haproxy(tmp_path):
    with replicas(tmp_path, "haproxy") as front:
        seen = set()
        for _ in range(4):
            async with client(front, "both", mode="legacy") as one:
                ((replica, _),) = await counted(one, 1)
                seen.add(replica)
        assert seen == {"a", "b"}


def post(front, body, **headers):
    request = urllib.request.Request(
        f"{front.base}/servers/both/mcp",
        json.dumps({"jsonrpc": "2.0", **body}).encode(),
        {
            "Authorization": f"Bearer {front.tokens['laptop']}",
            "Content-Type": "application/json",
            "Accept": BOTH,
            **headers,
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers, refusal.read().decode()


@pytest.mark.parametrize("name", PROXIES)
async def test_a_client_whose_replica_has_died_gets_404_and_starts_anew(tmp_path, name):
    with replicas(tmp_path, name) as front:
        opened = {"id": 1, "method": "initialize", "params": INITIALIZE}
        status, headers, _ = post(front, opened)
        assert status == 200
        session = {"Mcp-Session-Id": headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25"}
        assert post(front, {"method": "notifications/initialized"}, **session)[0] == 202
        call = {"id": 2, "method": "tools/call", "params": {"name": "count", "arguments": {}}}
        status, _, text = post(front, call, **session)
        assert status == 200
        owner = re.search(r'"text": ?"(\w) 1"', text)[1]
        front.daemons[owner].kill()
        # The proxy notices it after a refused connection or a failed check. Nothing is executed twice meanwhile.
        wait_until(lambda: post(front, call, **session)[0] == 404, lambda: str(post(front, call, **session)))
        # MCP 2025-11-25 basic/transports: a client that gets 404 must start a new session.
        async with client(front, "both", mode="legacy") as one:
            ((other, number),) = await counted(one, 1)
            assert (other != owner, number) == (True, "1")
        # A client without a session has lost nothing.
        async with client(front, "both", mode="auto") as one:
            assert {replica for replica, _ in await counted(one)} == {other}
