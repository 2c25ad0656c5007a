"""Carriers with a fault, for the self-test: each changes, drops, repeats or moves one message."""

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Mapping

import attrs
import trio
from carriers import Carrier

Change = Callable[[bytes], list[bytes] | None]


def where(mark: bytes, old: bytes, new: bytes) -> Change:
    """Replace bytes in the first message with the mark."""
    return lambda line: [line.replace(old, new, 1)] if mark in line and old in line else None


def lost(mark: bytes) -> Change:
    return lambda line: [] if mark in line else None


def repeated(mark: bytes) -> Change:
    return lambda line: [line, line] if mark in line else None


class Swapped:
    """Exchange the first message with the mark and the one after it."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._kept: bytes | None = None

    def __call__(self, line: bytes) -> list[bytes] | None:
        if self._kept is not None:
            return [line, self._kept]
        if self._mark in line:
            self._kept = line
            return []
        return None


_LOG, _PROGRESS = b'"notifications/message"', b'"notifications/progress"'
_OUTPUT: Mapping[str, Callable[[], Change]] = {
    "one byte of a result": lambda: where(b'"priority"', b'"content"', b'"cOntent"'),
    "one space in a result": lambda: where(b'"priority"', b'"content":[', b'"content": ['),
    "one byte of an error": lambda: where(b'"code":7', b'"code":7', b'"code":8'),
    "an id": lambda: where(b'"id":9007199254740993', b"9007199254740993", b"9007199254740992"),
    "a number": lambda: where(b"1E+2", b"1E+2", b"100"),
    "an escape": lambda: where(b"\\ud83d", b"\\ud83d", b"\\ufffd"),
    "a progress token": lambda: where(_PROGRESS, b'"progressToken":7', b'"progressToken":"7"'),
    "a lost log line": lambda: lost(_LOG),
    "a repeated log line": lambda: repeated(_LOG),
    "lost progress": lambda: lost(_PROGRESS),
    "an answer before the progress that came first": lambda: Swapped(_PROGRESS),
    "a result in place of an error": lambda: where(b'"error":{', b'"error":{', b'"result":{'),
}
_INPUT: Mapping[str, Callable[[], Change]] = {
    "one byte of the arguments": lambda: where(b'"arguments":{"n":1.0}', b"1.0", b"1.1"),
    "a call that is lost": lambda: lost(b"arguments-4"),
    "a call that is sent twice": lambda: repeated(b"arguments-4"),
    "the name of a tool": lambda: where(b"arguments-5", b"arguments-5", b"arguments-6"),
}


def _faulty(
    changes: Callable[[], Change], *, from_server: bool
) -> Callable[[Carrier], contextlib.AbstractAsyncContextManager[Carrier]]:
    @contextlib.asynccontextmanager
    async def faulty(carrier: Carrier) -> AsyncIterator[Carrier]:
        change: Change | None = changes()

        def changed(line: bytes) -> list[bytes]:
            nonlocal change
            found = None if change is None else change(line)
            if found is None:
                return [line]
            if found or not isinstance(change, Swapped):
                # Once only.
                change = None
            return found

        async def send(line: bytes) -> None:
            for one in changed(line):
                await carrier.send(one)

        if not from_server:
            yield attrs.evolve(carrier, send=send)
            return
        put, received = trio.open_memory_channel[bytes](math.inf)

        async def read() -> None:
            async with put:
                async for line in carrier.received:
                    for one in changed(line):
                        await put.send(one)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            yield attrs.evolve(carrier, received=received)
            nursery.cancel_scope.cancel()

    return faulty


FAULTS = {
    **{f"{name}, from the server": _faulty(change, from_server=True) for name, change in _OUTPUT.items()},
    **{f"{name}, to the server": _faulty(change, from_server=False) for name, change in _INPUT.items()},
}
