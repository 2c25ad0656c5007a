"""Writing an event stream: what an outlet holds, with signs of life in between."""

from ..ports import Exchange
from ..send_queue import DISCONNECTED, SendQueue, Signal
from . import sse_codec


async def write_events(exchange: Exchange, queue: SendQueue) -> None:
    """Write what the outlet holds, with comments in between as signs of life, until it is finished or its client gone."""
    while queue.state != DISCONNECTED:
        match await queue.dequeue():
            case Signal.END:
                return
            case Signal.HEARTBEAT:
                await exchange.write(sse_codec.HEARTBEAT)
            case (event_id, message):
                await exchange.write(sse_codec.message(event_id, message))
