"""The connections to one server: a process with the variables of its client."""

import os
import sys
from contextlib import asynccontextmanager

import pytest
import trio

from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.runtime.connector import ProcessConnector
from mcpbridged.transports.options import Launch, SpawnFailed
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.process.spawner import Spawner

from ...support.children import Output

pytestmark = pytest.mark.anyio
ENV = {"PATH": os.environ["PATH"], "ONE": "1", "TWO": "2"}
PRINT = "import os; print(os.environ['ONE'], os.environ['TWO'], flush=True); input()"


@asynccontextmanager
async def connecting():
    spawner, poller = Spawner.start(), Poller()
    try:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poller.run)
                yield ProcessConnector(spawner, poller)
                nursery.cancel_scope.cancel()
    finally:
        spawner.close()
        poller.close()


@pytest.mark.parametrize(("variables", "line"), [({}, b"1 2"), ({"TWO": "3"}, b"1 3")])
async def test_a_process_has_the_variables_of_its_client_over_those_of_the_server(variables, line):
    config = ServerConfig("one", Launch((sys.executable, "-c", PRINT), ENV))
    output = Output()
    async with connecting() as connector, trio.open_nursery() as nursery:
        child = await connector.connect(config, variables)
        child.set_line_handler(output.line)
        nursery.start_soon(child.run, output.stderr.append, output.exit)
        await output.until(1)
        child.kill()
    assert output.lines == [line]
    assert dict(config.launch.env) == ENV


async def test_the_error_explains_why_a_script_was_not_executed(tmp_path):
    script = tmp_path / "script"
    script.write_text("echo\n")
    script.chmod(0o755)
    async with connecting() as connector:
        with pytest.raises(SpawnFailed, match="it has no #! line"):
            await connector.connect(ServerConfig("one", Launch((str(script),), ENV)))
