"""Start a server process, and collect its output."""

import os
import sys
from pathlib import Path

import trio
import trio.testing

from mcpbridged.transports.options import Launch
from mcpbridged.transports.poller import Poller
from mcpbridged.validators.limits import Limits

# The folder of the server programs of these tests.
CHILDREN = Path(__file__).parents[1] / "transports" / "process" / "children"
ENV = {"PATH": os.environ["PATH"], "MARK": "é x"}
ECHO = "import sys\nfor line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"


class Output:
    """What a child has written, and its exit."""

    def __init__(self):
        self.lines = []
        self.stderr = []
        self.exits = []
        self.received = trio.Event()
        self.over = trio.Event()
        self.over_at = 0.0

    def line(self, line):
        self.lines.append(line)
        self.received.set()

    def exit(self, exit_):
        self.exits.append(exit_)
        self.over_at = trio.current_time()
        self.over.set()

    async def until(self, count):
        while len(self.lines) < count:
            self.received = trio.Event()
            await self.received.wait()


async def start(spawner, nursery, *argv, limits=None, env=ENV, **more):
    poller = Poller()
    launch = Launch(argv=argv or (sys.executable, "-c", ECHO), env=env, **more)
    try:
        child = await spawner.spawn(launch, limits=limits or Limits(), poller=poller)
    except BaseException:
        poller.close()
        raise
    output = Output()

    async def run():
        try:
            async with trio.open_nursery() as inner:
                inner.start_soon(poller.run)
                child.set_line_handler(output.line)
                await child.run(output.stderr.append, output.exit)
                inner.cancel_scope.cancel()
        finally:
            poller.close()

    nursery.start_soon(run)
    return child, output


def python(code):
    return sys.executable, "-c", code


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between open and read
        return False
    return state != "Z"
