"""Start `stubborn.py` through a Spawner, print its pid and that of its grandchild, and wait to be killed."""

import os
import sys
from pathlib import Path

import trio

from mcpbridged.transports.options import Launch
from mcpbridged.transports.poller import Poller
from mcpbridged.transports.process.spawner import Spawner
from mcpbridged.validators.limits import Limits


async def main(spawner):
    stubborn = Path(__file__).with_name("stubborn.py")
    launch = Launch((sys.executable, os.fspath(stubborn)), {"PATH": os.environ["PATH"]})
    poller = Poller()
    child = await spawner.spawn(launch, limits=Limits(), poller=poller)

    def heard(line):
        sys.stdout.write(f"{child.pid} {line.decode()}\n")
        sys.stdout.flush()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        child.set_line_handler(heard)
        await child.run(lambda _: None, lambda _: None)


trio.run(main, Spawner.start())
