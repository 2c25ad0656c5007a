"""The receiving side of a WebSocket: frames, pings and close frames (`receiver`)."""

from functools import partial
from typing import Final

import trio

from ...validators.limits import Limits
from ...validators.rejection import Rejection
from ...validators.ws_frames import TOO_BIG, Close, Event, FrameReader, Ping, Text
from ..options import ANONYMOUS
from ..ports import UpgradedStream
from .receiver import READ, OnText, Receiver, Rest
from .websocket_writer import FrameWriter

# Time for which the rest of a refused message is read and dropped (seconds).
_DROP_SECONDS: Final = 60.0


class MessageReceiver(Receiver[Event]):
    """Receive the frames of one client, and pass text messages to `on_text` in order."""

    def __init__(
        self,
        stream: UpgradedStream,
        writer: FrameWriter,
        limits: Limits,
        on_text: OnText,
        principal: str = ANONYMOUS,
    ) -> None:
        super().__init__(stream, on_text, principal)
        self._writer = writer
        self._reader = FrameReader(limits.body, limits.json_depth)
        # Since when a refused message is dropped (seconds), 0 for none.
        self._dropping_since = 0.0

    @property
    def _is_large(self) -> bool:
        return self._reader.missing > READ

    @property
    def _held(self) -> int:
        return self._reader.held

    def _refuse(self, fault: Rejection) -> None:
        self._reader.refuse(fault)

    def _read_message(self, data: bytes) -> bytes | None:
        self._writer.pinged_at = 0.0
        return self._reader.read_message(data)

    def _find_events(self, data: bytes) -> list[Event]:
        return self._reader.feed(data, trio.current_time())

    def _handle_next(self, events: list[Event]) -> Rest | None:
        event = events.pop()
        if isinstance(event, Text):
            held = [event.text]
            # A large text has one reference only, which the callee removes.
            del event
            return self._on_text(held)
        if isinstance(event, Ping):
            self._writer.answer_ping(event.payload)
        elif isinstance(event, Close):
            return partial(self._close, event.code)
        return None

    def _after_events(self) -> Rest | None:
        if not self._reader.dropping:
            self._dropping_since = 0.0
            return None
        now = trio.current_time()
        self._dropping_since = self._dropping_since or now
        return self._give_up if now - self._dropping_since > _DROP_SECONDS else None

    async def _close(self, code: int) -> None:
        reader = self._reader
        self._over = True
        await self._writer.answer_close(code, reader.reason, reader.close_reason)

    async def _give_up(self) -> None:
        self._over = True
        reason = f"the rest of a message that was refused did not come within {_DROP_SECONDS:g} s"
        await self._writer.send_close(TOO_BIG, reason)
