"""Storms of reloads, and peers that stop reading or sending: other clients notice nothing."""

import json
import signal
import socket
from contextlib import ExitStack

import pytest
import trio

from ..support.daemon_process import daemon, write_config
from ..support.history import report
from ..support.recorded_traffic import Traffic, counting
from ..support.stateless_requests import headers_of, request, tool
from ..support.wire import fresh_key

pytestmark = pytest.mark.anyio
LIMIT = 10


async def test_a_storm_of_reloads_loses_no_call(tmp_path):
    journal, other = tmp_path / "journal", tmp_path / "other"

    def servers(number):
        # `kept` is the same in each configuration, `changed` another command, and `some` in every second one.
        found = {
            "kept": counting(journal),
            "shared": counting(journal, share="server"),
            "changed": counting(other, env={"NUMBER": str(number)}),
        }
        return {**found, **({"some": counting(other)} if number % 2 else {})}

    with daemon(tmp_path, servers(0)) as running:
        traffic, at_changed = Traffic(running, journal, LIMIT), Traffic(running, other, LIMIT)
        pid = running.status()["pid"]
        async with traffic.flowing("kept", "shared"), trio.open_nursery() as nursery:
            nursery.start_soon(at_changed.posts, "changed")
            nursery.start_soon(at_changed.posts, "some")
            for number in range(1, 31):
                write_config(running.config.with_name("next.toml"), servers(number))
                if number % 5 == 0:
                    # Refused, and nothing changes.
                    running.config.with_name("next.toml").write_text("[[")
                # A file that is read while it is written may be empty, and then removes all servers.
                running.config.with_name("next.toml").replace(running.config)
                running.process.send_signal(signal.SIGHUP)
                await trio.sleep(0.1)
            write_config(running.config.with_name("next.toml"), servers(1))
            running.config.with_name("next.toml").replace(running.config)
            await trio.to_thread.run_sync(running.reload)
            at_changed.over = True
        assert (await at_changed.post("some")).status == (await at_changed.post("changed")).status == 200
        report("30 reloads in 3 s, servers that stay", traffic.check())
        report("30 reloads in 3 s, servers that change", at_changed.check(), may_fail=True)
        assert running.status()["pid"] == pid
        assert sum(" reloaded " in line for line in running.lines) > 3
        assert not any("internal_error" in line for line in running.lines)


def half_open(running, kind, stack):
    """Open a connection to the server `read` whose client neither reads nor sends any more."""
    sock = stack.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(running.address)
    fields = {"Host": "{}:{}".format(*running.address), "Authorization": f"Bearer {running.token}"}
    method, path, body = "GET", "/servers/read/mcp", b""
    if kind == "no head":
        sock.sendall(f"POST {path} HTTP/1.1\r\n".encode())
        return
    if kind == "websocket":
        path = "/servers/read/ws"
        fields |= {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": fresh_key()}
        fields |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "mcp"}
    elif kind == "event stream":
        path = "/servers/read/sse"
        fields["Accept"] = "text/event-stream"
    else:
        message = request("tools/call", tool("quick", number="unread", size=8 << 20))
        body = json.dumps(message).encode()
        method, fields = "POST", {**fields, **headers_of(message), "Content-Length": str(len(body))}
        body = body[:10] if kind == "half a body" else body
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


async def test_half_open_peers_delay_no_other(tmp_path):
    journal = tmp_path / "journal"
    servers = {
        "one": counting(journal),
        "all": counting(journal, share="server"),
        "read": counting(tmp_path / "other"),
    }
    kinds = ("no head", "half a body", "unread answer", "event stream", "websocket")
    with daemon(tmp_path, servers) as running:
        # Shorter than the peers are half-open.
        traffic = Traffic(running, journal, 4)
        async with traffic.flowing("one", "all"):
            with ExitStack() as stack:
                for kind in kinds * 2:
                    half_open(running, kind, stack)
                    await trio.sleep(0.05)
                await trio.sleep(5)
        report("10 half-open peers", traffic.check())
