"""A carrier of a remote server that runs in the nursery of a test."""

import json
from contextlib import asynccontextmanager

import trio

from mcpbridged.transports.client.ports import LoginRequired, Lost, Unreachable


class Running:
    """A carrier, the messages that it has passed on, and the exception with which it has ended."""

    def __init__(self, carrier):
        self.carrier = carrier
        self.messages = []
        self.ended = None
        self._changed = trio.Event()

    def on_message(self, text, related):
        assert related == b""
        assert b"\n" not in text
        assert b"\r" not in text
        self.messages.append(text)
        self._changed.set()

    async def message(self):
        """Wait for the next message and remove it."""
        with trio.fail_after(10):
            while not self.messages:
                self._changed = trio.Event()
                await self._changed.wait()
        return self.messages.pop(0)

    async def json(self):
        return json.loads(await self.message())

    async def end(self):
        """Wait until the carrier has ended. Return the exception."""
        with trio.fail_after(10):
            while self.ended is None:
                await trio.sleep(0.001)
        return self.ended


@asynccontextmanager
async def running(carrier):
    """Connect a carrier and yield Running. Raises what `run` raises before it is connected."""
    found = Running(carrier)
    failure = []

    async def run(*, task_status):
        began = []

        class Status(trio.TaskStatus):
            def started(self, value=None):
                began.append(True)
                task_status.started(value)

        try:
            await carrier.run(found.on_message, task_status=Status())
        except (Lost, Unreachable, LoginRequired) as fault:
            found.ended = fault
            if not began:
                failure.append(fault)
                task_status.started()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        if not failure:
            fault = None
            try:
                yield found
            except Exception as raised:  # noqa: BLE001 - raised below, without an exception group around it
                fault = raised
            failure.extend([fault] if fault else [])
        nursery.cancel_scope.cancel()
    if failure:
        raise failure[0]
