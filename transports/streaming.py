"""Writing an event stream: what an outlet holds, with signs of life in between."""

from . import event_stream
from .outlet import GONE, Outlet, Signal
from .ports import Exchange


async def write_events(exchange: Exchange, outlet: Outlet) -> None:
    """Write what the outlet holds, with comments in between as signs of life, until it is finished or its client gone."""
    while outlet.state != GONE:
        match await outlet.next():
            case Signal.END:
                return
            case Signal.HEARTBEAT:
                await exchange.write(event_stream.HEARTBEAT)
            case (event_id, message):
                await exchange.write(event_stream.message(event_id, message))
