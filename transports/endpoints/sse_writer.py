"""Write a send queue as an event stream, with heartbeats."""

from ..ports import Exchange
from ..send_queue import DISCONNECTED, SendQueue, Signal
from . import sse_codec


async def write_events(exchange: Exchange, queue: SendQueue) -> None:
    """Write queued messages as events and heartbeats as comments, until the queue ends or the client disconnects."""
    while queue.state != DISCONNECTED:
        match await queue.dequeue():
            case Signal.END:
                return
            case Signal.HEARTBEAT:
                await exchange.write(sse_codec.HEARTBEAT)
            case (event_id, message):
                await exchange.write(sse_codec.message(event_id, message))
