"""Tables that peers can fill are bounded, and dropped together with their owner."""

import io
import os
import sys
from pathlib import Path

import pytest
import trio

from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.daemon.supervisor import Supervisor
from mcpbridged.bridge.log import LineLog
from mcpbridged.transports.options import Launch
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.process.spawner import Spawner
from mcpbridged.transports.send_queue import SendQueue
from mcpbridged.validators.limits import Limits

from ..support.daemon_process import daemon, write_config
from ..support.multiplexer_talk import Talk, call, sent_to_server

pytestmark = pytest.mark.anyio
SERVER = (sys.executable, "-I", "-S", str(Path(__file__).parents[1] / "support/servers/stderr_writer.py"))


def test_r22_stored_lists_of_tools_that_change_are_bounded():
    talk = Talk()
    talk.ask(1, "tools/call", call("t0"), headers={})
    talk.answer(1, {"tools": [{"name": "t0"}]})
    talk.answer(2, {})
    wire_id = 3
    for turn in range(51):
        talk.ask(10 + turn, "tools/list")
        names = [f"t{number}" for number in range(1000 * turn, 1000 * turn + 1000)]
        talk.answer(wire_id, {"tools": [{"name": name, "inputSchema": {}} for name in names]})
        wire_id += 1
    assert len(talk.it._tools._tools.by_name) <= 16 * 1024
    # A tool that was dropped can be called. The list is requested first.
    _, effects = talk.ask(100, "tools/call", call("t1"), headers={})
    assert [method for _, method, _ in sent_to_server(effects)] == ["tools/list"]
    assert [method for _, method, _ in sent_to_server(talk.answer(wire_id, {"tools": [{"name": "t1"}]}))] == [
        "tools/call"
    ]


async def test_r22_the_log_of_a_removed_server_is_removed_unless_it_is_followed():
    spawner, poller = Spawner.start(), Poller()
    supervisor = Supervisor(spawner, poller, LineLog(out=io.StringIO()), "0")
    launch = Launch(SERVER, {"PATH": os.environ["PATH"]})
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            await nursery.start(supervisor.run)
            queue = SendQueue(Limits())
            for number in range(20):
                await supervisor.apply(
                    [ServerConfig(f"server-{number}", launch), ServerConfig("stays", launch)]
                )
                if number == 7:
                    followed = next(iter(supervisor)).server_log.buffer
                    followed.follow(queue)
            with trio.fail_after(10):
                while supervisor._draining:
                    await trio.sleep(0.01)
            assert sorted(supervisor._server_logs) == ["server-19", "server-7", "stays"]
            followed.unfollow(queue)
            await supervisor.apply([ServerConfig("stays", launch)])
            with trio.fail_after(10):
                while len(supervisor._server_logs) > 1:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    finally:
        poller.close()
        spawner.close()


def test_r22_the_log_of_a_server_that_stays_outlives_its_change_and_a_reload(tmp_path):
    with daemon(tmp_path, {"one": {"command": list(SERVER), "spare": 1}}) as running:
        while "pid " not in running.do("logs", "one").stdout:
            pass
        before = running.do("logs", "one").stdout.splitlines()[0]
        write_config(running.config, {"one": {"command": list(SERVER), "env": {"A": "b"}}})
        running.reload()
        assert before in running.do("logs", "one").stdout
